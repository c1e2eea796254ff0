from __future__ import annotations

import dataclasses
import datetime as dt
import random
from typing import Any

import anyio
import pytest

from headgate.core import deployments, ids, runs
from headgate.core.states import StateType as S
from headgate_server.services import orphans
from headgate_server.services.loops import periodic
from headgate_server.services.loops.cancellations import Cancellations
from headgate_server.services.loops.late_runs import LateRuns
from headgate_server.services.loops.leftovers import Leftovers
from headgate_server.services.loops.pauses import Pauses
from headgate_server.services.loops.scheduler import Scheduler
from headgate_server.services.notifier import Notifier, Signal
from headgate_server.services.scheduling import Scheduling
from headgate_server.storage.interface import Transaction
from headgate_server.storage.records import FlowRunFilter, FlowRunOrder, PageRequest
from tests.unit.server.services.test_orchestration import World

DAY = dt.timedelta(days=1)


@pytest.fixture
async def world() -> World:
    made = World()
    await made.storage.start()
    return made


async def deployment(world: World, **given: Any) -> deployments.Deployment:
    """Store a deployment "etl/nightly"."""

    def change(tx: Transaction) -> deployments.Deployment:
        flow = tx.flows.ensure("etl", new_id=ids.new_id())
        made = deployments.Deployment(
            id=ids.new_id(),
            name="nightly",
            flow_id=flow.id,
            flow_name=flow.name,
            create_time=tx.now(),
            update_time=tx.now(),
            etag="1",
            **given,
        )
        tx.deployments.insert(made)
        return made

    return await world.storage.write(change)


async def waiting_run(world: World, **given: Any) -> runs.FlowRun:
    """Store a run that waits in the default queue since a minute."""
    scheduled_time = world.clock.now() - dt.timedelta(minutes=1)
    run = await world.flow_run(
        S.SCHEDULED,
        work_pool_name="default",
        work_queue_name="default",
        expected_start_time=scheduled_time,
        **given,
    )
    return run


async def flow_runs(world: World) -> list[runs.FlowRun]:
    """Return all flow runs by their time."""
    page = PageRequest(size=1_000)
    order = FlowRunOrder.EXPECTED_START_TIME_ASC
    found = await world.storage.read(lambda tx: tx.flow_runs.list(FlowRunFilter(), order, page))
    return list(found.items)


def late_runs(world: World, late_after_seconds: float = 15) -> LateRuns:
    return LateRuns(
        world.storage,
        orchestration=world.orchestration,
        new_id=ids.new_id,
        late_after_seconds=late_after_seconds,
        interval_seconds=5,
    )


async def test_a_run_is_late_when_nobody_took_it_in_time(world: World):
    run = await waiting_run(world)
    await late_runs(world, late_after_seconds=61).step()
    assert (await world.get(run.id)).state.name == "Scheduled"
    await late_runs(world, late_after_seconds=15).step()
    late = (await world.get(run.id)).state
    assert (late.type, late.name) == (S.SCHEDULED, "Late")
    assert await late_runs(world).step() is False
    assert (await world.get(run.id)).state == late


