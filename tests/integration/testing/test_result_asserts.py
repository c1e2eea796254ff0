"""What tests assert of where, and how, results were kept."""

from pathlib import Path

import pytest

from headgate import flow, task
from headgate.filesystems import LocalFileSystem
from headgate.testing.utilities import (
    assert_uses_result_serializer,
    assert_uses_result_storage,
    headgate_test_harness,
)


@task(persist_result=True, result_serializer="json")
def answers() -> list[int]:
    return list(range(20_000))  # more than rides along with the state


@task(persist_result=True)
def says() -> int:
    return 1


@task(persist_result=False)
def forgets() -> int:
    return 1


def test_serializer_and_storage_of_a_result_are_asserted(tmp_path: Path):
    @flow(result_storage=tmp_path / "kept")
    def works():
        return answers(return_state=True), says(return_state=True), forgets(return_state=True)

    with headgate_test_harness(in_memory=True):
        large, small, lost = works()
        assert_uses_result_serializer(large, "json")
        assert_uses_result_serializer(small, "pickle")
        assert_uses_result_storage(large, tmp_path / "kept")
        with pytest.raises(AssertionError, match="'json', not by 'pickle'"):
            assert_uses_result_serializer(large, "pickle")
        with pytest.raises(AssertionError, match="not in"):
            assert_uses_result_storage(large, tmp_path / "elsewhere")
        with pytest.raises(AssertionError, match="was not kept"):
            assert_uses_result_storage(lost, tmp_path / "kept")


def test_the_storage_may_be_a_block(tmp_path: Path):
    with headgate_test_harness(in_memory=True):
        LocalFileSystem(basepath=str(tmp_path / "kept")).save("kept")
        LocalFileSystem(basepath=str(tmp_path / "other")).save("other")

        @flow(result_storage="local-file-system/kept")
        def works():
            return answers(return_state=True)

        state = works()
        assert_uses_result_storage(state, "local-file-system/kept")
        assert_uses_result_storage(state, LocalFileSystem.load("kept"))
        with pytest.raises(AssertionError, match="not in"):
            assert_uses_result_storage(state, "local-file-system/other")
