"""Hooks of runs whose own runner was lost: another runner of the pool calls them.

A runner calls the hooks of a run whose process died. Where the runner itself is gone, any other
that has the code can do it, now or when it comes: often it is the same one, started again. What
waits is in memory and few; hooks are told, not promised.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Protocol

from headgate.core.deployments import Deployment
from headgate.core.runs import FlowRun
from headgate.core.states import StateType
from headgate_server.storage.interface import Storage
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


class HookCalls:
    """Finds runners for the hooks of runs whose own are lost.

    Args:
        storage: Where deployments are kept.
    """

    def __init__(self, storage: Storage) -> None:
        """Know of no runner yet."""
        self._storage = storage
        self._callers: list[Caller] = []
        self._waiting: dict[str, FlowRun] = {}

    async def ask(self, flow_run: FlowRun) -> None:
        """Have the hooks of a run called, if it has ended for good."""
        if flow_run.state.type not in _TOLD or flow_run.deployment_id is None:
            return
        self._waiting[flow_run.id] = flow_run
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
        for flow_run in list(self._waiting.values()):
            if self._find(flow_run) is None or self._waiting.pop(flow_run.id, None) is None:
                continue
            deployment_id = flow_run.deployment_id or ""
            now, deployment = await self._storage.read(
                lambda tx, id=deployment_id: (tx.now(), tx.deployments.get(id))
            )
            if deployment is None or now - flow_run.state.timestamp > _NEWS:
                continue
            caller = self._find(flow_run)
            if caller is None:
                self._waiting[flow_run.id] = flow_run  # gone meanwhile: the next one
            else:
                caller.call_hooks(flow_run, deployment)

    def _find(self, flow_run: FlowRun) -> Caller | None:
        """Return the runner of the pool that was heard of last: one may be gone unnoticed."""
        fitting = [
            caller
            for caller in self._callers
            if caller.takes_hooks and _serves(caller.session, flow_run)
        ]
        return max(fitting, key=lambda caller: caller.last_heard, default=None)


def _serves(session: Session, flow_run: FlowRun) -> bool:
    queues = session.work_queue_names
    return flow_run.work_pool_name in session.work_pool_names and (
        not queues or flow_run.work_queue_name in queues
    )


__all__ = ["Caller", "HookCalls"]
