"""Puts runs back into their queue whose offer was not taken in time."""

from __future__ import annotations

from typing import NoReturn

from headgate_server.domain.leasing import Held
from headgate_server.services.leasing import Leasing
from headgate_server.services.loops import periodic
from headgate_server.storage.interface import Storage
from headgate_server.storage.records import Lease

_BATCH = 200
_INTERVAL_SECONDS = 1.0


class Offers:
    """Ends offers that were not accepted; that costs the run no attempt.

    Args:
        storage: Where leases are kept.
        leasing: Ends them.
    """

    def __init__(self, storage: Storage, *, leasing: Leasing) -> None:
        """Make it; ``run`` does the work."""
        self._storage = storage
        self._leasing = leasing

    async def run(self) -> NoReturn:
        """Go on for ever."""
        await periodic.forever("The loop of offers", self.step, interval_seconds=_INTERVAL_SECONDS)

    async def step(self) -> None:
        """Give a batch back."""
        expired = await self._storage.read(lambda tx: tx.leases.list_expired_offers(limit=_BATCH))

        async def give_back(lease: Lease) -> None:
            held = Held(flow_run_id=lease.flow_run_id, fencing_token=lease.fencing_token)
            await self._leasing.give_back(lease.session_id, held)

        await periodic.each("The loop of offers", expired, give_back)


__all__ = ["Offers"]
