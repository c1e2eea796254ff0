"""Log lines: stored and listed. Following them live is ``services.log_tail``."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from headgate.core import errors, runs
from headgate_server.domain.checks import Checks
from headgate_server.storage.interface import Storage, Transaction
from headgate_server.storage.records import LogFilter, Page, PageRequest

RECORDS_MAX = 1_000


class LogService:
    """Use-cases of logs.

    Args:
        storage: Where they are kept.
    """

    def __init__(self, storage: Storage) -> None:
        """Make it for a storage."""
        self._storage = storage

    async def write(self, records: Sequence[runs.LogRecord]) -> None:
        """Store lines; returns after the COMMIT.

        Raises:
            InvalidArgument: There are too many, or ids are wrong.
            NotFound: A flow run does not exist.
        """
        checks = Checks()
        if len(records) > RECORDS_MAX:
            checks.add("records", f"{len(records)} are too many; send {RECORDS_MAX} at most.")
        for index, record in enumerate(records[:RECORDS_MAX]):
            checks.id(f"records[{index}].flow_run_id", record.flow_run_id)
            checks.optional_id(f"records[{index}].task_run_id", record.task_run_id)
        checks.raise_any()
        if not records:
            return
        lines = [clean(record) for record in records]

        def change(tx: Transaction) -> None:
            for flow_run_id in {line.flow_run_id for line in lines}:
                if tx.flow_runs.get(flow_run_id) is None:
                    raise errors.NotFound("flow run", flow_run_id)
            tx.logs.append(lines)

        await self._storage.write(change)

    async def list(
        self, where: LogFilter, page: PageRequest, *, descending: bool = False
    ) -> Page[runs.LogRecord]:
        """List lines by id."""
        checks = Checks()
        checks.ids("filter.flow_run_ids", where.flow_run_ids)
        checks.ids("filter.task_run_ids", where.task_run_ids)
        checks.raise_any()
        return await self._storage.read(lambda tx: tx.logs.list(where, page, descending=descending))


def clean(record: runs.LogRecord) -> runs.LogRecord:
    """Return the line as every database can store it: a NUL becomes U+FFFD."""
    if "\x00" not in record.message and "\x00" not in record.logger:
        return record
    return dataclasses.replace(
        record,
        message=record.message.replace("\x00", "\ufffd"),
        logger=record.logger.replace("\x00", "\ufffd"),
    )
