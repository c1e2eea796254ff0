"""Flow runs, their states and the ready set, in every storage alike."""

import dataclasses

import anyio
import pytest

from headgate.core import errors, ids
from headgate.core.clock import ManualClock
from headgate.core.runs import RetryPolicy, StateCount
from headgate.core.states import Payload, StateDetails, StateType
from headgate_server.storage.interface import Storage
from headgate_server.storage.records import (
    Commit,
    FlowRunFilter,
    FlowRunOrder,
    PageRequest,
    SessionKind,
)
from tests.contract.storage import builders
from tests.contract.storage.builders import ALL, at


async def test_a_flow_run_is_stored_as_it_is(storage: Storage) -> None:
    flow = await builders.make_flow(storage)
    run = builders.flow_run(
        flow,
        builders.state(
            StateType.PAUSED,
            "Suspended",
            message="wait",
            details=StateDetails(
                scheduled_time=at(1),
                child_flow_run_id=ids.new_id(),
                cache_key="k",
                cache_expire_time=at(2),
                retriable=False,
                pause_expire_time=at(3.000001),
                pause_reschedule=True,
                pause_key="p",
                transition_id=ids.new_id(),
                traceparent="00-1-2-3",
                call_key="call",
            ),
            data=Payload(serializer="pickle", inline=b"\x00\xff"),
        ),
        flow_version="7",
        parameters={"n": "1e400", "s": '"\\u0000"'},
        tags=("a", "b"),
        labels={"k": "v"},
        run_count=2,
        retry_policy=RetryPolicy(max_retries=3, delays_seconds=(1.5, 10), jitter_factor=0.3),
        expected_start_time=at(4),
        start_time=at(5),
        end_time=at(6),
        parent_task_run_id=ids.new_id(),
        parent_flow_run_id=ids.new_id(),
        root_flow_run_id=ids.new_id(),
        work_pool_name="default",
        work_queue_name="default",
        priority=-2,
        job_variables={"image": '"x"'},
        auto_scheduled=True,
        idempotency_key="key",
        fencing_token=4,
        reschedule_count=1,
        committed_seq=8,
        committed_log_seq=9,
    )
    revision = await storage.write(lambda t: t.flow_runs.insert(run))
    expected = dataclasses.replace(run, revision=revision)
    assert await storage.read(lambda t: t.flow_runs.get(run.id)) == expected
    found = await storage.read(lambda t: t.flow_runs.find_idempotent(flow.id, "key"))
    assert found == expected
    assert await storage.read(lambda t: t.flow_runs.find_idempotent(flow.id, "other")) is None
    assert await storage.read(lambda t: t.flow_runs.get(ids.new_id())) is None
    assert await storage.read(lambda t: t.flow_runs.states(run.id)) == [run.state]


async def test_a_run_is_refused_when_its_id_or_idempotency_key_is_taken(storage: Storage) -> None:
    flow, other = await builders.make_flow(storage), await builders.make_flow(storage, "other")
    first = builders.flow_run(flow, idempotency_key="key")
    await builders.store_run(storage, first)
    for again in (
        builders.flow_run(flow, id=first.id),
        builders.flow_run(flow, idempotency_key="key"),
    ):
        with pytest.raises(errors.AlreadyExists):
            await builders.store_run(storage, again)
    await builders.store_run(storage, builders.flow_run(other, idempotency_key="key"))
    await builders.store_run(storage, builders.flow_run(flow))


async def test_a_transition_is_saved_with_all_that_it_may_change(storage: Storage) -> None:
    flow = await builders.make_flow(storage)
    before = await builders.store_run(storage, builders.ready_run(flow))
    running = builders.state(StateType.RUNNING, data=Payload(serializer="json", storage_key="x"))
    after = builders.moved(
        before,
        running,
        run_count=1,
        expected_start_time=at(1),
        start_time=at(2),
        end_time=at(3),
        fencing_token=5,
        reschedule_count=2,
        name="not this",
    )
    revision = await storage.write(lambda t: t.flow_runs.save(before, after))
    assert revision == before.revision + 1
    stored = await storage.read(lambda t: t.flow_runs.get(before.id))
    assert stored == dataclasses.replace(after, name=before.name, revision=revision)
    states = await storage.read(lambda t: t.flow_runs.states(before.id))
    assert states == [before.state, running]


