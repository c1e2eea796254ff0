"""Work pools and queues in SQL."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from headgate.core import deployments, errors
from headgate_server.storage.records import Page, PageRequest, SessionKind
from headgate_server.storage.sql import json_text, paging, rows, tables
from headgate_server.storage.sql.work import Work

_POOLS = tables.work_pools
_QUEUES = tables.work_queues
_SESSIONS = tables.sessions
_DEFAULT_QUEUE = "default"


class SqlWorkPools:
    """See :class:`headgate_server.storage.interface.WorkPools`."""

    def __init__(self, work: Work) -> None:
        self._work = work

    def get(self, name: str) -> deployments.WorkPool | None:
        row = self._work.execute(sa.select(_POOLS).where(_POOLS.c.name == name)).first()
        return None if row is None else rows.work_pool(row, self._pools_online())

    def insert(self, pool: deployments.WorkPool, queue: deployments.WorkQueue) -> None:
        if self.get(pool.name) is not None:
            raise errors.AlreadyExists("work pool", pool.name)
        self._work.execute(sa.insert(_POOLS), rows.work_pool_values(pool))
        self._work.execute(sa.insert(_QUEUES), rows.work_queue_values(queue))

    def update(self, pool: deployments.WorkPool) -> deployments.WorkPool:
        self._work.execute(
            sa.update(_POOLS).where(_POOLS.c.name == pool.name),
            {
                "description": pool.description,
                "concurrency_limit": pool.concurrency_limit,
                "paused": pool.paused,
                "base_job_template": pool.base_job_template,
                "update_time": self._work.now(),
            },
        )
        # It may have been resumed, or its limit raised.
        self._work.changes.ready = True
        return self.get(pool.name) or pool

    def delete(self, name: str) -> None:
        for column in (
            tables.ready_runs.c.work_pool_name,
            _QUEUES.c.work_pool_name,
            _POOLS.c.name,
        ):
            self._work.execute(sa.delete(column.table).where(column == name))

    def list(self, page: PageRequest) -> Page[deployments.WorkPool]:
        online = self._pools_online()
        return paging.fetch_page(
            self._work,
            sa.select(_POOLS),
            [_POOLS.c.name],
            page,
            lambda row: rows.work_pool(row, online),
        )

    def is_used(self, name: str) -> bool:
        return any(
            self._work.execute(sa.select(column).where(column == name).limit(1)).first() is not None
            for column in (tables.deployments.c.work_pool_name, tables.leases.c.work_pool_name)
        )

    def get_queue(self, pool_name: str, name: str) -> deployments.WorkQueue | None:
        query = sa.select(_QUEUES).where(*_is_queue(_QUEUES, pool_name, name))
        row = self._work.execute(query).first()
        return None if row is None else rows.work_queue(row)

    def insert_queue(self, queue: deployments.WorkQueue) -> None:
        if self.get_queue(queue.work_pool_name, queue.name) is not None:
            raise errors.AlreadyExists("work queue", f"{queue.work_pool_name}/{queue.name}")
        self._work.execute(sa.insert(_QUEUES), rows.work_queue_values(queue))

    def update_queue(self, queue: deployments.WorkQueue) -> deployments.WorkQueue:
        self._work.execute(
            sa.update(_QUEUES).where(*_is_queue(_QUEUES, queue.work_pool_name, queue.name)),
            {
                "description": queue.description,
                "priority": queue.priority,
                "concurrency_limit": queue.concurrency_limit,
                "paused": queue.paused,
            },
        )
        # It may have been resumed, or its limit raised.
        self._work.changes.ready = True
        return self.get_queue(queue.work_pool_name, queue.name) or queue

    def delete_queue(self, pool_name: str, name: str) -> None:
        for table in (tables.ready_runs, tables.deployments):
            self._move_to_default(table, pool_name, name)
        flow_runs = tables.flow_runs
        waiting = sa.select(tables.ready_runs.c.flow_run_id)
        condition = [*_in_queue(flow_runs, pool_name, name), flow_runs.c.id.in_(waiting)]
        self._work.execute(
            sa.update(flow_runs).where(*condition), {"work_queue_name": _DEFAULT_QUEUE}
        )
        self._work.execute(sa.delete(_QUEUES).where(*_is_queue(_QUEUES, pool_name, name)))
        self._work.changes.ready = True

    def list_queues(self, pool_name: str) -> Sequence[deployments.WorkQueue]:
        query = (
            sa.select(_QUEUES)
            .where(_QUEUES.c.work_pool_name == pool_name)
            .order_by(_QUEUES.c.priority, _QUEUES.c.name)
        )
        return [rows.work_queue(row) for row in self._work.execute(query)]

    def _move_to_default(self, table: sa.Table, pool_name: str, name: str) -> None:
        self._work.execute(
            sa.update(table).where(*_in_queue(table, pool_name, name)),
            {"work_queue_name": _DEFAULT_QUEUE},
        )

    def _pools_online(self) -> frozenset[str]:
        query = sa.select(_SESSIONS.c.work_pool_names).where(
            _SESSIONS.c.kind == SessionKind.RUNNER.value,
            _SESSIONS.c.expire_time > self._work.now(),
        )
        served = self._work.execute(query.distinct()).scalars()
        return frozenset(name for names in served for name in json_text.load_texts(names))


def _in_queue(table: sa.Table, pool_name: str, name: str) -> list[sa.ColumnElement[Any]]:
    return [table.c.work_pool_name == pool_name, table.c.work_queue_name == name]


def _is_queue(table: sa.Table, pool_name: str, name: str) -> list[sa.ColumnElement[Any]]:
    return [table.c.work_pool_name == pool_name, table.c.name == name]
