"""Log lines in SQL."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa

from headgate.core import runs
from headgate_server.storage.records import LogFilter, Page, PageRequest
from headgate_server.storage.sql import append, paging, rows, tables
from headgate_server.storage.sql.work import Work

_LOGS = tables.logs


class SqlLogs:
    """See :class:`headgate_server.storage.interface.Logs`."""

    def __init__(self, work: Work) -> None:
        self._work = work

    def append(self, records: Sequence[runs.LogRecord]) -> int:
        if not records:
            return self._work.heads.logs
        first = self._work.take_log_ids(len(records))
        self._work.insert(
            _LOGS,
            append.log_rows(records, first),
        )
        return first + len(records) - 1

    def list(
        self, where: LogFilter, page: PageRequest, *, descending: bool = False
    ) -> Page[runs.LogRecord]:
        query = sa.select(_LOGS)
        if where.flow_run_ids:
            query = query.where(_LOGS.c.flow_run_id.in_(where.flow_run_ids))
        if where.task_run_ids:
            query = query.where(_LOGS.c.task_run_id.in_(where.task_run_ids))
        if where.root_flow_run_id:
            of_root = sa.select(tables.flow_runs.c.id).where(
                tables.flow_runs.c.root_flow_run_id == where.root_flow_run_id
            )
            query = query.where(_LOGS.c.flow_run_id.in_(of_root))
        if where.level_min:
            query = query.where(_LOGS.c.level >= where.level_min)
        if where.level_max is not None:
            query = query.where(_LOGS.c.level <= where.level_max)
        if where.logged_after is not None:
            query = query.where(_LOGS.c.timestamp >= where.logged_after)
        if where.logged_before is not None:
            query = query.where(_LOGS.c.timestamp < where.logged_before)
        return paging.fetch_page(
            self._work,
            query,
            [_LOGS.c.id],
            page,
            rows.log_record,
            descending=descending,
            heavy=True,
            searched=paging.searched(_LOGS.c.message, where.message_contains),
        )
