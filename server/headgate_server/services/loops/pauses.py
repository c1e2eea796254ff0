"""Ends runs whose pause has expired: somebody should have resumed them, and nobody has."""

from __future__ import annotations

from collections.abc import Callable
from typing import NoReturn

from headgate.core import runs
from headgate_server.domain.rules import resuming
from headgate_server.services.loops import periodic
from headgate_server.services.orchestration import Orchestration
from headgate_server.storage.interface import Storage

_BATCH = 200


class Pauses:
    """Fails runs whose pause has expired.

    Args:
        storage: Where runs are kept.
        orchestration: Answers proposed states.
        new_id: Makes ids of states.
        interval_seconds: How often expired pauses are looked for.
    """

    def __init__(
        self,
        storage: Storage,
        *,
        orchestration: Orchestration,
        new_id: Callable[[], str],
        interval_seconds: float,
    ) -> None:
        """Make it."""
        self._storage = storage
        self._orchestration = orchestration
        self._new_id = new_id
        self._interval_seconds = interval_seconds

    async def run(self) -> NoReturn:
        """Go on for ever."""
        await periodic.forever(
            "The loop of pauses", self.step, interval_seconds=self._interval_seconds
        )

    async def step(self) -> bool:
        """Fail a batch; return whether there may be more."""
        paused, now = await self._storage.read(
            lambda tx: (tx.flow_runs.list_expired_pauses(tx.now(), _BATCH), tx.now())
        )

        async def fail(run: runs.FlowRun) -> bool:
            state = resuming.expired(id=self._new_id(), now=now)
            _, after = await self._orchestration.propose(run.id, state, fencing_token=None)
            return after.state.id != run.state.id

        moved = await periodic.each("The loop of pauses", paused, fail)
        return moved > 0 and len(paused) == _BATCH
