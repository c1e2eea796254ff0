"""EventService."""

from __future__ import annotations

import dataclasses
from contextlib import aclosing
from typing import Any

from headgate.api.v1 import event_service_pb2 as pb
from headgate.api.v1 import event_service_pb2_grpc as pb_grpc
from headgate.codec import events as codec
from headgate.codec import times
from headgate.core.clock import Clock
from headgate_server.services.bookmarks import Bookmark
from headgate_server.services.event_stream import EventFrame, EventStream
from headgate_server.services.events import EventService
from headgate_server.transport import paging


class EventServicer(pb_grpc.EventServiceServicer):
    """Events on the wire."""

    def __init__(self, events: EventService, stream: EventStream, *, clock: Clock) -> None:
        """Make it over the use-cases; the clock dates events that have no time."""
        self._events = events
        self._stream = stream
        self._clock = clock

    async def WriteEvents(
        self, request: pb.WriteEventsRequest, context: Any
    ) -> pb.WriteEventsResponse:
        """Store events."""
        now = self._clock.now()
        events = [codec.event_from_proto(message) for message in request.events]
        dated = [
            event if message.HasField("occurred") else dataclasses.replace(event, occurred=now)
            for event, message in zip(events, request.events, strict=True)
        ]
        return pb.WriteEventsResponse(stored_count=await self._events.write(dated))

    async def ListEvents(
        self, request: pb.ListEventsRequest, context: Any
    ) -> pb.ListEventsResponse:
        """List events."""
        page = await self._events.list(
            codec.filter_from_proto(request.filter),
            paging.read(request),
            ascending=request.ascending,
        )
        return pb.ListEventsResponse(
            events=[codec.event_to_proto(event) for event in page.items],
            next_page_token=paging.token(request, page.next),
        )

    async def CountEvents(
        self, request: pb.CountEventsRequest, context: Any
    ) -> pb.CountEventsResponse:
        """Count events."""
        counts = await self._events.count(
            codec.filter_from_proto(request.filter), codec.count_by_from_proto(request.by)
        )
        return pb.CountEventsResponse(
            counts=[codec.event_count_to_proto(count) for count in counts]
        )

    async def SubscribeEvents(  # pyright: ignore[reportIncompatibleMethodOverride]  # writes, yields nothing: see grpc.aio
        self, request: pb.SubscribeEventsRequest, context: Any
    ) -> None:
        """Follow events."""
        after = request.after_revision if request.HasField("after_revision") else None
        where = codec.filter_from_proto(request.filter)
        follow = self._stream.follow(
            after, where, backfill_seconds=times.from_duration(request.backfill)
        )
        async with aclosing(follow) as all_frames:
            async for frame in all_frames:
                await context.write(_encode(frame))


def _encode(frame: EventFrame) -> pb.SubscribeEventsResponse:
    if isinstance(frame, Bookmark):
        bookmark = pb.EventBookmark(revision=frame.revision)
        return pb.SubscribeEventsResponse(bookmark=bookmark)
    return pb.SubscribeEventsResponse(event=codec.event_to_proto(frame))


__all__ = ["EventServicer"]
