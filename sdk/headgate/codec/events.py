"""Events, filters of events, and counts."""

from __future__ import annotations

from collections.abc import Iterable

from headgate.api.v1 import event_pb2 as pb
from headgate.api.v1 import event_service_pb2 as service_pb
from headgate.codec import times
from headgate.core import errors, events

COUNT_BY_TO_PROTO: dict[events.CountBy, service_pb.EventCountBy.ValueType] = {
    by: service_pb.EventCountBy.Value(f"EVENT_COUNT_BY_{by.value}") for by in events.CountBy
}
_COUNT_BY_FROM_PROTO: dict[int, events.CountBy] = {int(v): k for k, v in COUNT_BY_TO_PROTO.items()}

#: The fields of a filter that are lists of texts, in the message and in the record alike.
_TEXTS = (
    "names",
    "name_prefixes",
    "exclude_names",
    "exclude_name_prefixes",
    "ids",
    "resource_ids",
    "resource_id_prefixes",
    "related_ids",
    "related_roles",
    "any_resource_ids",
)


def event_to_proto(event: events.Event, into: pb.Event | None = None) -> pb.Event:
    """Turn an event into a message."""
    message = pb.Event() if into is None else into
    message.id = event.id
    message.name = event.name
    times.set_timestamp(message.occurred, event.occurred)
    message.resource.update(event.resource)
    for labels in event.related:
        message.related.add().labels.update(labels)
    message.payload = event.payload
    message.follows = event.follows or ""
    message.revision = event.revision
    if event.commit_time is not None:
        times.set_timestamp(message.commit_time, event.commit_time)
    return message


def event_from_proto(message: pb.Event) -> events.Event:
    """Turn a message into an event; one without a time occurred at the epoch.

    Raises:
        InvalidArgument: A time is out of range.
    """
    return events.Event(
        id=message.id,
        name=message.name,
        occurred=times.timestamp_to_datetime(message.occurred),
        resource=dict(message.resource),
        related=tuple(dict(each.labels) for each in message.related),
        payload=message.payload or "{}",
        follows=message.follows or None,
        revision=message.revision,
        commit_time=times.from_timestamp(message.commit_time),
    )


def filter_to_proto(
    where: events.EventFilter, into: service_pb.EventFilter | None = None
) -> service_pb.EventFilter:
    """Turn a filter into a message."""
    message = service_pb.EventFilter() if into is None else into
    for name in _TEXTS:
        getattr(message, name).extend(getattr(where, name))
    for conditions, target in (
        (where.resource_labels, message.resource_labels),
        (where.related_labels, message.related_labels),
    ):
        for condition in conditions:
            target.add(key=condition.key, values=condition.values)
    if where.since is not None:
        times.set_timestamp(message.since, where.since)
    if where.until is not None:
        times.set_timestamp(message.until, where.until)
    return message


def filter_from_proto(message: service_pb.EventFilter) -> events.EventFilter:
    """Turn a message into a filter.

    Raises:
        InvalidArgument: A time is out of range.
    """
    return events.EventFilter(
        **{name: tuple(getattr(message, name)) for name in _TEXTS},
        resource_labels=_conditions(message.resource_labels),
        related_labels=_conditions(message.related_labels),
        since=times.from_timestamp(message.since),
        until=times.from_timestamp(message.until),
    )


def _conditions(
    messages: Iterable[service_pb.LabelCondition],
) -> tuple[events.LabelCondition, ...]:
    return tuple(
        events.LabelCondition(key=message.key, values=tuple(message.values)) for message in messages
    )


def count_by_from_proto(value: int, field: str = "by") -> events.CountBy:
    """Turn an enum value into what is counted by.

    Raises:
        InvalidArgument: It is unknown or not set.
    """
    by = _COUNT_BY_FROM_PROTO.get(value)
    if by is None:
        raise errors.InvalidArgument.of(
            field,
            f"{value} is nothing to count by; use one of {', '.join(events.CountBy)}.",
        )
    return by


def event_count_to_proto(
    count: events.EventCount, into: service_pb.EventCount | None = None
) -> service_pb.EventCount:
    """Turn a count into a message."""
    message = service_pb.EventCount() if into is None else into
    message.value = count.value
    message.count = count.count
    times.set_timestamp(message.first_occurred, count.first_occurred)
    times.set_timestamp(message.last_occurred, count.last_occurred)
    return message


def event_count_from_proto(message: service_pb.EventCount) -> events.EventCount:
    """Turn a message into a count."""
    return events.EventCount(
        value=message.value,
        count=message.count,
        first_occurred=times.timestamp_to_datetime(message.first_occurred),
        last_occurred=times.timestamp_to_datetime(message.last_occurred),
    )


__all__ = [
    "COUNT_BY_TO_PROTO",
    "count_by_from_proto",
    "event_count_from_proto",
    "event_count_to_proto",
    "event_from_proto",
    "event_to_proto",
    "filter_from_proto",
    "filter_to_proto",
]
