"""Filters of events as conditions: on the table of events, and on the lines of the journal.

Roles and labels are not among them: what they leave out is left out of the rows that are read.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence

import sqlalchemy as sa

from headgate.core import ids
from headgate.core.events import FLOW_RUN_PREFIX, TASK_RUN_PREFIX, EventFilter
from headgate_server.domain.events import (
    DEPLOYMENT_PREFIX,
    FLOW_PREFIX,
    TAG_PREFIX,
    WORK_POOL_PREFIX,
    WORK_QUEUE_PREFIX,
)
from headgate_server.storage.sql import paging, tables
from headgate_server.storage.sql.event_tables import event_related, events
from headgate_server.storage.sql.work import Work

Condition = sa.ColumnElement[bool]

_JOURNAL = tables.journal
_RUNS = tables.flow_runs
_TASKS = tables.task_runs

IS_FLOW_RUN = _JOURNAL.c.run_id == _JOURNAL.c.flow_run_id
_IS_TASK_RUN = _JOURNAL.c.run_id != _JOURNAL.c.flow_run_id
_KINDS = ((FLOW_RUN_PREFIX, IS_FLOW_RUN), (TASK_RUN_PREFIX, _IS_TASK_RUN))


@dataclasses.dataclass(frozen=True, slots=True)
class LineConditions:
    """What lines of the journal must fulfil.

    Attributes:
        conditions: All must hold.
        is_narrow: Whether they lead to few runs, whose lines an index finds.
    """

    conditions: Sequence[Condition]
    is_narrow: bool


# --- Stored events --------------------------------------------------------------------------


def of_events(where: EventFilter) -> list[Condition]:
    """Return what stored events must fulfil."""
    found: list[Condition] = []
    name, resource_id = events.c.name, events.c.resource_id
    if where.names:
        found.append(name.in_(where.names))
    if where.name_prefixes:
        found.append(sa.or_(*(paging.starts_with(name, prefix) for prefix in where.name_prefixes)))
    if where.exclude_names:
        found.append(name.not_in(where.exclude_names))
    found.extend(
        sa.not_(paging.starts_with(name, prefix)) for prefix in where.exclude_name_prefixes
    )
    if where.ids:
        found.append(events.c.id.in_(where.ids))
    if where.resource_ids:
        found.append(resource_id.in_(where.resource_ids))
    if where.resource_id_prefixes:
        prefixes = where.resource_id_prefixes
        found.append(sa.or_(*(paging.starts_with(resource_id, prefix) for prefix in prefixes)))
    if where.related_ids:
        found.append(_is_related(where.related_ids))
    if where.any_resource_ids:
        found.append(_is_involved(where.any_resource_ids))
    return [*found, *_times(events.c.occurred, where)]


def is_led_by_index(where: EventFilter) -> bool:
    """Say whether an index leads to stored events that fit, however many there are."""
    return bool(
        where.names
        or where.ids
        or where.resource_ids
        or where.related_ids
        or where.any_resource_ids
    )


def _is_related(resource_ids: Sequence[str]) -> Condition:
    return events.c.revision.in_(_related(resource_ids))


def _is_involved(resource_ids: Sequence[str]) -> Condition:
    # Not with "or", for which PostgreSQL reads the whole table.
    own = events.alias("own")
    happened = sa.select(own.c.revision).where(own.c.resource_id.in_(resource_ids))
    return events.c.revision.in_(happened.union_all(_related(resource_ids)))


def _related(resource_ids: Sequence[str]) -> sa.Select[int]:
    return sa.select(event_related.c.revision).where(event_related.c.resource_id.in_(resource_ids))


# --- Lines of the journal -------------------------------------------------------------------


def of_lines(work: Work, where: EventFilter) -> LineConditions | None:
    """Return what lines of the journal must fulfil; None where none can."""
    found: list[Condition] = []
    if where.ids:
        found.append(_JOURNAL.c.state_id.in_(where.ids))
    for given, choices in (
        (where.names, _names(where.names)),
        (where.name_prefixes, _name_prefixes(where.name_prefixes)),
        (where.resource_id_prefixes, _run_prefixes(where.resource_id_prefixes)),
    ):
        if given and not choices:
            return None
        found.extend([sa.or_(*choices)] if given else [])
    found.extend(sa.not_(each) for each in _names(where.exclude_names))
    found.extend(sa.not_(each) for each in _name_prefixes(where.exclude_name_prefixes))
    is_narrow = False
    for given, choices in (
        (where.resource_ids, _are_runs(where.resource_ids)),
        (where.related_ids, _are_related(work, where.related_ids)),
        (
            where.any_resource_ids,
            [*_are_runs(where.any_resource_ids), *_are_related(work, where.any_resource_ids)],
        ),
    ):
        if given and not choices:
            return None
        found.extend([sa.or_(*choices)] if given else [])
        if given and all(id.startswith((FLOW_RUN_PREFIX, TASK_RUN_PREFIX)) for id in given):
            found.append(_JOURNAL.c.flow_run_id.in_(_owners(work, given)))
            is_narrow = True
    return LineConditions([*found, *_times(_JOURNAL.c.state_timestamp, where)], is_narrow)


def _names(names: Sequence[str]) -> list[Condition]:
    return [
        sa.and_(is_kind, _JOURNAL.c.state_name.in_(found))
        for prefix, is_kind in _KINDS
        if (found := _rests(names, prefix))
    ]


def _name_prefixes(prefixes: Iterable[str]) -> list[Condition]:
    return _prefixes(prefixes, _JOURNAL.c.state_name)


def _run_prefixes(prefixes: Iterable[str]) -> list[Condition]:
    return _prefixes(prefixes, sa.cast(_JOURNAL.c.run_id, sa.Text))


def _prefixes(prefixes: Iterable[str], column: sa.ColumnElement[str]) -> list[Condition]:
    found: list[Condition] = []
    for wanted in prefixes:
        for prefix, is_kind in _KINDS:
            if prefix.startswith(wanted):
                found.append(is_kind)
            elif wanted.startswith(prefix):
                found.append(
                    sa.and_(is_kind, column.startswith(wanted[len(prefix) :], autoescape=True))
                )
    return found


def _are_runs(resource_ids: Sequence[str]) -> list[Condition]:
    return [
        sa.and_(is_kind, _JOURNAL.c.run_id.in_(found))
        for prefix, is_kind in _KINDS
        if (found := _uuids(resource_ids, prefix))
    ]


def _are_related(work: Work, resource_ids: Sequence[str]) -> list[Condition]:
    """Return conditions of which one must hold: see ``domain.events.of_transition``."""
    found: list[Condition] = []
    if flow_run_ids := _uuids(resource_ids, FLOW_RUN_PREFIX):
        found.append(sa.and_(_IS_TASK_RUN, _JOURNAL.c.flow_run_id.in_(flow_run_ids)))
    if flow_ids := _uuids(resource_ids, FLOW_PREFIX):
        found.append(_RUNS.c.flow_id.in_(flow_ids))
    if deployment_ids := _uuids(resource_ids, DEPLOYMENT_PREFIX):
        found.append(_RUNS.c.deployment_id.in_(deployment_ids))
    if pools := _rests(resource_ids, WORK_POOL_PREFIX):
        found.append(_RUNS.c.work_pool_name.in_(pools))
    for full_name in _rests(resource_ids, WORK_QUEUE_PREFIX):
        pool, _, queue = full_name.partition("/")
        found.append(sa.and_(_RUNS.c.work_pool_name == pool, _RUNS.c.work_queue_name == queue))
    for tag in _rests(resource_ids, TAG_PREFIX):
        for is_kind, column in ((IS_FLOW_RUN, _RUNS.c.tags), (_IS_TASK_RUN, _TASKS.c.tags)):
            found.append(sa.and_(is_kind, *paging.has_tags(work, column, [tag])))
    return found


def _owners(work: Work, resource_ids: Sequence[str]) -> Sequence[str]:
    """Return the flow runs to which these runs belong."""
    owners = set(_uuids(resource_ids, FLOW_RUN_PREFIX))
    if task_run_ids := _uuids(resource_ids, TASK_RUN_PREFIX):
        query = sa.select(_TASKS.c.flow_run_id).where(_TASKS.c.id.in_(task_run_ids))
        owners.update(work.execute(query).scalars())
    return sorted(owners)


def _rests(texts: Iterable[str], prefix: str) -> list[str]:
    return [text.removeprefix(prefix) for text in texts if text.startswith(prefix)]


def _uuids(texts: Iterable[str], prefix: str) -> list[str]:
    return [rest for rest in _rests(texts, prefix) if ids.is_id(rest)]


# --- Both -----------------------------------------------------------------------------------


def _times(column: sa.ColumnElement[object], where: EventFilter) -> list[Condition]:
    found: list[Condition] = []
    if where.since is not None:
        found.append(column >= where.since)
    if where.until is not None:
        found.append(column < where.until)
    return found


__all__ = [
    "IS_FLOW_RUN",
    "Condition",
    "LineConditions",
    "is_led_by_index",
    "of_events",
    "of_lines",
]
