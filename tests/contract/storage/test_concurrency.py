"""Concurrency limits and the claims on their slots, in every storage alike."""

import dataclasses
from typing import Any

import pytest

from headgate.core import errors, ids
from headgate.core.clock import ManualClock
from headgate.core.concurrency import ConcurrencyLimit, SlotHolder, SlotMode
from headgate.core.states import StateType
from headgate_server.storage.interface import Storage
from headgate_server.storage.kinds.concurrency import (
    LIMITS_TOPIC,
    SLOTS_TOPIC,
    Claim,
    StoredLimit,
    Use,
)
from headgate_server.storage.records import Commit, PageRequest
from tests.contract.storage import builders
from tests.contract.storage.builders import ALL, START, announced, at


def make_limit(name: str = "db", limit: int = 2, **fields: Any) -> ConcurrencyLimit:
    times = {"create_time": START, "update_time": START}
    return ConcurrencyLimit(id=ids.new_id(), name=name, limit=limit, **times, **fields)


def make_claim(limit: ConcurrencyLimit, ticket: int = 1, **fields: Any) -> Claim:
    given: dict[str, Any] = {
        "lease_id": ids.new_id(),
        "limit_id": limit.id,
        "ticket": ticket,
        "slots": 1,
        "granted": True,
        "lease_seconds": 60.0,
        "acquire_time": START,
        "expire_time": at(60),
        **fields,
    }
    return Claim(**given)


async def store(storage: Storage, limit: ConcurrencyLimit, *claims: Claim) -> ConcurrencyLimit:
    await storage.write(lambda t: t.concurrency_limits.insert(limit))
    await storage.write(lambda t: t.concurrency_limits.put(claims))
    return limit


async def test_a_limit_is_found_by_name_and_by_id(storage: Storage) -> None:
    limit = await store(storage, make_limit(slot_decay_per_second=0.5, active=False))
    stored = StoredLimit(limit=limit, taken_time=START)
    assert await storage.read(lambda t: t.concurrency_limits.get("db")) == stored
    assert await storage.read(lambda t: t.concurrency_limits.get("other")) is None
    assert await storage.read(lambda t: t.concurrency_limits.get_many(["x", "db"])) == [stored]
    assert await storage.read(lambda t: t.concurrency_limits.get_by_ids([limit.id])) == [stored]
    with pytest.raises(errors.AlreadyExists, match="db"):
        await storage.write(lambda t: t.concurrency_limits.insert(make_limit()))


async def test_a_limit_is_changed_but_for_its_name(storage: Storage, clock: ManualClock) -> None:
    limit = await store(storage, make_limit())
    clock.advance(3)
    changed = dataclasses.replace(limit, limit=5, active=False, slot_decay_per_second=2.5)
    stored = StoredLimit(limit=changed, taken=1.25, taken_time=at(2))
    await storage.write(lambda t: t.concurrency_limits.update(stored))
    updated = dataclasses.replace(stored, limit=dataclasses.replace(changed, update_time=at(3)))
    assert await storage.read(lambda t: t.concurrency_limits.get("db")) == updated
    clock.advance(1)
    await storage.write(lambda t: t.concurrency_limits.take(limit.id, taken=4.5))
    taken = await storage.read(lambda t: t.concurrency_limits.get("db"))
    assert taken is not None
    assert (taken.taken, taken.taken_time) == (4.5, at(4))


async def test_limits_are_listed_by_name_and_prefix(storage: Storage) -> None:
    for name in ("tag:b", "api", "tag:a", "tags"):
        await store(storage, make_limit(name, active=name != "tag:b"))
    first = await storage.read(lambda t: t.concurrency_limits.list("tag", PageRequest(size=2)))
    assert [stored.limit.name for stored in first.items] == ["tag:a", "tag:b"]
    page = PageRequest(size=2, after=first.next)
    rest = await storage.read(lambda t: t.concurrency_limits.list("tag", page))
    assert [stored.limit.name for stored in rest.items] == ["tags"]
    names = await storage.read(lambda t: t.concurrency_limits.list_active_names("tag:", 9))
    assert names == ["tag:a"]
    some = await storage.read(lambda t: t.concurrency_limits.list_active_names("", 2))
    assert some == ["api", "tag:a"]


