"""Hooks of runs whose own runner was lost: another runner of the pool calls them.

A runner calls the hooks of a run whose process died. Where the runner itself is gone, any other
that has the code can do it, now or when it comes: often it is the same one, started again. What
waits is in memory and few; hooks are told, not promised.
"""

from __future__ import annotations

import dataclasses
from datetime import timedelta
from typing import Protocol

from headgate.core.deployments import Deployment
from headgate.core.runs import FlowRun
from headgate.core.states import StateType
from headgate_server.storage.interface import Storage, Transaction
from headgate_server.storage.records import Session

#: The states whose hooks a process that is gone cannot have called.
_TOLD = (StateType.CRASHED, StateType.CANCELLED)
#: How long after the end of a run its hooks are worth to be called.
_NEWS = timedelta(hours=1)
_WAITING_MAX = 1_000


class Caller(Protocol):
    """The stream of a runner."""

    @property
    def session(self) -> Session:
        """Its session."""
        ...

    @property
    def last_heard(self) -> float:
        """When something was heard of it last."""
        ...

    @property
    def takes_hooks(self) -> bool:
        """Whether it can be asked now."""
        ...

    def call_hooks(self, flow_run: FlowRun, deployment: Deployment) -> None:
        """Ask it to call the hooks of a run."""
        ...


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class _Lost:
    """What is kept of a run that waits: its parameters may be large, and it may go on."""

    flow_run_id: str
    state_id: str
    work_pool_name: str | None
    work_queue_name: str | None


class HookCalls:
    """Finds runners for the hooks of runs whose own are lost.

    Args:
        storage: Where deployments are kept.
    """

    def __init__(self, storage: Storage) -> None:
        """Know of no runner yet."""
        self._storage = storage
        self._callers: list[Caller] = []
        self._waiting: dict[str, _Lost] = {}

    async def ask(self, flow_run: FlowRun) -> None:
        """Have the hooks of a run called, if it has ended for good."""
        if flow_run.state.type not in _TOLD or flow_run.deployment_id is None:
            return
        self._waiting[flow_run.id] = _Lost(
            flow_run_id=flow_run.id,
            state_id=flow_run.state.id,
            work_pool_name=flow_run.work_pool_name,
            work_queue_name=flow_run.work_queue_name,
        )
        while len(self._waiting) > _WAITING_MAX:
            del self._waiting[next(iter(self._waiting))]
        await self._give()

    async def add(self, caller: Caller) -> None:
        """Ask a runner that has come."""
        self._callers.append(caller)
        await self._give()

    def remove(self, caller: Caller) -> None:
        """Ask a runner no more; twice does no harm."""
        if caller in self._callers:
            self._callers.remove(caller)

    async def _give(self) -> None:
        for lost in list(self._waiting.values()):
            if self._find(lost) is None or self._waiting.pop(lost.flow_run_id, None) is None:
                continue
            given = False
            try:
                given = await self._tell(lost)
            finally:
                if not given:  # nobody is there, the database is away, or the stream has ended
                    self._waiting.setdefault(lost.flow_run_id, lost)

    async def _tell(self, lost: _Lost) -> bool:
        """Ask a runner; return whether that is done with."""
        told = await self._storage.read(lambda tx: _read(tx, lost))
        if told is None:
            return True
        caller = self._find(lost)
        if caller is None:
            return False
        caller.call_hooks(*told)
        return True

    def _find(self, lost: _Lost) -> Caller | None:
        """Return the runner of the pool that was heard of last: one may be gone unnoticed."""
        fitting = [
            caller
            for caller in self._callers
            if caller.takes_hooks and _serves(caller.session, lost)
        ]
        return max(fitting, key=lambda caller: caller.last_heard, default=None)


def _read(tx: Transaction, lost: _Lost) -> tuple[FlowRun, Deployment] | None:
    """Return what a runner is told; None: it is no news any more, for it may go on by now."""
    flow_run = tx.flow_runs.get(lost.flow_run_id)
    if flow_run is None or flow_run.state.id != lost.state_id:
        return None
    deployment = tx.deployments.get(flow_run.deployment_id or "")
    if deployment is None or tx.now() - flow_run.state.timestamp > _NEWS:
        return None
    return flow_run, deployment


def _serves(session: Session, lost: _Lost) -> bool:
    queues = session.work_queue_names
    return lost.work_pool_name in session.work_pool_names and (
        not queues or lost.work_queue_name in queues
    )


__all__ = ["Caller", "HookCalls"]
