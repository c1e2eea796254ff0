"""Events: those that are stored, and the transitions of the journal presented as such.

Both take their revisions from one counter, so their order is one.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Protocol

from headgate.core.events import CountBy, Event, EventCount, EventFilter
from headgate_server.storage.records import Page, PageRequest

#: A transition is looked for among those that were committed from so long before a time ...
EARLY = timedelta(minutes=5)
#: ... to so long after it. Clocks differ by less; engines that lost the server report later, but
#: seldom as late.
LATE = timedelta(hours=24)


class Events(Protocol):
    """Events."""

    def append(self, events: Sequence[Event]) -> int:
        """Store events whose id is not known, in order; return how many those were.

        Revision and commit time are given here, whatever the events say.
        """
        ...

    def list(
        self, where: EventFilter, page: PageRequest, *, ascending: bool = False
    ) -> Page[Event]:
        """List events by revision, the newest first.

        A page may have fewer events than its size, even none, and still a next one: it looks at
        a bounded part of the journal.
        """
        ...

    def count(self, where: EventFilter, by: CountBy, limit: int) -> Sequence[EventCount]:
        """Count events; by time in its order, else the greatest first and then by value.

        Not by ``related_roles``, nor by labels: those fields are not looked at.

        Args:
            where: Which events.
            by: What is counted together.
            limit: How many counts at most; those that are more are left out.
        """
        ...

    def revision_before(self, moment: datetime) -> int:
        """Return a revision up to which all was committed before this time, the greatest known."""
        ...


__all__ = ["EARLY", "LATE", "Events"]
