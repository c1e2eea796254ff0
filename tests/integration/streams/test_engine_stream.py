"""The stream of an engine, frame by frame."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable
from typing import Any

import anyio
import pytest

from headgate.api.v1 import engine_service_pb2, error_pb2
from headgate.core import errors, ids
from headgate.core.runs import RunKind, TaskRun
from headgate.core.states import StateType, new_state
from headgate_server.domain import recording
from headgate_server.storage.records import (
    Appended,
    AppendOutcome,
    Failed,
    JournalEntry,
    LogFilter,
    PageRequest,
    RunAppend,
    TaskRunFilter,
)
from tests.integration.streams import wire
from tests.integration.streams.wire import World, create, create_task, propose, report


async def test_a_run_by_hand_is_created_run_and_ended(world: World) -> None:
    async with wire.engine(world.channel) as engine:
        opened = await engine.open()
        assert (opened.window_items, opened.ttl.seconds) == (10_000, 30)
        run_id = await engine.start_run()
        task_id = ids.new_id()
        await engine.batch(run_id, 3, [create_task(task_id), report("COMPLETED", task_id)])
        ack = await engine.acked(4)
        assert ack.revision == await world.storage.read(lambda tx: tx.journal.newest())
        await engine.batch(run_id, 5, [propose("COMPLETED", message="all well")])
        frame = await engine.expect("verdict")
        assert (frame.seq, frame.run_count) == (5, 1)
    run, task = await world.flow_run(run_id), await world.task_run(task_id)
    assert (run.state.type, run.state.message) == (StateType.COMPLETED, "all well")
    assert run.flow_name == "etl"
    assert run.name
    assert await world.storage.read(lambda tx: tx.leases.get(run_id)) is None
    assert task is not None
    assert (task.state.type, task.run_count) == (StateType.COMPLETED, 1)


async def test_the_first_frame_must_be_open(world: World) -> None:
    async with wire.engine(world.channel) as engine:
        await engine.send(beat=wire.epb.Beat(seq=1))
        error = await engine.end()
    assert isinstance(error, errors.ProtocolViolation)
    assert error.frame == "beat"


async def test_an_empty_frame_is_a_protocol_violation(world: World) -> None:
    async with wire.engine(world.channel) as engine:
        await engine.send()
        assert isinstance(await engine.end(), errors.ProtocolViolation)


async def test_items_sent_again_are_passed_over(world: World) -> None:
    async with wire.engine(world.channel) as engine:
        await engine.open()
        run_id = await engine.start_run()
        first, second = ids.new_id(), ids.new_id()
        await engine.batch(run_id, 3, [create_task(first)])
        await engine.acked(3)
        await engine.batch(run_id, 3, [create_task(first), create_task(second)])
        assert (await engine.acked(4)).committed_seq == 4
    assert await world.task_run(second) is not None


async def test_a_gap_is_refused_and_nothing_of_it_stored(world: World) -> None:
    async with wire.engine(world.channel) as engine:
        await engine.open()
        run_id = await engine.start_run()
        task_id = ids.new_id()
        await engine.batch(run_id, 9, [create_task(task_id)])
        error = await engine.expect("run_error")
        assert error.reason == 8
        # To open the run again heals it.
        await engine.send(open=wire.epb.Open(runs=[cursor(run_id)]))
        opened = await engine.expect("opened")
        assert opened.runs[0].committed_seq == 2
        await engine.batch(run_id, 3, [create_task(task_id)])
        await engine.acked(3)


def cursor(run_id: str, token: int = 1) -> engine_service_pb2.RunCursor:
    return engine_service_pb2.RunCursor(flow_run_id=run_id, fencing_token=token)


async def test_a_broken_stream_resumes_where_it_was(world: World) -> None:
    task_id = ids.new_id()
    async with wire.engine(world.channel) as engine:
        opened = await engine.open()
        run_id = await engine.start_run()
        await engine.batch(run_id, 3, [create_task(task_id)])
        await engine.acked(3)
    async with wire.engine(world.channel) as engine:
        again = await engine.open(
            session_id=opened.session_id,
            resume_token=opened.resume_token,
            runs=[cursor(run_id)],
        )
        assert again.session_id == opened.session_id
        assert again.runs[0].committed_seq == 3
        assert again.runs[0].flow_run.name
        # The book of live task runs was lost with the stream: it is read again.
        await engine.batch(run_id, 4, [report("COMPLETED", task_id)])
        await engine.acked(4)
    task = await world.task_run(task_id)
    assert task is not None
    assert task.state.type is StateType.COMPLETED


async def test_a_lost_verdict_is_given_again(world: World) -> None:
    async with wire.engine(world.channel) as engine:
        await engine.open()
        run_id = await engine.start_run()
        proposal = propose("COMPLETED")
        await engine.batch(run_id, 3, [proposal])
        first = await engine.expect("verdict")
        await engine.batch(run_id, 4, [proposal])
        second = await engine.expect("verdict")
    assert (first.seq, second.seq) == (3, 4)
    assert first.verdict == second.verdict


async def test_a_newer_stream_supersedes_the_older_one(world: World) -> None:
    async with wire.engine(world.channel) as older, wire.engine(world.channel) as newer:
        opened = await older.open()
        await newer.open(session_id=opened.session_id, resume_token=opened.resume_token)
        error = await older.end()
    assert isinstance(error, errors.SessionSuperseded)


async def test_a_wrong_resume_token_opens_another_session(world: World) -> None:
    async with wire.engine(world.channel) as engine:
        opened = await engine.open()
    async with wire.engine(world.channel) as thief:
        other = await thief.open(session_id=opened.session_id, resume_token="guess")
    assert other.session_id != opened.session_id


async def test_a_stale_token_is_fenced_and_changes_nothing(world: World) -> None:
    async with wire.engine(world.channel) as engine:
        await engine.open()
        run_id = await engine.start_run()
        await engine.batch(run_id, 3, [propose("FAILED")], token=0)
        error = await engine.expect("run_error")
        assert error.reason == 4
        assert error.metadata["current"] == "1"
    assert (await world.flow_run(run_id)).state.type is StateType.RUNNING


async def test_illegal_moves_of_task_runs_are_passed_over_and_told(world: World) -> None:
    async with wire.engine(world.channel) as engine:
        await engine.open()
        run_id = await engine.start_run()
        task_id = ids.new_id()
        await engine.batch(
            run_id,
            3,
            [create_task(task_id), report("COMPLETED", task_id), report("RUNNING", task_id)],
        )
        error = await engine.expect("run_error")
        assert error.reason == 6
        await engine.acked(5)
    task = await world.task_run(task_id)
    assert task is not None
    assert task.state.type is StateType.COMPLETED


async def test_proposals_of_task_runs_are_answered_after_the_commit(world: World) -> None:
    async with wire.engine(world.channel) as engine:
        await engine.open()
        run_id = await engine.start_run()
        task_id = ids.new_id()
        await engine.batch(
            run_id, 3, [create_task(task_id, "PENDING"), propose("RUNNING", task_id)]
        )
        frame = await engine.expect("verdict")
        assert (frame.verdict.kind, frame.run_count) == (1, 1)
        await engine.batch(run_id, 5, [propose("COMPLETED", task_id), propose("RUNNING", task_id)])
        assert (await engine.expect("verdict")).verdict.kind == 1
        refused = await engine.expect("verdict")
        assert (refused.verdict.kind, refused.verdict.state.name) == (2, "Completed")


async def test_bad_items_name_the_field_and_store_nothing(world: World) -> None:
    async with wire.engine(world.channel) as engine:
        await engine.open()
        run_id = await engine.start_run()
        await engine.batch(run_id, 3, [create_task(ids.new_id()), create_task("x")])
        error = await engine.expect("run_error")
        assert error.reason == 1
        assert "create_task_run.id" in error.message
    assert (await world.flow_run(run_id)).committed_seq == 2


async def test_creations_are_checked(world: World) -> None:
    async with wire.engine(world.channel) as engine:
        await engine.open()
        await engine.batch(ids.new_id(), 1, [create(flow_name="a/b")])
        error = await engine.expect("run_error")
        assert error.reason == 1
        await engine.batch(ids.new_id(), 1, [create(parent_flow_run_id=ids.new_id())])
        assert (await engine.expect("run_error")).reason == 2
        await engine.batch("no-id", 1, [create()])
        assert (await engine.expect("run_error")).reason == 1
        # The stream goes on.
        await engine.start_run()


async def test_subflows_know_their_root(world: World) -> None:
    async with wire.engine(world.channel) as engine:
        await engine.open()
        parent = await engine.start_run()
        child = ids.new_id()
        await engine.batch(child, 1, [create(parent_flow_run_id=parent)])
        await engine.acked(1)
    assert (await world.flow_run(child)).root_flow_run_id == parent


async def test_log_lines_are_stored_once_and_acknowledged(world: World) -> None:
    async with wire.engine(world.channel) as engine:
        await engine.open()
        run_id = await engine.start_run()

        def lines(*texts: str, first_seq: int) -> engine_service_pb2.LogBatch:
            batch = wire.epb.LogBatch(flow_run_id=run_id, fencing_token=1, first_seq=first_seq)
            for text in texts:
                batch.records.add(level=20, logger="headgate.flow_runs", message=text)
            return batch

        await engine.send(log_batch=lines("a", "b\0b", first_seq=1))
        assert (await engine.expect("log_ack")).committed_log_seq == 2
        await engine.send(log_batch=lines("b", "c", first_seq=2))
        assert (await engine.expect("log_ack")).committed_log_seq == 3
        await engine.send(log_batch=lines("x", first_seq=9))
        assert (await engine.expect("run_error")).reason == 8
    stored = await world.storage.read(
        lambda tx: tx.logs.list(LogFilter(flow_run_ids=(run_id,)), PageRequest(size=100))
    )
    assert [line.message[:1] for line in stored.items] == ["a", "b", "c"]


async def test_beats_are_answered(world: World) -> None:
    async with wire.engine(world.channel) as engine:
        await engine.open()
        await engine.send(beat=wire.epb.Beat(seq=7))
        assert (await engine.expect("beat_ack")).seq == 7


async def test_a_process_that_ends_in_order_crashes_what_it_left(world: World) -> None:
    async with wire.engine(world.channel) as engine:
        opened = await engine.open()
        run_id = await engine.start_run()
        await engine.send(close=wire.epb.Close())
        assert await engine.end() is None
    run = await world.flow_run(run_id)
    assert run.state.type is StateType.CRASHED
    assert "without reporting" in run.state.message
    assert await world.storage.read(lambda tx: tx.leases.get_session(opened.session_id)) is None


async def test_what_was_sent_before_the_end_is_stored(world: World) -> None:
    async with wire.engine(world.channel) as engine:
        await engine.open()
        run_id = await engine.start_run()
        task_ids = [ids.new_id() for _ in range(900)]
        await engine.batch(run_id, 3, [create_task(id) for id in task_ids])
        await engine.done_writing()
        await engine.acked(902)
        assert await engine.end() is None


async def test_a_killed_process_is_crashed_with_its_task_runs(world: World) -> None:
    async with wire.engine(world.channel) as engine:
        await engine.open()
        run_id = await engine.start_run()
        task_id = ids.new_id()
        await engine.batch(run_id, 3, [create_task(task_id)])
        await engine.acked(3)
    await world.expire_sessions()
    run, task = await world.flow_run(run_id), await world.task_run(task_id)
    assert run.state.type is StateType.CRASHED
    assert "stopped sending heartbeats" in run.state.message
    assert run.fencing_token == 2
    assert task is not None
    assert task.state.type is StateType.CRASHED


async def test_an_engine_whose_run_was_reaped_is_fenced(world: World) -> None:
    async with wire.engine(world.channel) as engine:
        opened = await engine.open()
        run_id = await engine.start_run()
        await world.expire_sessions()
        assert (await engine.expect("run_error")).reason == 4
    async with wire.engine(world.channel) as engine:
        again = await engine.open(
            session_id=opened.session_id,
            resume_token=opened.resume_token,
            runs=[cursor(run_id)],
        )
    assert again.session_id != opened.session_id
    assert again.runs[0].error.reason == 4


async def test_cancelling_is_pushed_to_the_engine_at_once(world: World) -> None:
    async with wire.engine(world.channel) as engine:
        await engine.open()
        run_id = await engine.start_run()
        await world.cancel(run_id)
        control = await engine.expect("control")
        assert control.flow_run_id == run_id
        assert control.WhichOneof("action") == "cancel"
        await engine.batch(run_id, 3, [propose("CANCELLED")])
        assert (await engine.expect("verdict")).verdict.kind == 1


async def test_a_run_that_is_ended_from_outside_is_fenced_at_its_engine(world: World) -> None:
    async with wire.engine(world.channel) as engine:
        await engine.open()
        run_id = await engine.start_run()
        await world.cancel(run_id)
        ended = wire.new_state(StateType.CANCELLED, id=ids.new_id(), now=world.clock.now())
        await world.orchestration.propose(run_id, ended, fencing_token=None, force=True)
        error = await engine.expect("run_error")
        assert error.reason == 4


async def test_draining_sends_engines_away_and_loses_nothing(world: World) -> None:
    async with wire.engine(world.channel) as engine:
        await engine.open()
        run_id = await engine.start_run()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(world.streams.connected.drain)
            await engine.expect("go_away")
            assert await engine.end() is None
    assert (await world.flow_run(run_id)).state.type is StateType.RUNNING
    async with wire.engine(world.channel) as engine:
        await engine.send(open=wire.epb.Open())
        assert isinstance(await engine.end(), errors.Unavailable)


async def test_what_an_older_stream_committed_meanwhile_is_passed_over(world: World) -> None:
    """A broken stream's last write may land after the next stream has read how far it is."""
    first, second, third = (ids.new_id() for _ in range(3))
    async with wire.engine(world.channel) as engine:
        await engine.open()
        run_id = await engine.start_run()
        await world.storage.append(
            RunAppend(
                flow_run_id=run_id,
                fencing_token=1,
                seq_before=2,
                seq_after=3,
                new_task_runs=[task := _task_run(run_id, first, world)],
                changed_task_runs=[],
                entries=[JournalEntry(RunKind.TASK_RUN, first, "t", task.state)],
            )
        )
        await engine.batch(run_id, 3, [create_task(first), create_task(second)])
        await engine.batch(run_id, 5, [report("COMPLETED", first), create_task(third)])
        await engine.batch(run_id, 7, [propose("COMPLETED")])
        assert (await engine.expect("verdict")).seq == 7
    for id, type in ((first, StateType.COMPLETED), (third, StateType.RUNNING)):
        stored = await world.task_run(id)
        assert stored is not None
        assert stored.state.type is type
    states = await world.storage.read(lambda tx: tx.task_runs.states(first))
    assert len(states) == 2


