"""Tells, as events, of flow runs that are still executed: for who waits for the next one."""

from __future__ import annotations

import uuid
from typing import NoReturn

from headgate.core.runs import FlowRun
from headgate.core.states import StateType
from headgate_server.domain import events as domain_events
from headgate_server.services.loops import periodic
from headgate_server.storage.interface import Storage, Transaction
from headgate_server.storage.records import Cursor, FlowRunFilter, FlowRunOrder, PageRequest

_BATCH = 200
_RUNNING = FlowRunFilter(state_types=(StateType.RUNNING,))


class Heartbeats:
    """Writes an event for each flow run that is Running under a lease, once in an interval.

    All replicas do so; they give the event of a run in an interval one id, so it is stored once.

    Args:
        storage: Where runs and events are kept.
        interval_seconds: The length of an interval.
    """

    def __init__(self, storage: Storage, *, interval_seconds: float) -> None:
        """Make it."""
        self._storage = storage
        self._interval_seconds = interval_seconds
        self._after: Cursor | None = None

    async def run(self) -> NoReturn:
        """Go on for ever."""
        await periodic.forever(
            "The loop of heartbeats", self.step, interval_seconds=self._interval_seconds
        )

    async def step(self) -> bool:
        """Tell of a batch; return whether there may be more."""
        page = PageRequest(size=_BATCH, after=self._after)
        found, held = await self._storage.read(lambda tx: _look(tx, page))
        if held:
            await self._storage.write(lambda tx: self._tell(tx, held))
        self._after = found
        return found is not None

    def _tell(self, tx: Transaction, executed: list[FlowRun]) -> None:
        now = tx.now()
        interval = int(now.timestamp() // self._interval_seconds)
        tx.events.append(
            [
                domain_events.heartbeat(
                    run, id=str(uuid.uuid5(uuid.UUID(run.id), f"heartbeat/{interval}")), now=now
                )
                for run in executed
            ]
        )


def _look(tx: Transaction, page: PageRequest) -> tuple[Cursor | None, list[FlowRun]]:
    found = tx.flow_runs.list(_RUNNING, FlowRunOrder.ID_DESC, page)
    held = [run for run in found.items if tx.leases.get(run.id) is not None]
    return found.next, held


__all__ = ["Heartbeats"]