async def test_a_transition_that_lost_a_race_changes_nothing(storage: Storage) -> None:
    flow = await builders.make_flow(storage)
    before = await builders.store_run(storage, builders.flow_run(flow))
    running = builders.moved(before, builders.state(StateType.RUNNING))
    failed = builders.moved(before, builders.state(StateType.FAILED))
    assert await storage.write(lambda t: t.flow_runs.save(before, running)) is not None
    assert await storage.write(lambda t: t.flow_runs.save(before, failed)) is None
    stale = dataclasses.replace(running, fencing_token=9)
    assert await storage.write(lambda t: t.flow_runs.save(stale, failed)) is None
    stored = await storage.read(lambda t: t.flow_runs.get(before.id))
    assert stored is not None
    assert stored.state == running.state
    assert len(await storage.read(lambda t: t.flow_runs.states(before.id))) == 2


async def test_a_transition_of_a_stream_moves_its_cursor_by_one(storage: Storage) -> None:
    run = await builders.engine_run(storage)
    first = builders.moved(run, builders.state(StateType.PAUSED))
    assert await storage.write(lambda t: t.flow_runs.save(run, first, seq=2)) is None
    assert await storage.write(lambda t: t.flow_runs.save(run, first, seq=1)) is not None
    assert await storage.write(lambda t: t.flow_runs.advance(run.id, fencing_token=1, seq=2))
    assert not await storage.write(lambda t: t.flow_runs.advance(run.id, fencing_token=1, seq=2))
    assert not await storage.write(lambda t: t.flow_runs.advance(run.id, fencing_token=2, seq=3))
    stored = await storage.read(lambda t: t.flow_runs.get(run.id))
    assert stored is not None
    assert stored.committed_seq == 2


async def test_streams_count_from_one_under_a_new_token(storage: Storage) -> None:
    run = await builders.engine_run(storage)
    await storage.write(lambda t: t.flow_runs.advance(run.id, fencing_token=1, seq=1))
    fenced = builders.moved(run, builders.scheduled(), fencing_token=2)
    assert await storage.write(lambda t: t.flow_runs.save(run, fenced)) is not None
    stored = await storage.read(lambda t: t.flow_runs.get(run.id))
    assert stored is not None
    assert (stored.committed_seq, stored.committed_log_seq) == (0, 0)


async def test_saving_the_same_state_writes_no_line(storage: Storage) -> None:
    flow = await builders.make_flow(storage)
    run = await builders.store_run(storage, builders.flow_run(flow))
    same = dataclasses.replace(run, reschedule_count=1)
    assert await storage.write(lambda t: t.flow_runs.save(run, same)) == run.revision
    assert await storage.read(lambda t: t.journal.newest()) == run.revision
    assert await storage.read(lambda t: t.flow_runs.get(run.id)) == same


async def test_what_a_caller_may_change_of_a_run_is_changed(storage: Storage) -> None:
    flow = await builders.make_flow(storage)
    run = await builders.store_run(storage, builders.flow_run(flow))
    changed = dataclasses.replace(
        run,
        name="n",
        tags=("t",),
        labels={"a": "b"},
        priority=4,
        retry_policy=RetryPolicy(max_retries=1),
        run_count=99,
    )
    await storage.write(lambda t: t.flow_runs.update(changed))
    stored = await storage.read(lambda t: t.flow_runs.get(run.id))
    assert stored == dataclasses.replace(changed, run_count=0)


