"""Flow runs, task runs, the journal and logs in memory."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime

from headgate.core import errors
from headgate.core.runs import (
    FlowRun,
    LogRecord,
    RecordedCall,
    RunKind,
    StateCount,
    TaskRun,
    TransitionRecord,
)
from headgate.core.states import State, StateType
from headgate_server.storage.memory import paging
from headgate_server.storage.memory.tables import Tables
from headgate_server.storage.records import (
    FlowRunFilter,
    FlowRunOrder,
    JournalFilter,
    LogFilter,
    Page,
    PageRequest,
    TaskRunFilter,
)

#: What a transition may change.
_TRANSITION_FIELDS = (
    "state",
    "run_count",
    "expected_start_time",
    "start_time",
    "end_time",
    "fencing_token",
    "reschedule_count",
)
_UPDATE_FIELDS = ("name", "tags", "labels", "priority", "retry_policy")


class MemoryFlowRuns:
    """See :class:`headgate_server.storage.interface.FlowRuns`."""

    def __init__(self, tables: Tables, now: datetime) -> None:
        self._tables = tables
        self._now = now

    def get(self, flow_run_id: str) -> FlowRun | None:
        run = self._tables.flow_runs.get(flow_run_id)
        return None if run is None else self._joined(run)

    def find_idempotent(self, flow_id: str, idempotency_key: str) -> FlowRun | None:
        for run in self._tables.flow_runs:
            if run.flow_id == flow_id and run.idempotency_key == idempotency_key:
                return self._joined(run)
        return None

    def insert(self, flow_run: FlowRun) -> int:
        key = flow_run.idempotency_key
        if flow_run.id in self._tables.flow_runs or (
            key is not None and self.find_idempotent(flow_run.flow_id, key) is not None
        ):
            raise errors.AlreadyExists("flow run", key or flow_run.id)
        revision = self._record(flow_run)
        stored = dataclasses.replace(flow_run, revision=revision)
        self._tables.flow_runs[stored.id] = stored
        self._tables.follow(stored)
        return revision

    def save(
        self, before: FlowRun, after: FlowRun, *, release: bool = False, seq: int | None = None
    ) -> int | None:
        stored = self._tables.flow_runs.get(before.id)
        if (
            stored is None
            or stored.state.id != before.state.id
            or stored.fencing_token != before.fencing_token
            or (seq is not None and stored.committed_seq != seq - 1)
        ):
            return None
        saved = dataclasses.replace(
            stored, **{name: getattr(after, name) for name in _TRANSITION_FIELDS}
        )
        if after.fencing_token != before.fencing_token:
            saved = dataclasses.replace(saved, committed_seq=0, committed_log_seq=0)
            self._tables.flow_run_ids.add(saved.id)  # Its former holder is to be told.
        if seq is not None:
            saved = dataclasses.replace(saved, committed_seq=seq)
        if after.state.id != before.state.id:
            saved = dataclasses.replace(saved, revision=self._record(saved))
        self._tables.flow_runs[saved.id] = saved
        if release:
            self._tables.ready_changed |= self._tables.leases.remove(saved.id)
        self._tables.follow(saved)
        return saved.revision

    def advance(self, flow_run_id: str, *, fencing_token: int, seq: int) -> bool:
        run = self._tables.flow_runs.get(flow_run_id)
        if run is None or (run.fencing_token, run.committed_seq) != (fencing_token, seq - 1):
            return False
        self._tables.flow_runs[run.id] = dataclasses.replace(run, committed_seq=seq)
        return True

    def update(self, flow_run: FlowRun) -> None:
        stored = self._tables.flow_runs.get(flow_run.id)
        if stored is not None:
            changes = {name: getattr(flow_run, name) for name in _UPDATE_FIELDS}
            self._tables.flow_runs[stored.id] = dataclasses.replace(stored, **changes)

    def delete(self, flow_run_id: str) -> None:
        self._tables.delete_flow_run(flow_run_id)

    def delete_auto_scheduled(self, deployment_id: str) -> int:
        doomed = [
            run.id
            for run in self._tables.flow_runs
            if run.deployment_id == deployment_id
            and run.auto_scheduled
            and run.state.type is StateType.SCHEDULED
            and run.start_time is None  # one that waits to be tried again is not to come
            and run.id not in self._tables.leases
        ]
        for flow_run_id in doomed:
            self._tables.delete_flow_run(flow_run_id)
        return len(doomed)

    def list(self, where: FlowRunFilter, order: FlowRunOrder, page: PageRequest) -> Page[FlowRun]:
        by_id = order is FlowRunOrder.ID_DESC
        return paging.cut_page(
            self._fitting(lambda run: paging.flow_run_fits(run, where)),
            (lambda run: (run.id,)) if by_id else paging.order_key,
            page,
            descending=order is not FlowRunOrder.EXPECTED_START_TIME_ASC,
        )

    def count(self, where: FlowRunFilter) -> Sequence[StateCount]:
        fitting = self._fitting(lambda run: paging.flow_run_fits(run, where))
        return paging.count_states(run.state for run in fitting)

    def states(self, flow_run_id: str) -> Sequence[State]:
        return _states(self._tables, flow_run_id)

    def list_late(self, due_before: datetime, limit: int) -> Sequence[FlowRun]:
        ready = self._tables.ready
        late = self._fitting(
            lambda run: (
                run.id in ready and ready[run.id] < due_before and run.state.name == "Scheduled"
            )
        )
        return sorted(late, key=lambda run: ready[run.id])[:limit]

    def list_expired_pauses(self, now: datetime, limit: int) -> Sequence[FlowRun]:
        def is_expired(run: FlowRun) -> bool:
            expire_time = run.state.details.pause_expire_time
            return (
                run.state.type is StateType.PAUSED and expire_time is not None and expire_time < now
            )

        return self._fitting(is_expired)[:limit]

    def list_overdue_cancelling(self, since_before: datetime, limit: int) -> Sequence[FlowRun]:
        overdue = self._fitting(
            lambda run: (
                run.state.type is StateType.CANCELLING and run.state.timestamp < since_before
            )
        )
        return sorted(overdue, key=lambda run: run.state.timestamp)[:limit]

    def list_unfinished_children(self, flow_run_id: str, limit: int) -> Sequence[FlowRun]:
        children = self._fitting(
            lambda run: run.parent_flow_run_id == flow_run_id and not run.state.is_terminal
        )
        return sorted(children, key=lambda run: run.id)[:limit]

    def next_ready_time(self) -> datetime | None:
        return min((due for due in self._tables.ready if due >= self._now), default=None)

    def _record(self, run: FlowRun) -> int:
        self._tables.flow_run_ids.add(run.id)
        return self._tables.record(RunKind.FLOW_RUN, run.id, run.name, run, run.state, self._now)

    def _fitting(self, fits: Callable[[FlowRun], bool]) -> list[FlowRun]:
        return [self._joined(run) for run in self._tables.flow_runs if fits(run)]

    def _joined(self, run: FlowRun) -> FlowRun:
        """Return the run with what belongs to other records."""
        tables = self._tables
        deployment = tables.deployments.get(run.deployment_id) if run.deployment_id else None
        lease = tables.leases.get(run.id)
        session = tables.sessions.get(lease.session_id) if lease else None
        return dataclasses.replace(
            run,
            deployment_name=deployment.full_name if deployment else None,
            runner_name=session.name if session else None,
        )


class MemoryTaskRuns:
    """See :class:`headgate_server.storage.interface.TaskRuns`."""

    def __init__(self, tables: Tables, now: datetime) -> None:
        self._tables = tables
        self._now = now

    def get(self, task_run_id: str) -> TaskRun | None:
        return self._tables.task_runs.get(task_run_id)

    def get_many(self, task_run_ids: Sequence[str]) -> Sequence[TaskRun]:
        found = [self._tables.task_runs.get(task_run_id) for task_run_id in task_run_ids]
        return [run for run in found if run is not None]

    def list(
        self, where: TaskRunFilter, page: PageRequest, *, descending: bool = False
    ) -> Page[TaskRun]:
        return paging.cut_page(
            self._fitting(where), lambda run: (run.id,), page, descending=descending
        )

    def count(self, where: TaskRunFilter) -> Sequence[StateCount]:
        return paging.count_states(run.state for run in self._fitting(where))

    def states(self, task_run_id: str) -> Sequence[State]:
        return _states(self._tables, task_run_id)

    def list_unfinished(self, flow_run_id: str, limit: int) -> Sequence[TaskRun]:
        unfinished = [
            run
            for run in self._tables.task_runs
            if run.flow_run_id == flow_run_id and not run.state.is_terminal
        ]
        return sorted(unfinished, key=lambda run: run.id)[:limit]

    def list_calls(
        self, flow_run_id: str, task_run_ids: Sequence[str], page: PageRequest
    ) -> Page[RecordedCall]:
        calls = [
            RecordedCall(
                task_run_id=run.id,
                call_key=run.state.details.call_key,
                dynamic_key=run.dynamic_key,
                state=run.state if task_run_ids else None,
            )
            for run in self._tables.task_runs
            if run.flow_run_id == flow_run_id
            and run.state.type is StateType.COMPLETED
            and run.state.data is not None
            and run.state.details.call_key
            and (not task_run_ids or run.id in task_run_ids)
        ]
        return paging.cut_page(calls, lambda call: (call.task_run_id,), page)

    def insert(self, task_run: TaskRun) -> int:
        if task_run.id in self._tables.task_runs:
            raise errors.AlreadyExists("task run", task_run.id)
        return self.save([task_run])

    def update(self, task_run: TaskRun) -> None:
        stored = self._tables.task_runs.get(task_run.id)
        if stored is not None:
            self._tables.task_runs[stored.id] = dataclasses.replace(
                stored, name=task_run.name, tags=task_run.tags
            )

    def delete(self, task_run: TaskRun) -> None:
        tables = self._tables
        tables.task_runs.remove(task_run.id)
        for line in [line for line in tables.journal if line.run_id == task_run.id]:
            tables.journal.remove(line.revision)
        for record in [log for log in tables.logs if log.task_run_id == task_run.id]:
            tables.logs.remove(record.id)

    def save(self, task_runs: Sequence[TaskRun]) -> int:
        for run in task_runs:
            flow_run = self._tables.flow_runs[run.flow_run_id]
            revision = self._tables.record(
                RunKind.TASK_RUN, run.id, run.name, flow_run, run.state, self._now
            )
            self._tables.task_runs[run.id] = dataclasses.replace(run, revision=revision)
        return self._tables.heads["journal"]

    def _fitting(self, where: TaskRunFilter) -> list[TaskRun]:
        return [run for run in self._tables.task_runs if paging.task_run_fits(run, where)]


class MemoryJournal:
    """See :class:`headgate_server.storage.interface.Journal`."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables

    def read(
        self, after_revision: int, where: JournalFilter, limit: int
    ) -> Sequence[TransitionRecord]:
        fitting = [
            line
            for line in self._tables.journal
            if line.revision > after_revision
            and (not where.flow_run_ids or line.flow_run_id in where.flow_run_ids)
            and (not where.root_flow_run_ids or line.root_flow_run_id in where.root_flow_run_ids)
            and (not where.deployment_ids or line.deployment_id in where.deployment_ids)
            and where.kind in (None, line.kind)
            and (not where.state_types or line.state.type in where.state_types)
        ]
        return [
            dataclasses.replace(line, state=dataclasses.replace(line.state, data=None))
            for line in sorted(fitting, key=lambda line: line.revision)[:limit]
        ]

    def newest(self) -> int:
        return self._tables.heads["journal"]

    def oldest(self) -> int:
        return 0


