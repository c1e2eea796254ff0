"""The journal in SQL: one line per transition, and so the state history of every run."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa

from headgate.core import runs, states
from headgate_server.storage.records import JournalFilter
from headgate_server.storage.sql import json_text, rows, tables
from headgate_server.storage.sql.work import Work

_JOURNAL = tables.journal
_RUNS = tables.flow_runs

#: What a run's row lacks of its state; its id, type, name and timestamp come from elsewhere.
STATE_EXTRAS = (
    _JOURNAL.c.message,
    _JOURNAL.c.details,
    _JOURNAL.c.data_serializer,
    _JOURNAL.c.data_inline,
    _JOURNAL.c.data_storage_key,
)

_WITHOUT_DATA = (
    sa.select(
        _JOURNAL.c.revision,
        _JOURNAL.c.run_id,
        _JOURNAL.c.run_name,
        _JOURNAL.c.flow_run_id,
        _JOURNAL.c.state_id,
        _JOURNAL.c.state_type,
        _JOURNAL.c.state_name,
        _JOURNAL.c.state_timestamp,
        _JOURNAL.c.message,
        _JOURNAL.c.details,
        _JOURNAL.c.commit_time,
        _RUNS.c.root_flow_run_id,
        _RUNS.c.deployment_id,
    )
    .select_from(_JOURNAL)
    .outerjoin(_RUNS, _RUNS.c.id == _JOURNAL.c.flow_run_id)
)


def states_of(work: Work, flow_run_id: str, run_id: str) -> Sequence[states.State]:
    """Return all states of a run, oldest first."""
    query = (
        sa.select(_JOURNAL)
        .where(_JOURNAL.c.flow_run_id == flow_run_id, _JOURNAL.c.run_id == run_id)
        .order_by(_JOURNAL.c.revision)
    )
    return [rows.state(row) for row in work.execute(query)]


class SqlJournal:
    """See :class:`headgate_server.storage.interface.Journal`."""

    def __init__(self, work: Work) -> None:
        self._work = work

    def read(
        self, after_revision: int, where: JournalFilter, limit: int
    ) -> Sequence[runs.TransitionRecord]:
        after = max(after_revision, self._begin(where))
        query = _WITHOUT_DATA.where(_JOURNAL.c.revision > after, *_conditions(where))
        query = query.order_by(_JOURNAL.c.revision).limit(limit)
        return [_transition(row) for row in self._work.execute(query)]

    def newest(self) -> int:
        return self._work.execute(sa.select(tables.heads.c.journal)).scalar_one()

    def oldest(self) -> int:
        return self._work.execute(sa.select(tables.heads.c.journal_oldest)).scalar_one()

    def _begin(self, where: JournalFilter) -> int:
        """Return a revision before the first line of the runs asked for.

        A run's lines are all behind its first one, so a watch of a young run need not pass
        over an old journal.
        """
        run_ids = where.flow_run_ids or where.root_flow_run_ids
        if not run_ids:
            return 0
        first = self._work.execute(
            sa.select(sa.func.min(_JOURNAL.c.revision)).where(
                _JOURNAL.c.flow_run_id.in_(run_ids), _JOURNAL.c.run_id.in_(run_ids)
            )
        ).scalar()
        return 0 if first is None else first - 1


def _conditions(where: JournalFilter) -> list[sa.ColumnElement[bool]]:
    found: list[sa.ColumnElement[bool]] = []
    for column, values in (
        (_JOURNAL.c.flow_run_id, where.flow_run_ids),
        (_RUNS.c.root_flow_run_id, where.root_flow_run_ids),
        (_RUNS.c.deployment_id, where.deployment_ids),
        (_JOURNAL.c.state_type, [type.value for type in where.state_types]),
    ):
        if values:
            found.append(column.in_(values))
    if where.kind is runs.RunKind.FLOW_RUN:
        found.append(_JOURNAL.c.run_id == _JOURNAL.c.flow_run_id)
    elif where.kind is runs.RunKind.TASK_RUN:
        found.append(_JOURNAL.c.run_id != _JOURNAL.c.flow_run_id)
    return found


def _transition(row: rows.Row) -> runs.TransitionRecord:
    is_flow_run = row.run_id == row.flow_run_id
    return runs.TransitionRecord(
        revision=row.revision,
        kind=runs.RunKind.FLOW_RUN if is_flow_run else runs.RunKind.TASK_RUN,
        run_id=row.run_id,
        run_name=row.run_name,
        flow_run_id=row.flow_run_id,
        root_flow_run_id=row.root_flow_run_id,
        deployment_id=row.deployment_id,
        state=states.State(
            id=row.state_id,
            type=rows.STATE_TYPES[row.state_type],
            name=row.state_name,
            timestamp=row.state_timestamp,
            message=row.message,
            details=json_text.load_details(row.details),
        ),
        commit_time=row.commit_time,
    )
