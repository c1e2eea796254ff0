"""Times and durations. Microseconds are the finest that Headgate keeps."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from headgate.core import errors

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def set_timestamp(target: Timestamp, time: datetime) -> None:
    """Write a time into a message in place."""
    since = time - EPOCH
    target.seconds = since.days * 86400 + since.seconds
    target.nanos = since.microseconds * 1000


def to_timestamp(time: datetime) -> Timestamp:
    """Turn a UTC-aware time into a message."""
    since = time - EPOCH
    return Timestamp(seconds=since.days * 86400 + since.seconds, nanos=since.microseconds * 1000)


def timestamp_to_datetime(message: Timestamp) -> datetime:
    """Turn a message that is known to be set into a time.

    Raises:
        InvalidArgument: The time is out of the range of the years 1 to 9999.
    """
    try:
        # Positional (days, seconds, microseconds): half the time of keywords, and exact.
        return EPOCH + timedelta(0, message.seconds, message.nanos // 1000)
    except OverflowError:
        raise errors.InvalidArgument.of(
            "timestamp", f"{message.seconds} seconds is not in the years 1 to 9999."
        ) from None


def from_timestamp(message: Timestamp) -> datetime | None:
    """Turn a message into a time; one that is unset, or all zero, into None.

    An unset submessage reads as all zero, so no ``HasField`` is needed: nothing in Headgate
    happens at the first second of 1970.
    """
    if message.seconds == 0 and message.nanos == 0:
        return None
    return timestamp_to_datetime(message)


def set_duration(target: Duration, seconds: float) -> None:
    """Write seconds into a message in place."""
    micros = round(seconds * 1_000_000)
    # Both parts have the same sign, as the message demands.
    whole = abs(micros) // 1_000_000
    rest = abs(micros) % 1_000_000
    sign = -1 if micros < 0 else 1
    target.seconds = sign * whole
    target.nanos = sign * rest * 1000


def to_duration(seconds: float) -> Duration:
    """Turn seconds into a message."""
    message = Duration()
    set_duration(message, seconds)
    return message


def from_duration(message: Duration) -> float:
    """Turn a message into seconds; one that is unset into 0."""
    return message.seconds + message.nanos / 1_000_000_000


__all__ = [
    "EPOCH",
    "from_duration",
    "from_timestamp",
    "set_duration",
    "set_timestamp",
    "timestamp_to_datetime",
    "to_duration",
    "to_timestamp",
]
