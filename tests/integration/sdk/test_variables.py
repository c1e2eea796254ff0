"""Variables, as flow authors use them."""

import datetime
from typing import Any

import pytest

from headgate import flow, task
from headgate.client.orchestration import SyncHeadgateClient
from headgate.core import errors
from headgate.variables import Variable


def test_a_variable_is_set_read_and_unset(server: SyncHeadgateClient):
    assert Variable.get("batch_size") is None
    assert Variable.get("batch_size", default=10) == 10
    made = Variable.set("batch_size", {"rows": [1, 2.5, None, "x"]}, tags=["etl"])
    assert (made.name, made.tags) == ("batch_size", ("etl",))
    assert Variable.get("batch_size", 10) == made.value == {"rows": [1, 2.5, None, "x"]}
    assert Variable.unset("batch_size") is True
    assert Variable.unset("batch_size") is False
    assert Variable.get("batch_size") is None


async def test_coroutines_have_their_own_ways(server: SyncHeadgateClient):
    assert await Variable.aget("size", 1) == 1
    assert (await Variable.aset("size", 2)).value == 2
    with pytest.raises(errors.AlreadyExists, match="overwrite=True"):
        await Variable.aset("size", 3)
    assert (await Variable.aset("size", 3, overwrite=True)).value == 3
    assert await Variable.aget("size") == 3
    assert await Variable.aunset("size") is True
    assert await Variable.aunset("size") is False


async def test_in_a_coroutine_the_same_calls_are_awaited(server: SyncHeadgateClient):
    awaited: Any = Variable  # types say what the calls return where no loop runs
    await awaited.set("from_a_coroutine", 1)
    assert await awaited.get("from_a_coroutine") == 1
    assert await awaited.unset("from_a_coroutine") is True


async def test_a_sync_task_of_an_async_flow_calls_them_without_awaiting(
    server: SyncHeadgateClient,
):
    @task
    def reads() -> int:
        Variable.set("from_a_task", 1)
        return Variable.get("from_a_task")

    @flow
    async def works() -> tuple[int, int]:
        return reads(), await Variable.get("from_a_task")

    assert await works() == (1, 1)


def test_a_variable_is_overwritten_when_that_is_asked_for(server: SyncHeadgateClient):
    Variable.set("limit", 1, tags=["a"])
    with pytest.raises(errors.AlreadyExists, match="overwrite=True"):
        Variable.set("limit", 2)
    assert Variable.get("limit") == 1
    assert Variable.set("limit", 2, overwrite=True).tags == ("a",)
    assert Variable.set("limit", 3, tags=["b"], overwrite=True).tags == ("b",)
    assert Variable.set("limit", 3, tags=[], overwrite=True).tags == ()
    assert Variable.set("another", 4, overwrite=True).value == 4


def test_a_value_of_none_is_a_value(server: SyncHeadgateClient):
    Variable.set("nothing", None)
    assert Variable.get("nothing", default="x") is None


@pytest.mark.parametrize("name", ["", "Upper", "with space", "x" * 256, "x/y"])
def test_a_wrong_name_is_told_by_its_rule(server: SyncHeadgateClient, name: str):
    with pytest.raises(errors.InvalidArgument, match="lower-case letters"):
        Variable.set(name, 1)
    with pytest.raises(errors.InvalidArgument, match="lower-case letters"):
        Variable.get(name)


@pytest.mark.parametrize("value", [datetime.date(2026, 1, 1), float("nan"), {1, 2}, b"x"])
def test_a_value_that_json_does_not_have_is_told_by_its_variable(
    server: SyncHeadgateClient, value: object
):
    with pytest.raises(errors.InvalidArgument, match="'odd' is nothing that JSON has"):
        Variable.set("odd", value)


def test_a_value_that_is_too_long_is_refused(server: SyncHeadgateClient):
    with pytest.raises(errors.InvalidArgument, match="5000"):
        Variable.set("long", "x" * 5_000)


def test_flows_and_tasks_read_variables(server: SyncHeadgateClient):
    Variable.set("in_a_flow", 7)

    @task
    def read() -> int:
        return Variable.get("in_a_flow")

    @flow
    def reads() -> int:
        return Variable.get("in_a_flow") + read()

    assert reads() == 14
