"""How log lines look."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime
from typing import Any

__all__ = ["ConsoleFormatter", "JsonFormatter", "MessageFormatter", "paint"]

_COLORS = {
    logging.DEBUG: "\x1b[2m",
    logging.WARNING: "\x1b[33m",
    logging.ERROR: "\x1b[31m",
    logging.CRITICAL: "\x1b[1;31m",
}
_RESET = "\x1b[0m"


class _Formatter(logging.Formatter):
    """Shows tracebacks without the frames of the engine."""

    def format(self, record: logging.LogRecord) -> str:
        """Format one record; what another formatter made of its traceback is not used."""
        others, record.exc_text = record.exc_text, None
        try:
            return super().format(record)
        finally:
            record.exc_text = others

    def formatException(self, ei: Any) -> str:  # noqa: N802  # the name that logging calls
        """Format what an exception handler logs; ``ei`` is empty where it is none."""
        if ei[1] is None:
            return super().formatException(ei)
        from headgate.logging import tracebacks  # only who fails pays

        return tracebacks.format_exception(*ei)


class ConsoleFormatter(_Formatter):
    """``12:34:56.789 | INFO    | Flow run 'brave-otter' - message``."""

    def __init__(self) -> None:
        """Make the formatter."""
        super().__init__(
            "%(asctime)s.%(msecs)03d | %(levelname)-7s | %(place)s - %(message)s", "%H:%M:%S"
        )

    def format(self, record: logging.LogRecord) -> str:
        """Format one record, with the run it belongs to."""
        record.place = _place(record)
        return super().format(record)


class MessageFormatter(_Formatter):
    """The message alone, with the traceback below it; the rest has fields of its own."""

    def __init__(self) -> None:
        """Make the formatter."""
        super().__init__("%(message)s")


#: What every record has, and what says no more than other fields do.
_ORDINARY = frozenset(vars(logging.makeLogRecord({}))) | {"asctime", "message", "place", "taskName"}


class JsonFormatter(_Formatter):
    """One JSON object per record, for programs that collect lines.

    It has ``timestamp`` (ISO 8601, UTC), ``level``, ``logger``, ``message``, ``exception`` where
    there is one, and all that the record has besides: ``flow_run_id``, ``flow_run_name``, ...

    Args:
        fmt: ``default``: on one line; ``pretty``: indented.
    """

    def __init__(self, fmt: str = "default", *_ignored: Any, **_unused: Any) -> None:
        """Make the formatter; ``dictConfig`` passes more than there is a use for."""
        super().__init__()
        self._indent = 2 if fmt == "pretty" else None

    def format(self, record: logging.LogRecord) -> str:
        """Format one record."""
        facts: dict[str, Any] = {
            "timestamp": datetime.fromtimestamp(record.created, UTC).isoformat(),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info and record.exc_info[1] is not None:
            facts["exception"] = self.formatException(record.exc_info)
        more = {key: value for key, value in vars(record).items() if key not in _ORDINARY}
        # What has no JSON is written as people see it: a line must never be lost for that.
        return json.dumps({**more, **facts}, default=str, indent=self._indent, ensure_ascii=False)


def paint(line: str, level: int) -> str:
    """Colour a line by its level; ordinary lines stay as they are."""
    color = _COLORS.get(level)
    return f"{color}{line}{_RESET}" if color else line


def _place(record: logging.LogRecord) -> str:
    task_run_name = getattr(record, "task_run_name", None)
    if task_run_name:
        return f"Task run {task_run_name!r}"
    flow_run_name = getattr(record, "flow_run_name", None)
    if flow_run_name:
        return f"Flow run {flow_run_name!r}"
    return record.name
