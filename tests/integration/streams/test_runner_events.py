"""What is told when runners come and go."""

from __future__ import annotations

import pytest

from headgate.core import ids
from headgate.core.deployments import WorkQueue
from headgate.core.events import EventFilter
from headgate_server.services import readiness
from headgate_server.storage.records import PageRequest
from tests.integration.streams import wire
from tests.integration.streams.wire import World

RUNNERS = EventFilter(name_prefixes=("headgate.runner.", "headgate.work-pool."))


async def told(world: World) -> list[str]:
    page = PageRequest(size=100)
    found = await world.storage.read(lambda tx: tx.events.list(RUNNERS, page, ascending=True))
    return [event.name.removeprefix("headgate.") for event in found.items]


async def test_a_runner_that_comes_makes_its_pool_ready_and_the_last_that_goes_ends_that(
    world: World,
) -> None:
    async with wire.runner(world.channel) as one, wire.runner(world.channel) as two:
        await one.hello()
        assert await told(world) == ["runner.started", "work-pool.ready"]
        await two.hello()
        await one.send(goodbye=wire.lpb.Goodbye(reason=""))
        assert await one.end() is None
        assert (await told(world))[2:] == ["runner.started", "runner.stopped"]
        await two.send(goodbye=wire.lpb.Goodbye(reason=""))
        assert await two.end() is None
    assert (await told(world))[4:] == ["runner.stopped", "work-pool.not-ready"]


async def test_a_runner_that_is_not_heard_of_any_more_is_lost(world: World) -> None:
    async with wire.runner(world.channel) as runner:
        await runner.hello()
    await world.expire_sessions()
    assert (await told(world))[2:] == ["runner.lost", "work-pool.not-ready"]


STATUS = EventFilter(name_prefixes=("headgate.work-queue.", "headgate.deployment."))


async def status(world: World) -> list[tuple[str, str]]:
    """What was told of queues and deployments: what happened, and to which."""
    page = PageRequest(size=200)
    found = await world.storage.read(lambda tx: tx.events.list(STATUS, page, ascending=True))
    return [
        (event.name.removeprefix("headgate."), event.resource["headgate.resource.name"])
        for event in found.items
    ]


async def add_queue(world: World, name: str, *, paused: bool = False) -> None:
    queue = WorkQueue(
        id=ids.new_id(),
        name=name,
        work_pool_name="default",
        priority=2,
        paused=paused,
        create_time=world.clock.now(),
    )
    await world.storage.write(lambda tx: tx.work_pools.insert_queue(queue))


async def leave(runner: wire.Runner) -> None:
    await runner.send(goodbye=wire.lpb.Goodbye(reason=""))
    assert await runner.end() is None


async def test_queues_and_deployments_are_ready_while_a_runner_serves_them(world: World) -> None:
    await add_queue(world, "slow")
    await world.deploy(name="nightly")
    await world.deploy(name="weekly", queue="slow")
    async with wire.runner(world.channel) as fast, wire.runner(world.channel) as all_of_them:
        await fast.hello(work_queue_names=["default"])
        begun = [("work-queue.ready", "default"), ("deployment.ready", "nightly")]
        assert await status(world) == begun
        await all_of_them.hello()
        begun += [("work-queue.ready", "slow"), ("deployment.ready", "weekly")]
        assert await status(world) == begun
        await leave(fast)
        assert await status(world) == begun
        await leave(all_of_them)
    assert (await status(world))[4:] == [
        ("work-queue.not-ready", "default"),
        ("work-queue.not-ready", "slow"),
        ("deployment.not-ready", "nightly"),
        ("deployment.not-ready", "weekly"),
    ]


async def test_a_lost_runner_leaves_its_deployments_not_ready(world: World) -> None:
    deployment = await world.deploy()
    async with wire.runner(world.channel) as runner:
        await runner.hello()
    await world.expire_sessions()
    assert (await status(world))[2:] == [
        ("work-queue.not-ready", "default"),
        ("deployment.not-ready", "nightly"),
    ]
    where = EventFilter(names=("headgate.deployment.not-ready",))
    page = PageRequest(size=10)
    [event] = (await world.storage.read(lambda tx: tx.events.list(where, page))).items
    assert event.resource["headgate.resource.id"] == f"headgate.deployment.{deployment.id}"
    assert [labels["headgate.resource.role"] for labels in event.related] == [
        "flow",
        "work-pool",
        "work-queue",
    ]


async def test_a_paused_queue_stays_paused(world: World) -> None:
    await add_queue(world, "slow", paused=True)
    async with wire.runner(world.channel) as runner:
        await runner.hello(work_queue_names=["slow"])
        assert await status(world) == []
        await leave(runner)
    assert await status(world) == []


async def test_of_a_pool_with_very_many_deployments_only_its_queues_are_told_of(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readiness, "DEPLOYMENTS_MAX", 1)
    await world.deploy(name="nightly")
    async with wire.runner(world.channel) as runner:
        await runner.hello()
        assert ("deployment.ready", "nightly") in await status(world)
        await leave(runner)
    await world.deploy(name="weekly")
    async with wire.runner(world.channel) as runner:
        await runner.hello()
    assert (await status(world))[4:] == [("work-queue.ready", "default")]
