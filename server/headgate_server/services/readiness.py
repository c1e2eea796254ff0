"""Which queues and deployments a runner makes ready when it comes, and leaves when it goes."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Sequence

from headgate.core.deployments import Deployment, WorkQueue
from headgate_server.storage.interface import Transaction
from headgate_server.storage.records import DeploymentFilter, Session, read_pages

#: Of a pool that has more than this, none is told of: their queues and the pool are.
DEPLOYMENTS_MAX = 1_000


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """What a runner alone can start runs of.

    Attributes:
        queues: Queues that no other runner serves.
        deployments: Deployments whose runs wait there.
    """

    queues: Sequence[WorkQueue]
    deployments: Sequence[Deployment]


def reach_alone(tx: Transaction, session: Session, work_pool_name: str) -> Reach:
    """Return what a runner, and no other one that is online, serves in one of its pools."""
    others = tx.leases.list_served(work_pool_name, besides=session.id)
    if any(not names for names in others):
        return Reach(queues=(), deployments=())
    queues = [
        queue
        for queue in tx.work_pools.list_queues(work_pool_name)
        if _serves(session.work_queue_names, queue)
        and not any(_serves(names, queue) for names in others)
    ]
    return Reach(queues=queues, deployments=_deployments(tx, work_pool_name, queues))


def _serves(work_queue_names: Collection[str], queue: WorkQueue) -> bool:
    return not work_queue_names or queue.name in work_queue_names


def _deployments(
    tx: Transaction, work_pool_name: str, queues: Sequence[WorkQueue]
) -> Sequence[Deployment]:
    if not queues:
        return ()
    where = DeploymentFilter(work_pool_name=work_pool_name)
    found = read_pages(lambda page: tx.deployments.list(where, page), most=DEPLOYMENTS_MAX + 1)
    names = {queue.name for queue in queues}
    if len(found) > DEPLOYMENTS_MAX:
        return ()
    return [deployment for deployment in found if deployment.work_queue_name in names]


__all__ = ["DEPLOYMENTS_MAX", "Reach", "reach_alone"]