async def test_a_run_is_deleted_with_all_that_belongs_to_it(storage: Storage) -> None:
    run = await builders.engine_run(storage)
    session = builders.session(SessionKind.ENGINE)
    await storage.write(lambda t: t.leases.open_session(session, ttl_seconds=30))
    await storage.write(
        lambda t: t.leases.grant_to_engine(run.id, fencing_token=1, session_id=session.id)
    )
    task = builders.task_run(run)
    await storage.append(builders.batch(run, [task]))
    await storage.write(lambda t: t.flow_runs.delete(run.id))
    assert await storage.read(lambda t: t.flow_runs.get(run.id)) is None
    assert await storage.read(lambda t: t.task_runs.get(task.id)) is None
    assert await storage.read(lambda t: t.leases.get(run.id)) is None
    assert not await storage.read(lambda t: t.flow_runs.states(run.id))


async def test_only_unleased_scheduled_runs_of_a_schedule_are_cleared(storage: Storage) -> None:
    flow = await builders.make_flow(storage)
    nightly = ids.new_id()
    session = builders.session()
    await storage.write(lambda t: t.leases.open_session(session, ttl_seconds=30))
    leased = builders.ready_run(flow, deployment_id=nightly, auto_scheduled=True)
    await builders.store_run(storage, leased)
    await storage.write(lambda t: t.leases.grant(session, count=1, offer_ttl_seconds=10))
    waiting = builders.ready_run(flow, deployment_id=nightly, auto_scheduled=True)
    kept = [
        builders.ready_run(flow, deployment_id=nightly),
        builders.ready_run(flow, deployment_id=ids.new_id(), auto_scheduled=True),
        builders.flow_run(flow, deployment_id=nightly, auto_scheduled=True),
        builders.ready_run(flow, deployment_id=nightly, auto_scheduled=True, start_time=at(1)),
        leased,
    ]
    for run in (waiting, *kept[:-1]):
        await builders.store_run(storage, run)
    assert await storage.write(lambda t: t.flow_runs.delete_auto_scheduled(nightly)) == 1
    assert await storage.write(lambda t: t.flow_runs.delete_auto_scheduled(nightly)) == 0
    page = await storage.read(
        lambda t: t.flow_runs.list(FlowRunFilter(), FlowRunOrder.ID_DESC, ALL)
    )
    assert {run.id for run in page.items} == {run.id for run in kept}
    assert not await storage.read(lambda t: t.flow_runs.states(waiting.id))


@pytest.mark.parametrize("size", [1, 2, 7])
@pytest.mark.parametrize("order", list(FlowRunOrder), ids=lambda order: order.value)
async def test_runs_are_listed_in_order_page_by_page(
    storage: Storage, order: FlowRunOrder, size: int
) -> None:
    flow = await builders.make_flow(storage)
    made = [builders.flow_run(flow, expected_start_time=at(seconds)) for seconds in (5, 1, 5, 3, 1)]
    made.append(builders.flow_run(flow, create_time=at(4)))
    for run in made:
        await builders.store_run(storage, run)
    found: list[str] = []
    page = PageRequest(size=size)
    while True:
        got = await storage.read(lambda t, p=page: t.flow_runs.list(FlowRunFilter(), order, p))
        found += [run.id for run in got.items]
        if got.next is None:
            break
        page = PageRequest(size=size, after=got.next)
    by_time = sorted(made, key=lambda run: (run.expected_start_time or run.create_time, run.id))
    expected = {
        FlowRunOrder.EXPECTED_START_TIME_ASC: [run.id for run in by_time],
        FlowRunOrder.EXPECTED_START_TIME_DESC: [run.id for run in reversed(by_time)],
        FlowRunOrder.ID_DESC: sorted((run.id for run in made), reverse=True),
    }
    assert found == expected[order]


