"""Log lines."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from headgate import _options
from headgate.api.v1 import log_service_pb2 as pb
from headgate.client import choosing
from headgate.client.rpc import Rpc, Steps, texts
from headgate.client.schemas import actions
from headgate.codec import logs as codec
from headgate.codec import times
from headgate.core import runs

if TYPE_CHECKING:
    from headgate.client.rpc import Id
    from headgate.client.schemas import filters, sorting
    from headgate.client.schemas.actions import LogCreate

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


def create_logs(logs: Iterable[LogCreate | Mapping[str, Any]]) -> Steps[None]:
    """Store log lines, described as in ``headgate.client.schemas.actions``, or as dictionaries.

    Args:
        logs: Any number of lines, oldest first.

    Raises:
        OptionTypeError: A line is neither, or has a name that there is not.
        OptionValueError: A line belongs to no flow run, or its timestamp is none.
    """
    yield from write_logs([_line(log).record() for log in logs])


def _line(log: LogCreate | Mapping[str, Any]) -> LogCreate:
    if isinstance(log, actions.LogCreate):
        return log
    return actions.LogCreate(**_options.checked_mapping(log, "logs"))


def read_logs(
    log_filter: filters.LogFilter | None = None,
    *,
    flow_run_ids: Sequence[Id] = (),
    task_run_ids: Sequence[Id] = (),
    level_min: int = 0,
    level_max: int | None = None,
    message_contains: str = "",
    logged_after: datetime | None = None,
    logged_before: datetime | None = None,
    descending: bool = False,
    sort: sorting.LogSort | str | None = None,
    limit: int | None = 200,
    offset: int = 0,
) -> Steps[list[runs.LogRecord]]:
    """Return log lines. Conditions are joined by "and", values of one condition by "or".

    Args:
        log_filter: That fit; see ``headgate.client.schemas.filters``.
        flow_run_ids: Of these flow runs.
        task_run_ids: Of these task runs.
        level_min: Of this level or above, as in Python's logging.
        level_max: Of this level or below.
        message_contains: With this text, upper and lower case alike.
        logged_after: Logged at or after this time, UTC-aware.
        logged_before: Logged before this time, UTC-aware.
        descending: The newest first.
        sort: The direction, as ``TIMESTAMP_DESC``; it goes before ``descending``.
        limit: How many at most; None for all.
        offset: How many are passed over first.
    """
    choosing.check(log_filter, "LogFilter")
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
    fits = choosing.narrowed(
        where.flow_run_ids, choosing.pushed(log_filter, "flow_run_id.any_")
    ) and choosing.narrowed(where.task_run_ids, choosing.pushed(log_filter, "task_run_id.any_"))
    where.level_min = max(where.level_min, choosing.pushed(log_filter, "level.ge_") or 0)
    descending = choosing.is_descending(sort, "TIMESTAMP", descending=descending)
    return (
        yield from choosing.read(
            LIST,
            pb.ListLogsRequest(filter=where, descending=descending),
            lambda r: r.records,
            codec.log_record_from_proto,
            limit,
            keep=choosing.holds(log_filter) if fits else choosing.nothing,
            offset=offset,
            page_size_max=_PAGE_SIZE_MAX,
        )
    )
