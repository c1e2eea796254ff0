"""Task runs in SQL."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from headgate.core import errors, runs, states
from headgate_server.storage.records import Page, PageRequest, TaskRunFilter
from headgate_server.storage.sql import append, journal, json_text, paging, rows, tables
from headgate_server.storage.sql.work import Work, storable

_RUNS = tables.task_runs

_SELECT = (
    sa.select(
        _RUNS,
        *journal.STATE_EXTRAS,
        tables.journal.c.state_id,
        tables.journal.c.state_timestamp,
    )
    .select_from(_RUNS)
    .outerjoin(tables.journal, tables.journal.c.revision == _RUNS.c.revision)
)

_LINES = tables.journal
_KEYS: list[sa.ColumnElement[Any]] = [_RUNS.c.id, _RUNS.c.dynamic_key, _LINES.c.details]
_STATE = (
    _LINES.c.state_id,
    _LINES.c.state_type,
    _LINES.c.state_name,
    _LINES.c.state_timestamp,
    _LINES.c.message,
    _LINES.c.data_serializer,
    _LINES.c.data_inline,
    _LINES.c.data_storage_key,
)

#: Calls of durable flows: completed, with a key, and with what they returned.
_CALLS = (
    sa.select(*_KEYS)
    .select_from(_RUNS)
    .join(_LINES, _LINES.c.revision == _RUNS.c.revision)
    .where(
        _RUNS.c.state_type == states.StateType.COMPLETED.value,
        _LINES.c.data_serializer.is_not(None),
        _LINES.c.details.contains('"call_key":'),
    )
)

_TERMINAL = [type.value for type in states.StateType if type.is_terminal]

#: How many ids one query may name; databases limit the parameters of a statement.
_IDS_PER_QUERY = 5_000


class SqlTaskRuns:
    """See :class:`headgate_server.storage.interface.TaskRuns`."""

    def __init__(self, work: Work) -> None:
        self._work = work

    def get(self, task_run_id: str) -> runs.TaskRun | None:
        row = self._work.execute(_SELECT.where(_RUNS.c.id == task_run_id)).first()
        return None if row is None else rows.task_run(row)

    def get_many(self, task_run_ids: Sequence[str]) -> Sequence[runs.TaskRun]:
        found: list[runs.TaskRun] = []
        for start in range(0, len(task_run_ids), _IDS_PER_QUERY):
            ids = task_run_ids[start : start + _IDS_PER_QUERY]
            query = _SELECT.where(_RUNS.c.id.in_(ids))
            found.extend(rows.task_run(row) for row in self._work.execute(query))
        return found

    def list(
        self, where: TaskRunFilter, page: PageRequest, *, descending: bool = False
    ) -> Page[runs.TaskRun]:
        indexed = dataclasses.replace(where, name_contains="")
        return paging.fetch_page(
            self._work,
            _SELECT.where(*self._conditions(indexed)),
            [_RUNS.c.id],
            page,
            rows.task_run,
            descending=descending,
            searched=paging.searched(_RUNS.c.name, where.name_contains),
        )

    def count(self, where: TaskRunFilter) -> Sequence[runs.StateCount]:
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

    def states(self, task_run_id: str) -> Sequence[states.State]:
        flow_run_id = self._work.execute(
            sa.select(_RUNS.c.flow_run_id).where(_RUNS.c.id == task_run_id)
        ).scalar()
        if flow_run_id is None:
            return []
        return journal.states_of(self._work, flow_run_id, task_run_id)

    def list_unfinished(self, flow_run_id: str, limit: int) -> Sequence[runs.TaskRun]:
        query = _SELECT.where(
            _RUNS.c.flow_run_id == flow_run_id, _RUNS.c.state_type.not_in(_TERMINAL)
        )
        query = query.order_by(_RUNS.c.id).limit(limit)
        return [rows.task_run(row) for row in self._work.execute(query)]

    def list_calls(
        self, flow_run_id: str, task_run_ids: Sequence[str], page: PageRequest
    ) -> Page[runs.RecordedCall]:
        query = _CALLS.where(_RUNS.c.flow_run_id == flow_run_id)
        if task_run_ids:
            query = query.where(_RUNS.c.id.in_(task_run_ids)).add_columns(*_STATE)
        return paging.fetch_page(self._work, query, [_RUNS.c.id], page, rows.recorded_call)

    def insert(self, task_run: runs.TaskRun) -> int:
        if self.get(task_run.id) is not None:
            raise errors.AlreadyExists("task run", task_run.id)
        revision = self._work.record(
            [(task_run.flow_run_id, task_run.id, task_run.name, task_run.state)]
        )
        self._work.insert(_RUNS, [append.task_run_row(task_run, revision)])
        return revision

    def update(self, task_run: runs.TaskRun) -> None:
        self._work.execute(
            sa.update(_RUNS).where(_RUNS.c.id == task_run.id),
            {
                "name": storable(task_run.name),
                "tags": json_text.dump_texts(task_run.tags),
            },
        )

    def delete(self, task_run: runs.TaskRun) -> None:
        logs = tables.logs.c
        for table, conditions in (
            (_RUNS, [_RUNS.c.id == task_run.id]),
            # The index begins with the flow run.
            (
                _LINES,
                [_LINES.c.flow_run_id == task_run.flow_run_id, _LINES.c.run_id == task_run.id],
            ),
            (tables.logs, [logs.task_run_id == task_run.id]),
        ):
            self._work.execute(sa.delete(table).where(*conditions))

    def save(self, task_runs: Sequence[runs.TaskRun]) -> int:
        if not task_runs:
            return self._work.heads.journal
        first = self._work.record(
            [(run.flow_run_id, run.id, run.name, run.state) for run in task_runs]
        )
        self._work.update_task_runs(
            [append.task_run_row(run, first + place) for place, run in enumerate(task_runs)],
        )
        return first + len(task_runs) - 1

    def _conditions(self, where: TaskRunFilter) -> list[sa.ColumnElement[bool]]:
        found = paging.has_tags(self._work, _RUNS.c.tags, where.tags)
        for column, values in (
            (_RUNS.c.id, where.ids),
            (_RUNS.c.flow_run_id, where.flow_run_ids),
            (_RUNS.c.state_type, [type.value for type in where.state_types]),
            (_RUNS.c.state_name, where.state_names),
        ):
            if values:
                found.append(column.in_(values))
        if where.name_contains:
            found.append(paging.name_contains(_RUNS.c.name, where.name_contains))
        return found