async def test_a_run_that_cannot_be_handled_keeps_no_other_from_its_turn(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    poisoned, healthy = await waiting_run(world), await waiting_run(world)
    propose = world.orchestration.propose

    async def stumble(flow_run_id: str, *arguments, **options):
        if flow_run_id == poisoned.id:
            raise ValueError("poison")
        return await propose(flow_run_id, *arguments, **options)

    monkeypatch.setattr(world.orchestration, "propose", stumble)
    await late_runs(world, late_after_seconds=15).step()
    assert (await world.get(healthy.id)).state.name == "Late"
    assert "The loop of late runs failed" in caplog.text


async def test_a_run_above_a_limit_that_cancels_new_runs_is_cancelled(world: World):
    made = await deployment(
        world,
        concurrency_limit=1,
        collision_strategy=deployments.CollisionStrategy.CANCEL_NEW,
    )
    under_way = await world.flow_run(S.PENDING, deployment_id=made.id)
    crowded_out = await waiting_run(world, deployment_id=made.id)
    await late_runs(world).step()
    assert (await world.get(crowded_out.id)).state.type is S.CANCELLED
    assert (await world.get(under_way.id)).state.type is S.PENDING


async def test_a_pause_that_has_expired_fails_the_run(world: World):
    run = await world.flow_run(engine=True)
    propose = world.orchestration.propose
    await propose(run.id, world.state(S.RUNNING), fencing_token=1)
    expire_time = world.clock.now() + dt.timedelta(seconds=10)
    pause = world.state(S.PAUSED, pause_expire_time=expire_time)
    await propose(run.id, pause, fencing_token=1)
    loop = Pauses(
        world.storage, orchestration=world.orchestration, new_id=ids.new_id, interval_seconds=5
    )
    await loop.step()
    assert (await world.get(run.id)).state == pause
    world.clock.advance(11)
    await loop.step()
    ended = await world.get(run.id)
    assert ended.state.type is S.FAILED
    assert ended.fencing_token == 2


async def test_a_cancellation_that_nobody_ends_is_ended(world: World):
    run = await world.flow_run(engine=True)
    propose = world.orchestration.propose
    await propose(run.id, world.state(S.RUNNING), fencing_token=1)
    _, cancelling = await propose(run.id, world.state(S.CANCELLING), fencing_token=None)
    assert cancelling.state.type is S.CANCELLING
    loop = Cancellations(
        world.storage,
        orchestration=world.orchestration,
        new_id=ids.new_id,
        grace_seconds=30,
        interval_seconds=1,
    )
    world.clock.advance(29)
    await loop.step()
    assert (await world.get(run.id)).state.type is S.CANCELLING
    world.clock.advance(2)
    await loop.step()
    ended = await world.get(run.id)
    assert (ended.state.type, ended.fencing_token) == (S.CANCELLED, 2)
    assert not await world.is_leased(run.id)


def schedule(rule: deployments.ScheduleRule, **given: Any) -> deployments.Schedule:
    return deployments.Schedule(id=ids.new_id(), slug="s", rule=rule, **given)


def scheduler(world: World) -> Scheduler:
    scheduling = Scheduling(new_id=ids.new_id, rng=random.Random(1))
    return Scheduler(world.storage, scheduling=scheduling, interval_seconds=60)


async def test_schedules_are_topped_up_and_nothing_is_made_twice(world: World):
    daily = schedule(deployments.CronRule(expression="0 6 * * *"), parameters={"n": "2"})
    made = await deployment(world, schedules=(daily,), parameters={"n": "1", "m": "1"})
    loop = scheduler(world)
    await loop.step()
    await loop.step()
    first = await flow_runs(world)
    assert len(first) == 3
    assert dict(first[0].parameters) == {"n": "2", "m": "1"}
    assert first[0].state.details.scheduled_time == first[0].expected_start_time
    assert first[0].idempotency_key == (f"scheduled {made.id} {daily.id} 2026-01-01T06:00:00+00:00")
    world.clock.advance(DAY.total_seconds())
    await loop.step()
    assert len(await flow_runs(world)) == 4


async def test_missed_times_are_not_made_up_for(world: World):
    await deployment(world, schedules=(schedule(deployments.CronRule(expression="0 6 * * *")),))
    world.clock.advance(10 * DAY.total_seconds())
    await scheduler(world).step()
    times = [run.expected_start_time for run in await flow_runs(world)]
    assert all(time and time > world.clock.now() for time in times)


async def test_what_rests_is_not_scheduled(world: World):
    rule = deployments.CronRule(expression="@hourly")
    await deployment(world, schedules=(schedule(rule),), paused=True)
    await scheduler(world).step()
    assert await flow_runs(world) == []


async def test_a_deployment_that_changed_meanwhile_is_left_to_its_change(world: World):
    made = await deployment(
        world, schedules=(schedule(deployments.CronRule(expression="@hourly")),)
    )
    scheduling = Scheduling(new_id=ids.new_id, rng=random.Random(1))
    changed = dataclasses.replace(made, etag="2", paused=True)
    await world.storage.write(lambda tx: tx.deployments.replace(changed, expected_etag="1"))
    assert await world.storage.write(lambda tx: scheduling.top_up(tx, made)) == 0


async def test_a_loop_survives_a_step_that_fails_and_is_woken_by_its_signal(
    caplog: pytest.LogCaptureFixture,
):
    signal, steps = Signal(), 0

    class Enough(BaseException):
        """Ends the loop."""

    async def step() -> bool:
        nonlocal steps
        steps += 1
        signal.give()
        if steps == 1:
            raise ZeroDivisionError
        if steps == 2:
            return True
        raise Enough

    with pytest.raises(Enough):
        await periodic.forever("A loop", step, interval_seconds=3600, signal=signal)
    assert "A loop failed" in caplog.text


async def test_a_cancellation_dated_in_the_future_is_ended_after_its_grace(world: World):
    run = await world.flow_run(S.RUNNING, engine=True)
    cancelling = world.state(S.CANCELLING)
    cancelling = dataclasses.replace(cancelling, timestamp=cancelling.timestamp + 365 * DAY)
    await world.orchestration.propose(run.id, cancelling, fencing_token=None)
    world.clock.advance(61)
    loop = Cancellations(
        world.storage,
        orchestration=world.orchestration,
        new_id=ids.new_id,
        grace_seconds=30,
        interval_seconds=1,
    )
    await loop.step()
    assert (await world.get(run.id)).state.type is S.CANCELLED


@pytest.mark.parametrize("is_restarted", [False, True], ids=["caller gone", "server killed"])
async def test_what_a_lost_run_left_behind_ends_although_nobody_came_to_it(
    world: World, monkeypatch: pytest.MonkeyPatch, is_restarted: bool
):
    monkeypatch.setattr(orphans, "_BATCH", 2)
    notifier = Notifier()
    loop = Leftovers(world.storage, notifier, orchestration=world.orchestration)
    if not is_restarted:
        await loop.step()
        world.storage.listen(loop.on_commit)
    parent = await world.flow_run(S.RUNNING, engine=True)
    child = await world.flow_run(S.RUNNING, engine=True, parent_flow_run_id=parent.id)
    task_runs = [await world.task_run(parent, S.RUNNING) for _ in range(5)]
    with anyio.CancelScope() as scope:
        # The stream that brought the transition breaks in the moment of its commit.
        world.storage.listen(lambda _commit: scope.cancel())
        await world.orchestration.propose(parent.id, world.state(S.CRASHED), fencing_token=1)
    assert scope.cancelled_caught
    assert (await world.get(child.id)).state.type is S.RUNNING
    await loop.step()
    assert (await world.get(child.id)).state.type is S.CRASHED
    ends = {(await world.task_state(id)).type for id in task_runs}
    assert ends == {S.CRASHED}
