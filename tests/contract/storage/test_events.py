"""Events: those that are stored and those that are transitions, in one order."""

import dataclasses
import itertools
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest

from headgate.core import ids
from headgate.core.clock import ManualClock
from headgate.core.events import CountBy, Event, EventFilter, LabelCondition, fits
from headgate.core.runs import FlowRun, TaskRun
from headgate.core.states import StateType
from headgate_server.storage.interface import Storage
from headgate_server.storage.records import PageRequest
from headgate_server.storage.sql import events as sql_events
from tests.contract.storage import builders
from tests.contract.storage.builders import ALL, START, at

ORDER = "acme.order."
EVERYTHING = EventFilter()


def event(name: str = "acme.order.made", resource_id: str = "acme.order.1", **fields: Any) -> Event:
    given: dict[str, Any] = {
        "id": ids.new_id(),
        "name": name,
        "occurred": START,
        "resource": {"headgate.resource.id": resource_id, "colour": "red"},
        **fields,
    }
    return Event(**given)


def related(resource_id: str, role: str = "buyer", **labels: str) -> dict[str, str]:
    return {"headgate.resource.id": resource_id, "headgate.resource.role": role, **labels}


async def store(storage: Storage, *events: Event) -> int:
    return await storage.write(lambda tx: tx.events.append(events))


async def listed(
    storage: Storage, where: EventFilter = EVERYTHING, *, ascending: bool = True
) -> list[Event]:
    """List all pages, small ones, so that they are cut everywhere."""
    found: list[Event] = []
    page = PageRequest(size=3)
    while True:
        got = await storage.read(
            lambda tx, page=page: tx.events.list(where, page, ascending=ascending)
        )
        found.extend(got.items)
        if got.next is None:
            return found
        page = PageRequest(size=3, after=got.next)


@dataclasses.dataclass
class World:
    """Some events of each sort, in the order in which they were committed."""

    flow_run: FlowRun
    task_run: TaskRun
    deployment_id: str
    stored: Sequence[Event]


@pytest.fixture
async def world(storage: Storage, clock: ManualClock) -> World:
    flow = await builders.make_flow(storage)
    deployment = builders.deployment(flow)
    await storage.write(lambda tx: tx.deployments.insert(deployment))
    first = event("acme.order.made", "acme.order.1", occurred=at(1), payload='{"n": 1}')
    await store(storage, first)
    run = await builders.store_run(
        storage,
        builders.flow_run(
            flow,
            builders.state(StateType.RUNNING, seconds=2),
            fencing_token=1,
            tags=("nightly",),
            deployment_id=deployment.id,
            work_pool_name="default",
            work_queue_name="default",
        ),
    )
    task = builders.task_run(run, tags=("heavy",))
    task = dataclasses.replace(task, state=builders.state(StateType.RUNNING, seconds=3))
    await storage.append(builders.batch(run, [task]))
    clock.advance(3600)
    second = event(
        "acme.order.shipped",
        "acme.order.2",
        occurred=at(3600),
        related=(related("acme.shop.7"), related("acme.shop.8", "seller", colour="green")),
        follows=first.id,
    )
    other = event("headgate.flow-run.Invented", "headgate.flow.x", occurred=at(-86_400))
    await store(storage, second, other)
    done = dataclasses.replace(task, state=builders.state(StateType.COMPLETED, seconds=3601))
    await storage.append(builders.batch(run, [], [done], seq=1))
    return World(run, task, deployment.id, (first, second, other))


async def test_stored_events_and_transitions_have_one_order(storage: Storage, world: World) -> None:
    all_events = await listed(storage)
    assert [each.name for each in all_events] == [
        "acme.order.made",
        "headgate.flow-run.Running",
        "headgate.task-run.Running",
        "acme.order.shipped",
        "headgate.flow-run.Invented",
        "headgate.task-run.Completed",
    ]
    revisions = [each.revision for each in all_events]
    assert revisions == sorted(set(revisions))
    assert await storage.read(lambda tx: tx.journal.newest()) == revisions[-1]
    assert await listed(storage, ascending=False) == all_events[::-1]


async def test_a_stored_event_comes_back_whole(
    storage: Storage, world: World, clock: ManualClock
) -> None:
    where = EventFilter(ids=(world.stored[1].id,))
    (found,) = await listed(storage, where)
    expected = world.stored[1]
    assert found == dataclasses.replace(expected, revision=found.revision, commit_time=clock.now())


async def test_an_event_is_stored_once_however_often_it_is_sent(storage: Storage) -> None:
    one, two = event(), event()
    assert await store(storage, one, two, one) == 2
    assert await store(storage, two, event()) == 1
    assert await store(storage, one) == 0
    assert len(await listed(storage)) == 3


