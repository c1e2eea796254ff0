"""Log lines."""

from __future__ import annotations

from datetime import datetime

from headgate.api.v1 import log_pb2 as pb
from headgate.codec import times
from headgate.core import runs

MESSAGE_CHARACTERS_MAX = 1_000_000


def log_record_to_proto(record: runs.LogRecord, into: pb.LogRecord | None = None) -> pb.LogRecord:
    """Turn a log line into a message; its text is cut where it is too long."""
    message = pb.LogRecord() if into is None else into
    message.flow_run_id = record.flow_run_id
    if record.task_run_id:
        message.task_run_id = record.task_run_id
    times.set_timestamp(message.timestamp, record.timestamp)
    message.level = record.level
    message.logger = record.logger
    message.message = record.message[:MESSAGE_CHARACTERS_MAX]
    message.id = record.id
    return message


def log_record_from_proto(message: pb.LogRecord, *, now: datetime = times.EPOCH) -> runs.LogRecord:
    """Turn a message into a log line; its text is cut where it is too long.

    Args:
        message: The message.
        now: The timestamp of a line that has none.
    """
    return runs.LogRecord(
        flow_run_id=message.flow_run_id,
        task_run_id=message.task_run_id or None,
        timestamp=times.from_timestamp(message.timestamp) or now,
        level=message.level,
        logger=message.logger,
        message=message.message[:MESSAGE_CHARACTERS_MAX],
        id=message.id,
    )


__all__ = ["MESSAGE_CHARACTERS_MAX", "log_record_from_proto", "log_record_to_proto"]
