"""Inputs of runs through the clients: handed over, and received as they come."""

import json
import threading

import anyio
import pytest

from headgate import flow
from headgate.client import orchestration
from headgate.client.orchestration import SyncHeadgateClient
from headgate.core import errors, ids


@pytest.fixture
def run_id(server: SyncHeadgateClient) -> str:
    @flow
    def waits() -> None: ...

    state = waits(return_state=True)
    assert state.flow_run_id is not None
    return state.flow_run_id


def test_an_input_is_handed_over_and_read(server: SyncHeadgateClient, run_id: str):
    made = server.create_flow_run_input(run_id, "a-1", json.dumps({"n": 1}), sender="me")
    assert server.read_flow_run_input(run_id, "a-1") == '{"n": 1}'
    server.create_flow_run_input(run_id, "a-2", "2")
    server.create_flow_run_input(run_id, "b", "3")
    found = server.filter_flow_run_input(run_id, key_prefix="a-")
    assert [(each.key, each.sender) for each in found] == [("a-1", "me"), ("a-2", None)]
    assert found[0] == made
    left = server.filter_flow_run_input(run_id, exclude_keys=["a-1"], limit=1)
    assert [each.key for each in left] == ["a-2"]
    behind = server.filter_flow_run_input(run_id, after_place=found[1].place)
    assert [each.key for each in behind] == ["b"]
    server.delete_flow_run_input(run_id, "b")
    with pytest.raises(errors.NotFound):
        server.read_flow_run_input(run_id, "b")
    with pytest.raises(errors.AlreadyExists):
        server.create_flow_run_input(run_id, "a-1", "1")


def test_an_input_is_received_as_it_comes(server: SyncHeadgateClient, run_id: str):
    received: list[str] = []

    def receive() -> None:
        place = 0
        while len(received) < 3:
            for each in server.receive_flow_run_input(run_id, "m-", after_place=place):
                received.append(each.value)
                place = each.place

    thread = threading.Thread(target=receive)
    thread.start()
    for number in range(3):
        server.create_flow_run_input(run_id, f"m-{number}", str(number))
    thread.join(10)
    assert received == ["0", "1", "2"]


async def test_a_coroutine_receives_one_as_it_comes(server: SyncHeadgateClient, run_id: str):
    received: list[str] = []

    async with orchestration.get_client() as client:

        async def receive() -> None:
            found = await client.receive_flow_run_input(run_id, wait_seconds=60)
            received.extend(each.value for each in found)

        with anyio.fail_after(10):
            async with anyio.create_task_group() as group:
                group.start_soon(receive)
                await client.create_flow_run_input(run_id, "late", "1")
    assert received == ["1"]


def test_whoever_waits_in_vain_receives_nothing(server: SyncHeadgateClient, run_id: str):
    assert server.receive_flow_run_input(run_id, wait_seconds=0) == []
    with pytest.raises(errors.NotFound):
        server.receive_flow_run_input(ids.new_id())