async def test_a_verdict_that_an_older_stream_took_with_it_can_be_asked_for_again(
    world: World,
) -> None:
    task_id = ids.new_id()
    async with wire.engine(world.channel) as engine:
        opened = await engine.open()
        run_id = await engine.start_run()
        items = [create_task(task_id, "PENDING"), propose("RUNNING", task_id)]
        pending = _task_run(run_id, task_id, world, StateType.PENDING)
        running = dataclasses.replace(
            pending,
            state=new_state(StateType.RUNNING, id=items[1].propose.state.id, now=world.clock.now()),
        )
        await world.storage.append(
            RunAppend(
                flow_run_id=run_id,
                fencing_token=1,
                seq_before=2,
                seq_after=4,
                new_task_runs=[running],
                changed_task_runs=[],
                entries=[
                    JournalEntry(RunKind.TASK_RUN, task_id, "t", task.state)
                    for task in (pending, running)
                ],
            )
        )
        await engine.batch(run_id, 3, items)
        assert isinstance(await engine.end(), errors.Unavailable)
    async with wire.engine(world.channel) as engine:
        again = await engine.open(
            session_id=opened.session_id, resume_token=opened.resume_token, runs=[cursor(run_id)]
        )
        assert again.runs[0].committed_seq == 4
        await engine.batch(run_id, 5, items[1:])
        verdict = await engine.expect("verdict")
        assert (verdict.seq, verdict.verdict.kind) == (5, 1)


