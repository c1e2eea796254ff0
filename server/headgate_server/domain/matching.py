"""Who is asked first, and how much at once, when runs are given to waiting runners."""

from __future__ import annotations

import dataclasses
from collections.abc import Hashable, Sequence


@dataclasses.dataclass(slots=True, kw_only=True)
class Candidate:
    """A runner that takes offers.

    Attributes:
        session_id: Which.
        serves: The pools and queues that it serves; equal for runners that wait for the same.
        free: How many offers it takes.
        last_served: Grows with every offer; the one that waited longest goes first.
    """

    session_id: str
    serves: Hashable
    free: int
    last_served: int


@dataclasses.dataclass(frozen=True, slots=True)
class Ask:
    """Grant up to count runs to a runner."""

    session_id: str
    count: int


class Allotment:
    """Deals runs out to runners within one round: fair at first, then quick.

    Runners that wait for the same get one run each in turn, the freest first, then two each,
    four each ... When one of them gets less than was asked for, nothing more is there for any
    of them.

    Args:
        candidates: The runners.
        limit: How many runs at most in one round, so that other writes get their turn.
    """

    def __init__(self, candidates: Sequence[Candidate], *, limit: int = 200) -> None:
        """Make it for a round."""
        self._groups: dict[Hashable, list[Candidate]] = {}
        for candidate in sorted(candidates, key=lambda c: (-c.free, c.last_served)):
            if candidate.free > 0:
                self._groups.setdefault(candidate.serves, []).append(candidate)
        self._left = limit
        self._turn: list[tuple[Candidate, int]] = []
        self._share = 0

    def next_ask(self) -> Ask | None:
        """Return what to grant next; None when the round is over. Answer with ``record``."""
        if self._left <= 0:
            return None
        if not self._turn:
            self._share = max(1, self._share * 2)
            self._turn = [
                (candidate, len(group))
                for group in self._groups.values()
                for candidate in group
                if candidate.free > 0
            ]
            self._turn.reverse()
        if not self._turn:
            return None
        candidate, rivals = self._turn[-1]
        share = candidate.free if rivals == 1 else min(candidate.free, self._share)
        return Ask(candidate.session_id, min(share, self._left))

    def record(self, ask: Ask, granted: int) -> None:
        """Note how many runs there were for the last ask."""
        candidate, _ = self._turn.pop()
        candidate.free -= granted
        self._left -= granted
        if granted < ask.count:
            self._groups.pop(candidate.serves, None)
            self._turn = [turn for turn in self._turn if turn[0].serves != candidate.serves]

    def leave_out(self, ask: Ask) -> None:
        """Ask the runner of the last ask no more: it is gone."""
        candidate, _ = self._turn.pop()
        candidate.free = 0
        assert candidate.session_id == ask.session_id


__all__ = ["Allotment", "Ask", "Candidate"]
