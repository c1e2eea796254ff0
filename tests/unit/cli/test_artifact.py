from __future__ import annotations

import json
from typing import Any

import pytest

from headgate.core import errors
from headgate.core.artifacts import Artifact
from tests.unit.cli.conftest import NOW, Command, FakeClient


def an_artifact(**given: Any) -> Artifact:
    given.setdefault("key", "report")
    return Artifact(
        id="a1", type="markdown", data_json='"# Hi"', create_time=NOW, update_time=NOW, **given
    )


def test_ls_shows_the_latest_of_each_key(headgate: Command, client: FakeClient):
    client.answers["read_latest_artifacts"] = [an_artifact()]
    _, line = headgate("artifact", "ls", "--limit", "5").splitlines()
    assert line.split() == ["a1", "report", "markdown", "0.0", "s", "ago"]
    assert client.asked("read_latest_artifacts") == ((), {"limit": 5})
    (shown,) = json.loads(headgate("artifact", "ls", "-o", "json"))
    assert (shown["key"], shown["data"]) == ("report", "# Hi")


def test_ls_all_shows_those_without_a_key_too(headgate: Command, client: FakeClient):
    client.answers["read_artifacts"] = [an_artifact(key=None)]
    _, line = headgate("artifact", "ls", "--all").splitlines()
    assert line.split()[:2] == ["a1", "markdown"]


@pytest.mark.parametrize(
    ("options", "call"), [((), "read_latest_artifacts"), (("--all",), "read_artifacts")]
)
def test_ls_of_none_says_so(
    headgate: Command, client: FakeClient, options: tuple[str, ...], call: str
):
    client.answers[call] = []
    assert headgate("artifact", "ls", *options) == ""
    assert "There are no artifacts" in headgate.remarks
    assert ("--all" in headgate.remarks) == (not options)


def test_inspect_shows_the_versions_of_a_key(headgate: Command, client: FakeClient):
    client.answers["read_artifacts"] = [an_artifact(latest=True), an_artifact()]
    shown = json.loads(headgate("artifact", "inspect", "report", "-o", "json"))
    assert [each["latest"] for each in shown] == [True, False]
    assert client.asked("read_artifacts") == ((), {"keys": ["report"], "limit": 10})
    assert headgate("artifact", "inspect", "report").count("# Hi") == 2
    client.answers["read_artifacts"] = []
    assert "report" in headgate("artifact", "inspect", "report", code=1)


def test_delete_takes_a_key_or_an_id(headgate: Command, client: FakeClient):
    client.answers["delete_artifacts_of_key"] = client.answers["delete_artifact"] = None
    assert "report" in headgate("artifact", "delete", "report")
    assert client.asked("delete_artifacts_of_key") == (("report",), {})
    assert "a1" in headgate("artifact", "delete", "--id", "a1")
    assert client.asked("delete_artifact") == (("a1",), {})
    headgate("artifact", "delete", code=2)
    headgate("artifact", "delete", "report", "--id", "a1", code=2)
    client.answers["delete_artifact"] = errors.NotFound("artifact", "a1")
    with pytest.raises(errors.NotFound):
        headgate("artifact", "delete", "--id", "a1")
