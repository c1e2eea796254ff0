"""Work pools and queues in memory."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from datetime import datetime

from headgate.core import errors
from headgate.core.deployments import WorkPool, WorkPoolState, WorkQueue
from headgate_server.storage.memory import paging
from headgate_server.storage.memory.tables import Tables
from headgate_server.storage.records import Page, PageRequest, SessionKind

_DEFAULT_QUEUE = "default"


class MemoryWorkPools:
    """See :class:`headgate_server.storage.interface.WorkPools`."""

    def __init__(self, tables: Tables, now: datetime) -> None:
        self._tables = tables
        self._now = now

    def get(self, name: str) -> WorkPool | None:
        pool = self._tables.work_pools.get(name)
        return None if pool is None else self._with_state(pool)

    def insert(self, pool: WorkPool, queue: WorkQueue) -> None:
        if pool.name in self._tables.work_pools:
            raise errors.AlreadyExists("work pool", pool.name)
        self._tables.work_pools[pool.name] = pool
        self._tables.work_queues[queue.work_pool_name, queue.name] = queue

    def update(self, pool: WorkPool) -> WorkPool:
        stored = self._tables.work_pools.get(pool.name)
        if stored is None:
            return pool
        self._tables.work_pools[pool.name] = dataclasses.replace(
            stored,
            description=pool.description,
            concurrency_limit=pool.concurrency_limit,
            paused=pool.paused,
            base_job_template=pool.base_job_template,
            update_time=self._now,
        )
        self._tables.ready_changed = True
        return self._with_state(self._tables.work_pools[pool.name])

    def delete(self, name: str) -> None:
        for queue in self._tables.work_queues:
            if queue.work_pool_name == name:
                self._tables.work_queues.remove((name, queue.name))
        for run in self._tables.flow_runs:
            if run.work_pool_name == name:
                self._tables.ready.remove(run.id)
        self._tables.work_pools.remove(name)

    def list(self, page: PageRequest) -> Page[WorkPool]:
        pools = [self._with_state(pool) for pool in self._tables.work_pools]
        return paging.cut_page(pools, lambda pool: (pool.name,), page)

    def is_used(self, name: str) -> bool:
        leased = [self._tables.flow_runs[lease.flow_run_id] for lease in self._tables.leases]
        return any(found.work_pool_name == name for found in self._tables.deployments) or any(
            run.work_pool_name == name for run in leased
        )

    def get_queue(self, pool_name: str, name: str) -> WorkQueue | None:
        return self._tables.work_queues.get((pool_name, name))

    def insert_queue(self, queue: WorkQueue) -> None:
        if (queue.work_pool_name, queue.name) in self._tables.work_queues:
            raise errors.AlreadyExists("work queue", f"{queue.work_pool_name}/{queue.name}")
        self._tables.work_queues[queue.work_pool_name, queue.name] = queue

    def update_queue(self, queue: WorkQueue) -> WorkQueue:
        stored = self._tables.work_queues.get((queue.work_pool_name, queue.name))
        if stored is None:
            return queue
        changed = dataclasses.replace(
            stored,
            description=queue.description,
            priority=queue.priority,
            concurrency_limit=queue.concurrency_limit,
            paused=queue.paused,
        )
        self._tables.work_queues[queue.work_pool_name, queue.name] = changed
        self._tables.ready_changed = True
        return changed

    def delete_queue(self, pool_name: str, name: str) -> None:
        tables = self._tables
        for run in tables.flow_runs:
            if run.id in tables.ready and (run.work_pool_name, run.work_queue_name) == (
                pool_name,
                name,
            ):
                tables.flow_runs[run.id] = dataclasses.replace(run, work_queue_name=_DEFAULT_QUEUE)
        for deployment in tables.deployments:
            if (deployment.work_pool_name, deployment.work_queue_name) == (pool_name, name):
                tables.deployments[deployment.id] = dataclasses.replace(
                    deployment, work_queue_name=_DEFAULT_QUEUE
                )
        tables.work_queues.remove((pool_name, name))
        tables.ready_changed = True

    def list_queues(self, pool_name: str) -> Sequence[WorkQueue]:
        queues = [queue for queue in self._tables.work_queues if queue.work_pool_name == pool_name]
        return sorted(queues, key=lambda queue: (queue.priority, queue.name))

    def _with_state(self, pool: WorkPool) -> WorkPool:
        online = any(
            session.kind is SessionKind.RUNNER
            and session.expire_time > self._now
            and pool.name in session.work_pool_names
            for session in self._tables.sessions
        )
        state = WorkPoolState.READY if online else WorkPoolState.NOT_READY
        return dataclasses.replace(pool, state=WorkPoolState.PAUSED if pool.paused else state)
