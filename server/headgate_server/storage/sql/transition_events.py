"""Lines of the journal, read as events."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa

from headgate.core import runs, states
from headgate.core.events import Event
from headgate_server.domain.events import Surroundings, of_transition
from headgate_server.storage.sql import json_text, rows, tables
from headgate_server.storage.sql.event_conditions import Condition
from headgate_server.storage.sql.work import Work

_JOURNAL = tables.journal
_RUNS = tables.flow_runs
_TASKS = tables.task_runs
_DEPLOYMENTS = tables.deployments

_earlier = _JOURNAL.alias("earlier")
#: The line before, of the same run; found in an index.
_BEFORE = (
    sa.select(sa.func.max(_earlier.c.revision))
    .where(
        _earlier.c.flow_run_id == _JOURNAL.c.flow_run_id,
        _earlier.c.run_id == _JOURNAL.c.run_id,
        _earlier.c.revision < _JOURNAL.c.revision,
    )
    .scalar_subquery()
)
_STATE = (
    _JOURNAL.c.state_id,
    _JOURNAL.c.state_type,
    _JOURNAL.c.state_name,
    _JOURNAL.c.state_timestamp,
    _JOURNAL.c.message,
)
#: The journal, with what conditions may speak of.
SOURCE = _JOURNAL.outerjoin(_RUNS, _RUNS.c.id == _JOURNAL.c.flow_run_id).outerjoin(
    _TASKS, _TASKS.c.id == _JOURNAL.c.run_id
)
_LINES = sa.select(
    _JOURNAL.c.revision,
    _JOURNAL.c.flow_run_id,
    _JOURNAL.c.run_id,
    _JOURNAL.c.run_name,
    *_STATE,
    _JOURNAL.c.commit_time,
    _RUNS.c.name.label("flow_run_name"),
    _RUNS.c.flow_id,
    _RUNS.c.flow_name,
    _RUNS.c.deployment_id,
    _RUNS.c.root_flow_run_id,
    _RUNS.c.work_pool_name,
    _RUNS.c.work_queue_name,
    _RUNS.c.tags.label("flow_run_tags"),
    _TASKS.c.tags.label("task_run_tags"),
    _DEPLOYMENTS.c.name.label("deployment_name"),
    _BEFORE.label("before_revision"),
).select_from(SOURCE.outerjoin(_DEPLOYMENTS, _DEPLOYMENTS.c.id == _RUNS.c.deployment_id))


def read(
    work: Work, conditions: Sequence[Condition], limit: int, *, ascending: bool
) -> list[Event]:
    """Return transitions as events, by revision."""
    place = _JOURNAL.c.revision if ascending else _JOURNAL.c.revision.desc()
    query = _LINES.where(*conditions).order_by(place).limit(limit)
    lines = list(work.execute(query))
    before = _states_before(work, lines)
    return [_event(line, before.get(line.before_revision)) for line in lines]


def _states_before(work: Work, lines: Sequence[rows.Row]) -> dict[int | None, states.State]:
    revisions = [line.before_revision for line in lines if line.before_revision is not None]
    if not revisions:
        return {}
    query = sa.select(_JOURNAL.c.revision, *_STATE).where(_JOURNAL.c.revision.in_(revisions))
    return {row.revision: _state(row) for row in work.execute(query)}


def _event(line: rows.Row, before: states.State | None) -> Event:
    is_flow_run = line.run_id == line.flow_run_id
    tags = line.flow_run_tags if is_flow_run else line.task_run_tags
    record = runs.TransitionRecord(
        revision=line.revision,
        kind=runs.RunKind.FLOW_RUN if is_flow_run else runs.RunKind.TASK_RUN,
        run_id=line.run_id,
        run_name=line.run_name,
        flow_run_id=line.flow_run_id,
        root_flow_run_id=line.root_flow_run_id,
        deployment_id=line.deployment_id,
        state=_state(line),
        commit_time=line.commit_time,
    )
    around = Surroundings(
        flow_id=line.flow_id or "",
        flow_name=line.flow_name or "",
        flow_run_name=line.flow_run_name or "",
        deployment_id=line.deployment_id,
        deployment_name=line.deployment_name,
        work_pool_name=line.work_pool_name,
        work_queue_name=line.work_queue_name,
        tags=json_text.load_texts(tags) if tags else (),
    )
    return of_transition(record, around, before)


def _state(row: rows.Row) -> states.State:
    return states.State(
        id=row.state_id,
        type=rows.STATE_TYPES[row.state_type],
        name=row.state_name,
        timestamp=row.state_timestamp,
        message=row.message,
    )


__all__ = ["SOURCE", "read"]
