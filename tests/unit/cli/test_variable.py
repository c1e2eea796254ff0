from __future__ import annotations

import json
from typing import Any

import pytest

from headgate.core import errors
from headgate.core.variables import Variable
from tests.unit.cli.conftest import NOW, Command, FakeClient


def a_variable(name: str = "limit", value: Any = 10, tags: tuple[str, ...] = ()) -> Variable:
    return Variable(
        id="v",
        name=name,
        value_json=json.dumps(value),
        tags=tags,
        create_time=NOW,
        update_time=NOW,
    )


def test_ls_shows_values_and_tags(headgate: Command, client: FakeClient):
    client.answers["read_variables"] = [
        a_variable(tags=("a", "b")),
        a_variable("text", "x" * 100),
    ]
    _, first, second = headgate("variable", "ls", "--tag", "a").splitlines()
    assert first.split() == ["limit", "10", "a,", "b", "0.0", "s", "ago"]
    assert second.split()[1] == '"' + "x" * 58 + "…"
    assert client.asked("read_variables")[1] == {"tags": ("a",), "limit": 100}
    shown = json.loads(headgate("variable", "ls", "-o", "json"))
    assert [each["value"] for each in shown] == [10, "x" * 100]


def test_ls_of_none_says_so(headgate: Command, client: FakeClient):
    client.answers["read_variables"] = []
    assert headgate("variable", "ls") == ""
    assert "There are no variables." in headgate.remarks
    assert json.loads(headgate("variable", "ls", "-o", "json")) == []


def test_inspect_shows_all_of_it(headgate: Command, client: FakeClient):
    client.answers["read_variable_by_name"] = a_variable(value={"a": 1}, tags=("x",))
    shown = json.loads(headgate("variable", "inspect", "limit", "-o", "json"))
    assert (shown["name"], shown["value"], shown["tags"]) == ("limit", {"a": 1}, ["x"])
    assert "limit" in headgate("variable", "inspect", "limit")


@pytest.mark.parametrize(
    ("value", "written"), [("text", "text"), (10, "10"), ({"a": [None]}, '{"a": [null]}')]
)
def test_get_writes_the_value_alone(
    headgate: Command, client: FakeClient, value: Any, written: str
):
    client.answers["read_variable_by_name"] = a_variable(value=value)
    assert headgate("variable", "get", "limit") == f"{written}\n"


@pytest.mark.parametrize("command", ["get", "inspect"])
def test_a_variable_that_is_not_there_is_told(headgate: Command, client: FakeClient, command: str):
    client.answers["read_variable_by_name"] = None
    with pytest.raises(errors.NotFound, match="limit"):
        headgate("variable", command, "limit")


@pytest.mark.parametrize(
    ("typed", "value"), [("10", 10), ("text", "text"), ('"10"', "10"), ('{"a": 1}', {"a": 1})]
)
def test_set_takes_json_or_a_text(headgate: Command, client: FakeClient, typed: str, value: Any):
    client.answers["create_variable"] = a_variable()
    assert "limit" in headgate("variable", "set", "limit", typed, "--tag", "a", "--tag", "b")
    assert client.asked("create_variable") == (("limit", value), {"tags": ("a", "b")})


def test_set_names_the_way_to_overwrite(headgate: Command, client: FakeClient):
    client.answers["create_variable"] = errors.AlreadyExists("variable", "limit")
    assert "--overwrite" in headgate("variable", "set", "limit", "1", code=1)
    client.answers["set_variable"] = a_variable()
    headgate("variable", "set", "limit", "1", "--overwrite")
    assert client.asked("set_variable") == (("limit", 1), {"tags": None})


def test_unset_deletes(headgate: Command, client: FakeClient):
    client.answers["delete_variable_by_name"] = None
    assert "limit" in headgate("variable", "unset", "limit")
    client.answers["delete_variable_by_name"] = errors.NotFound("variable", "limit")
    with pytest.raises(errors.NotFound, match="limit"):
        headgate("variable", "unset", "limit")