async def test_runs_of_several_types_are_listed_in_one_order(storage: Storage) -> None:
    flow = await builders.make_flow(storage)
    types = (StateType.FAILED, StateType.CRASHED, StateType.RUNNING)
    made = [
        builders.flow_run(
            flow, builders.state(types[place % 3]), expected_start_time=at(place // 2)
        )
        for place in range(9)
    ]
    for run in made:
        await builders.store_run(storage, run)
    where = FlowRunFilter(state_types=(StateType.FAILED, StateType.CRASHED))
    order = FlowRunOrder.EXPECTED_START_TIME_DESC
    found: list[str] = []
    page = PageRequest(size=4)
    while True:
        got = await storage.read(lambda t, p=page: t.flow_runs.list(where, order, p))
        found += [run.id for run in got.items]
        if got.next is None:
            break
        page = PageRequest(size=4, after=got.next)
    expected = [run.id for run in reversed(made) if run.state.type in where.state_types]
    assert found == expected


async def test_runs_are_filtered_and_counted(storage: Storage) -> None:
    etl, report = await builders.make_flow(storage), await builders.make_flow(storage, "report")
    nightly, parent = ids.new_id(), ids.new_id()
    a = builders.flow_run(etl, name="Brave-otter", tags=("x", "y"), deployment_id=nightly)
    b = builders.flow_run(
        etl, builders.state(StateType.FAILED, "TimedOut"), name="b", parent_flow_run_id=parent
    )
    c = builders.ready_run(report, due_seconds=100, name="c", work_queue_name="fast")
    for run in (a, b, c):
        await builders.store_run(storage, run)
    cases: list[tuple[FlowRunFilter, set[str]]] = [
        (FlowRunFilter(), {a.id, b.id, c.id}),
        (FlowRunFilter(ids=(a.id, c.id)), {a.id, c.id}),
        (FlowRunFilter(flow_ids=(etl.id,)), {a.id, b.id}),
        (FlowRunFilter(flow_name="report"), {c.id}),
        (FlowRunFilter(flow_name="none"), set()),
        (FlowRunFilter(exclude_flow_name="report"), {a.id, b.id}),
        (FlowRunFilter(exclude_flow_name="none"), {a.id, b.id, c.id}),
        (FlowRunFilter(deployment_ids=(nightly,)), {a.id}),
        (FlowRunFilter(state_types=(StateType.FAILED, StateType.PENDING)), {a.id, b.id}),
        (FlowRunFilter(state_names=("TimedOut",)), {b.id}),
        (FlowRunFilter(name_contains="OTTER"), {a.id}),
        (FlowRunFilter(tags=("y",)), {a.id}),
        (FlowRunFilter(tags=("y", "z")), set()),
        (FlowRunFilter(parent_flow_run_id=parent), {b.id}),
        (FlowRunFilter(top_level=True), {a.id, c.id}),
        (FlowRunFilter(top_level=False), {b.id}),
        (FlowRunFilter(work_pool_name="default", work_queue_name="fast"), {c.id}),
        (FlowRunFilter(work_queue_name="slow"), set()),
        (FlowRunFilter(expected_after=at(100)), {c.id}),
        (FlowRunFilter(expected_before=at(100)), {a.id, b.id}),
    ]
    for where, expected in cases:
        page = await storage.read(lambda t, w=where: t.flow_runs.list(w, FlowRunOrder.ID_DESC, ALL))
        assert {run.id for run in page.items} == expected, where
        counts = await storage.read(lambda t, w=where: t.flow_runs.count(w))
        assert sum(one.count for one in counts) == len(expected), where
    counts = await storage.read(lambda t: t.flow_runs.count(FlowRunFilter()))
    assert counts == [
        StateCount(type="FAILED", name="TimedOut", count=1),
        StateCount(type="PENDING", name="Pending", count=1),
        StateCount(type="SCHEDULED", name="Scheduled", count=1),
    ]


async def test_late_runs_are_those_that_are_ready_and_due_and_not_called_late(
    storage: Storage,
) -> None:
    flow = await builders.make_flow(storage)
    late = builders.state(StateType.SCHEDULED, "Late", details=StateDetails(scheduled_time=at(1)))
    runs = [
        builders.ready_run(flow, due_seconds=9),
        builders.ready_run(flow, due_seconds=5),
        builders.ready_run(flow, due_seconds=10),
        builders.flow_run(flow, late, work_pool_name="default", work_queue_name="default"),
        builders.flow_run(flow, builders.scheduled(1)),
    ]
    for run in runs:
        await builders.store_run(storage, run)
    found = await storage.read(lambda t: t.flow_runs.list_late(at(10), 5))
    assert [run.id for run in found] == [runs[1].id, runs[0].id]
    assert len(await storage.read(lambda t: t.flow_runs.list_late(at(10), 1))) == 1


async def test_runs_that_wait_too_long_are_found(storage: Storage) -> None:
    flow = await builders.make_flow(storage)
    paused = builders.state(StateType.PAUSED, details=StateDetails(pause_expire_time=at(10)))
    endless = builders.state(StateType.PAUSED)
    cancelling = builders.state(StateType.CANCELLING, seconds=10)
    made = {
        name: await builders.store_run(storage, builders.flow_run(flow, state))
        for name, state in (("p", paused), ("e", endless), ("c", cancelling))
    }
    for seconds, expected in ((10, []), (11, [made["p"].id])):
        found = await storage.read(lambda t, s=seconds: t.flow_runs.list_expired_pauses(at(s), 5))
        assert [run.id for run in found] == expected
    for seconds, expected in ((10, []), (11, [made["c"].id])):
        found = await storage.read(
            lambda t, s=seconds: t.flow_runs.list_overdue_cancelling(at(s), 5)
        )
        assert [run.id for run in found] == expected


async def test_unfinished_children_are_found(storage: Storage) -> None:
    flow = await builders.make_flow(storage)
    parent = await builders.store_run(storage, builders.flow_run(flow))
    running = builders.flow_run(flow, parent_flow_run_id=parent.id)
    ended = builders.flow_run(
        flow, builders.state(StateType.COMPLETED), parent_flow_run_id=parent.id
    )
    for run in (running, ended):
        await builders.store_run(storage, run)
    found = await storage.read(lambda t: t.flow_runs.list_unfinished_children(parent.id, 5))
    assert [run.id for run in found] == [running.id]


async def test_the_next_ready_time_is_that_of_the_first_run_not_due_yet(
    storage: Storage, clock: ManualClock
) -> None:
    flow = await builders.make_flow(storage)
    assert await storage.read(lambda t: t.flow_runs.next_ready_time()) is None
    for seconds in (20, 5, 30):
        await builders.store_run(storage, builders.ready_run(flow, due_seconds=seconds))
    assert await storage.read(lambda t: t.flow_runs.next_ready_time()) == at(5)
    clock.advance(6)
    assert await storage.read(lambda t: t.flow_runs.next_ready_time()) == at(20)
    clock.advance(60)
    assert await storage.read(lambda t: t.flow_runs.next_ready_time()) is None


async def test_a_new_token_is_announced_even_where_the_state_stays(storage: Storage) -> None:
    run = await builders.engine_run(storage)
    heard: list[Commit] = []
    storage.listen(heard.append)
    fenced = dataclasses.replace(run, fencing_token=2)
    await storage.write(lambda t: t.flow_runs.save(run, fenced))
    await anyio.wait_all_tasks_blocked()
    assert builders.announced(heard) == [Commit(flow_run_ids=frozenset({run.id}))]


async def test_a_higher_priority_counts_for_a_run_that_waits_already(storage: Storage) -> None:
    flow = await builders.make_flow(storage)
    session = builders.session()
    await storage.write(lambda t: t.leases.open_session(session, ttl_seconds=30))
    first = await builders.store_run(storage, builders.ready_run(flow))
    second = await builders.store_run(storage, builders.ready_run(flow))
    urgent = dataclasses.replace(second, priority=1)
    await storage.write(lambda t: t.flow_runs.update(urgent))
    granted = await storage.write(lambda t: t.leases.grant(session, count=5, offer_ttl_seconds=10))
    assert [one.flow_run.id for one in granted] == [second.id, first.id]
