"""Ends cancellations that nobody ended: cancelling always ends."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import NoReturn

from headgate.core import runs, states
from headgate.core.states import StateType
from headgate_server.services.loops import periodic
from headgate_server.services.orchestration import Orchestration
from headgate_server.storage.interface import Storage

_BATCH = 200


class Cancellations:
    """Ends runs as Cancelled whose runner did not stop them within the grace.

    The lease is taken away with the state, so the runner, if it lives, stops the process, and
    nothing that the process still says changes anything.

    Args:
        storage: Where runs are kept.
        orchestration: Answers proposed states.
        new_id: Makes ids of states.
        grace_seconds: How long a run may take to stop.
        interval_seconds: How often overdue cancellations are looked for.
    """

    def __init__(
        self,
        storage: Storage,
        *,
        orchestration: Orchestration,
        new_id: Callable[[], str],
        grace_seconds: float,
        interval_seconds: float,
    ) -> None:
        """Make it."""
        self._storage = storage
        self._orchestration = orchestration
        self._new_id = new_id
        self._grace = dt.timedelta(seconds=grace_seconds)
        self._interval_seconds = interval_seconds

    async def run(self) -> NoReturn:
        """Go on for ever."""
        await periodic.forever(
            "The loop of cancellations", self.step, interval_seconds=self._interval_seconds
        )

    async def step(self) -> bool:
        """End a batch; return whether there may be more."""
        overdue, now = await self._storage.read(
            lambda tx: (
                tx.flow_runs.list_overdue_cancelling(tx.now() - self._grace, _BATCH),
                tx.now(),
            )
        )

        async def end(run: runs.FlowRun) -> bool:
            state = states.new_state(
                StateType.CANCELLED,
                id=self._new_id(),
                now=now,
                message="The run was cancelled; nobody said in time that it had stopped.",
            )
            _, after = await self._orchestration.propose(run.id, state, fencing_token=None)
            return after.state.id != run.state.id

        moved = await periodic.each("The loop of cancellations", overdue, end)
        return moved > 0 and len(overdue) == _BATCH
