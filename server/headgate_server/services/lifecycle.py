"""Tells, as events, that something was made, changed or deleted.

An event is stored in the transaction of the change itself, so there is one for every change that
was committed, and none for any that was not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from headgate.core.deployments import Deployment, WorkPool, WorkPoolState, WorkQueue
from headgate.core.events import Event, Labels
from headgate.core.runs import Flow
from headgate_server.domain import events as domain_events
from headgate_server.services import readiness
from headgate_server.storage.interface import Transaction
from headgate_server.storage.records import Session

#: What is told of queues and deployments when a runner comes, and when the last one goes.
_READY, _NOT_READY = "ready", "not-ready"


class Lifecycle:
    """Writes the events of what services keep.

    Args:
        new_id: Makes the ids of events.
    """

    def __init__(self, new_id: Callable[[], str]) -> None:
        """Make it."""
        self._new_id = new_id

    def tell(
        self,
        tx: Transaction,
        kind: str,
        verb: str,
        key: str,
        name: str,
        *,
        related: tuple[Labels, ...] = (),
        payload: Mapping[str, Any] | None = None,
    ) -> None:
        """Store an event in a transaction.

        Args:
            tx: The transaction of the change.
            kind: What it is, e.g. ``work-pool``; with ``headgate.`` it begins the event's name.
            verb: ``created``, ``updated``, ``deleted``.
            key: What tells it apart from others of its kind.
            name: For people.
            related: Labels of what else it has to do with; see ``domain.events.resource``.
            payload: What else there is to tell. No secrets.
        """
        tx.events.append([self._event(tx, kind, verb, key, name, related, payload)])

    def _event(
        self,
        tx: Transaction,
        kind: str,
        verb: str,
        key: str,
        name: str,
        related: tuple[Labels, ...],
        payload: Mapping[str, Any] | None = None,
    ) -> Event:
        return domain_events.lifecycle(
            kind,
            verb,
            key,
            name,
            id=self._new_id(),
            now=tx.now(),
            related=related,
            payload=payload,
        )

    def ensure_flow(self, tx: Transaction, name: str) -> Flow:
        """Return the flow of a name; one that had to be made is told of."""
        new_id = self._new_id()
        flow = tx.flows.ensure(name, new_id=new_id)
        if flow.id == new_id:
            self.flow(tx, "created", flow)
        return flow

    def flow(self, tx: Transaction, verb: str, flow: Flow) -> None:
        """Tell of a flow."""
        self.tell(tx, "flow", verb, flow.id, flow.name)

    def deployment(
        self, tx: Transaction, verb: str, deployment: Deployment, *, changed: Sequence[str] = ()
    ) -> None:
        """Tell of a deployment; ``changed`` names the fields that are no longer what they were."""
        flow_id = domain_events.FLOW_PREFIX + deployment.flow_id
        self.tell(
            tx,
            "deployment",
            verb,
            deployment.id,
            deployment.name,
            related=(domain_events.resource(flow_id, deployment.flow_name, "flow"),),
            payload={"updated_fields": sorted(changed)} if changed else None,
        )

    def work_pool(self, tx: Transaction, verb: str, pool: WorkPool) -> None:
        """Tell of a work pool."""
        self.tell(tx, "work-pool", verb, pool.name, pool.name)

    def work_queue(self, tx: Transaction, verb: str, queue: WorkQueue) -> None:
        """Tell of a work queue."""
        pool = queue.work_pool_name
        pool_id = domain_events.WORK_POOL_PREFIX + pool
        self.tell(
            tx,
            "work-queue",
            verb,
            f"{pool}/{queue.name}",
            queue.name,
            related=(domain_events.resource(pool_id, pool, "work-pool"),),
        )

    def open_runner(self, tx: Transaction, session: Session, *, ttl_seconds: float) -> Session:
        """Store the session of a runner that has come; tell of it, and of what is ready by it."""
        pools = [tx.work_pools.get(name) for name in session.work_pool_names]
        opened = tx.leases.open_session(session, ttl_seconds=ttl_seconds)
        self._runner(tx, "started", session)
        for before in pools:
            after = tx.work_pools.get(before.name) if before is not None else None
            if before is not None and after is not None and before.state is not after.state:
                self.work_pool(tx, state_verb(after.state), after)
        self._reach(tx, session, _READY)
        return opened

    def close_runner(self, tx: Transaction, session: Session, verb: str) -> None:
        """Forget the session of a runner; tell of it, and of what no runner serves any more.

        Args:
            tx: The transaction.
            session: Its session.
            verb: How it went: ``stopped``, or ``lost``.
        """
        tx.leases.close_session(session.id)
        self._runner(tx, verb, session)
        for name in session.work_pool_names:
            pool = tx.work_pools.get(name)
            if pool is not None and pool.state is WorkPoolState.NOT_READY:
                self.work_pool(tx, state_verb(pool.state), pool)
        self._reach(tx, session, _NOT_READY)

    def _reach(self, tx: Transaction, session: Session, verb: str) -> None:
        """Tell of the queues and deployments that this runner alone serves."""
        for pool in session.work_pool_names:
            reach = readiness.reach_alone(tx, session, pool)
            pool_id = domain_events.WORK_POOL_PREFIX + pool
            around = (domain_events.resource(pool_id, pool, "work-pool"),)
            queues = [
                self._event(tx, "work-queue", verb, f"{pool}/{queue.name}", queue.name, around)
                for queue in reach.queues
                if not queue.paused
            ]
            deployments = [
                self._event(tx, "deployment", verb, one.id, one.name, _around(one))
                for one in reach.deployments
            ]
            tx.events.append([*queues, *deployments])

    def _runner(self, tx: Transaction, verb: str, session: Session) -> None:
        self.tell(
            tx,
            "runner",
            verb,
            session.id,
            session.name,
            related=tuple(
                domain_events.resource(domain_events.WORK_POOL_PREFIX + pool, pool, "work-pool")
                for pool in session.work_pool_names
            ),
        )


def _around(deployment: Deployment) -> tuple[Labels, ...]:
    """Return what a deployment that can, or cannot, start runs has to do with."""
    flow_id = domain_events.FLOW_PREFIX + deployment.flow_id
    pool, queue = deployment.work_pool_name, deployment.work_queue_name
    queue_id = f"{domain_events.WORK_QUEUE_PREFIX}{pool}/{queue}"
    return (
        domain_events.resource(flow_id, deployment.flow_name, "flow"),
        domain_events.resource(domain_events.WORK_POOL_PREFIX + pool, pool, "work-pool"),
        domain_events.resource(queue_id, queue, "work-queue"),
    )


def state_verb(state: WorkPoolState) -> str:
    """Return what the event of a pool's new state is called: ``not-ready``."""
    return state.value.lower().replace("_", "-")


__all__ = ["Lifecycle", "state_verb"]
