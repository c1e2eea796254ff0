"""Follows the journal for those who watch: every transition once, in order, resumable."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence

import anyio

from headgate.core.clock import Clock
from headgate.core.runs import TransitionRecord
from headgate_server.domain.checks import Checks
from headgate_server.services.bookmarks import Bookmark, Bookmarks, check_start
from headgate_server.services.notifier import Notifier
from headgate_server.storage.interface import Storage, Transaction
from headgate_server.storage.records import JournalFilter

_PAGE = 500
#: Watchers read the journal at most so often: a busy run commits hundreds of times a second.
_PACE_SECONDS = 0.01
_IDS_MAX = 1_000


WatchFrame = TransitionRecord | Bookmark


class Watch:
    """Serves watchers.

    Args:
        storage: Where the journal is.
        notifier: Says when it grows.
        clock: Measures idle time.
    """

    def __init__(self, storage: Storage, notifier: Notifier, clock: Clock) -> None:
        """Make it for a storage."""
        self._storage = storage
        self._notifier = notifier
        self._clock = clock

    async def follow(
        self, after_revision: int | None, where: JournalFilter
    ) -> AsyncGenerator[WatchFrame, None]:
        """Send transitions for ever; the caller's pace is ours.

        Args:
            after_revision: Start after this one; None: after the newest.
            where: Which transitions.

        Raises:
            InvalidArgument: The filter is wrong, or the revision is of another journal.
            RevisionCompacted: The journal no longer reaches back that far.
            Unavailable: The server shuts down.
        """
        _check(where)
        at = await self._start(after_revision)
        bookmarks = Bookmarks(self._clock, at)
        yield Bookmark(at)
        signal = self._notifier.journal
        while True:
            self._notifier.refuse_when_closed()
            seen = signal.count
            lines, newest = await self._storage.read(lambda tx, after=at: _read(tx, after, where))
            if lines:
                bookmarks.tell(lines[-1].revision)
            for line in lines:
                yield line
            more = len(lines) == _PAGE
            at = lines[-1].revision if more else max(at, newest)
            if bookmarks.is_due(at):
                yield bookmarks.tell(at)
            if not more:
                await anyio.sleep(_PACE_SECONDS)
                await signal.wait(seen, timeout_seconds=bookmarks.rest_seconds)

    async def _start(self, after_revision: int | None) -> int:
        oldest, newest = await self._storage.read(
            lambda tx: (tx.journal.oldest(), tx.journal.newest())
        )
        if after_revision is None:
            return newest
        return check_start(after_revision, oldest=oldest, newest=newest)


def _read(
    tx: Transaction, after: int, where: JournalFilter
) -> tuple[Sequence[TransitionRecord], int]:
    # In this order, for a storage whose reads see each other's future: what is read after the
    # newest revision may hold more than that, never less.
    newest = tx.journal.newest()
    lines = tx.journal.read(after, where, _PAGE)
    return lines, max(newest, lines[-1].revision if lines else 0)


def _check(where: JournalFilter) -> None:
    checks = Checks()
    for name in ("flow_run_ids", "root_flow_run_ids", "deployment_ids"):
        ids: tuple[str, ...] = getattr(where, name)
        if len(ids) > _IDS_MAX:
            checks.add(f"filter.{name}", f"{len(ids)} are too many; at most {_IDS_MAX} fit.")
        checks.ids(f"filter.{name}", ids[:_IDS_MAX])
    checks.raise_any()


__all__ = ["Watch", "WatchFrame"]
