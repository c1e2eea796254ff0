"""Events in SQL: those that are stored, and transitions, in the one order of revisions."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from datetime import datetime, timedelta

import sqlalchemy as sa

from headgate.core.events import RESOURCE_ID, CountBy, Event, EventCount, EventFilter, fits
from headgate_server.storage.kinds.events import EARLY, LATE
from headgate_server.storage.records import Page, PageRequest
from headgate_server.storage.sql import (
    event_conditions,
    event_counts,
    json_text,
    paging,
    rows,
    tables,
    transition_events,
)
from headgate_server.storage.sql.driver import RawRow
from headgate_server.storage.sql.event_conditions import Condition
from headgate_server.storage.sql.event_tables import event_related
from headgate_server.storage.sql.event_tables import events as stored_events
from headgate_server.storage.sql.types import to_micros
from headgate_server.storage.sql.work import Work, storable

_JOURNAL = tables.journal
_EVENTS = stored_events
#: How much of the journal one request looks at, where no index leads to what it asks for.
_WINDOW_REVISIONS = 50_000
#: How many texts a statement takes for sure.
_IDS_PER_STATEMENT = 500


@dataclasses.dataclass(frozen=True, slots=True)
class _Part:
    """A part of the journal.

    Attributes:
        behind: It begins after this revision.
        to: It ends with this one.
        is_last: Whether nothing that is wanted is beyond it.
    """

    behind: int
    to: int
    is_last: bool


class SqlEvents:
    """See :class:`headgate_server.storage.kinds.events.Events`."""

    def __init__(self, work: Work) -> None:
        self._work = work

    def append(self, events: Sequence[Event]) -> int:
        new = self._without_known({event.id: event for event in events})
        if not new:
            return 0
        first = self._work.take_revisions(len(new))
        commit_time = to_micros(self._work.now())
        event_rows: list[RawRow] = []
        related_rows: list[RawRow] = []
        for revision, event in enumerate(new, first):
            event_rows.append(_row(event, revision, commit_time))
            related_rows.extend(
                (revision, place, storable(labels.get(RESOURCE_ID, "")))
                for place, labels in enumerate(event.related)
            )
        self._work.insert(_EVENTS, event_rows)
        if related_rows:
            self._work.insert(event_related, related_rows)
        return len(new)

    def list(
        self, where: EventFilter, page: PageRequest, *, ascending: bool = False
    ) -> Page[Event]:
        newest = self._newest()
        at = 0 if ascending else newest
        if page.after is not None:
            at = int(page.after[0])
        part, lines = self._read_lines(where, at, newest, page.size + 1, ascending=ascending)
        behind, to = _between(at, newest, part, ascending=ascending)
        if where.since is not None:
            # Without it the whole table would be read for the events of the last hour.
            behind = max(behind, self.revision_before(_shifted(where.since, -EARLY)))
        conditions = event_conditions.of_events(where)
        stored = self._read_stored(
            [*conditions, _EVENTS.c.revision > behind, _EVENTS.c.revision <= to],
            page.size,
            ascending=ascending,
        )
        merged = sorted([*lines, *stored.items], key=lambda e: e.revision, reverse=not ascending)
        if stored.next is not None:  # there are more: lines beyond the last one have to wait
            last = int(stored.next[0])
            merged = [
                e for e in merged if (e.revision <= last if ascending else e.revision >= last)
            ]
        found = merged[: page.size]
        is_cut = stored.next is not None or len(merged) > page.size
        following = _following(found, part, is_cut=is_cut, ascending=ascending)
        return Page(items=[event for event in found if fits(event, where)], next=following)

    def count(self, where: EventFilter, by: CountBy, limit: int) -> Sequence[EventCount]:
        lines = event_conditions.of_lines(self._work, where)
        if lines is not None:
            bounds = self._bounds(where, self._newest())
            lines = dataclasses.replace(lines, conditions=[*lines.conditions, *_within(bounds)])
        stored = event_conditions.of_events(where)
        return event_counts.count(self._work, lines, stored, by, limit)

    def revision_before(self, moment: datetime) -> int:
        newest = self._newest()
        firsts = [self._first_since(table, moment, newest) for table in (_JOURNAL, _EVENTS)]
        return min((first - 1 for first in firsts if first is not None), default=newest)

    def _newest(self) -> int:
        return self._work.execute(sa.select(tables.heads.c.journal)).scalar_one()

    def _without_known(self, given: dict[str, Event]) -> list[Event]:
        known: set[str] = set()
        ids = list(given)
        for start in range(0, len(ids), _IDS_PER_STATEMENT):
            some = ids[start : start + _IDS_PER_STATEMENT]
            query = sa.select(_EVENTS.c.id).where(_EVENTS.c.id.in_(some))
            known.update(self._work.execute(query).scalars())
        return [event for id, event in given.items() if id not in known]

    def _read_lines(
        self, where: EventFilter, at: int, newest: int, limit: int, *, ascending: bool
    ) -> tuple[_Part, list[Event]]:
        lines = event_conditions.of_lines(self._work, where)
        if lines is None:
            is_led = event_conditions.is_led_by_index(where)
            width = newest if is_led else _WINDOW_REVISIONS
            return _part(0, newest, at, width, ascending=ascending), []
        low, high = self._bounds(where, newest)
        width = high - low if lines.is_narrow else _WINDOW_REVISIONS
        part = _part(low, high, at, width, ascending=ascending)
        conditions = [*lines.conditions, *_within((part.behind, part.to))]
        found = transition_events.read(self._work, conditions, limit, ascending=ascending)
        return part, found

    def _read_stored(
        self, conditions: Sequence[Condition], limit: int, *, ascending: bool
    ) -> Page[Event]:
        return paging.fetch_page(
            self._work,
            sa.select(_EVENTS).where(*conditions),
            [_EVENTS.c.revision],
            PageRequest(size=limit),
            _event,
            descending=not ascending,
            heavy=True,
        )

    def _bounds(self, where: EventFilter, newest: int) -> tuple[int, int]:
        """Return between which revisions the lines are that a span of time can have."""
        low, high = 0, newest
        if where.since is not None:
            first = self._first_since(_JOURNAL, _shifted(where.since, -EARLY), newest)
            low = newest if first is None else first - 1
        if where.until is not None:
            first = self._first_since(_JOURNAL, _shifted(where.until, LATE), newest)
            high = newest if first is None else first - 1
        return low, max(low, high)

    def _first_since(self, table: sa.Table, moment: datetime, newest: int) -> int | None:
        """Return the first revision in a table that was committed at a time or later.

        By bisection: commit times grow with the revisions, and have no index of their own.
        """
        revision, commit_time = table.c.revision, table.c.commit_time
        next_row = (
            sa.select(revision, commit_time)
            .where(revision > sa.bindparam("behind"))
            .order_by(revision)
            .limit(1)
        )
        low, high = 0, newest
        while low < high:
            middle = (low + high) // 2
            row = self._work.execute(next_row, {"behind": middle}).first()
            if row is None or row.commit_time >= moment:
                high = middle
            else:
                low = row.revision
        row = self._work.execute(next_row, {"behind": high}).first()
        return None if row is None else row.revision


def _part(low: int, high: int, at: int, width: int, *, ascending: bool) -> _Part:
    """Return the part of the journal between two revisions that comes next."""
    if ascending:
        behind = min(max(at, low), high)
        to = min(behind + width, high)
        return _Part(behind, to, is_last=to >= high)
    to = max(min(at, high), low)
    behind = max(to - width, low)
    return _Part(behind, to, is_last=behind <= low)


def _within(bounds: tuple[int, int]) -> list[Condition]:
    low, high = bounds
    return [_JOURNAL.c.revision > low, _JOURNAL.c.revision <= high]


def _between(at: int, newest: int, part: _Part, *, ascending: bool) -> tuple[int, int]:
    """Return between which revisions stored events are looked for, beside a part of the journal."""
    if ascending:
        return at, newest if part.is_last else part.to
    return 0 if part.is_last else part.behind, at


def _following(
    found: Sequence[Event], part: _Part, *, is_cut: bool, ascending: bool
) -> tuple[int] | None:
    """Return where the next page begins: behind this revision, or, descending, at it."""
    if is_cut:
        last = found[-1].revision
        return (last if ascending else last - 1,)
    if part.is_last:
        return None
    return (part.to if ascending else part.behind,)


def _shifted(moment: datetime, by: timedelta) -> datetime:
    """Move a time, but not out of the years that there are."""
    try:
        return moment + by
    except OverflowError:
        return moment


def _row(event: Event, revision: int, commit_time: int) -> RawRow:
    """Return the row of an event, in the order of the table's columns."""
    return (
        revision,
        event.id,
        storable(event.name),
        to_micros(event.occurred),
        storable(event.resource_id),
        json_text.dump_map(event.resource),
        json_text.dump([dict(labels) for labels in event.related]),
        storable(event.payload),
        event.follows,
        commit_time,
    )


def _event(row: rows.Row) -> Event:
    return Event(
        id=row.id,
        name=row.name,
        occurred=row.occurred,
        resource=json_text.load_map(row.resource),
        related=tuple(json.loads(row.related)),
        payload=row.payload,
        follows=row.follows,
        revision=row.revision,
        commit_time=row.commit_time,
    )
