"""WatchService."""

from __future__ import annotations

from contextlib import aclosing
from typing import Any

from headgate.api.v1 import watch_service_pb2 as pb
from headgate.api.v1 import watch_service_pb2_grpc as pb_grpc
from headgate.codec import journal as codec
from headgate.codec import states as state_codec
from headgate_server.services.bookmarks import Bookmark
from headgate_server.services.watch import Watch, WatchFrame
from headgate_server.storage.records import JournalFilter


class WatchServicer(pb_grpc.WatchServiceServicer):
    """The journal on the wire."""

    def __init__(self, watch: Watch) -> None:
        """Make it over the use-case."""
        self._watch = watch

    async def Watch(  # pyright: ignore[reportIncompatibleMethodOverride]  # writes, yields nothing: see grpc.aio
        self, request: pb.WatchRequest, context: Any
    ) -> None:
        """Follow the journal."""
        after = request.after_revision if request.HasField("after_revision") else None
        async with aclosing(self._watch.follow(after, _read_filter(request.filter))) as all_frames:
            async for frame in all_frames:
                await context.write(_encode(frame))


def _encode(frame: WatchFrame) -> pb.WatchResponse:
    if isinstance(frame, Bookmark):
        return pb.WatchResponse(bookmark=pb.Bookmark(revision=frame.revision))
    return pb.WatchResponse(transition=codec.transition_record_to_proto(frame))


def _read_filter(given: pb.WatchFilter) -> JournalFilter:
    return JournalFilter(
        flow_run_ids=tuple(given.flow_run_ids),
        root_flow_run_ids=tuple(given.root_flow_run_ids),
        deployment_ids=tuple(given.deployment_ids),
        kind=codec.run_kind_from_proto(given.kind, "filter.kind"),
        state_types=tuple(
            state_codec.state_type_from_proto(type, f"filter.state_types[{index}]")
            for index, type in enumerate(given.state_types)
        ),
    )