class MemoryLogs:
    """See :class:`headgate_server.storage.interface.Logs`."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables

    def append(self, records: Iterable[LogRecord]) -> int:
        for record in records:
            number = self._tables.take_number("logs")
            self._tables.logs[number] = dataclasses.replace(record, id=number)
        return self._tables.heads["logs"]

    def list(
        self, where: LogFilter, page: PageRequest, *, descending: bool = False
    ) -> Page[LogRecord]:
        fitting = [
            record
            for record in self._tables.logs
            if (not where.flow_run_ids or record.flow_run_id in where.flow_run_ids)
            and (not where.task_run_ids or record.task_run_id in where.task_run_ids)
            and where.root_flow_run_id in ("", self._root(record))
            and record.level >= where.level_min
            and (where.level_max is None or record.level <= where.level_max)
            and (where.logged_after is None or record.timestamp >= where.logged_after)
            and (where.logged_before is None or record.timestamp < where.logged_before)
            and paging.contains(record.message, where.message_contains)
        ]
        return paging.cut_page(
            fitting,
            lambda record: (record.id,),
            page,
            descending=descending,
            weight=lambda record: len(record.message),
        )

    def _root(self, record: LogRecord) -> str | None:
        run = self._tables.flow_runs.get(record.flow_run_id)
        return None if run is None else run.root_flow_run_id


def _states(tables: Tables, run_id: str) -> Sequence[State]:
    lines = [line for line in tables.journal if line.run_id == run_id]
    return [line.state for line in sorted(lines, key=lambda line: line.revision)]
