"""Slots: asked for, waited for in line, renewed, lost; on a clock that is moved by hand."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import anyio
import anyio.abc
import anyio.lowlevel
import pytest

from headgate.core import errors, ids
from headgate.core.clock import ManualClock
from headgate.core.concurrency import (
    ConcurrencyLimit,
    SlotAnswer,
    SlotHolder,
    SlotMode,
    SlotRequest,
)
from headgate.core.states import StateType
from headgate_server.services import slot_repair
from headgate_server.services.concurrency_limits import ConcurrencyLimitService
from headgate_server.services.notifier import Notifier
from headgate_server.services.slot_line import SlotLine
from headgate_server.services.slots import SlotService
from headgate_server.storage.memory import MemoryStorage
from headgate_server.storage.records import PageRequest
from tests.contract.storage import builders
from tests.contract.storage.builders import START

PAGE = PageRequest(size=100)


class World:
    """The use-cases of slots over a storage in memory, as a replica has them."""

    def __init__(self, storage: MemoryStorage, clock: ManualClock) -> None:
        self.storage, self.clock = storage, clock
        self.notifier = Notifier()
        self.line = SlotLine(storage, self.notifier)
        self.limits = ConcurrencyLimitService(storage, self.notifier, new_id=ids.new_id)
        self.slots = SlotService(storage, self.notifier, self.line)

    async def limit(self, name: str = "db", limit: int = 1, **fields: Any) -> None:
        given: dict[str, Any] = {"create_time": START, "update_time": START, **fields}
        await self.limits.create(ConcurrencyLimit(id="", name=name, limit=limit, **given))

    async def take(self, *names: str, **fields: Any) -> str:
        """Take slots that are free; return the lease."""
        answer = await self.slots.acquire(request(*names, **fields))
        assert answer.lease is not None
        return answer.lease.id

    async def counted(self, name: str = "db") -> tuple[int, int]:
        """Return how many slots are in use, and how many wait."""
        limit = await self.limits.get(name)
        return limit.active_slots, limit.waiting

    async def in_line(self, count: int, name: str = "db") -> None:
        """Wait until so many are in line."""
        while (await self.counted(name))[1] != count:
            await anyio.lowlevel.checkpoint()


def request(*names: str, **fields: Any) -> SlotRequest:
    given: dict[str, Any] = {"id": ids.new_id(), "names": names or ("db",), **fields}
    return SlotRequest(**given)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(START)


@pytest.fixture
async def storage(clock: ManualClock) -> MemoryStorage:
    made = MemoryStorage(clock, ids.new_id)
    await made.start()
    return made


@pytest.fixture
async def tasks() -> AsyncIterator[anyio.abc.TaskGroup]:
    async with anyio.create_task_group() as group:
        yield group
        group.cancel_scope.cancel()


@pytest.fixture
async def world(
    storage: MemoryStorage, clock: ManualClock, tasks: anyio.abc.TaskGroup
) -> AsyncIterator[World]:
    made = World(storage, clock)
    unlisten = made.notifier.attach(storage)
    tasks.start_soon(made.line.run)
    yield made
    unlisten()


class Answers:
    """What becomes of requests that wait, in the order in which they are answered."""

    def __init__(self, world: World, tasks: anyio.abc.TaskGroup) -> None:
        self._world, self._tasks = world, tasks
        self._answers: asyncio.Queue[tuple[str, SlotAnswer]] = asyncio.Queue()

    async def ask(self, label: str, *names: str, **fields: Any) -> None:
        """Ask, and return when the request is in line."""
        name = names[0] if names else "db"
        count = (await self._world.counted(name))[1]
        made = request(*names, **{"wait_seconds": 30.0, **fields})

        async def wait() -> None:
            await self._answers.put((label, await self._world.slots.acquire(made)))

        self._tasks.start_soon(wait)
        await self._world.in_line(count + 1, name)

    async def next(self) -> tuple[str, SlotAnswer]:
        with anyio.fail_after(5):
            return await self._answers.get()


@pytest.fixture
def answers(world: World, tasks: anyio.abc.TaskGroup) -> Answers:
    return Answers(world, tasks)


async def test_slots_are_given_in_the_order_of_asking(world: World, answers: Answers):
    await world.limit()
    lease_id = await world.take()
    for label in ("a", "b", "c"):
        await answers.ask(label)
    for expected in ("a", "b", "c"):
        await world.slots.release(lease_id)
        label, answer = await answers.next()
        assert answer.lease is not None
        assert label == expected
        assert not answer.lease.waiting
        lease_id = answer.lease.id
    assert await world.counted() == (1, 0)


async def test_a_newcomer_does_not_pass_those_who_wait(world: World, answers: Answers):
    await world.limit(limit=2)
    held = [await world.take(), await world.take()]
    await answers.ask("many", slots=2)
    await world.slots.release(held[0])
    assert not (await world.slots.acquire(request())).acquired
    await world.slots.release(held[1])
    assert (await answers.next())[0] == "many"


async def test_the_same_request_again_keeps_its_place(world: World, answers: Answers):
    await world.limit()
    lease_id = await world.take()
    first = request(wait_seconds=0.001)
    assert not (await world.slots.acquire(first)).acquired
    await answers.ask("second")
    await world.slots.release(lease_id)
    again = await world.slots.acquire(first)
    assert again.lease is not None
    assert again.lease.id == first.id
    twice = await world.slots.acquire(first)
    assert twice.lease is not None
    assert await world.counted() == (1, 1)
    await world.slots.release(first.id)
    assert (await answers.next())[0] == "second"


async def test_who_asks_without_waiting_is_not_in_line(world: World):
    await world.limit()
    await world.take()
    assert not (await world.slots.acquire(request())).acquired
    assert await world.counted() == (1, 0)


async def test_who_breaks_off_is_passed_over_and_keeps_the_place(world: World, answers: Answers):
    await world.limit()
    lease_id = await world.take()
    gone = request(wait_seconds=30.0)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(world.slots.acquire, gone)
        await world.in_line(1)
        tasks.cancel_scope.cancel()
    await world.in_line(0)
    await answers.ask("next")
    await world.slots.release(lease_id)
    label, answer = await answers.next()
    assert label == "next"
    assert answer.lease is not None
    await answers.ask("behind")
    assert not (await world.slots.acquire(request(id=gone.id, wait_seconds=0.001))).acquired
    await world.slots.release(answer.lease.id)
    assert (await world.slots.acquire(gone)).acquired


async def test_slots_of_several_limits_are_given_together(world: World, answers: Answers):
    await world.limit("a")
    await world.limit("b")
    lease_ids = [await world.take("a"), await world.take("b")]
    await answers.ask("both", "a", "b")
    await world.slots.release(lease_ids[0])
    assert await world.counted("a") == (0, 1)
    await world.slots.release(lease_ids[1])
    _, answer = await answers.next()
    assert answer.lease is not None
    assert answer.lease.concurrency_limit_names == ("a", "b")
    assert [await world.counted(name) for name in ("a", "b")] == [(1, 0), (1, 0)]


async def test_slots_whose_lease_has_ended_are_given_to_the_next(world: World, clock: ManualClock):
    await world.limit()
    await world.take(lease_seconds=60.0)
    clock.advance(60)
    assert await world.counted() == (0, 0)
    assert (await world.slots.acquire(request())).acquired


@pytest.mark.slow
async def test_the_line_wakes_by_itself_when_a_lease_ends(
    world: World, clock: ManualClock, answers: Answers
):
    await world.limit()
    await world.take(lease_seconds=5.0)
    await answers.ask("next")
    clock.advance(5)
    label, _ = await answers.next()  # by the sweep: nothing announces the end of a lease
    assert label == "next"


async def test_renewed_leases_live_on(world: World, clock: ManualClock):
    await world.limit()
    lease_id = await world.take(lease_seconds=60.0)
    clock.advance(45)
    lease = await world.slots.renew(lease_id)
    assert (lease.expire_time - clock.now()).total_seconds() == 60
    clock.advance(59)
    assert await world.counted() == (1, 0)


async def test_a_lease_that_ended_lives_again_if_its_slots_are_free(
    world: World, clock: ManualClock
):
    await world.limit()
    lease_id = await world.take(lease_seconds=60.0)
    clock.advance(61)
    await world.slots.renew(lease_id)
    assert await world.counted() == (1, 0)
    clock.advance(61)
    await world.take()
    with pytest.raises(errors.NotFound, match="has ended"):
        await world.slots.renew(lease_id)
    with pytest.raises(errors.NotFound, match="has ended"):
        await world.slots.renew(ids.new_id())


async def test_leases_live_on_after_nobody_could_renew_them(
    storage: MemoryStorage, world: World, clock: ManualClock
):
    await world.limit()
    lease_id = await world.take(lease_seconds=60.0)
    clock.advance(600)
    await storage.write(slot_repair.extend)
    assert await world.counted() == (1, 0)
    await world.slots.renew(lease_id)
    clock.advance(59)
    assert await world.counted() == (1, 0)


async def test_a_lease_that_ended_while_other_servers_were_there_stays_ended(
    storage: MemoryStorage, world: World, clock: ManualClock
):
    # A replica that starts extends leases, but the slots of this one are another's by now.
    await world.limit()
    ended = await world.take(lease_seconds=60.0)
    clock.advance(70)
    await world.take(lease_seconds=60.0)
    await storage.write(slot_repair.extend)
    assert await world.counted() == (1, 0)
    with pytest.raises(errors.NotFound):
        await world.slots.renew(ended)


async def test_a_rate_limit_gives_slots_as_they_decay(world: World, clock: ManualClock):
    await world.limit(limit=2, slot_decay_per_second=0.5)
    rate = {"mode": SlotMode.RATE_LIMIT}
    for _ in range(2):
        answer = await world.slots.acquire(request(**rate))
        assert answer == SlotAnswer(acquired=True)
    assert not (await world.slots.acquire(request(**rate))).acquired
    clock.advance(1)
    assert await world.counted() == (2, 0)  # a slot and a half
    assert not (await world.slots.acquire(request(**rate))).acquired
    clock.advance(1)
    assert (await world.slots.acquire(request(**rate))).acquired


async def test_a_repeated_request_takes_a_rate_once_for_a_minute(world: World, clock: ManualClock):
    await world.limit(limit=10, slot_decay_per_second=0.01)
    asked = request(mode=SlotMode.RATE_LIMIT)
    for _ in range(3):  # the answer is lost, and the client asks again
        assert await world.slots.acquire(asked) == SlotAnswer(acquired=True)
        clock.advance(15)
    assert await world.counted() == (1, 0)
    assert (await world.limits.list_leases("db", PAGE, include_waiting=True)).items == []
    with pytest.raises(errors.NotFound):
        await world.slots.renew(asked.id)
    clock.advance(20)
    await world.line.tidy()
    assert await world.slots.acquire(asked) == SlotAnswer(acquired=True)
    assert await world.counted() == (2, 0)


async def test_a_rate_that_was_given_in_line_is_not_taken_again(
    world: World, clock: ManualClock, answers: Answers
):
    await world.limit(slot_decay_per_second=0.1)
    rate = {"mode": SlotMode.RATE_LIMIT}
    await world.slots.acquire(request(**rate))
    mine = ids.new_id()
    await answers.ask("mine", **rate, id=mine)
    clock.advance(10)
    await world.storage.write(lambda tx: tx.concurrency_limits.wake())
    assert await answers.next() == ("mine", SlotAnswer(acquired=True))
    assert await world.slots.acquire(request(**rate, id=mine)) == SlotAnswer(acquired=True)
    assert await world.counted() == (1, 0)


async def test_a_changed_decay_counts_from_the_change_on(world: World, clock: ManualClock):
    await world.limit(limit=10, slot_decay_per_second=1)
    await world.slots.acquire(request(slots=10, mode=SlotMode.RATE_LIMIT))
    clock.advance(4)
    changed = ConcurrencyLimit(
        id="",
        name="db",
        limit=0,
        slot_decay_per_second=0.0,
        create_time=START,
        update_time=START,
    )
    await world.limits.update(changed, ["slot_decay_per_second"])
    clock.advance(100)
    assert await world.counted() == (6, 0)


async def test_who_waits_for_a_rate_is_served_in_order(
    world: World, clock: ManualClock, answers: Answers
):
    await world.limit(slot_decay_per_second=0.2)
    rate = {"mode": SlotMode.RATE_LIMIT}
    await world.slots.acquire(request(**rate))
    await answers.ask("a", **rate)
    await answers.ask("b", **rate)
    for expected in ("a", "b"):
        clock.advance(5)
        await world.storage.write(lambda tx: tx.concurrency_limits.wake())
        label, answer = await answers.next()
        assert (label, answer) == (expected, SlotAnswer(acquired=True))
    assert (await world.limits.list_leases("db", PAGE, include_waiting=True)).items == []


@pytest.mark.parametrize(
    ("fields", "error", "says"),
    [
        ({"names": ("db", "none"), "strict": True}, errors.NotFound, "none"),
        ({"slots": 2}, errors.FailedPrecondition, "fewer slots"),
        ({"mode": SlotMode.RATE_LIMIT}, errors.FailedPrecondition, "slot_decay_per_second"),
        ({"id": "x"}, errors.InvalidArgument, "request_id"),
        ({"names": ()}, errors.InvalidArgument, "concurrency_limit_names"),
        ({"names": ("x",) * 101}, errors.InvalidArgument, "concurrency_limit_names"),
        ({"slots": 0}, errors.InvalidArgument, "slots"),
        ({"lease_seconds": 0.1}, errors.InvalidArgument, "lease_duration"),
        ({"lease_seconds": float("nan")}, errors.InvalidArgument, "lease_duration"),
        ({"wait_seconds": -1.0}, errors.InvalidArgument, "wait"),
        ({"holder": SlotHolder(flow_run_id="x")}, errors.InvalidArgument, "flow_run_id"),
    ],
    ids=str,
)
async def test_what_cannot_be_had_is_refused(
    world: World, fields: dict[str, Any], error: type[Exception], says: str
):
    await world.limit()
    given: dict[str, Any] = {"id": ids.new_id(), "names": ("db",), "wait_seconds": 1.0, **fields}
    with pytest.raises(error, match=says):
        await world.slots.acquire(SlotRequest(**given))
    assert await world.counted() == (0, 0)


async def test_limits_that_are_missing_or_not_active_count_for_nothing(world: World):
    await world.limit("off", 0, active=False)
    answer = await world.slots.acquire(request("off", "none"))
    assert answer == SlotAnswer(acquired=True, missing_names=("none",))


@pytest.mark.parametrize(
    "free",
    [
        lambda world: world.limits.delete("db"),
        lambda world: world.limits.reset("db"),
        lambda world: world.limits.update(
            ConcurrencyLimit(
                id="", name="db", limit=2, active=False, create_time=START, update_time=START
            ),
            ["active"],
        ),
        lambda world: world.limits.update(
            ConcurrencyLimit(id="", name="db", limit=2, create_time=START, update_time=START),
            ["limit"],
        ),
    ],
    ids=["deleted", "reset", "disabled", "raised"],
)
async def test_a_change_of_the_limit_wakes_those_who_wait(
    world: World, answers: Answers, free: Callable[[World], Any]
):
    await world.limit()
    await world.take()
    await answers.ask("next")
    await free(world)
    _, answer = await answers.next()
    assert answer.acquired


@pytest.mark.parametrize("type", [StateType.CRASHED, StateType.SCHEDULED, StateType.CANCELLED])
async def test_the_slots_of_a_run_that_is_lost_are_freed_at_once(
    world: World, answers: Answers, type: StateType
):
    await world.limit()
    run = await builders.engine_run(world.storage)
    await world.take(holder=SlotHolder(type="flow_run", id=run.id, flow_run_id=run.id))
    await answers.ask("next")
    ended = builders.moved(run, builders.state(type))
    await world.storage.write(lambda tx: tx.flow_runs.save(run, ended))
    assert (await answers.next())[0] == "next"


async def test_the_slots_of_a_lost_run_are_freed_though_whoever_lost_it_was_killed(
    storage: MemoryStorage, clock: ManualClock
):
    # Its state was committed, and nobody was left to free its slots.
    world = World(storage, clock)
    await world.limit()
    run = await builders.engine_run(storage)
    await world.take(holder=SlotHolder(type="flow_run", id=run.id, flow_run_id=run.id))
    crashed = builders.moved(run, builders.state(StateType.CRASHED))
    await storage.write(lambda tx: tx.flow_runs.save(run, crashed))
    assert await world.counted() == (1, 0)
    await world.line.tidy()
    assert await world.counted() == (0, 0)


async def test_another_replica_wakes_those_who_wait_here(
    storage: MemoryStorage,
    clock: ManualClock,
    world: World,
    answers: Answers,
    tasks: anyio.abc.TaskGroup,
):
    other = World(storage, clock)
    other.notifier.attach(storage)
    tasks.start_soon(other.line.run)
    await world.limit()
    lease_id = await other.take()
    await answers.ask("here")
    await Answers(other, tasks).ask("there")
    await other.slots.release(lease_id)
    label, answer = await answers.next()
    assert label == "here"
    assert answer.lease is not None


async def test_those_who_wait_are_told_when_the_server_shuts_down(
    world: World, tasks: anyio.abc.TaskGroup
):
    await world.limit()
    await world.take()

    async def close() -> None:
        await world.in_line(1)
        world.notifier.close()

    tasks.start_soon(close)
    with pytest.raises(errors.Unavailable), anyio.fail_after(5):
        await world.slots.acquire(request(wait_seconds=30.0))


async def test_ended_claims_are_swept_after_a_while(world: World, clock: ManualClock):
    await world.limit()
    lease_id = await world.take(lease_seconds=60.0)
    clock.advance(100)
    await world.line.tidy()
    kept = await world.storage.read(lambda tx: tx.concurrency_limits.claims([lease_id]))
    assert kept
    clock.advance(25)
    await world.line.tidy()
    swept = await world.storage.read(lambda tx: tx.concurrency_limits.claims([lease_id]))
    assert not swept


async def test_who_watches_hears_of_each_change_of_what_is_active(
    world: World, tasks: anyio.abc.TaskGroup
):
    heard: asyncio.Queue[list[str]] = asyncio.Queue()

    async def tell(names: Any) -> None:
        await heard.put(list(names))

    await world.limit("tag:a")
    tasks.start_soon(world.limits.watch_active, "tag:", tell)
    with anyio.fail_after(5):
        assert await heard.get() == ["tag:a"]
        await world.limit("other")
        await world.limit("tag:b")
        assert await heard.get() == ["tag:a", "tag:b"]
        await world.limits.delete("tag:a")
        assert await heard.get() == ["tag:b"]
