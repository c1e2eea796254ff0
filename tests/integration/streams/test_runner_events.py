"""What is told when runners come and go."""

from __future__ import annotations

from headgate.core.events import EventFilter
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
