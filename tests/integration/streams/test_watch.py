"""Watching the journal, and following logs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest

from headgate.api.v1 import (
    log_service_pb2,
    log_service_pb2_grpc,
    state_pb2,
    watch_service_pb2,
    watch_service_pb2_grpc,
)
from headgate.core import errors, ids
from headgate.core.runs import LogRecord
from headgate.core.states import StateType, new_state
from tests.integration.streams import wire
from tests.integration.streams.wire import World

pb = watch_service_pb2


@asynccontextmanager
async def watching(world: World, **request: Any) -> AsyncIterator[wire.Stream]:
    stub = watch_service_pb2_grpc.WatchServiceStub(world.channel)
    call = stub.Watch(pb.WatchRequest(**request))
    try:
        yield wire.Stream(call, pb.WatchRequest)
    finally:
        call.cancel()


async def move(world: World, flow_run_id: str, type: StateType) -> None:
    state = new_state(type, id=ids.new_id(), now=world.clock.now())
    await world.orchestration.propose(flow_run_id, state, fencing_token=None)


async def test_transitions_come_in_order_and_each_once(world: World) -> None:
    run = await world.ask_for_run(await world.deploy())
    async with watching(world, after_revision=0) as watch:
        assert (await watch.next()).revision == 0
        first = await watch.next()
        assert (first.run_id, first.state.name, first.revision) == (run.id, "Scheduled", 1)
        await move(world, run.id, StateType.RUNNING)
        await move(world, run.id, StateType.COMPLETED)
        assert [(await watch.next()).state.name for _ in range(2)] == ["Running", "Completed"]


async def test_a_watch_resumes_behind_the_last_revision(world: World) -> None:
    run = await world.ask_for_run(await world.deploy())
    await move(world, run.id, StateType.RUNNING)
    async with watching(world, after_revision=1) as watch:
        assert (await watch.next()).revision == 1
        assert (await watch.next()).revision == 2


async def test_a_watch_from_now_says_where_now_is(world: World) -> None:
    run = await world.ask_for_run(await world.deploy())
    async with watching(world) as watch:
        assert (await watch.next()).revision == 1
        await move(world, run.id, StateType.RUNNING)
        assert (await watch.next()).revision == 2


async def test_filters_pass_over_what_does_not_fit(world: World) -> None:
    deployment = await world.deploy()
    one, other = await world.ask_for_run(deployment), await world.ask_for_run(deployment)
    filter = pb.WatchFilter(flow_run_ids=[other.id], state_types=[state_pb2.STATE_TYPE_COMPLETED])
    async with watching(world, after_revision=0, filter=filter) as watch:
        await watch.expect("bookmark")
        for run in (one, other):
            await move(world, run.id, StateType.RUNNING)
            await move(world, run.id, StateType.COMPLETED)
        assert (await watch.expect("transition")).run_id == other.id


async def test_a_revision_of_another_journal_is_refused(world: World) -> None:
    async with watching(world, after_revision=99) as watch:
        error = await watch.end()
    assert isinstance(error, errors.InvalidArgument)
    assert error.violations[0].field == "after_revision"


async def test_a_bad_filter_names_the_field(world: World) -> None:
    async with watching(world, filter=pb.WatchFilter(flow_run_ids=["x"])) as watch:
        error = await watch.end()
    assert isinstance(error, errors.InvalidArgument)
    assert error.violations[0].field == "filter.flow_run_ids[0]"


async def test_watchers_are_sent_away_when_the_server_stops(world: World) -> None:
    async with watching(world) as watch:
        await watch.next()
        await world.streams.connected.drain()
        assert isinstance(await watch.end(), errors.Unavailable)


async def test_an_idle_watcher_is_told_how_far_it_is(world: World) -> None:
    async with watching(world, filter=pb.WatchFilter(kind=pb.RUN_KIND_TASK_RUN)) as watch:
        assert (await watch.next()).revision == 0
        deployment = await world.deploy()
        await world.ask_for_run(deployment)
        world.clock.advance(11)
        await world.ask_for_run(deployment)
        assert (await watch.expect("bookmark")).revision >= 1


def tail(world: World, flow_run_id: str, **request: Any) -> wire.Stream:
    stub = log_service_pb2_grpc.LogServiceStub(world.channel)
    asked = log_service_pb2.TailLogsRequest(flow_run_id=flow_run_id, **request)
    return wire.Stream(stub.TailLogs(asked), asked.__class__)


async def texts(stream: wire.Stream, count: int) -> list[str]:
    found: list[str] = []
    with anyio.fail_after(wire.WAIT_SECONDS):
        while len(found) < count:
            answer = await stream._call.read()
            found.extend(record.message for record in answer.records)
    return found


async def write(world: World, flow_run_id: str, *messages: str, level: int = 20) -> None:
    lines = [
        LogRecord(
            flow_run_id=flow_run_id,
            timestamp=world.clock.now(),
            level=level,
            logger="test",
            message=message,
        )
        for message in messages
    ]
    await world.storage.write(lambda tx: tx.logs.append(lines))


async def test_lines_that_are_large_come_in_several_frames_and_all_of_them(world: World) -> None:
    run = await world.ask_for_run(await world.deploy())
    # Together they are more than a client takes in one frame.
    large = [str(n) + "x" * 900_000 for n in range(9)]
    await write(world, run.id, *large)
    assert await texts(tail(world, run.id), 9) == large


async def test_logs_are_followed_to_the_end_of_the_run(world: World) -> None:
    run = await world.ask_for_run(await world.deploy())
    await write(world, run.id, "one")
    stream = tail(world, run.id)
    assert await texts(stream, 1) == ["one"]
    await write(world, run.id, "two", "three")
    assert await texts(stream, 2) == ["two", "three"]
    await move(world, run.id, StateType.CANCELLED)
    await write(world, run.id, "last words")
    assert await texts(stream, 1) == ["last words"]

    async def ended() -> bool:
        world.clock.advance(1)
        await write(world, (await world.ask_for_run(deployment)).id, "of another run")
        return stream._call.done()

    deployment = await world.deploy(name="other")
    with anyio.fail_after(wire.WAIT_SECONDS):
        await wire.eventually(ended)
    assert await stream.end() is None


async def test_followed_logs_are_filtered_and_resumed(world: World) -> None:
    run = await world.ask_for_run(await world.deploy())
    await write(world, run.id, "debug", level=10)
    await write(world, run.id, "info", "again")
    stream = tail(world, run.id, level_min=20)
    assert await texts(stream, 2) == ["info", "again"]
    stream.cut()
    resumed = tail(world, run.id, after_id=2)
    assert await texts(resumed, 1) == ["again"]
    resumed.cut()


@pytest.mark.parametrize(
    ("flow_run_id", "expected"),
    [("x", errors.InvalidArgument), (ids.new_id(), errors.NotFound)],
    ids=["no id", "unknown"],
)
async def test_logs_of_no_run_cannot_be_followed(
    world: World, flow_run_id: str, expected: type[Exception]
) -> None:
    assert isinstance(await tail(world, flow_run_id).end(), expected)
