"""LogService."""

from __future__ import annotations

from contextlib import aclosing
from typing import Any

from headgate.api.v1 import log_service_pb2 as pb
from headgate.api.v1 import log_service_pb2_grpc as pb_grpc
from headgate.codec import logs as codec
from headgate.codec import times
from headgate.core.clock import Clock
from headgate_server.services.log_tail import LogTail
from headgate_server.services.logs import LogService
from headgate_server.storage.records import LogFilter
from headgate_server.transport import paging

_DEFAULT_SIZE = 200
_MAX_SIZE = 1_000


class LogServicer(pb_grpc.LogServiceServicer):
    """Log lines on the wire."""

    def __init__(self, logs: LogService, tail: LogTail, *, clock: Clock) -> None:
        """Make it over the use-cases; the clock dates lines that have no time."""
        self._logs = logs
        self._tail = tail
        self._clock = clock

    async def WriteLogs(self, request: pb.WriteLogsRequest, context: Any) -> pb.WriteLogsResponse:
        """Store lines."""
        now = self._clock.now()
        await self._logs.write(
            [codec.log_record_from_proto(record, now=now) for record in request.records]
        )
        return pb.WriteLogsResponse()

    async def ListLogs(self, request: pb.ListLogsRequest, context: Any) -> pb.ListLogsResponse:
        """List lines."""
        given = request.filter
        page = await self._logs.list(
            LogFilter(
                flow_run_ids=tuple(given.flow_run_ids),
                task_run_ids=tuple(given.task_run_ids),
                level_min=given.level_min,
                message_contains=given.message_contains,
                level_max=given.level_max if given.HasField("level_max") else None,
                logged_after=times.from_timestamp(given.logged_after),
                logged_before=times.from_timestamp(given.logged_before),
            ),
            paging.read(request, default_size=_DEFAULT_SIZE, max_size=_MAX_SIZE),
            descending=request.descending,
        )
        return pb.ListLogsResponse(
            records=[codec.log_record_to_proto(record) for record in page.items],
            next_page_token=paging.token(request, page.next),
        )

    async def TailLogs(  # pyright: ignore[reportIncompatibleMethodOverride]  # writes, yields nothing: see grpc.aio
        self, request: pb.TailLogsRequest, context: Any
    ) -> None:
        """Follow the lines of a run."""
        follow = self._tail.follow(
            request.flow_run_id, after_id=request.after_id, level_min=request.level_min
        )
        async with aclosing(follow) as pages:
            async for records in pages:
                await context.write(
                    pb.TailLogsResponse(
                        records=[codec.log_record_to_proto(record) for record in records]
                    )
                )
