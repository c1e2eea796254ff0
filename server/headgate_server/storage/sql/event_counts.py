"""Counts of events."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from headgate.core.events import FLOW_RUN_PREFIX, TASK_RUN_PREFIX, CountBy, EventCount
from headgate_server.storage.sql import tables, transition_events
from headgate_server.storage.sql.event_conditions import IS_FLOW_RUN, Condition, LineConditions
from headgate_server.storage.sql.event_tables import events
from headgate_server.storage.sql.types import from_micros
from headgate_server.storage.sql.work import Work

_JOURNAL = tables.journal
_MICROS = 1_000_000
_ORDERED_BY_COUNT = frozenset({CountBy.NAME, CountBy.RESOURCE})


def count(
    work: Work,
    lines: LineConditions | None,
    stored: Sequence[Condition],
    by: CountBy,
    limit: int,
) -> list[EventCount]:
    """Count lines of the journal and stored events together."""
    found: dict[Any, EventCount] = {}
    if lines is not None:
        key = _line_key(by)
        query = _grouped(key, _JOURNAL.c.state_timestamp, transition_events.SOURCE)
        _add(found, by, work.execute(_first(query.where(*lines.conditions), by, limit)))
    key = _event_key(by)
    query = _grouped(key, events.c.occurred, events)
    _add(found, by, work.execute(_first(query.where(*stored), by, limit)))
    return _ordered(found, by)[:limit]


def _grouped(
    key: Sequence[sa.ColumnElement[Any]], occurred: sa.ColumnElement[datetime], source: Any
) -> sa.Select[Any]:
    return (
        sa.select(
            *key,
            sa.func.count().label("how_many"),
            sa.func.min(occurred).label("first"),
            sa.func.max(occurred).label("last"),
        )
        .select_from(source)
        .group_by(*key)
    )


def _first(query: sa.Select[Any], by: CountBy, limit: int) -> sa.Select[Any]:
    """Return the groups that come first; a run has one each, and there may be millions."""
    columns = query.selected_columns
    if by in _ORDERED_BY_COUNT:
        return query.order_by(columns["how_many"].desc(), columns["value"]).limit(limit)
    return query.order_by(columns["value"]).limit(limit)


def _line_key(by: CountBy) -> Sequence[sa.ColumnElement[Any]]:
    prefix = sa.case((IS_FLOW_RUN, FLOW_RUN_PREFIX), else_=TASK_RUN_PREFIX).label("prefix")
    match by:
        case CountBy.NAME:
            return [prefix, _JOURNAL.c.state_name.label("value")]
        case CountBy.RESOURCE:
            return [prefix, _JOURNAL.c.run_id.label("value")]
        case _:
            return [_span(_JOURNAL.c.state_timestamp, by)]


def _event_key(by: CountBy) -> Sequence[sa.ColumnElement[Any]]:
    match by:
        case CountBy.NAME:
            return [events.c.name.label("value")]
        case CountBy.RESOURCE:
            return [events.c.resource_id.label("value")]
        case _:
            return [_span(events.c.occurred, by)]


def _span(occurred: sa.ColumnElement[datetime], by: CountBy) -> sa.ColumnElement[Any]:
    """Return the start of the span of time, in microseconds."""
    micros = sa.type_coerce(occurred, sa.BigInteger)
    return (micros - micros % ((by.seconds or 1) * _MICROS)).label("value")


def _add(found: dict[Any, EventCount], by: CountBy, rows: Iterable[Any]) -> None:
    for row in rows:
        value = getattr(row, "prefix", "") + row.value if by in _ORDERED_BY_COUNT else row.value
        other = found.get(value)
        found[value] = EventCount(
            value=value if by in _ORDERED_BY_COUNT else from_micros(value).isoformat(),
            count=row.how_many + (other.count if other else 0),
            first_occurred=min(row.first, other.first_occurred) if other else row.first,
            last_occurred=max(row.last, other.last_occurred) if other else row.last,
        )


def _ordered(found: dict[Any, EventCount], by: CountBy) -> list[EventCount]:
    if by in _ORDERED_BY_COUNT:
        return sorted(found.values(), key=lambda each: (-each.count, each.value))
    return [found[start] for start in sorted(found)]


__all__ = ["count"]
