"""The lease book of a runner: what it holds, until when, and how much more it takes.

Pure: time is an argument, in seconds of a clock that only moves forward. The book is the truth
and the stream repeats it: whatever a broken stream swallowed (an acceptance, a release, credit)
is read from the book again when the next stream stands.
"""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Iterable

from headgate.core import leases


class Outcome(enum.StrEnum):
    """What became of the process of a run; see ``ReleaseOutcome``."""

    FINISHED = "FINISHED"
    CRASHED = "CRASHED"
    HANDED_BACK = "HANDED_BACK"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """How a lease ended on the runner's side."""

    outcome: Outcome
    message: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class Held:
    """A lease that a runner holds, as both sides name it."""

    flow_run_id: str
    fencing_token: int


@dataclasses.dataclass(slots=True)
class _Entry:
    """A lease in the book.

    Attributes:
        held: Which lease.
        accepted_at_seq: The newest beat when it was accepted; a later beat that is acknowledged
            proves that the acceptance has arrived.
        accept_arrived: Whether that is proven.
        release: Set when its run has ended; it stays in the book until the server has said that
            the release is committed.
    """

    held: Held
    accepted_at_seq: int
    accept_arrived: bool = False
    release: Release | None = None


class Taken(enum.Enum):
    """What the book says to an offer."""

    YES = enum.auto()
    #: The same lease is held already: accept again, start nothing.
    AGAIN = enum.auto()
    #: No slot is free.
    FULL = enum.auto()
    #: A newer lease of the same run is held, or this one has ended already.
    STALE = enum.auto()
    #: The runner drains.
    DRAINING = enum.auto()


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Beat:
    """What a heartbeat says."""

    seq: int
    held_count: int
    held_digest: int


class LeaseBook:
    """What one runner holds.

    Args:
        slots: How many runs at most at once; at least 1.
        margin_seconds: How long before the end of the ttl the runner fences itself.
    """

    def __init__(self, *, slots: int, margin_seconds: float = 1.0) -> None:
        if slots < 1:
            msg = f"A runner needs at least one slot, not {slots}."
            raise ValueError(msg)
        self.slots = slots
        self.session_id = ""
        self.granted_total = slots
        self.draining = False
        self._margin = margin_seconds
        self._entries: dict[str, _Entry] = {}
        self._fence_at: float | None = None
        self._beat_seq = 0
        self._beats_sent: dict[int, float] = {}

    # What is held

    @property
    def held(self) -> list[Held]:
        """All leases in the book, those whose release is not committed yet included."""
        return [entry.held for entry in self._entries.values()]

    @property
    def live(self) -> list[Held]:
        """The leases whose runs have not ended."""
        return [entry.held for entry in self._entries.values() if entry.release is None]

    @property
    def free(self) -> int:
        """How many more runs could start now."""
        return 0 if self.draining else max(0, self.slots - len(self.live))

    @property
    def releases(self) -> list[tuple[Held, Release]]:
        """The releases that the server has not confirmed."""
        return [(e.held, e.release) for e in self._entries.values() if e.release is not None]

    @property
    def unconfirmed(self) -> list[Held]:
        """The live leases whose acceptance is not known to have arrived."""
        entries = self._entries.values()
        return [e.held for e in entries if e.release is None and not e.accept_arrived]

    # Offers and their ends

    def older(self, offered: Held) -> Held | None:
        """Return the lease that an offer shows to be lost: one of the same run, but older."""
        entry = self._entries.get(offered.flow_run_id)
        if entry is None or entry.held.fencing_token >= offered.fencing_token:
            return None
        return entry.held

    def take(self, offered: Held) -> Taken:
        """Decide on an offer, and note the lease if it is taken.

        A lease of the same run that is older must be given up first.
        """
        entry = self._entries.get(offered.flow_run_id)
        if entry is not None:
            same = entry.held == offered and entry.release is None
            return Taken.AGAIN if same else Taken.STALE
        if self.draining:
            return Taken.DRAINING
        if not self.free:
            return Taken.FULL
        self._entries[offered.flow_run_id] = _Entry(offered, self._beat_seq)
        return Taken.YES

    def release(self, held: Held, release: Release) -> bool:
        """Note that the run of a lease has ended; False if the lease is not held any more."""
        entry = self._find(held)
        if entry is None or entry.release is not None:
            return False
        entry.release = release
        self._give_credit()
        return True

    def confirm_release(self, held: Held) -> None:
        """Forget a lease: the server has committed its release."""
        entry = self._find(held)
        if entry is not None and entry.release is not None:
            del self._entries[held.flow_run_id]

    def lose(self, held: Held) -> bool:
        """Forget a lease that ended on the server's side; True if its run must be stopped."""
        entry = self._find(held)
        if entry is None:
            return False
        del self._entries[held.flow_run_id]
        if entry.release is not None:
            return False
        self._give_credit()
        return True

    def drain(self) -> None:
        """Take no more offers."""
        self.draining = True

    def _find(self, held: Held) -> _Entry | None:
        entry = self._entries.get(held.flow_run_id)
        return entry if entry is not None and entry.held == held else None

    def _give_credit(self) -> None:
        if not self.draining:
            self.granted_total += 1

    # The session and its heartbeats

    def welcome(
        self, session_id: str, *, hello_sent_at: float, ttl_seconds: float, keep: Iterable[Held]
    ) -> list[Held]:
        """Note that a stream stands, and say which live leases are lost."""
        kept = set(keep)
        lost = [held for held in self.held if held not in kept]
        to_stop = [held for held in lost if self.lose(held)]
        if session_id != self.session_id:
            # Credit is counted per session: a new one starts with what is free.
            self.session_id = session_id
            self.granted_total = self.free
        self._beat_seq = 0
        self._beats_sent.clear()
        for entry in self._entries.values():
            entry.accepted_at_seq = 0
        self._renew(hello_sent_at, ttl_seconds)
        return to_stop

    def beat(self, now: float) -> Beat:
        """Make the next heartbeat, sent now."""
        self._beat_seq += 1
        self._beats_sent[self._beat_seq] = now
        held = self.held
        named = leases.digest((lease.flow_run_id, lease.fencing_token) for lease in held)
        return Beat(seq=self._beat_seq, held_count=len(held), held_digest=named)

    def acknowledge(self, seq: int, *, ttl_seconds: float) -> None:
        """Note that a beat was acknowledged: the leases live on from when it was sent."""
        sent_at = self._beats_sent.get(seq)
        if sent_at is None:
            return  # of an older stream, or twice
        for older in [s for s in self._beats_sent if s <= seq]:
            del self._beats_sent[older]
        for entry in self._entries.values():
            if entry.accepted_at_seq < seq:
                entry.accept_arrived = True
        self._renew(sent_at, ttl_seconds)

    def _renew(self, since: float, ttl_seconds: float) -> None:
        fence_at = leases.fence_at(since, ttl_seconds=ttl_seconds, margin_seconds=self._margin)
        if self._fence_at is None or fence_at > self._fence_at:
            self._fence_at = fence_at

    # Fencing itself

    @property
    def fence_at(self) -> float | None:
        """When the live leases must be given up unless a beat is acknowledged before."""
        return self._fence_at if self.live else None

    def fence(self, now: float) -> list[Held]:
        """Give up what is held too long; the runs of the leases returned must be stopped."""
        if self.fence_at is None or now < self.fence_at:
            return []
        return [held for held in self.live if self.lose(held)]
