"""Events."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from headgate.api.v1 import event_service_pb2 as pb
from headgate.client.rpc import Rpc, Steps, pages
from headgate.codec import events as codec
from headgate.codec import texts as text_codec
from headgate.core import events

SERVICE = "EventService"
WRITE = Rpc(SERVICE, "WriteEvents", pb.WriteEventsRequest, pb.WriteEventsResponse)
LIST = Rpc(SERVICE, "ListEvents", pb.ListEventsRequest, pb.ListEventsResponse)
COUNT = Rpc(SERVICE, "CountEvents", pb.CountEventsRequest, pb.CountEventsResponse)

_BATCH_EVENTS_MAX = 500
#: Well within what a message may have, whatever the single events are.
_BATCH_BYTES_MAX = 8_000_000


def write_events(records: Sequence[events.Event]) -> Steps[int]:
    """Store events; returns after they are committed. To repeat it does no harm.

    Args:
        records: Any number of events; revision and commit time are not read.

    Returns:
        How many were new: events whose id is known are left out.

    Raises:
        InvalidArgument: One is wrong; it is named. Those of its batch are not stored.
    """
    stored = 0
    for batch in _batches(records):
        request = pb.WriteEventsRequest()
        for record in batch:
            _add(record, request)
        response = yield from WRITE(request)
        stored += response.stored_count
    return stored


def _add(record: events.Event, request: pb.WriteEventsRequest) -> None:
    try:
        codec.event_to_proto(record, request.events.add())
    except UnicodeEncodeError:
        # Half a surrogate pair somewhere, which no wire takes.
        codec.event_to_proto(text_codec.clean(record), request.events[-1])


def _batches(records: Sequence[events.Event]) -> Iterator[list[events.Event]]:
    batch: list[events.Event] = []
    size = 0
    for record in records:
        batch.append(record)
        size += record.size_bytes
        if len(batch) == _BATCH_EVENTS_MAX or size >= _BATCH_BYTES_MAX:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def read_events(
    where: events.EventFilter | None = None,
    *,
    ascending: bool = False,
    limit: int | None = 200,
) -> Steps[list[events.Event]]:
    """Return events, the newest first, in the order in which they were committed.

    Args:
        where: Which events. Default: all, states of runs included.
        ascending: The oldest first.
        limit: How many at most; None for all.

    Raises:
        InvalidArgument: The filter is wrong; the field is named.
    """
    request = pb.ListEventsRequest(ascending=ascending)
    codec.filter_to_proto(where or events.EventFilter(), request.filter)
    return (yield from pages(LIST, request, lambda r: r.events, codec.event_from_proto, limit))


def count_events(
    where: events.EventFilter | None = None, *, by: events.CountBy = events.CountBy.DAY
) -> Steps[list[events.EventCount]]:
    """Return how many events there are.

    Args:
        where: Which events; without ``since``, those of the 7 days before ``until``, or now. Roles
            and labels cannot be counted by.
        by: What is counted together.

    Raises:
        InvalidArgument: The filter is wrong; the field is named.
        FailedPrecondition: There would be more than 10,000 counts.
    """
    request = pb.CountEventsRequest(by=codec.COUNT_BY_TO_PROTO[by])
    codec.filter_to_proto(where or events.EventFilter(), request.filter)
    response = yield from COUNT(request)
    return [codec.event_count_from_proto(count) for count in response.counts]