async def test_a_change_that_fails_leaves_no_event(storage: Storage) -> None:
    def change(tx: Any) -> None:
        tx.events.append([event()])
        raise KeyError

    with pytest.raises(KeyError):
        await storage.write(change)
    assert await listed(storage) == []
    assert await storage.read(lambda tx: tx.journal.newest()) == 0


async def test_a_transition_tells_its_surroundings_and_the_state_before(
    storage: Storage, world: World
) -> None:
    run, task = world.flow_run, world.task_run
    where = EventFilter(resource_ids=(f"headgate.task-run.{task.id}",))
    running, completed = await listed(storage, where)
    assert completed.follows == running.id == task.state.id
    assert running.follows is None
    assert '"from":"RUNNING","to":"COMPLETED"' in completed.payload
    assert completed.resource["headgate.state-type"] == "COMPLETED"
    roles = {
        labels["headgate.resource.role"]: labels["headgate.resource.id"]
        for labels in completed.related
    }
    assert roles == {
        "flow-run": f"headgate.flow-run.{run.id}",
        "flow": f"headgate.flow.{run.flow_id}",
        "deployment": f"headgate.deployment.{world.deployment_id}",
        "work-pool": "headgate.work-pool.default",
        "work-queue": "headgate.work-queue.default/default",
        "tag": "headgate.tag.heavy",
    }


def filters(world: World) -> dict[str, EventFilter]:
    run, task = f"headgate.flow-run.{world.flow_run.id}", f"headgate.task-run.{world.task_run.id}"
    flow = f"headgate.flow.{world.flow_run.flow_id}"
    green = (LabelCondition(key="colour", values=("gr*",)),)
    return {
        "all": EventFilter(),
        "name": EventFilter(names=("acme.order.made", "headgate.task-run.Running")),
        "own name": EventFilter(names=("acme.order.made",)),
        "name of no state": EventFilter(names=("headgate.flow-run.Late",)),
        "prefix": EventFilter(name_prefixes=("headgate.task-run.C", ORDER + "s")),
        "prefix of all": EventFilter(name_prefixes=("headgate.",)),
        "prefix with wildcards": EventFilter(name_prefixes=("headgate.task-run._", "acme%")),
        "not these": EventFilter(exclude_names=("acme.order.made", "headgate.task-run.Running")),
        "not so": EventFilter(exclude_name_prefixes=("headgate.flow-run.R", "acme.")),
        "ids": EventFilter(ids=(world.task_run.state.id, world.stored[0].id)),
        "run": EventFilter(resource_ids=(run,)),
        "run or order": EventFilter(resource_ids=(run, task, "acme.order.1")),
        "a run that is none": EventFilter(resource_ids=("headgate.flow-run.nonsense",)),
        "order prefix": EventFilter(resource_id_prefixes=("acme.order.",)),
        "run prefix": EventFilter(resource_id_prefixes=(run[:-4], "headgate.t")),
        "of the run": EventFilter(related_ids=(run,)),
        "of the flow": EventFilter(related_ids=(flow, "acme.shop.7")),
        "of the deployment": EventFilter(
            related_ids=(f"headgate.deployment.{world.deployment_id}",)
        ),
        "of the pool": EventFilter(related_ids=("headgate.work-pool.default",)),
        "of the queue": EventFilter(related_ids=("headgate.work-queue.default/default",)),
        "of another queue": EventFilter(related_ids=("headgate.work-queue.default/x",)),
        "tagged": EventFilter(related_ids=("headgate.tag.nightly",)),
        "tagged task": EventFilter(related_ids=("headgate.tag.heavy", "headgate.tag.x")),
        "any": EventFilter(any_resource_ids=(run, "acme.shop.8")),
        "any task": EventFilter(any_resource_ids=(task,)),
        "roles": EventFilter(related_roles=("seller", "flow-run")),
        "role of that": EventFilter(related_ids=("acme.shop.7",), related_roles=("seller",)),
        "labels": EventFilter(
            resource_labels=(LabelCondition(key="colour", values=("!green", "red")),)
        ),
        "labels of related": EventFilter(related_labels=green),
        "since": EventFilter(since=at(3)),
        "until": EventFilter(until=at(3)),
        "span": EventFilter(since=at(2), until=at(3601)),
        "span and name": EventFilter(since=at(2), names=("acme.order.shipped",)),
        "before all": EventFilter(until=at(-400_000)),
        "after all": EventFilter(since=at(400_000)),
    }


async def test_every_filter_finds_what_fits_it_and_nothing_else(
    storage: Storage, world: World
) -> None:
    everything = await listed(storage)
    for name, where in filters(world).items():
        expected = [each for each in everything if fits(each, where)]
        assert await listed(storage, where) == expected, name
        assert await listed(storage, where, ascending=False) == expected[::-1], name