async def test_slots_in_use_are_counted_from_live_leases_alone(
    storage: Storage, clock: ManualClock
) -> None:
    limit, other = make_limit(), make_limit("other")
    await store(storage, other)
    await store(
        storage,
        limit,
        make_claim(limit, slots=2),
        make_claim(limit, slots=4, expire_time=at(10)),
        make_claim(limit, slots=8, granted=False),
        make_claim(limit, slots=16, mode=SlotMode.RATE_LIMIT),
    )
    limit_ids = [limit.id, other.id]
    use = await storage.read(lambda t: t.concurrency_limits.use(limit_ids))
    assert use == {limit.id: Use(held=6, waiting=1), other.id: Use()}
    assert await storage.read(lambda t: t.concurrency_limits.next_expiry(limit_ids)) == at(10)
    clock.advance(10)
    use = await storage.read(lambda t: t.concurrency_limits.use(limit_ids))
    assert use[limit.id].held == 2
    clock.advance(50)
    use = await storage.read(lambda t: t.concurrency_limits.use(limit_ids))
    assert use == {limit.id: Use(), other.id: Use()}
    assert await storage.read(lambda t: t.concurrency_limits.next_expiry(limit_ids)) is None


async def test_the_line_is_in_the_order_of_tickets(storage: Storage, clock: ManualClock) -> None:
    limit, other = make_limit(), make_limit("other")
    assert await storage.read(lambda t: t.concurrency_limits.next_ticket()) == 1
    second, third = (make_claim(limit, ticket, granted=False) for ticket in (2, 3))
    passed = make_claim(limit, 1, granted=False, expire_time=START)
    await store(storage, other, make_claim(other))
    await store(storage, limit, third, second, passed, make_claim(limit, 4))
    assert await storage.read(lambda t: t.concurrency_limits.next_ticket()) == 5
    assert await storage.read(lambda t: t.concurrency_limits.list_waited_for()) == [limit.id]
    line = await storage.read(lambda t: t.concurrency_limits.list_waiting(limit.id, 9))
    assert line == [second, third]
    line = await storage.read(lambda t: t.concurrency_limits.list_waiting(limit.id, 1))
    assert line == [second]
    clock.advance(60)
    assert await storage.read(lambda t: t.concurrency_limits.list_waited_for()) == []


async def test_the_claims_of_a_lease_are_put_and_released_together(storage: Storage) -> None:
    limits = [make_limit("a"), make_limit("b")]
    holder = SlotHolder(type="task_run", id="t", flow_run_id=ids.new_id())
    lease_id = ids.new_id()
    claims = [make_claim(limit, lease_id=lease_id, holder=holder) for limit in limits]
    for limit in limits:
        await store(storage, limit)
    await storage.write(lambda t: t.concurrency_limits.put(claims))
    later = [dataclasses.replace(claim, expire_time=at(99)) for claim in claims]
    await storage.write(lambda t: t.concurrency_limits.put(later))
    found = await storage.read(lambda t: t.concurrency_limits.claims([lease_id]))
    assert sorted(found, key=lambda claim: claim.limit_id) == sorted(
        later, key=lambda claim: claim.limit_id
    )
    assert await storage.write(lambda t: t.concurrency_limits.release(lease_id))
    assert not await storage.write(lambda t: t.concurrency_limits.release(lease_id))
    assert await storage.read(lambda t: t.concurrency_limits.claims([lease_id])) == []


async def test_slots_are_freed_with_their_limit_or_their_flow_run(storage: Storage) -> None:
    limit, other = make_limit("a"), make_limit("b")
    run_id = ids.new_id()
    of_run = make_claim(limit, holder=SlotHolder(flow_run_id=run_id))
    waiting = make_claim(limit, granted=False)
    kept = make_claim(other)
    await store(storage, limit, of_run, waiting, make_claim(limit))
    await store(storage, other, kept)
    assert await storage.write(lambda t: t.concurrency_limits.release_flow_run(run_id))
    assert not await storage.write(lambda t: t.concurrency_limits.release_flow_run(run_id))
    assert await storage.read(lambda t: t.concurrency_limits.claims([of_run.lease_id])) == []
    await storage.write(lambda t: t.concurrency_limits.release_limit(limit.id))
    page = await storage.read(
        lambda t: t.concurrency_limits.list_claims(limit.id, ALL, include_waiting=True)
    )
    assert page.items == [waiting]
    await storage.write(lambda t: t.concurrency_limits.delete(limit.id))
    assert await storage.read(lambda t: t.concurrency_limits.get("a")) is None
    assert await storage.read(lambda t: t.concurrency_limits.claims([waiting.lease_id])) == []
    assert await storage.read(lambda t: t.concurrency_limits.claims([kept.lease_id])) == [kept]


