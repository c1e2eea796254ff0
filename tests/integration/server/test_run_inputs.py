"""Inputs of flow runs on the wire: stored once, listed, and waited for."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import grpc
import pytest
from grpc import aio

from headgate.api.v1 import (
    flow_run_service_pb2,
    flow_run_service_pb2_grpc,
    run_input_pb2,
    run_input_service_pb2,
    run_input_service_pb2_grpc,
)
from headgate.core import ids
from headgate_server.app import App
from headgate_server.services import run_inputs
from headgate_server.settings import Settings
from headgate_server.storage.kinds import run_inputs as kind
from tests.integration.server import calls

Stub = run_input_service_pb2_grpc.RunInputServiceStub


@pytest.fixture
def stub(channel: aio.Channel) -> Any:
    return Stub(channel)


@pytest.fixture
async def run_id(channel: aio.Channel) -> str:
    await calls.create_deployment(channel)
    return (await calls.create_flow_run(channel)).id


async def create(
    stub: Any,
    run_id: str,
    key: str = "answer",
    value: str = "1",
    sender: str = "",
    request_id: str = "",
):
    request = run_input_service_pb2.CreateRunInputRequest(
        run_input=run_input_pb2.RunInput(flow_run_id=run_id, key=key, value=value, sender=sender),
        request_id=request_id,
    )
    return (await stub.CreateRunInput(request)).run_input


def list_request(run_id: str, *, wait: float = 0, page_size: int = 0, **where: Any):
    request = run_input_service_pb2.ListRunInputsRequest(
        flow_run_id=run_id,
        filter=run_input_service_pb2.RunInputFilter(**where),
        page_size=page_size,
    )
    request.wait.FromMilliseconds(round(wait * 1000))
    return request


async def test_an_input_that_was_received_is_not_stored_again(stub: Any, run_id: str):
    request_id = ids.new_id()
    made = await create(stub, run_id, request_id=request_id)
    delete = run_input_service_pb2.DeleteRunInputRequest(flow_run_id=run_id, key="answer")
    await stub.DeleteRunInput(delete)
    # The answer was lost, so the client asks again; meanwhile the flow had it.
    assert await create(stub, run_id, request_id=request_id) == made
    assert not (await stub.ListRunInputs(list_request(run_id))).run_inputs
    other = await create(stub, run_id)
    assert other.id != made.id


async def test_an_input_is_stored_read_and_deleted(stub: Any, run_id: str):
    made = await create(stub, run_id, value='{"a": 1}', sender="headgate.flow-run/x")
    assert ids.is_id(made.id)
    get = run_input_service_pb2.GetRunInputRequest(flow_run_id=run_id, key="answer")
    assert (await stub.GetRunInput(get)).run_input == made
    delete = run_input_service_pb2.DeleteRunInputRequest(flow_run_id=run_id, key="answer")
    await stub.DeleteRunInput(delete)
    with calls.fails(grpc.StatusCode.NOT_FOUND, "NOT_FOUND"):
        await stub.DeleteRunInput(delete)
    with calls.fails(grpc.StatusCode.NOT_FOUND, "NOT_FOUND"):
        await stub.GetRunInput(get)


async def test_a_request_sent_again_stores_nothing_again(stub: Any, run_id: str):
    request_id = ids.new_id()
    first = await create(stub, run_id, request_id=request_id)
    assert await create(stub, run_id, request_id=request_id) == first
    with calls.fails(grpc.StatusCode.ALREADY_EXISTS, "ALREADY_EXISTS"):
        await create(stub, run_id)


async def test_an_input_for_a_run_that_is_not_there_is_refused(stub: Any):
    with calls.fails(grpc.StatusCode.NOT_FOUND, "NOT_FOUND"):
        await create(stub, ids.new_id())
    with calls.fails(grpc.StatusCode.NOT_FOUND, "NOT_FOUND"):
        await stub.ListRunInputs(list_request(ids.new_id(), wait=60))


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"run_id": "x"}, "run_input.flow_run_id"),
        ({"key": ""}, "run_input.key"),
        ({"key": "k" * 256}, "run_input.key"),
        ({"value": ""}, "run_input.value"),
        ({"value": "NaN"}, "run_input.value"),
        ({"value": f'"{"x" * 524_288}"'}, "run_input.value"),
        ({"sender": "s" * 256}, "run_input.sender"),
        ({"request_id": "x"}, "request_id"),
    ],
)
async def test_a_wrong_field_is_named(stub: Any, given: dict[str, str], field: str):
    with calls.fails(grpc.StatusCode.INVALID_ARGUMENT, "INVALID_ARGUMENT", field):
        await create(stub, **{"run_id": ids.new_id(), **given})


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"key_prefix": "k" * 256}, "filter.key_prefix"),
        ({"exclude_keys": ["k"] * 1_001}, "filter.exclude_keys"),
        ({"after_place": 2**63}, "filter.after_place"),
        ({"wait": -1}, "wait"),
        ({"page_size": -1}, "page_size"),
    ],
)
async def test_a_wrong_condition_is_named(stub: Any, given: dict[str, Any], field: str):
    with calls.fails(grpc.StatusCode.INVALID_ARGUMENT, "INVALID_ARGUMENT", field):
        await stub.ListRunInputs(list_request(ids.new_id(), **given))


async def test_inputs_are_listed_in_pages(stub: Any, run_id: str):
    for key in ("c", "b", "a"):
        await create(stub, run_id, key)
    first = await stub.ListRunInputs(list_request(run_id, page_size=2))
    assert [found.key for found in first.run_inputs] == ["c", "b"]
    request = list_request(run_id, page_size=2)
    request.page_token = first.next_page_token
    rest = await stub.ListRunInputs(request)
    assert ([found.key for found in rest.run_inputs], rest.next_page_token) == (["a"], "")


async def test_whoever_waits_is_answered_when_an_input_that_fits_is_stored(
    stub: Any, run_id: str, channel: aio.Channel
):
    other = (await calls.create_flow_run(channel)).id
    answers: list[list[str]] = []

    async def wait() -> None:
        answer = await stub.ListRunInputs(list_request(run_id, wait=60, key_prefix="a-"))
        answers.append([found.key for found in answer.run_inputs])

    with anyio.fail_after(10):
        async with anyio.create_task_group() as group:
            group.start_soon(wait)
            group.start_soon(wait)
            await create(stub, other, "a-0")
            await create(stub, run_id, "b-0")
            assert answers == []
            await create(stub, run_id, "a-1")
    assert answers == [["a-1"], ["a-1"]]


async def test_who_has_received_one_goes_on_behind_it(stub: Any, run_id: str):
    first = await create(stub, run_id, "a")
    with anyio.fail_after(10):
        async with anyio.create_task_group() as group:

            async def wait() -> None:
                request = list_request(run_id, wait=60, after_place=first.place)
                answer = await stub.ListRunInputs(request)
                assert [found.key for found in answer.run_inputs] == ["b"]

            group.start_soon(wait)
            await create(stub, run_id, "b")


async def test_a_wait_that_is_over_is_answered_with_nothing(stub: Any, run_id: str):
    answer = await stub.ListRunInputs(list_request(run_id, wait=0.01))
    assert not answer.run_inputs


async def test_inputs_go_with_their_run(stub: Any, run_id: str, channel: aio.Channel):
    await create(stub, run_id)
    flow_runs = flow_run_service_pb2_grpc.FlowRunServiceStub(channel)
    await flow_runs.DeleteFlowRun(flow_run_service_pb2.DeleteFlowRunRequest(id=run_id))
    get = run_input_service_pb2.GetRunInputRequest(flow_run_id=run_id, key="answer")
    with calls.fails(grpc.StatusCode.NOT_FOUND, "NOT_FOUND"):
        await stub.GetRunInput(get)


async def test_who_waits_is_sent_away_when_the_server_stops(app: App, stub: Any, run_id: str):
    call = stub.ListRunInputs(list_request(run_id, wait=60))
    topics, topic = app.parts.notifier._topics, kind.topic(run_id)
    with anyio.fail_after(10):
        while topic not in topics:  # until it has arrived
            await anyio.lowlevel.checkpoint()
        app.parts.notifier.close()
        with calls.fails(grpc.StatusCode.UNAVAILABLE, "UNAVAILABLE"):
            await call
    assert topic not in topics


@pytest.fixture
async def replicas(
    postgres_database_url: str, tmp_path: Path
) -> AsyncIterator[tuple[aio.Channel, aio.Channel]]:
    """Channels to two servers over one database."""
    async with contextlib.AsyncExitStack() as stack:
        channels: list[aio.Channel] = []
        for name in ("one", "two"):
            settings = Settings(
                database_url=postgres_database_url,
                unix_socket=tmp_path / f"{name}.sock",
                shutdown_grace_seconds=0,
            )
            app = await stack.enter_async_context(App(settings).running())
            target = app.target.replace("unix://", "unix:")
            channels.append(await stack.enter_async_context(aio.insecure_channel(target)))
        yield channels[0], channels[1]


@pytest.mark.slow
async def test_an_input_stored_by_one_replica_wakes_who_waits_at_another(
    replicas: tuple[aio.Channel, aio.Channel], monkeypatch: pytest.MonkeyPatch
):
    # So that nothing but the announcement can wake it.
    monkeypatch.setattr(run_inputs, "_SWEEP_SECONDS", 100.0)
    one, two = replicas
    await calls.create_deployment(one)
    run_id = (await calls.create_flow_run(one)).id
    with anyio.fail_after(10):
        async with anyio.create_task_group() as group:

            async def wait() -> None:
                answer = await Stub(two).ListRunInputs(list_request(run_id, wait=60))
                assert [found.key for found in answer.run_inputs] == ["answer"]

            group.start_soon(wait)
            await create(Stub(one), run_id)
