"""How far those who follow the journal have come: where they begin, and when they are told."""

from __future__ import annotations

import dataclasses

from headgate.core import errors
from headgate.core.clock import Clock

#: Who follows and hears of nothing is told how far it has come.
BOOKMARK_SECONDS = 10.0
#: So many lines passed over are worth a bookmark, too.
_PASSED_OVER_MAX = 5_000


@dataclasses.dataclass(frozen=True, slots=True)
class Bookmark:
    """Nothing new that fits up to this revision."""

    revision: int


class Bookmarks:
    """When a follower is owed a bookmark.

    Args:
        clock: Measures idle time.
        at: The revision that it is told of first.
    """

    def __init__(self, clock: Clock, at: int) -> None:
        """Begin with a follower that is told of a revision now."""
        self._clock = clock
        self.tell(at)

    def tell(self, revision: int) -> Bookmark:
        """Note what a follower is about to be told; call it before the frame is sent.

        Not after: who has received a frame may act on it before its sender goes on here.
        """
        self._told, self._told_at = revision, self._clock.monotonic()
        return Bookmark(revision)

    def is_due(self, at: int) -> bool:
        """Say whether a follower that has come so far has heard nothing for too long."""
        return at - self._told > _PASSED_OVER_MAX or self.rest_seconds <= 0

    @property
    def rest_seconds(self) -> float:
        """How long there is nothing to tell if nothing happens."""
        return max(0.0, self._told_at + BOOKMARK_SECONDS - self._clock.monotonic())


def check_start(after_revision: int, *, oldest: int, newest: int) -> int:
    """Return the revision that somebody wants to begin behind, if the journal has it.

    Raises:
        RevisionCompacted: The journal no longer reaches back that far.
        InvalidArgument: The revision is of another journal.
    """
    if after_revision < oldest:
        raise errors.RevisionCompacted(after_revision, oldest)
    if after_revision > newest:
        raise errors.InvalidArgument.of(
            "after_revision",
            f"{after_revision} is ahead of the journal, whose newest revision is {newest}: it is "
            "of another database. List what there is, then begin from now.",
        )
    return after_revision


__all__ = ["BOOKMARK_SECONDS", "Bookmark", "Bookmarks", "check_start"]
