"""How log lines look."""

from __future__ import annotations

import logging

__all__ = ["ConsoleFormatter", "MessageFormatter", "paint"]

_COLORS = {
    logging.DEBUG: "\x1b[2m",
    logging.WARNING: "\x1b[33m",
    logging.ERROR: "\x1b[31m",
    logging.CRITICAL: "\x1b[1;31m",
}
_RESET = "\x1b[0m"


class ConsoleFormatter(logging.Formatter):
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


class MessageFormatter(logging.Formatter):
    """The message alone, with the traceback below it; the rest has fields of its own."""

    def __init__(self) -> None:
        """Make the formatter."""
        super().__init__("%(message)s")


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
