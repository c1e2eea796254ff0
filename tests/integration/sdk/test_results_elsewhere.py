"""Kept results in other processes, and in the storage of saved blocks."""

import json
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from headgate import exceptions, flow, results, settings, task
from headgate.cache_policies import INPUTS
from headgate.client.orchestration import SyncHeadgateClient
from headgate.core import states
from headgate.filesystems import LocalFileSystem
from headgate.locking.memory import MemoryLockManager
from headgate.serializers import JSONSerializer
from headgate.task_runners import ProcessPoolTaskRunner

SCRIPT = Path(__file__).with_name("kept_results.py")


@pytest.mark.slow
def test_a_kept_result_survives_its_process(
    server: SyncHeadgateClient, api_url: str, tmp_path: Path
):
    def run(*args: str) -> tuple[dict[str, Any], int]:
        done = subprocess.run(
            [sys.executable, str(SCRIPT), *args],
            env={**os.environ, "HEADGATE_API_URL": api_url, "HEADGATE_HOME": str(tmp_path)},
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
        return json.loads(done.stdout), done.stderr.count("called\n")

    first, called = run("run", "1")
    assert called == 1
    _second, called = run("run", "1")
    assert called == 0
    _third, called = run("run", "2")
    assert called == 1
    read, _called = run("read", first["flow_run_id"])
    assert read == {"result": [2, 2]}


class Remote:
    """A block as others see it: bytes by key, with an id."""

    _block_document_id: str | None = None
    content: dict[str, bytes]

    def __init__(self) -> None:
        self.content = {}

    def read_path(self, path: str) -> bytes:
        return self.content[path]

    def write_path(self, path: str, content: bytes) -> None:
        self.content[path] = content


def test_results_are_kept_by_a_saved_block_and_found_by_its_id(
    server: SyncHeadgateClient, tmp_path: Path
):
    block = LocalFileSystem(basepath=str(tmp_path / "block"))
    with pytest.raises(TypeError, match="LocalFileSystem that is not saved"):
        flow(result_storage=block)(print)
    block.save("kept-results")

    @task(cache_policy=INPUTS)
    def add(x: int) -> int:
        return x + 1

    @flow(result_storage=block, result_serializer="json")
    def by_block():
        return add(1)

    @flow(result_storage="local-file-system/kept-results", result_serializer="json")
    def by_name():
        assert add(1, return_state=True).name == "Cached"

    state = by_block(return_state=True)
    kept = server.read_flow_run(state.flow_run_id or "").state
    assert kept.data is not None
    assert kept.data.inline is None
    assert kept.result() == 2
    by_name()


def test_a_block_that_is_not_there_keeps_nothing_and_fails_nothing(server: SyncHeadgateClient):
    @flow(result_storage="local-file-system/nowhere")
    def around():
        return 1

    state = around(return_state=True)
    assert state.result() == 1
    with pytest.raises(exceptions.MissingResult):
        server.read_flow_run(state.flow_run_id or "").state.result()


def test_the_settings_may_name_a_block(server: SyncHeadgateClient, tmp_path: Path):
    LocalFileSystem(basepath=str(tmp_path / "block")).save("default-results")
    named = {"results_default_storage_block": "local-file-system/default-results"}
    with settings.temporary_settings(named):
        assert results.ResultStore().write(1, key="k")
        assert not results.ResultStore().is_default
    assert (tmp_path / "block" / "k").exists()


def test_a_reference_to_a_block_is_followed(server: SyncHeadgateClient, monkeypatch: Any):
    from headgate.blocks.core import Block

    block = Remote()
    block._block_document_id = "0190"
    store = results.ResultStore(result_storage=block, serializer=JSONSerializer())
    payload = store.reference(store.write([1], key="a/b"))
    assert payload == states.Payload(serializer="json", storage_key="block:0190:a/b")
    monkeypatch.setattr(Block, "load_from_ref", lambda ref: {"0190": block}[ref])
    assert results.read_payload(payload) == [1]


@task(cache_policy=INPUTS)
def square(x: int) -> int:
    return x * x


@task
def kept() -> tuple[bool, str]:
    return results.should_persist_result(), results.get_result_store().result_storage.identity()


@pytest.mark.slow
def test_tasks_in_other_processes_keep_results_as_their_flow_does(
    server: SyncHeadgateClient, tmp_path: Path
):
    @flow(task_runner=ProcessPoolTaskRunner(max_workers=1), result_storage=tmp_path / "mine")
    def around():
        first, second = square.submit(3, return_state=True), square.submit(3, return_state=True)
        assert (first.name, second.name) == ("Completed", "Cached")
        assert second.result() == 9
        return kept.submit().result()

    assert around() == (True, str(tmp_path / "mine"))


def test_a_store_travels_to_other_processes(tmp_path: Path):
    store = results.ResultStore(
        result_storage=tmp_path, serializer="json", lock_manager=MemoryLockManager()
    )
    store.write([1], key="k")
    again = pickle.loads(pickle.dumps(store))
    assert again.read("k").result == [1]
    assert again.serializer == JSONSerializer()
    assert again.lock_manager is MemoryLockManager()
