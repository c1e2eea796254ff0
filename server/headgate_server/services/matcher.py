"""Gives ready runs to waiting runners: at once, and in the right order."""

from __future__ import annotations

import heapq
import logging
from collections.abc import Sequence
from typing import NoReturn, Protocol

from headgate.core import errors
from headgate_server.domain import matching
from headgate_server.services.notifier import Notifier
from headgate_server.storage.interface import Storage, Transaction
from headgate_server.storage.records import Grant, Session

_log = logging.getLogger("headgate.server.matcher")

#: The net under the signals: what they missed is found after so long.
_SWEEP_SECONDS = 1.0
#: Of the runners that wait for the same, so many are asked at most in one round.
_ASKED_MAX = 32


class Taker(Protocol):
    """A runner's stream, as the matcher sees it."""

    @property
    def session(self) -> Session:
        """Its session."""
        ...

    @property
    def free(self) -> int:
        """How many offers it takes now."""
        ...

    async def offer(self, grants: Sequence[Grant]) -> None:
        """Send runs that are leased to it; or give them back, if it has ended."""
        ...


class Matcher:
    """Matches runs with the runners that are connected to this process.

    Args:
        storage: Where the ready runs are; granting is one guarded statement there.
        notifier: Says when runs become ready or slots become free.
        offer_ttl_seconds: How long an offer waits to be accepted.
    """

    def __init__(self, storage: Storage, notifier: Notifier, *, offer_ttl_seconds: float) -> None:
        """Make it; ``run`` does the work."""
        self._storage = storage
        self._ready = notifier.ready
        self._offer_ttl_seconds = offer_ttl_seconds
        self._takers: dict[str, Taker] = {}
        self._served: dict[str, int] = {}
        self._turns = 0

    def add(self, taker: Taker) -> None:
        """Begin to give runs to a runner."""
        self._takers[taker.session.id] = taker
        self.wake()

    def remove(self, taker: Taker) -> None:
        """Give nothing more to a runner."""
        if self._takers.get(taker.session.id) is taker:
            del self._takers[taker.session.id]
            self._served.pop(taker.session.id, None)

    def wake(self) -> None:
        """Look for work now: a runner takes more."""
        self._ready.give()

    async def run(self) -> NoReturn:
        """Match for ever."""
        while True:
            seen = self._ready.count
            rest_seconds = _SWEEP_SECONDS
            try:
                rest_seconds = await self.step()
            except errors.Unavailable as error:
                _log.warning("The matcher has to wait: %s", error)
            except Exception:  # a matcher that ends would be missed silently and for ever
                _log.exception("The matcher failed; it goes on in %g s", _SWEEP_SECONDS)
            await self._ready.wait(seen, timeout_seconds=rest_seconds)

    async def step(self) -> float:
        """Give out what can be given now; return when to look again, in seconds."""
        while True:
            candidates = self._candidates()
            if not candidates:
                return _SWEEP_SECONDS
            sessions = {
                candidate.session_id: self._takers[candidate.session_id].session
                for candidate in candidates
            }
            dealt, due_in = await self._storage.write(
                lambda tx, candidates=candidates, sessions=sessions: self._deal(
                    tx, candidates, sessions
                )
            )
            for session_id, grants in dealt.items():
                await self._offer(session_id, sessions[session_id], grants)
            if not dealt:
                return min(_SWEEP_SECONDS, due_in)

    def _candidates(self) -> list[matching.Candidate]:
        """Return the runners to ask: of those that serve the same, the first few of the line."""
        lines: dict[tuple[tuple[str, ...], ...], list[tuple[int, int, str]]] = {}
        served = self._served
        for id, taker in self._takers.items():
            free = taker.free
            if free > 0:
                session = taker.session
                serves = (session.work_pool_names, session.work_queue_names)
                lines.setdefault(serves, []).append((-free, served.get(id, 0), id))
        return [
            matching.Candidate(session_id=id, serves=serves, free=-free, last_served=last_served)
            for serves, line in lines.items()
            for free, last_served, id in heapq.nsmallest(_ASKED_MAX, line)
        ]

    def _deal(
        self,
        tx: Transaction,
        candidates: Sequence[matching.Candidate],
        sessions: dict[str, Session],
    ) -> tuple[dict[str, list[Grant]], float]:
        allotment = matching.Allotment(candidates)
        dealt: dict[str, list[Grant]] = {}
        while (ask := allotment.next_ask()) is not None:
            if tx.leases.get_session(ask.session_id) is None:
                # Reaped, though its stream still seems to stand. A lease without a session
                # would never be reaped.
                allotment.leave_out(ask)
                continue
            granted = tx.leases.grant(
                sessions[ask.session_id],
                count=ask.count,
                offer_ttl_seconds=self._offer_ttl_seconds,
            )
            allotment.record(ask, len(granted))
            if granted:
                dealt.setdefault(ask.session_id, []).extend(granted)
        next_time = tx.flow_runs.next_ready_time()
        if next_time is None:
            return dealt, _SWEEP_SECONDS
        return dealt, max(0.001, (next_time - tx.now()).total_seconds())

    async def _offer(self, session_id: str, session: Session, grants: Sequence[Grant]) -> None:
        self._turns += 1
        self._served[session_id] = self._turns
        taker = self._takers.get(session_id)
        if taker is not None and taker.session.epoch == session.epoch:
            await taker.offer(grants)
        # Else the stream has ended meanwhile: its next one, or the offer's end, gives them back.


__all__ = ["Matcher", "Taker"]
