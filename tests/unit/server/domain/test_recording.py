"""Items of an engine's stream, folded."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from headgate.core import errors, ids
from headgate.core.runs import TaskRun
from headgate.core.states import State, StateType, VerdictKind, new_state
from headgate_server.domain import transforms
from headgate_server.domain.recording import Book, Draft, TaskMove, created, entered

NOW = datetime(2026, 1, 1, tzinfo=UTC)
S = StateType


def state(type: StateType, seconds: int = 0, name: str | None = None) -> State:
    return new_state(type, id=ids.new_id(), now=NOW + timedelta(seconds=seconds), name=name)


def task_run(type: StateType = S.RUNNING) -> TaskRun:
    return created(
        id=ids.new_id(),
        name="t-0",
        flow_run_id="f",
        task_key="t",
        dynamic_key="0",
        state=state(type),
    )


def test_a_task_run_created_and_ended_in_one_draft_is_written_once() -> None:
    book, draft, run = Book(), Draft(4), task_run()
    done = state(S.COMPLETED, 1)
    book.fold(draft, [run, TaskMove(run.id, done)])
    assert (draft.seq_before, draft.seq_after) == (4, 6)
    assert list(draft.new) == [run.id]
    assert not draft.changed
    written = draft.new[run.id]
    assert (written.state, written.run_count, written.start_time) == (done, 1, NOW)
    assert written.end_time == done.timestamp
    assert [entry.state.type for entry in draft.entered] == [S.RUNNING, S.COMPLETED]


def test_a_task_run_of_an_earlier_draft_is_changed() -> None:
    book, first, second, run = Book(), Draft(0), Draft(1), task_run()
    book.fold(first, [run])
    book.fold(second, [TaskMove(run.id, state(S.COMPLETED))])
    assert not second.new
    assert second.changed[run.id].state.type is S.COMPLETED


def test_ended_task_runs_are_forgotten_after_the_commit_only() -> None:
    book, draft, run = Book(), Draft(0), task_run()
    book.fold(draft, [run, TaskMove(run.id, state(S.COMPLETED))])
    assert not book.missing([TaskMove(run.id, state(S.COMPLETED))])
    book.forget_ended(draft)
    assert book.missing([TaskMove(run.id, state(S.COMPLETED))]) == [run.id]


def test_what_moved_on_since_the_commit_is_kept() -> None:
    book, first, run = Book(), Draft(0), task_run()
    book.fold(first, [run, TaskMove(run.id, state(S.COMPLETED))])
    book.fold(Draft(2), [TaskMove(run.id, state(S.COMPLETED, name="RolledBack"))])
    book.forget_ended(first)
    assert len(book) == 1


def test_only_task_runs_that_nobody_brought_are_missing() -> None:
    book, run = Book(), task_run()
    other = ids.new_id()
    items = [run, TaskMove(run.id, state(S.COMPLETED)), TaskMove(other, state(S.COMPLETED))]
    assert book.missing(items) == [other]


@pytest.mark.parametrize(
    ("current", "proposed", "force", "allowed"),
    [
        (S.PENDING, S.RUNNING, False, True),
        (S.RUNNING, S.FAILED, False, True),
        (S.RUNNING, S.SCHEDULED, False, True),
        (S.RUNNING, S.PENDING, False, False),
        (S.RUNNING, S.PENDING, True, False),
        (S.CANCELLING, S.CRASHED, False, False),
        (S.CANCELLING, S.CRASHED, True, True),
        (S.COMPLETED, S.COMPLETED, False, True),
        (S.COMPLETED, S.RUNNING, False, False),
        (S.COMPLETED, S.SCHEDULED, False, False),
        (S.COMPLETED, S.CRASHED, True, False),
        (S.FAILED, S.CANCELLED, False, False),
    ],
    ids=lambda value: str(value),
)
def test_moves_of_task_runs(
    current: StateType, proposed: StateType, force: bool, allowed: bool
) -> None:
    book, draft, run = Book(), Draft(0), task_run(current)
    book.fold(draft, [run, TaskMove(run.id, state(proposed), force)])
    assert draft.seq_after == 2
    assert len(draft.entered) == 1 + allowed
    if not allowed:
        assert isinstance(draft.answers[0].error, errors.FailedPrecondition)
        assert draft.answers[0].seq == 2


def test_a_proposal_is_answered_with_what_stands() -> None:
    book, draft, run = Book(), Draft(0), task_run(S.PENDING)
    move = TaskMove(run.id, state(S.RUNNING), proposed=True)
    refused = TaskMove(run.id, state(S.PENDING), proposed=True)
    book.fold(draft, [run, move, move, refused])
    verdicts = [answer.verdict for answer in draft.answers]
    assert [verdict.kind for verdict in verdicts if verdict] == [
        VerdictKind.ACCEPT,
        VerdictKind.ACCEPT,
        VerdictKind.REJECT,
    ]
    assert len(draft.entered) == 2
    assert {verdict.state for verdict in verdicts if verdict} == {move.state}


def test_an_unknown_task_run_and_a_doubled_one_are_told_and_passed_over() -> None:
    book, draft, run = Book(), Draft(0), task_run()
    book.fold(draft, [run, run, TaskMove(ids.new_id(), state(S.COMPLETED))])
    kinds = [type(answer.error) for answer in draft.answers]
    assert kinds == [errors.AlreadyExists, errors.NotFound]
    assert (len(draft.entered), draft.seq_after) == (1, 3)


@pytest.mark.parametrize("type", list(StateType))
def test_the_quick_way_is_the_same_as_the_transform(type: StateType) -> None:
    run, next_state = task_run(), state(type, 5)
    assert entered(run, next_state) == transforms.apply_to_task_run(run, next_state)
