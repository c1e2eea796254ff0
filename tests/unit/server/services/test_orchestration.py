from __future__ import annotations

import dataclasses
import datetime as dt
import random
from collections.abc import Callable
from typing import Any, TypeVar

import pytest

from headgate.core import errors, ids, runs, states
from headgate.core.clock import ManualClock
from headgate.core.states import StateType as S
from headgate.core.states import VerdictKind
from headgate_server.services.orchestration import Orchestration
from headgate_server.storage.interface import Transaction
from headgate_server.storage.memory import MemoryStorage
from headgate_server.storage.records import JournalEntry, RunAppend, Session, SessionKind

T = TypeVar("T")


class World:
    """A storage in memory with an orchestration over it."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.storage = MemoryStorage(self.clock, ids.new_id)
        self.orchestration = Orchestration(
            self.storage, new_id=ids.new_id, rng=random.Random(1), clock=self.clock
        )

    def state(self, type: S, name: str | None = None, **details: Any) -> states.State:
        return states.new_state(
            type,
            id=ids.new_id(),
            now=self.clock.now(),
            name=name,
            details=states.StateDetails(**details),
        )

    async def flow_run(
        self, type: S = S.PENDING, *, engine: bool = False, **given: Any
    ) -> runs.FlowRun:
        """Store a run; with ``engine``, leased to an engine session with token 1."""
        session_id, id = ids.new_id(), ids.new_id()

        def change(tx: Transaction) -> runs.FlowRun:
            flow = tx.flows.ensure("etl", new_id=ids.new_id())
            run = runs.FlowRun(
                id=id,
                name="brave-otter",
                flow_id=flow.id,
                flow_name=flow.name,
                state=self.state(type),
                create_time=tx.now(),
                fencing_token=int(engine),
                root_flow_run_id=id,
                **given,
            )
            tx.flow_runs.insert(run)
            if engine:
                tx.leases.open_session(
                    Session(
                        id=session_id,
                        kind=SessionKind.ENGINE,
                        name="host:1",
                        instance_id=session_id,
                        resume_token_hash="",
                        last_beat_time=tx.now(),
                        expire_time=tx.now(),
                    ),
                    ttl_seconds=30,
                )
                tx.leases.grant_to_engine(id, fencing_token=1, session_id=session_id)
            return run

        return await self.storage.write(change)

    async def task_run(self, flow_run: runs.FlowRun, type: S) -> str:
        """Store a task run as an engine would; the run must be one of an engine."""
        run = runs.TaskRun(
            id=ids.new_id(),
            name="parse-0",
            flow_run_id=flow_run.id,
            task_key="parse",
            dynamic_key=ids.new_id(),
            state=self.state(type),
            create_time=self.clock.now(),
        )
        stored = await self.get(flow_run.id)
        seq = stored.committed_seq
        await self.storage.append(
            RunAppend(
                flow_run_id=flow_run.id,
                fencing_token=stored.fencing_token,
                seq_before=seq,
                seq_after=seq + 1,
                new_task_runs=[run],
                changed_task_runs=[],
                entries=[
                    JournalEntry(
                        kind=runs.RunKind.TASK_RUN,
                        run_id=run.id,
                        run_name=run.name,
                        state=run.state,
                    )
                ],
            )
        )
        return run.id

    async def get(self, flow_run_id: str) -> runs.FlowRun:
        found = await self.storage.read(lambda tx: tx.flow_runs.get(flow_run_id))
        assert found is not None
        return found

    async def task_state(self, task_run_id: str) -> states.State:
        found = await self.storage.read(lambda tx: tx.task_runs.get(task_run_id))
        assert found is not None
        return found.state

    async def is_leased(self, flow_run_id: str) -> bool:
        return await self.storage.read(lambda tx: tx.leases.get(flow_run_id)) is not None


@pytest.fixture
async def world() -> World:
    made = World()
    await made.storage.start()
    return made


async def test_an_accepted_state_is_stored_with_a_revision(world: World):
    run = await world.flow_run()
    proposed = world.state(S.RUNNING)
    verdict, after = await world.orchestration.propose(run.id, proposed, fencing_token=None)
    assert (verdict.kind, verdict.state) == (VerdictKind.ACCEPT, proposed)
    stored = await world.get(run.id)
    assert stored.state == proposed
    assert stored.run_count == 1
    assert after == stored
    assert stored.revision > run.revision


async def test_a_proposal_sent_again_is_answered_the_same_and_counts_once(world: World):
    run = await world.flow_run()
    proposed = world.state(S.RUNNING)
    first = await world.orchestration.propose(run.id, proposed, fencing_token=None)
    again = await world.orchestration.propose(run.id, proposed, fencing_token=None)
    assert again == first
    assert (await world.get(run.id)).run_count == 1


async def test_a_run_that_does_not_exist_is_not_found(world: World):
    with pytest.raises(errors.NotFound):
        await world.orchestration.propose(ids.new_id(), world.state(S.RUNNING), fencing_token=None)


async def test_a_stale_token_is_fenced_and_changes_nothing(world: World):
    run = await world.flow_run(engine=True)
    with pytest.raises(errors.LeaseFenced) as caught:
        await world.orchestration.propose(run.id, world.state(S.RUNNING), fencing_token=7)
    assert (caught.value.token, caught.value.current) == (7, 1)
    assert (await world.get(run.id)).state == run.state


async def test_a_proposal_commits_its_number_whatever_the_verdict(world: World):
    run = await world.flow_run(engine=True)
    propose = world.orchestration.propose
    later = world.clock.now() + dt.timedelta(seconds=5)
    await propose(run.id, world.state(S.RUNNING), fencing_token=1, seq=1)
    waiting = world.state(S.SCHEDULED, scheduled_time=later)
    await propose(run.id, waiting, fencing_token=1, seq=2)
    verdict, after = await propose(run.id, world.state(S.RUNNING), fencing_token=1, seq=3)
    assert (verdict.kind, verdict.delay_seconds) == (VerdictKind.WAIT, 5)
    assert after.committed_seq == (await world.get(run.id)).committed_seq == 3
    verdict, _ = await propose(run.id, world.state(S.PENDING, "Bad"), fencing_token=1, seq=4)
    assert (await world.get(run.id)).committed_seq == 4
    # The verdict was lost; the engine proposes the same state under a new number.
    verdict, after = await propose(run.id, waiting, fencing_token=1, seq=5)
    assert verdict.kind is VerdictKind.ACCEPT
    assert after.committed_seq == (await world.get(run.id)).committed_seq == 5


async def test_an_end_by_the_holder_releases_the_lease_and_fences_nobody(world: World):
    run = await world.flow_run(engine=True)
    await world.orchestration.propose(run.id, world.state(S.RUNNING), fencing_token=1)
    _, after = await world.orchestration.propose(run.id, world.state(S.COMPLETED), fencing_token=1)
    assert not await world.is_leased(run.id)
    assert after.fencing_token == 1


async def test_an_end_from_outside_takes_the_lease_and_fences_the_holder(world: World):
    run = await world.flow_run(engine=True)
    await world.orchestration.propose(run.id, world.state(S.RUNNING), fencing_token=1)
    _, after = await world.orchestration.propose(
        run.id, world.state(S.CRASHED), fencing_token=None, force=True
    )
    assert not await world.is_leased(run.id)
    assert after.fencing_token == 2
    with pytest.raises(errors.LeaseFenced):
        await world.orchestration.propose(run.id, world.state(S.COMPLETED), fencing_token=1)


async def test_a_failure_with_retries_left_waits_under_the_same_lease(world: World):
    policy = runs.RetryPolicy(max_retries=1, delays_seconds=(3.0,))
    run = await world.flow_run(engine=True, retry_policy=policy)
    propose = world.orchestration.propose
    await propose(run.id, world.state(S.RUNNING), fencing_token=1)
    verdict, after = await propose(run.id, world.state(S.FAILED), fencing_token=1)
    assert verdict.kind is VerdictKind.REJECT
    assert after.state.name == "AwaitingRetry"
    assert await world.is_leased(run.id)
    verdict, _ = await propose(run.id, world.state(S.RUNNING), fencing_token=1)
    assert verdict.kind is VerdictKind.WAIT
    world.clock.advance(3)
    verdict, after = await propose(run.id, world.state(S.RUNNING), fencing_token=1)
    assert (after.state.name, after.run_count) == ("Retrying", 2)
    verdict, after = await propose(run.id, world.state(S.FAILED), fencing_token=1)
    assert (verdict.kind, after.state.type) == (VerdictKind.ACCEPT, S.FAILED)


async def test_a_run_that_is_taken_back_counts_the_reschedule_and_fences(world: World):
    run = await world.flow_run(engine=True)
    await world.orchestration.propose(run.id, world.state(S.RUNNING), fencing_token=1)
    task = await world.task_run(run, S.RUNNING)
    _, after = await world.orchestration.propose(
        run.id,
        world.state(S.SCHEDULED, "AwaitingRetry"),
        fencing_token=None,
        force=True,
        rescheduled=True,
    )
    assert (after.reschedule_count, after.fencing_token) == (1, 2)
    assert not await world.is_leased(run.id)
    assert (await world.task_state(task)).type is S.CRASHED


async def test_a_run_that_is_handed_back_by_its_holder_is_free_again(world: World):
    run = await world.flow_run(engine=True)
    _, after = await world.orchestration.propose(
        run.id, world.state(S.SCHEDULED), fencing_token=1, release=True
    )
    assert not await world.is_leased(run.id)
    assert (after.fencing_token, after.reschedule_count) == (1, 0)


async def test_a_run_whose_holder_lets_it_go_while_it_is_cancelled_is_cancelled_at_once(
    world: World, monkeypatch: pytest.MonkeyPatch
):
    run = await world.flow_run(engine=True)
    propose = world.orchestration.propose
    await propose(run.id, world.state(S.RUNNING), fencing_token=1)
    waits = world.state(S.PAUSED, "Suspended", pause_reschedule=True)
    await propose(run.id, waits, fencing_token=1)
    stored = await world.get(run.id)
    write = world.storage.write

    async def let_go_first(change: Callable[[Transaction], T]) -> T:
        monkeypatch.undo()
        await write(lambda tx: tx.flow_runs.save(stored, stored, release=True))
        return await write(change)

    monkeypatch.setattr(world.storage, "write", let_go_first)
    assert await world.is_leased(run.id)
    _, after = await propose(run.id, world.state(S.CANCELLING), fencing_token=None)
    assert after.state.type is S.CANCELLED


@pytest.mark.parametrize(("type", "expected"), [(S.CRASHED, S.CRASHED), (S.CANCELLED, S.CANCELLED)])
async def test_the_task_runs_of_a_lost_run_end_with_it(world: World, type: S, expected: S):
    run = await world.flow_run(engine=True)
    await world.orchestration.propose(run.id, world.state(S.RUNNING), fencing_token=1)
    running, done = await world.task_run(run, S.RUNNING), await world.task_run(run, S.COMPLETED)
    await world.orchestration.propose(run.id, world.state(type), fencing_token=None, force=True)
    assert (await world.task_state(running)).type is expected
    assert (await world.task_state(done)).type is S.COMPLETED


async def test_the_task_runs_of_a_completed_run_are_left_to_its_engine(world: World):
    run = await world.flow_run(engine=True)
    await world.orchestration.propose(run.id, world.state(S.RUNNING), fencing_token=1)
    task = await world.task_run(run, S.RUNNING)
    await world.orchestration.propose(run.id, world.state(S.COMPLETED), fencing_token=1)
    assert (await world.task_state(task)).type is S.RUNNING


async def test_more_task_runs_than_a_batch_end_with_the_run(
    world: World, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("headgate_server.services.orphans._BATCH", 2)
    run = await world.flow_run(engine=True)
    await world.orchestration.propose(run.id, world.state(S.RUNNING), fencing_token=1)
    tasks = [await world.task_run(run, S.RUNNING) for _ in range(5)]
    await world.orchestration.propose(
        run.id, world.state(S.CRASHED), fencing_token=None, force=True
    )
    assert {(await world.task_state(task)).type for task in tasks} == {S.CRASHED}


async def test_a_cancelled_run_cancels_what_it_started(world: World):
    parent = await world.flow_run(engine=True)
    waiting = await world.flow_run(S.SCHEDULED, parent_flow_run_id=parent.id)
    executed = await world.flow_run(engine=True, parent_flow_run_id=parent.id)
    await world.orchestration.propose(
        parent.id, world.state(S.CANCELLED), fencing_token=None, force=True
    )
    assert (await world.get(waiting.id)).state.type is S.CANCELLED
    assert (await world.get(executed.id)).state.type is S.CANCELLING


async def test_a_crashed_run_takes_along_only_the_subflows_of_its_process(world: World):
    parent = await world.flow_run(engine=True)
    inner = await world.flow_run(engine=True, parent_flow_run_id=parent.id)
    deployed = await world.flow_run(
        S.SCHEDULED, parent_flow_run_id=parent.id, deployment_id=ids.new_id()
    )
    await world.orchestration.propose(
        parent.id, world.state(S.CRASHED), fencing_token=None, force=True
    )
    assert (await world.get(inner.id)).state.type is S.CRASHED
    assert (await world.get(deployed.id)).state.type is S.SCHEDULED


async def test_a_pause_fires_once(world: World):
    run = await world.flow_run(engine=True)
    propose = world.orchestration.propose
    await propose(run.id, world.state(S.RUNNING), fencing_token=1)
    verdict, _ = await propose(run.id, world.state(S.PAUSED, pause_key="a"), fencing_token=1)
    assert verdict.kind is VerdictKind.ACCEPT
    await propose(run.id, world.state(S.RUNNING), fencing_token=1)
    verdict, after = await propose(run.id, world.state(S.PAUSED, pause_key="a"), fencing_token=1)
    assert (verdict.kind, after.state.type) == (VerdictKind.REJECT, S.RUNNING)
    assert after.run_count == 1


async def test_who_loses_the_race_decides_anew(world: World, monkeypatch: pytest.MonkeyPatch):
    run = await world.flow_run(engine=True)
    await world.orchestration.propose(run.id, world.state(S.RUNNING), fencing_token=1)
    read = world.storage.read
    cancelling = world.state(S.CANCELLING)
    raced = False

    async def read_then_lose(query: Callable[[Transaction], T]) -> T:
        nonlocal raced
        found = await read(query)
        if not raced:
            raced = True
            before = await world.get(run.id)
            after = dataclasses.replace(before, state=cancelling)
            await world.storage.write(lambda tx: tx.flow_runs.save(before, after))
        return found

    monkeypatch.setattr(world.storage, "read", read_then_lose)
    verdict, after = await world.orchestration.propose(
        run.id, world.state(S.COMPLETED), fencing_token=1
    )
    assert raced
    assert (verdict.kind, after.state.type) == (VerdictKind.REJECT, S.CANCELLED)


async def test_what_its_holder_believes_of_a_run_does_not_make_it_wait(world: World):
    due = world.clock.now() + dt.timedelta(hours=1)
    run = await world.flow_run(engine=True)
    pending = dataclasses.replace(
        run, state=world.state(S.PENDING, scheduled_time=due), committed_seq=0
    )
    cancelling = world.state(S.CANCELLING)
    await world.orchestration.propose(run.id, cancelling, fencing_token=None)
    verdict, _ = await world.orchestration.propose(
        run.id, world.state(S.RUNNING), fencing_token=1, seq=1, known=pending
    )
    assert (verdict.kind, verdict.state) == (VerdictKind.REJECT, cancelling)
