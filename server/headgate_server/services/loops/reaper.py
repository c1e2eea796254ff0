"""Ends the leases of runners and engines that are not heard of any more."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import NoReturn

from headgate.core import errors
from headgate.core.clock import Clock
from headgate_server.domain.leasing import Held
from headgate_server.services import slot_repair
from headgate_server.services.hub import Hub
from headgate_server.services.leasing import Leasing
from headgate_server.services.lifecycle import Lifecycle
from headgate_server.services.loops import periodic
from headgate_server.services.sessions import StreamSettings
from headgate_server.storage.interface import Storage, Transaction
from headgate_server.storage.records import Session, SessionKind

_log = logging.getLogger("headgate.server.reaper")

_BATCH = 50
_INTERVAL_SECONDS = 0.5


class Reaper:
    """Reaps expired sessions.

    The first step, and the first one after an outage of the database or of this process (it was
    stopped, or its machine slept), extends all sessions by one ttl instead, and the leases on
    slots: nobody could renew them while we were away, and that must not end healthy runs.

    Args:
        storage: Where sessions are kept.
        leasing: Ends leases.
        hub: Told after an outage to look at all runs anew.
        settings: The ttl, and the margin behind it.
        clock: Shows how long this process rested between two looks.
        new_id: Makes the ids of events.
    """

    def __init__(
        self,
        storage: Storage,
        *,
        leasing: Leasing,
        hub: Hub,
        settings: StreamSettings,
        clock: Clock,
        new_id: Callable[[], str],
    ) -> None:
        """Make it; ``run`` does the work."""
        self._storage = storage
        self._leasing = leasing
        self._hub = hub
        self._settings = settings
        self._lifecycle = Lifecycle(new_id)
        self._clock = clock
        self._outage = True
        self._looked_at = clock.monotonic()

    async def run(self) -> NoReturn:
        """Go on for ever."""
        interval_seconds = min(_INTERVAL_SECONDS, self._settings.ttl_seconds / 4)
        await periodic.forever("The reaper", self.look, interval_seconds=interval_seconds)

    async def look(self) -> bool:
        """Reap a batch, unless this process was away; return whether there may be more."""
        rested = self._clock.monotonic() - self._looked_at
        if rested > self._settings.ttl_seconds / 2:
            _log.warning("This server was away for %.0f s; leases are extended.", rested)
            self._outage = True
        try:
            return await self.step()
        finally:
            self._looked_at = self._clock.monotonic()

    async def step(self) -> bool:
        """Reap a batch; return whether there may be more."""
        try:
            if self._outage:
                await self._extend()
            return await self._reap_some()
        except errors.Unavailable:
            self._outage = True
            raise

    async def _extend(self) -> None:
        await self._storage.write(self._extend_leases)
        self._outage = False
        self._hub.look_again()

    def _extend_leases(self, tx: Transaction) -> None:
        tx.leases.extend_sessions(ttl_seconds=self._settings.ttl_seconds)
        slot_repair.extend(tx)

    async def _reap_some(self) -> bool:
        margin = self._settings.lease_margin_seconds
        expired = await self._storage.read(
            lambda tx: tx.leases.list_expired_sessions(margin_seconds=margin, limit=_BATCH)
        )
        await periodic.each("The reaper", expired, self._reap)
        return len(expired) == _BATCH

    async def _reap(self, session: Session) -> None:
        held = await self._storage.read(lambda tx: tx.leases.held_by(session.id))
        if held:
            who = session.kind.value.lower()
            _log.warning(
                "The %s %s is not heard of any more; its %d leases end.",
                who,
                session.name,
                len(held),
            )
        for lease in held:
            await self._leasing.lose(
                session,
                Held(flow_run_id=lease.flow_run_id, fencing_token=lease.fencing_token),
            )
        await self._storage.write(lambda tx: self._close(tx, session))

    def _close(self, tx: Transaction, session: Session) -> None:
        """Forget a session, unless it came back meanwhile."""
        now = tx.leases.get_session(session.id)
        if now is None or now.epoch != session.epoch or now.expire_time != session.expire_time:
            return
        if tx.leases.held_by(session.id):
            return
        if session.kind is SessionKind.RUNNER:
            self._lifecycle.close_runner(tx, session, "lost")
        else:
            tx.leases.close_session(session.id)


__all__ = ["Reaper"]