async def test_claims_are_listed_by_ticket(storage: Storage) -> None:
    limit = make_limit()
    granted, waiting, last = (make_claim(limit, n, granted=n != 2) for n in (1, 2, 3))
    await store(storage, limit, last, waiting, granted, make_claim(limit, expire_time=START))
    first = await storage.read(
        lambda t: t.concurrency_limits.list_claims(
            limit.id, PageRequest(size=2), include_waiting=True
        )
    )
    assert first.items == [granted, waiting]
    page = PageRequest(size=2, after=first.next)
    rest = await storage.read(
        lambda t: t.concurrency_limits.list_claims(limit.id, page, include_waiting=True)
    )
    assert rest.items == [last]
    holding = await storage.read(
        lambda t: t.concurrency_limits.list_claims(limit.id, ALL, include_waiting=False)
    )
    assert holding.items == [granted, last]


async def test_leases_are_extended_after_an_outage_and_swept_long_after_their_end(
    storage: Storage,
) -> None:
    limit = make_limit()
    old, ended, live = (make_claim(limit, expire_time=at(seconds)) for seconds in (-90, -5, 60))
    waiting = make_claim(limit, granted=False, expire_time=at(-5))
    await store(storage, limit, old, ended, live, waiting)
    assert await storage.write(lambda t: t.concurrency_limits.extend(at(90))) == 1
    [claim] = await storage.read(lambda t: t.concurrency_limits.claims([live.lease_id]))
    assert claim.expire_time == at(90)
    assert await storage.read(lambda t: t.concurrency_limits.list_ended(at(-60), 9)) == [ended]
    assert await storage.read(lambda t: t.concurrency_limits.list_ended(at(-99), 1)) == [old]
    assert await storage.write(lambda t: t.concurrency_limits.sweep(at(0), 1)) == 1
    assert await storage.write(lambda t: t.concurrency_limits.sweep(at(-4), 9)) == 2
    found = await storage.read(
        lambda t: t.concurrency_limits.claims([c.lease_id for c in (old, ended, live, waiting)])
    )
    assert [claim.lease_id for claim in found] == [live.lease_id]


async def test_holders_whose_runs_are_gone_are_found_and_their_slots_go_with_the_run(
    storage: Storage,
) -> None:
    limit = make_limit()
    gone, alive = await builders.engine_run(storage), await builders.engine_run(storage)
    claims = [
        make_claim(limit, holder=SlotHolder(type="flow_run", id=run.id, flow_run_id=run.id))
        for run in (gone, alive)
    ]
    await store(storage, limit, *claims)
    crashed = builders.moved(gone, builders.state(StateType.CRASHED))
    await storage.write(lambda t: t.flow_runs.save(gone, crashed))
    types = [StateType.CRASHED, StateType.CANCELLED]
    found = await storage.read(lambda t: t.concurrency_limits.list_holders_in(types, 9))
    assert found == [gone.id]
    heard: list[Commit] = []
    storage.listen(heard.append)
    await storage.write(lambda t: t.flow_runs.delete(gone.id))
    left = await storage.read(
        lambda t: t.concurrency_limits.claims([claim.lease_id for claim in claims])
    )
    assert left == [claims[1]]
    assert SLOTS_TOPIC in {topic for commit in heard for topic in commit.topics}


async def test_what_may_free_slots_is_announced(storage: Storage) -> None:
    heard: list[Commit] = []
    storage.listen(heard.append)
    limit = make_limit()
    claim = make_claim(limit)
    await store(storage, limit, claim)
    await storage.write(lambda t: t.concurrency_limits.release(claim.lease_id))
    await storage.write(lambda t: t.concurrency_limits.wake())
    await storage.write(lambda t: t.concurrency_limits.delete(limit.id))
    await storage.read(lambda t: t.now())  # what was announced before has arrived
    told = [commit.topics for commit in announced(heard) if "*" not in commit.topics]
    assert told == [{LIMITS_TOPIC}, {SLOTS_TOPIC}, {SLOTS_TOPIC}, {LIMITS_TOPIC, SLOTS_TOPIC}]
