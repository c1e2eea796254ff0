"""Log lines."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from headgate.api.v1 import log_service_pb2 as pb
from headgate.client.rpc import Rpc, Steps, pages, texts
from headgate.codec import logs as codec
from headgate.codec import times
from headgate.core import runs

if TYPE_CHECKING:
    from headgate.client.rpc import Id

SERVICE = "LogService"
WRITE = Rpc(SERVICE, "WriteLogs", pb.WriteLogsRequest, pb.WriteLogsResponse)
LIST = Rpc(SERVICE, "ListLogs", pb.ListLogsRequest, pb.ListLogsResponse)

_BATCH = 1_000
_PAGE_SIZE_MAX = 1_000


def write_logs(records: Sequence[runs.LogRecord]) -> Steps[None]:
    """Store log lines; returns after they are committed.

    Args:
        records: Any number of lines, oldest first; their ids are not read.
    """
    for start in range(0, len(records), _BATCH):
        request = pb.WriteLogsRequest()
        for record in records[start : start + _BATCH]:
            codec.log_record_to_proto(record, request.records.add())
        yield from WRITE(request)


def read_logs(
    *,
    flow_run_ids: Sequence[Id] = (),
    task_run_ids: Sequence[Id] = (),
    level_min: int = 0,
    level_max: int | None = None,
    message_contains: str = "",
    logged_after: datetime | None = None,
    logged_before: datetime | None = None,
    descending: bool = False,
    limit: int | None = 200,
) -> Steps[list[runs.LogRecord]]:
    """Return log lines. Conditions are joined by "and", values of one condition by "or".

    Args:
        flow_run_ids: Of these flow runs.
        task_run_ids: Of these task runs.
        level_min: Of this level or above, as in Python's logging.
        level_max: Of this level or below.
        message_contains: With this text, upper and lower case alike.
        logged_after: Logged at or after this time, UTC-aware.
        logged_before: Logged before this time, UTC-aware.
        descending: The newest first.
        limit: How many at most; None for all.
    """
    where = pb.LogFilter(
        flow_run_ids=texts(flow_run_ids),
        task_run_ids=texts(task_run_ids),
        level_min=level_min,
        message_contains=message_contains,
        level_max=level_max,
    )
    if logged_after is not None:
        times.set_timestamp(where.logged_after, logged_after)
    if logged_before is not None:
        times.set_timestamp(where.logged_before, logged_before)
    request = pb.ListLogsRequest(filter=where, descending=descending)
    return (
        yield from pages(
            LIST,
            request,
            lambda r: r.records,
            codec.log_record_from_proto,
            limit,
            _PAGE_SIZE_MAX,
        )
    )