async def test_the_filters_of_these_tests_tell_events_apart(storage: Storage, world: World) -> None:
    everything = await listed(storage)
    counts = {
        name: sum(fits(each, where) for each in everything)
        for name, where in filters(world).items()
    }
    assert {name for name, count in counts.items() if count == 0} == {
        "name of no state",
        "prefix with wildcards",
        "a run that is none",
        "of another queue",
        "role of that",
        "before all",
        "after all",
    }
    assert {name for name, count in counts.items() if count == 6} == {"all"}


async def test_windows_of_the_journal_are_passed_one_by_one(
    storage: Storage, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    everything = await listed(storage)
    for width in (1, 3):
        monkeypatch.setattr(sql_events, "_WINDOW_REVISIONS", width)
        for name in ("all", "prefix", "not these", "of the flow", "tagged", "span"):
            where = filters(world)[name]
            expected = [each for each in everything if fits(each, where)]
            assert await listed(storage, where) == expected, name
            assert await listed(storage, where, ascending=False) == expected[::-1], name


async def test_counts_agree_with_lists(storage: Storage, world: World) -> None:
    everything = await listed(storage)
    for (name, where), by in itertools.product(filters(world).items(), (CountBy.DAY, CountBy.NAME)):
        if where.related_roles or where.resource_labels or where.related_labels:
            continue
        counted = await storage.read(lambda tx, w=where, b=by: tx.events.count(w, b, 100))
        expected = sum(fits(each, where) for each in everything)
        assert sum(each.count for each in counted) == expected, name


async def test_events_are_counted_by_time_name_and_resource(storage: Storage, world: World) -> None:
    where = EventFilter(since=START)
    by_hour = await storage.read(lambda tx: tx.events.count(where, CountBy.HOUR, 10))
    assert [(each.value, each.count) for each in by_hour] == [
        ("2026-01-01T00:00:00+00:00", 3),
        ("2026-01-01T01:00:00+00:00", 2),
    ]
    assert (by_hour[0].first_occurred, by_hour[0].last_occurred) == (at(1), at(3))
    by_name = await storage.read(lambda tx: tx.events.count(where, CountBy.NAME, 2))
    assert [(each.value, each.count) for each in by_name] == [
        ("acme.order.made", 1),
        ("acme.order.shipped", 1),
    ]
    by_resource = await storage.read(lambda tx: tx.events.count(where, CountBy.RESOURCE, 1))
    task_run = f"headgate.task-run.{world.task_run.id}"
    assert [(each.value, each.count) for each in by_resource] == [(task_run, 2)]


async def test_a_time_leads_to_the_revision_before_it(storage: Storage, world: World) -> None:
    async def before(seconds: float) -> int:
        return await storage.read(lambda tx: tx.events.revision_before(at(seconds)))

    assert await before(-1) == 0
    assert await before(1) == 3  # what was committed at the start: an event, two transitions
    assert await before(3600) == 3
    assert await before(3601) == 6


async def test_events_outlive_the_run_that_they_tell_of(storage: Storage, world: World) -> None:
    await storage.write(lambda tx: tx.flow_runs.delete(world.flow_run.id))
    left = await listed(storage)
    assert [each.id for each in left] == [each.id for each in world.stored]


async def test_listeners_hear_of_events_as_of_transitions(storage: Storage) -> None:
    heard: list[int] = []
    unlisten = storage.listen(lambda commit: heard.append(commit.revision))
    await store(storage, event(), event())
    await storage.read(lambda tx: tx.events.list(EventFilter(), ALL))
    unlisten()
    assert 2 in heard


def test_a_span_of_time_may_reach_beyond_the_years() -> None:
    shifted = sql_events._shifted(START.replace(year=1), -timedelta(days=3))
    assert shifted == START.replace(year=1)


@pytest.mark.parametrize("ascending", [True, False])
async def test_a_page_of_large_events_is_shorter_and_nothing_is_left_out(
    storage: Storage, ascending: bool
):
    await builders.engine_run(storage)  # transitions before and behind them
    text = "x" * 1_000_000
    for _ in range(10):
        await store(storage, event(payload=f'{{"text": "{text}"}}'))
    await builders.engine_run(storage)
    revisions: list[int] = []
    sizes: list[int] = []
    page = PageRequest(size=50)
    while True:
        got = await storage.read(
            lambda tx, page=page: tx.events.list(EVERYTHING, page, ascending=ascending)
        )
        revisions += [found.revision for found in got.items]
        sizes.append(len(got.items))
        if got.next is None:
            break
        page = PageRequest(size=50, after=got.next)
    assert max(sizes) == 4
    assert len(revisions) == 12
    assert revisions == sorted(revisions, reverse=not ascending)
