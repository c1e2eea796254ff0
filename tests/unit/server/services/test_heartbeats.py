"""Flow runs that are still executed are told of, where the operator wants it."""

from __future__ import annotations

import pytest

from headgate.core.events import EventFilter
from headgate.core.states import StateType
from headgate_server.services.loops import heartbeats
from headgate_server.services.loops.heartbeats import Heartbeats
from headgate_server.storage.records import PageRequest
from tests.unit.server.services.test_orchestration import World


async def told(world: World) -> list[tuple[str, list[str]]]:
    """Of which runs was told, and what else the events name."""
    where = EventFilter(names=("headgate.flow-run.heartbeat",))
    page = PageRequest(size=200)
    found = await world.storage.read(lambda tx: tx.events.list(where, page, ascending=True))
    return [
        (
            event.resource["headgate.resource.id"].removeprefix("headgate.flow-run."),
            [labels["headgate.resource.role"] for labels in event.related],
        )
        for event in found.items
    ]


async def test_only_runs_that_somebody_executes_are_told_of():
    world = World()
    await world.storage.start()
    executed = await world.flow_run(
        StateType.RUNNING, engine=True, tags=("x",), deployment_id="d", deployment_name="etl/d"
    )
    await world.flow_run(StateType.RUNNING)  # by hand, without anybody
    await world.flow_run(StateType.PENDING, engine=True)
    await world.flow_run(StateType.COMPLETED)
    assert await Heartbeats(world.storage, interval_seconds=30).step() is False
    assert await told(world) == [(executed.id, ["flow", "deployment", "tag"])]


async def test_a_run_is_told_of_once_in_an_interval_whoever_looks():
    world = World()
    await world.storage.start()
    run = await world.flow_run(StateType.RUNNING, engine=True)
    replicas = [Heartbeats(world.storage, interval_seconds=30) for _ in range(2)]
    for replica in replicas:
        await replica.step()
    assert [id for id, _ in await told(world)] == [run.id]
    world.clock.advance(30)
    for replica in replicas:
        await replica.step()
    assert [id for id, _ in await told(world)] == [run.id] * 2


async def test_many_runs_are_told_of_in_batches(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(heartbeats, "_BATCH", 2)
    world = World()
    await world.storage.start()
    made = {(await world.flow_run(StateType.RUNNING, engine=True)).id for _ in range(5)}
    loop = Heartbeats(world.storage, interval_seconds=30)
    assert [await loop.step() for _ in range(3)] == [True, True, False]
    assert {id for id, _ in await told(world)} == made
