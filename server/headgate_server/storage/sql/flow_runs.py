"""Flow runs in SQL."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from headgate.core import errors, runs, states
from headgate_server.storage import readiness
from headgate_server.storage.records import FlowRunFilter, FlowRunOrder, Page, PageRequest
from headgate_server.storage.sql import deletion, journal, paging, rows, tables
from headgate_server.storage.sql.types import from_micros_or_none, to_micros
from headgate_server.storage.sql.work import Work

_RUNS = tables.flow_runs
_READY = tables.ready_runs
_LEASES = tables.leases
_UPDATE_FIELDS = ("name", "tags", "labels", "priority", "retry_policy")

#: A flow run with its state, the name of its deployment, and who holds its lease.
SELECT_FLOW_RUN = (
    sa.select(
        _RUNS,
        *journal.STATE_EXTRAS,
        tables.deployments.c.name.label("deployment_name"),
        tables.sessions.c.name.label("runner_name"),
    )
    .select_from(_RUNS)
    .outerjoin(tables.journal, tables.journal.c.revision == _RUNS.c.revision)
    .outerjoin(tables.deployments, tables.deployments.c.id == _RUNS.c.deployment_id)
    .outerjoin(_LEASES, _LEASES.c.flow_run_id == _RUNS.c.id)
    .outerjoin(tables.sessions, tables.sessions.c.id == _LEASES.c.session_id)
)

# Statements of the hot path, made once: to make one costs more than to run it.
_GET = SELECT_FLOW_RUN.where(_RUNS.c.id == sa.bindparam("flow_run_id"))
_INSERT = sa.insert(_RUNS)
_EXISTS = sa.select(_RUNS.c.id).where(_RUNS.c.id == sa.bindparam("flow_run_id"))
_SAVE = sa.update(_RUNS).where(
    _RUNS.c.id == sa.bindparam("before_id"),
    _RUNS.c.state_id == sa.bindparam("before_state_id"),
    _RUNS.c.fencing_token == sa.bindparam("before_token"),
)
_SAVE_NEXT = _SAVE.where(_RUNS.c.committed_seq == sa.bindparam("before_seq"))
_LEAVE_READY_SET = sa.delete(_READY).where(_READY.c.flow_run_id == sa.bindparam("run_id"))
_RELEASE = sa.delete(_LEASES).where(_LEASES.c.flow_run_id == sa.bindparam("run_id"))
_IS_LEASED = sa.select(_LEASES.c.flow_run_id).where(_LEASES.c.flow_run_id == sa.bindparam("run_id"))

_TERMINAL = [type.value for type in states.StateType if type.is_terminal]


class SqlFlowRuns:
    """See :class:`headgate_server.storage.interface.FlowRuns`."""

    def __init__(self, work: Work) -> None:
        self._work = work

    def get(self, flow_run_id: str) -> runs.FlowRun | None:
        row = self._work.execute(_GET, {"flow_run_id": flow_run_id}).first()
        return None if row is None else rows.flow_run(row)

    def find_idempotent(self, flow_id: str, idempotency_key: str) -> runs.FlowRun | None:
        return self._one(
            sa.and_(_RUNS.c.flow_id == flow_id, _RUNS.c.idempotency_key == idempotency_key)
        )

    def insert(self, flow_run: runs.FlowRun) -> int:
        self._refuse_duplicate(flow_run)
        revision = self._work.record([(flow_run.id, flow_run.id, flow_run.name, flow_run.state)])
        values = {**rows.flow_run_values(flow_run), "revision": revision}
        self._work.execute(_INSERT, values)
        if readiness.is_ready(flow_run, leased=False):
            self._enter_ready_set(flow_run)
        self._announce(flow_run, revision)
        return revision

    def save(
        self,
        before: runs.FlowRun,
        after: runs.FlowRun,
        *,
        release: bool = False,
        seq: int | None = None,
    ) -> int | None:
        moves = after.state.id != before.state.id
        revision = self._work.next_revision if moves else before.revision
        values = {
            **rows.flow_run_transition_values(after),
            "fencing_token": after.fencing_token,
            "before_id": before.id,
            "before_state_id": before.state.id,
            "before_token": before.fencing_token,
        }
        statement = _SAVE
        if moves:
            values["revision"] = revision
        if after.fencing_token != before.fencing_token:
            # The streams of each holder of a lease count from 1.
            values.update(committed_seq=0, committed_log_seq=0)
        if seq is not None:
            statement = _SAVE_NEXT
            values.update(before_seq=seq - 1, committed_seq=seq)
        if self._work.execute(statement, values).rowcount == 0:
            return None
        if moves:
            self._work.record([(after.id, after.id, after.name, after.state)])
        if revision != before.revision or after.fencing_token != before.fencing_token:
            self._announce(after, revision)  # Its holder, or its former one, is to be told.
        self._follow(before, after, release=release)
        return revision

    def _announce(self, flow_run: runs.FlowRun, revision: int) -> None:
        self._work.changes.flow_runs[flow_run.id] = dataclasses.replace(flow_run, revision=revision)

    def advance(self, flow_run_id: str, *, fencing_token: int, seq: int) -> bool:
        result = self._work.execute(
            sa.update(_RUNS).where(
                _RUNS.c.id == flow_run_id,
                _RUNS.c.fencing_token == fencing_token,
                _RUNS.c.committed_seq == seq - 1,
            ),
            {"committed_seq": seq},
        )
        return result.rowcount == 1

    def update(self, flow_run: runs.FlowRun) -> None:
        values = rows.flow_run_values(flow_run)
        self._work.execute(
            sa.update(_RUNS).where(_RUNS.c.id == flow_run.id),
            {name: values[name] for name in _UPDATE_FIELDS},
        )
        self._work.execute(
            sa.update(_READY).where(_READY.c.flow_run_id == flow_run.id),
            {"precedence": -flow_run.priority},
        )

    def delete(self, flow_run_id: str) -> None:
        deletion.delete_flow_runs(self._work, _RUNS.c.id == flow_run_id)

    def delete_auto_scheduled(self, deployment_id: str) -> int:
        leased = sa.exists().where(_LEASES.c.flow_run_id == _RUNS.c.id)
        condition = sa.and_(
            _RUNS.c.deployment_id == deployment_id,
            _RUNS.c.auto_scheduled,
            _RUNS.c.state_type == states.StateType.SCHEDULED.value,
            _RUNS.c.start_time.is_(None),  # one that waits to be tried again is not to come
            ~leased,
        )
        # By id: the leases go first, and the condition speaks of them.
        doomed = self._work.execute(sa.select(_RUNS.c.id).where(condition)).scalars().all()
        if not doomed:
            return 0
        return deletion.delete_flow_runs(self._work, _RUNS.c.id.in_(doomed))

    def list(
        self, where: FlowRunFilter, order: FlowRunOrder, page: PageRequest
    ) -> Page[runs.FlowRun]:
        types = where.state_types
        indexed = dataclasses.replace(where, state_types=(), name_contains="")
        query = SELECT_FLOW_RUN.where(*self._conditions(indexed))
        if order is FlowRunOrder.ID_DESC:
            key = [_RUNS.c.id]
        else:
            key = [_RUNS.c.order_time, _RUNS.c.id]
        descending = order is not FlowRunOrder.EXPECTED_START_TIME_ASC
        return paging.fetch_page(
            self._work,
            query,
            key,
            page,
            rows.flow_run,
            descending=descending,
            any_of=[_RUNS.c.state_type == type.value for type in dict.fromkeys(types)],
            heavy=True,
            searched=paging.searched(_RUNS.c.name, where.name_contains),
        )

    def count(self, where: FlowRunFilter) -> Sequence[runs.StateCount]:
        columns = (_RUNS.c.state_type, _RUNS.c.state_name)
        query = (
            sa.select(*columns, sa.func.count())
            .where(*self._conditions(where))
            .group_by(*columns)
            .order_by(*columns)
        )
        return [
            runs.StateCount(type=type, name=name, count=count)
            for type, name, count in self._work.execute(query)
        ]

    def states(self, flow_run_id: str) -> Sequence[states.State]:
        return journal.states_of(self._work, flow_run_id, flow_run_id)

    def list_late(self, due_before: datetime, limit: int) -> Sequence[runs.FlowRun]:
        query = SELECT_FLOW_RUN.join(_READY, _READY.c.flow_run_id == _RUNS.c.id).where(
            _READY.c.due_time < to_micros(due_before), _RUNS.c.state_name == "Scheduled"
        )
        return self._some(query.order_by(_READY.c.due_time), limit)

    def list_expired_pauses(self, now: datetime, limit: int) -> Sequence[runs.FlowRun]:
        query = SELECT_FLOW_RUN.where(
            _RUNS.c.state_type == states.StateType.PAUSED.value,
            _RUNS.c.pause_expire_time < now,
        )
        return self._some(query.order_by(_RUNS.c.pause_expire_time), limit)

    def list_overdue_cancelling(self, since_before: datetime, limit: int) -> Sequence[runs.FlowRun]:
        query = SELECT_FLOW_RUN.where(
            _RUNS.c.state_type == states.StateType.CANCELLING.value,
            _RUNS.c.state_timestamp < since_before,
        )
        return self._some(query.order_by(_RUNS.c.state_timestamp), limit)

    def list_unfinished_children(self, flow_run_id: str, limit: int) -> Sequence[runs.FlowRun]:
        query = SELECT_FLOW_RUN.where(
            _RUNS.c.parent_flow_run_id == flow_run_id, _RUNS.c.state_type.not_in(_TERMINAL)
        )
        return self._some(query.order_by(_RUNS.c.id), limit)

    def next_ready_time(self) -> datetime | None:
        query = sa.select(sa.func.min(_READY.c.due_time)).where(
            _READY.c.due_time >= to_micros(self._work.now())
        )
        return from_micros_or_none(self._work.execute(query).scalar())

    def _one(self, condition: sa.ColumnElement[bool]) -> runs.FlowRun | None:
        row = self._work.execute(SELECT_FLOW_RUN.where(condition)).first()
        return None if row is None else rows.flow_run(row)

    def _some(self, query: sa.Select[Any], limit: int) -> Sequence[runs.FlowRun]:
        return [rows.flow_run(row) for row in self._work.execute(query.limit(limit))]

    def _refuse_duplicate(self, flow_run: runs.FlowRun) -> None:
        same = self._work.execute(_EXISTS, {"flow_run_id": flow_run.id}).first()
        if same is None and flow_run.idempotency_key is not None:
            same = self.find_idempotent(flow_run.flow_id, flow_run.idempotency_key)
        if same is not None:
            raise errors.AlreadyExists("flow run", flow_run.idempotency_key or flow_run.id)

    def _follow(self, before: runs.FlowRun, run: runs.FlowRun, *, release: bool) -> None:
        """Let lease and ready set follow a stored transition."""
        key = {"run_id": run.id}
        if release:
            # A slot became free.
            self._work.changes.ready |= self._work.execute(_RELEASE, key).rowcount > 0
        scheduled = states.StateType.SCHEDULED
        if before.state.type is scheduled:  # or else it is not in there
            self._work.execute(_LEAVE_READY_SET, key)
        if run.state.type is scheduled:
            leased = not release and self._work.execute(_IS_LEASED, key).first() is not None
            if readiness.is_ready(run, leased=leased):
                self._enter_ready_set(run)

    def _enter_ready_set(self, run: runs.FlowRun) -> None:
        self._work.execute(
            sa.insert(_READY),
            {
                "flow_run_id": run.id,
                "work_pool_name": run.work_pool_name,
                "work_queue_name": run.work_queue_name or "default",
                "deployment_id": run.deployment_id,
                "precedence": -run.priority,
                "due_time": to_micros(readiness.due_time(run)),
            },
        )
        self._work.changes.ready = True

    def _conditions(self, where: FlowRunFilter) -> list[sa.ColumnElement[bool]]:
        found = paging.has_tags(self._work, _RUNS.c.tags, where.tags)
        for column, values in (
            (_RUNS.c.id, where.ids),
            (_RUNS.c.flow_id, where.flow_ids),
            (_RUNS.c.deployment_id, where.deployment_ids),
            (_RUNS.c.state_type, [type.value for type in where.state_types]),
            (_RUNS.c.state_name, where.state_names),
        ):
            if values:
                found.append(column.in_(values))
        for column, value in (
            (_RUNS.c.parent_flow_run_id, where.parent_flow_run_id),
            (_RUNS.c.work_pool_name, where.work_pool_name),
            (_RUNS.c.work_queue_name, where.work_queue_name),
        ):
            if value:
                found.append(column == value)
        if where.flow_name:
            # By id, because the index is by id.
            of_flow = sa.select(tables.flows.c.id).where(tables.flows.c.name == where.flow_name)
            found.append(_RUNS.c.flow_id == of_flow.scalar_subquery())
        if where.exclude_flow_name:
            others = sa.select(tables.flows.c.id).where(
                tables.flows.c.name == where.exclude_flow_name
            )
            found.append(_RUNS.c.flow_id.not_in(others))
        if where.name_contains:
            found.append(paging.name_contains(_RUNS.c.name, where.name_contains))
        if where.top_level is not None:
            parent = _RUNS.c.parent_flow_run_id
            found.append(parent.is_(None) if where.top_level else parent.is_not(None))
        if where.expected_after is not None:
            found.append(_RUNS.c.order_time >= to_micros(where.expected_after))
        if where.expected_before is not None:
            found.append(_RUNS.c.order_time < to_micros(where.expected_before))
        return found
