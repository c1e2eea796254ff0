"""Who gets slots: in the order in which they were asked for."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence

#: Slots decay by fractions; this much too little is the arithmetic's, not the caller's.
_TOLERANCE = 1e-9


@dataclasses.dataclass(slots=True, kw_only=True)
class Room:
    """What one limit has left.

    Attributes:
        limit: How many slots there are.
        active: Whether it limits at all.
        held: How many slots leases have.
        taken: How many slots rate limits have taken that have not decayed.
        decay_per_second: How fast they do.
    """

    limit: int
    active: bool = True
    held: int = 0
    taken: float = 0.0
    decay_per_second: float = 0.0

    @property
    def in_use(self) -> int:
        """How many slots are in use, for people: a part of one is one."""
        return self.held + math.ceil(self.taken - _TOLERANCE)

    def fits(self, slots: int) -> bool:
        """Say whether so many slots are free."""
        return not self.active or self.held + self.taken + slots <= self.limit + _TOLERANCE

    def seconds_until(self, slots: int) -> float | None:
        """Say when decay alone will have freed so many slots; None: it will not."""
        if self.decay_per_second <= 0 or self.held + slots > self.limit:
            return None
        return max(0.0, (self.held + self.taken + slots - self.limit) / self.decay_per_second)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """Somebody in line.

    Attributes:
        id: Who.
        limit_ids: The limits of which slots are wanted, of all or none.
        slots: How many of each.
        decays: Whether decay gives them back.
    """

    id: str
    limit_ids: Sequence[str]
    slots: int
    decays: bool = False


def decayed(taken: float, *, per_second: float, seconds: float) -> float:
    """Say what is left of the slots that rate limits took, so many seconds later."""
    return max(0.0, taken - per_second * max(0.0, seconds))


def admit(line: Iterable[Wish], rooms: Mapping[str, Room]) -> list[Wish]:
    """Choose who of a line gets slots now; takes the slots out of the rooms.

    Who does not get slots of a limit keeps those behind from getting any of that one limit, or
    who wants many slots would never get them. Where somebody waits for one limit only, the
    slots of the others that they want go to those behind: nothing is kept free for somebody who
    cannot use it yet.

    Args:
        line: Who waits, in order.
        rooms: What the limits have left, by id.
    """
    closed: set[str] = set()
    admitted: list[Wish] = []
    for wish in line:
        wanted = [id for id in wish.limit_ids if id in rooms]
        lacking = [id for id in wanted if id in closed or not rooms[id].fits(wish.slots)]
        if lacking:
            closed.update(lacking)
            continue
        for id in wanted:
            if wish.decays:
                rooms[id].taken += wish.slots
            else:
                rooms[id].held += wish.slots
        admitted.append(wish)
    return admitted


__all__ = ["Room", "Wish", "admit", "decayed"]
