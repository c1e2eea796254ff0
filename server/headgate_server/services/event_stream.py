"""Follows events for those who subscribe: what is stored, then what is committed, each once."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncGenerator, Sequence
from datetime import timedelta

import anyio

from headgate.core import errors
from headgate.core.clock import Clock
from headgate.core.events import Event, EventFilter
from headgate_server.services.bookmarks import Bookmark, Bookmarks, check_start
from headgate_server.services.events import check_filter
from headgate_server.services.notifier import Notifier
from headgate_server.storage.interface import Storage, Transaction
from headgate_server.storage.kinds.events import EARLY
from headgate_server.storage.records import PageRequest

_PAGE = 500
#: Subscribers read at most so often: a busy run commits hundreds of times a second.
_PACE_SECONDS = 0.01
_BACKFILL_SECONDS_MAX = 100 * 366 * 86_400.0

EventFrame = Event | Bookmark


class EventStream:
    """Serves those who follow events.

    Args:
        storage: Where events are.
        notifier: Says when there are more.
        clock: Measures idle time.
    """

    def __init__(self, storage: Storage, notifier: Notifier, clock: Clock) -> None:
        """Make it for a storage."""
        self._storage = storage
        self._notifier = notifier
        self._clock = clock

    async def follow(
        self, after_revision: int | None, where: EventFilter, *, backfill_seconds: float = 0.0
    ) -> AsyncGenerator[EventFrame, None]:
        """Send events for ever; the caller's pace is ours.

        Args:
            after_revision: Start after this one; None: as the others say.
            where: Which events; ``since`` leads to a start, too.
            backfill_seconds: Start with what was committed so lately; 0: with what comes.

        Raises:
            InvalidArgument: The filter is wrong, or the revision is of another journal.
            RevisionCompacted: The journal no longer reaches back that far.
            Unavailable: The server shuts down.
        """
        check_filter(where)
        if not 0 <= backfill_seconds <= _BACKFILL_SECONDS_MAX:
            raise errors.InvalidArgument.of("backfill", "It is not negative, and no centuries.")
        at = await self._start(after_revision, where, backfill_seconds)
        bookmarks = Bookmarks(self._clock, at)
        yield Bookmark(at)
        signal = self._notifier.journal
        while True:
            self._notifier.refuse_when_closed()
            seen = signal.count
            found = await self._storage.read(lambda tx, after=at: _read(tx, after, where))
            if found.events:
                bookmarks.tell(found.events[-1].revision)
            for event in found.events:
                yield event
            at = max(at, found.reached)
            if bookmarks.is_due(at):
                yield bookmarks.tell(at)
            if not found.more:
                await anyio.sleep(_PACE_SECONDS)
                await signal.wait(seen, timeout_seconds=bookmarks.rest_seconds)

    async def _start(
        self, after_revision: int | None, where: EventFilter, backfill_seconds: float
    ) -> int:
        def query(tx: Transaction) -> tuple[int, int, int]:
            newest = tx.journal.newest()
            begin = newest
            if after_revision is None:
                begin = min(begin, *_begins(tx, where, backfill_seconds))
            return tx.journal.oldest(), newest, begin

        oldest, newest, begin = await self._storage.read(query)
        if after_revision is None:
            return max(begin, oldest)
        return check_start(after_revision, oldest=oldest, newest=newest)


def _begins(tx: Transaction, where: EventFilter, backfill_seconds: float) -> list[int]:
    """Return where a subscription is to begin that does not name a revision."""
    found = [tx.journal.newest()]
    if where.since is not None:
        try:
            found.append(tx.events.revision_before(where.since - EARLY))
        except OverflowError:  # since is in the year 1
            found.append(0)
    if backfill_seconds:
        found.append(tx.events.revision_before(tx.now() - timedelta(seconds=backfill_seconds)))
    return found


@dataclasses.dataclass(frozen=True, slots=True)
class _Found:
    """A part of what is followed: its events, and up to where it was looked."""

    events: Sequence[Event]
    reached: int
    more: bool


def _read(tx: Transaction, after: int, where: EventFilter) -> _Found:
    # In this order, for a storage whose reads see each other's future: what is read after the
    # newest revision may hold more than that, never less.
    newest = tx.journal.newest()
    page = tx.events.list(where, PageRequest(size=_PAGE, after=(after,)), ascending=True)
    if page.next is not None:
        return _Found(page.items, int(page.next[0]), more=True)
    last = page.items[-1].revision if page.items else 0
    return _Found(page.items, max(newest, last), more=False)


__all__ = ["EventFrame", "EventStream"]