async def test_what_a_stream_still_had_is_not_written_after_its_end(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    held: list[Callable[[AppendOutcome], None]] = []
    async with wire.engine(world.channel) as engine:
        await engine.open()
        run_id = await engine.start_run()
        monkeypatch.setattr(world.storage, "append_then", lambda _, then: held.append(then))
        await engine.batch(run_id, 3, [create_task(ids.new_id())])
        await engine.batch(run_id, 4, [create_task(ids.new_id())])
        await engine.send(beat=wire.epb.Beat(seq=1))
        await engine.expect("beat_ack")
        [stream] = world.streams.connected._streams.values()
        engine.cut()
        await stream.ended.wait()
    assert len(held) == 1
    held[0](Appended(revision=1))
    assert len(held) == 1


async def test_a_late_commit_of_a_former_lease_acknowledges_nothing_of_the_next_one(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    held: list[Callable[[AppendOutcome], None]] = []
    async with wire.engine(world.channel) as engine:
        await engine.open()
        run_id = await engine.start_run()
        monkeypatch.setattr(world.storage, "append_then", lambda _, then: held.append(then))
        await engine.batch(run_id, 3, [create_task(ids.new_id())])
        await engine.send(beat=wire.epb.Beat(seq=1))
        await engine.expect("beat_ack")
        before = await world.flow_run(run_id)
        after = dataclasses.replace(before, fencing_token=2)
        await world.storage.write(lambda tx: tx.flow_runs.save(before, after))
        await engine.expect("run_error")
        await engine.send(open=wire.epb.Open(runs=[cursor(run_id, token=2)]))
        assert (await engine.expect("opened")).runs[0].committed_seq == 0
        held[0](Appended(revision=1))
        await engine.send(beat=wire.epb.Beat(seq=2))
        assert (await engine.next()).seq == 2


def _task_run(
    flow_run_id: str, id: str, world: World, type: StateType = StateType.RUNNING
) -> TaskRun:
    state = new_state(type, id=ids.new_id(), now=world.clock.now())
    return recording.created(
        id=id,
        name="t",
        flow_run_id=flow_run_id,
        task_key="t",
        dynamic_key="0",
        state=state,
    )


async def test_a_run_that_cannot_be_stored_does_not_end_the_others(world: World) -> None:
    async with wire.engine(world.channel) as engine:
        await engine.open()
        one, other = await engine.start_run(), await engine.start_run()
        taken = ids.new_id()
        await engine.batch(one, 3, [create_task(taken)])
        await engine.acked(3)
        await engine.batch(other, 3, [create_task(taken)])
        error = await engine.expect("run_error")
        assert (error.flow_run_id, error.reason) == (other, 3)
        await engine.batch(one, 4, [report("COMPLETED", taken)])
        await engine.acked(4)


async def test_a_lost_database_ends_the_stream_and_loses_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    task_id = ids.new_id()
    async with wire.engine(world.channel) as engine:
        opened = await engine.open()
        run_id = await engine.start_run()

        def lost(batch: RunAppend, then: Callable[[AppendOutcome], None]) -> None:
            failed = Failed(errors.Unavailable("The database is away."))
            asyncio.get_running_loop().call_soon(then, failed)

        with monkeypatch.context() as patched:
            patched.setattr(world.storage, "append_then", lost)
            await engine.batch(run_id, 3, [create_task(task_id)])
            assert isinstance(await engine.end(), errors.Unavailable)
    async with wire.engine(world.channel) as engine:
        again = await engine.open(
            session_id=opened.session_id,
            resume_token=opened.resume_token,
            runs=[cursor(run_id)],
        )
        assert again.runs[0].committed_seq == 2
        await engine.batch(run_id, 3, [create_task(task_id)])
        await engine.acked(3)


async def test_thousands_of_items_are_pipelined_and_acknowledged(world: World) -> None:
    async with wire.engine(world.channel) as engine:
        await engine.open()
        run_id = await engine.start_run()
        for number in range(5):
            task_ids = [ids.new_id() for _ in range(500)]
            items = [create_task(id) for id in task_ids]
            items += [report("COMPLETED", id) for id in task_ids]
            await engine.batch(run_id, 3 + number * 1_000, items)
        await engine.acked(5_002)
    counts = await world.storage.read(
        lambda tx: tx.task_runs.count(TaskRunFilter(flow_run_ids=(run_id,)))
    )
    assert [(count.type, count.count) for count in counts] == [("COMPLETED", 2_500)]


async def test_a_creation_that_does_not_decode_is_refused_for_what_is_wrong_with_it(
    world: World,
) -> None:
    async with wire.engine(world.channel) as engine:
        await engine.open()
        await engine.batch(ids.new_id(), 1, [create(name="x"), wire.epb.Item()])
        error = await engine.expect("run_error")
    assert error.reason == error_pb2.ERROR_REASON_INVALID_ARGUMENT


async def test_a_run_of_a_session_that_was_reaped_is_not_leased_to_nobody(world: World) -> None:
    async with wire.engine(world.channel) as engine:
        opened = await engine.open()
        await world.storage.write(lambda tx: tx.leases.close_session(opened.session_id))
        run_id = ids.new_id()
        await engine.batch(run_id, 1, [create()])
        assert isinstance(await engine.end(), errors.Unavailable)
    assert await world.storage.read(lambda tx: tx.leases.get(run_id)) is None
    assert await world.storage.read(lambda tx: tx.flow_runs.get(run_id)) is None


async def test_a_cancellation_while_a_run_is_opened_reaches_its_engine(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with wire.engine(world.channel) as engine:
        opened = await engine.open()
        run_id = await engine.start_run()
    async with wire.engine(world.channel) as again:
        reopened = await again.open(session_id=opened.session_id, resume_token=opened.resume_token)
        assert reopened.session_id == opened.session_id
        read, once = world.storage.read, [run_id]

        async def read_then_cancel(query: Any) -> Any:
            found = await read(query)
            while once:
                await world.cancel(once.pop())
            return found

        monkeypatch.setattr(world.storage, "read", read_then_cancel)
        await again.send(open=wire.epb.Open(runs=[cursor(run_id)]))
        control = await again.expect("control")
    assert control.flow_run_id == run_id
    assert control.HasField("cancel")


async def test_a_task_that_begins_after_its_run_was_cancelled_does_not_run_for_ever(
    world: World,
) -> None:
    """A thread of the process did not hear of it in time."""
    late, later = ids.new_id(), ids.new_id()
    async with wire.engine(world.channel) as engine:
        opened = await engine.open()
        run_id = await engine.start_run()
        await engine.batch(run_id, 3, [propose("CANCELLED")])
        await engine.expect("verdict")
        await engine.batch(run_id, 4, [create_task(late)])
        await engine.acked(4)
        await ends_as(world, late, StateType.CANCELLED)
    async with wire.engine(world.channel) as engine:
        await engine.open(
            session_id=opened.session_id,
            resume_token=opened.resume_token,
            runs=[cursor(run_id)],
        )
        await engine.batch(run_id, 5, [create_task(later)])
        await engine.acked(5)
        await ends_as(world, later, StateType.CANCELLED)


async def ends_as(world: World, task_run_id: str, type: StateType) -> None:
    async def probe() -> bool:
        task_run = await world.task_run(task_run_id)
        return task_run is not None and task_run.state.type is type

    await wire.eventually(probe)


@pytest.mark.parametrize("field", ["name", "task_key", "dynamic_key", "task_version"])
async def test_a_text_that_a_database_cannot_store_is_stored_without_it(
    world: World, field: str
) -> None:
    task_id = ids.new_id()
    async with wire.engine(world.channel) as engine:
        await engine.open()
        run_id = await engine.start_run()
        item = create_task(task_id)
        setattr(item.create_task_run, field, "a\x00b")
        item.create_task_run.state.name = "Run\x00ning"
        await engine.batch(run_id, 3, [item])
        await engine.acked(3)
    assert await world.task_run(task_id) is not None
