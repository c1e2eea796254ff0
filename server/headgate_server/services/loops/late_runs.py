"""Calls runs Late that nobody has taken in time.

Where a deployment wants runs above its limit to be cancelled rather than to wait, a run that
could not start in time because of the limit is cancelled.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from datetime import datetime
from typing import NoReturn

from headgate.core import deployments, runs, states
from headgate.core.states import StateType
from headgate_server.services.loops import periodic
from headgate_server.services.orchestration import Orchestration
from headgate_server.storage.interface import Storage, Transaction
from headgate_server.storage.records import FlowRunFilter

_BATCH = 200
_UNDER_WAY = (StateType.PENDING, StateType.RUNNING, StateType.PAUSED, StateType.CANCELLING)


class LateRuns:
    """Marks late runs.

    Args:
        storage: Where runs are kept.
        orchestration: Answers proposed states.
        new_id: Makes ids of states.
        late_after_seconds: How long after its time a run is late.
        interval_seconds: How often late runs are looked for.
    """

    def __init__(
        self,
        storage: Storage,
        *,
        orchestration: Orchestration,
        new_id: Callable[[], str],
        late_after_seconds: float,
        interval_seconds: float,
    ) -> None:
        """Make it."""
        self._storage = storage
        self._orchestration = orchestration
        self._new_id = new_id
        self._late_after = dt.timedelta(seconds=late_after_seconds)
        self._interval_seconds = interval_seconds

    async def run(self) -> NoReturn:
        """Go on for ever."""
        await periodic.forever(
            "The loop of late runs", self.step, interval_seconds=self._interval_seconds
        )

    async def step(self) -> bool:
        """Mark a batch; return whether there may be more."""
        late, now = await self._storage.read(
            lambda tx: (tx.flow_runs.list_late(tx.now() - self._late_after, _BATCH), tx.now())
        )

        async def mark(run: runs.FlowRun) -> bool:
            crowded_out = await self._storage.read(lambda tx: _is_crowded_out(tx, run))
            state = self._cancelling(now) if crowded_out else self._late(run, now)
            _, after = await self._orchestration.propose(run.id, state, fencing_token=None)
            return after.state.id != run.state.id

        moved = await periodic.each("The loop of late runs", late, mark)
        return moved > 0 and len(late) == _BATCH

    def _late(self, run: runs.FlowRun, now: datetime) -> states.State:
        return states.new_state(
            StateType.SCHEDULED,
            id=self._new_id(),
            now=now,
            name="Late",
            message="No runner has taken the run in time.",
            details=run.state.details,
        )

    def _cancelling(self, now: datetime) -> states.State:
        return states.new_state(
            StateType.CANCELLING,
            id=self._new_id(),
            now=now,
            message="The concurrency limit of its deployment was reached.",
        )


def _is_crowded_out(tx: Transaction, run: runs.FlowRun) -> bool:
    deployment = tx.deployments.get(run.deployment_id) if run.deployment_id else None
    if deployment is None or deployment.concurrency_limit is None:
        return False
    if deployment.collision_strategy is not deployments.CollisionStrategy.CANCEL_NEW:
        return False
    where = FlowRunFilter(deployment_ids=(deployment.id,), state_types=_UNDER_WAY)
    return sum(count.count for count in tx.flow_runs.count(where)) >= deployment.concurrency_limit
