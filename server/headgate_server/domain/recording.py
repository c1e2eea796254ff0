"""Folds what an engine's stream brings into what is to be written.

Pure, and on the hot path: every task call passes here twice. A book holds the task runs of one
flow run that have not ended; a draft is what the items since the last commit amount to. A task
run that is created and ends within one draft is written once, in its last state.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence

from headgate.core import errors, states
from headgate.core.runs import TaskRun
from headgate.core.states import State, StateType
from headgate_server.domain import transforms

_RUNNING = StateType.RUNNING


@dataclasses.dataclass(slots=True)
class TaskMove:
    """A task run entered a state, or asks to; not frozen: made once per task state.

    Attributes:
        task_run_id: The task run.
        state: The state.
        force: Whether a Crashed overrides the table of moves.
        proposed: Whether the engine waits for a verdict.
    """

    task_run_id: str
    state: State
    force: bool = False
    proposed: bool = False


TaskItem = TaskRun | TaskMove


@dataclasses.dataclass(frozen=True, slots=True)
class Answer:
    """What is said, after the commit, to an item that a stream brought.

    Attributes:
        seq: The number of the item.
        verdict: To a proposal.
        error: To an item that could not be done and was passed over.
        run_count: How often the task run has entered Running.
    """

    seq: int
    verdict: states.Verdict | None = None
    error: errors.ControlPlaneError | None = None
    run_count: int = 0


class Draft:
    """What items of one run, in order and without gaps, amount to.

    Attributes:
        seq_before: The number of the last item before them.
        seq_after: The number of the last of them.
        items: The items themselves, to fold them again if another stream was quicker.
        answers: What is said to the engine after the commit, beside the acknowledgement.
        new: Task runs that come into being, in their last state, by id.
        changed: Task runs that were there before, in their last state, by id.
        entered: Every transition, in order: the task run as it was after it.
    """

    __slots__ = (
        "answers",
        "changed",
        "entered",
        "items",
        "new",
        "seq_after",
        "seq_before",
    )

    def __init__(self, seq_before: int) -> None:
        """Make an empty one behind an item."""
        self.seq_before = seq_before
        self.seq_after = seq_before
        self.items: list[TaskItem] = []
        self.answers: list[Answer] = []
        self.new: dict[str, TaskRun] = {}
        self.changed: dict[str, TaskRun] = {}
        self.entered: list[TaskRun] = []

    def __len__(self) -> int:
        """How many items it has."""
        return len(self.items)

    def put_new(self, task_run: TaskRun) -> None:
        """Note a task run that comes into being."""
        self.new[task_run.id] = task_run
        self.entered.append(task_run)

    def put_moved(self, task_run: TaskRun) -> None:
        """Note a task run that entered another state."""
        written = self.new if task_run.id in self.new else self.changed
        written[task_run.id] = task_run
        self.entered.append(task_run)


class Book:
    """The task runs of one flow run as its stream has left them, those that may still move."""

    def __init__(self) -> None:
        """Make an empty book."""
        self._task_runs: dict[str, TaskRun] = {}

    def __len__(self) -> int:
        """How many task runs it holds."""
        return len(self._task_runs)

    def missing(self, items: Sequence[TaskItem]) -> list[str]:
        """Return the ids of task runs that must be loaded before these items are folded."""
        known, created = self._task_runs, set[str]()
        found: list[str] = []
        for item in items:
            if isinstance(item, TaskMove):
                if item.task_run_id not in known and item.task_run_id not in created:
                    found.append(item.task_run_id)
            else:
                created.add(item.id)
        return found

    def load(self, task_runs: Iterable[TaskRun]) -> None:
        """Take up task runs as they are stored."""
        for task_run in task_runs:
            self._task_runs.setdefault(task_run.id, task_run)

    def forget_ended(self, draft: Draft) -> None:
        """Drop the task runs that ended in a draft that is committed."""
        known = self._task_runs
        for written in (draft.new, draft.changed):
            for id, task_run in written.items():
                if task_run.end_time is not None and known.get(id) is task_run:
                    del known[id]

    def fold(self, draft: Draft, items: Sequence[TaskItem]) -> None:
        """Fold items, in order, into a draft. Call ``load`` with what is ``missing`` first."""
        for item in items:
            draft.seq_after += 1
            if isinstance(item, TaskMove):
                self._move(draft, item)
            elif item.id in self._task_runs:
                error = errors.AlreadyExists("task run", item.id)
                draft.answers.append(Answer(draft.seq_after, error=error))
            else:
                self._task_runs[item.id] = item
                draft.put_new(item)
        draft.items.extend(items)

    def _move(self, draft: Draft, move: TaskMove) -> None:
        before = self._task_runs.get(move.task_run_id)
        if before is None:
            unknown = errors.NotFound("task run", move.task_run_id)
            draft.answers.append(Answer(draft.seq_after, error=unknown))
            return
        state, current = move.state, before.state
        after = before
        reason = _why_not(current, move)
        if not reason and state.id != current.id:
            after = entered(before, state)
            self._task_runs[after.id] = after
            draft.put_moved(after)
        if move.proposed:
            kind = states.VerdictKind.REJECT if reason else states.VerdictKind.ACCEPT
            verdict = states.Verdict(kind=kind, state=after.state, reason=reason)
            draft.answers.append(
                Answer(draft.seq_after, verdict=verdict, run_count=after.run_count)
            )
        elif reason:
            error = errors.FailedPrecondition(reason, "task run", before.id)
            draft.answers.append(Answer(draft.seq_after, error=error))


def _why_not(current: State, move: TaskMove) -> str:
    """Say why a task run may not enter a state; empty if it may."""
    type = move.state.type
    if current.type in states.TERMINAL:
        # Another name for the same end is fine, e.g. Completed -> RolledBack.
        allowed = type is current.type
    else:
        allowed = states.may_move(current.type, type) or (move.force and type is StateType.CRASHED)
    if allowed:
        return ""
    return (
        f"Task run {move.task_run_id} is {current.name} and cannot enter {move.state.name}; "
        "the transition was passed over."
    )


def created(
    *,
    id: str,
    name: str,
    flow_run_id: str,
    task_key: str,
    dynamic_key: str,
    state: State,
    task_version: str = "",
    tags: tuple[str, ...] = (),
    max_retries: int = 0,
    parent_task_run_id: str | None = None,
    upstream_run_ids: tuple[str, ...] = (),
    flow_run_attempt: int = 1,
) -> TaskRun:
    """Return a task run as it is when it comes into being in a state."""
    timestamp = state.timestamp
    running = state.type is _RUNNING
    return TaskRun(
        id=id,
        name=name,
        flow_run_id=flow_run_id,
        task_key=task_key,
        dynamic_key=dynamic_key,
        task_version=task_version,
        tags=tags,
        state=state,
        run_count=1 if running else 0,
        max_retries=max_retries,
        expected_start_time=state.details.scheduled_time or timestamp,
        start_time=timestamp if running else None,
        end_time=timestamp if state.type in states.TERMINAL else None,
        parent_task_run_id=parent_task_run_id,
        upstream_run_ids=upstream_run_ids,
        flow_run_attempt=flow_run_attempt,
        create_time=timestamp,
    )


def entered(task_run: TaskRun, state: State) -> TaskRun:
    """Return the task run as it is after it entered a state; ``transforms``, but quick."""
    if task_run.state.type is not _RUNNING or state.type not in states.TERMINAL:
        return transforms.apply_to_task_run(task_run, state)
    # The end of a running task: as often as tasks are called, so spelled out.
    return TaskRun(
        id=task_run.id,
        name=task_run.name,
        flow_run_id=task_run.flow_run_id,
        task_key=task_run.task_key,
        dynamic_key=task_run.dynamic_key,
        task_version=task_run.task_version,
        tags=task_run.tags,
        state=state,
        run_count=task_run.run_count,
        max_retries=task_run.max_retries,
        expected_start_time=task_run.expected_start_time,
        start_time=task_run.start_time,
        end_time=state.timestamp,
        parent_task_run_id=task_run.parent_task_run_id,
        upstream_run_ids=task_run.upstream_run_ids,
        flow_run_attempt=task_run.flow_run_attempt,
        create_time=task_run.create_time,
    )


__all__ = ["Answer", "Book", "Draft", "TaskItem", "TaskMove", "created", "entered"]
