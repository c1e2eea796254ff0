"""What becomes of log records: lines on the console, and records sent to the server.

The engine's link takes records through ``set_sink``; this module knows nothing of streams.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import warnings
from collections.abc import Callable, Generator
from datetime import UTC, datetime
from typing import Any, TextIO

from headgate import settings
from headgate.core import errors, runs
from headgate.logging import configuration, formatting

__all__ = [
    "CAPTURED_VARIABLE",
    "APILogHandler",
    "ApiHandler",
    "ConsoleHandler",
    "HeadgateConsoleHandler",
    "Sink",
    "set_sink",
    "set_up",
]

#: Takes one record; must be thread-safe, quick, and never raise or log.
Sink = Callable[[runs.LogRecord], None]

#: Set to "1" by a runner in children whose output it keeps as logs. Lines of the console that
#: went to the server as records then begin with MARK, so that they are shown but not kept twice.
CAPTURED_VARIABLE = "HEADGATE__OUTPUT_CAPTURED"
MARK = "\x1f"

_TRUNCATED = "... [truncated]"
_sink: Sink | None = None
_set_up = False


def set_sink(sink: Sink | None) -> Sink | None:
    """Say where the records of runs go; None: nowhere.

    Returns:
        The sink before.
    """
    global _sink
    before, _sink = _sink, sink
    return before


def set_up(*, force: bool = False) -> None:
    """Give the ``headgate`` loggers their level and handlers; done by itself, once.

    Args:
        force: Do it again, because settings have changed.
    """
    global _set_up
    if _set_up and not force:
        return
    is_first, _set_up = not _set_up, True
    now = settings.current()
    _set_loggers_up(now)
    if is_first and not _is_child():
        for said in settings.misspelled():
            logging.getLogger("headgate").warning(said)


def _is_child() -> bool:
    """Say whether another process of ours has told already what there is to tell of settings."""
    # A runner that reads along, or the process of the flow whose tasks are executed here.
    if os.environ.get(CAPTURED_VARIABLE) == "1" or "headgate.engine.isolated" in sys.modules:
        return True
    pools = sys.modules.get("multiprocessing")
    return pools is not None and pools.parent_process() is not None


def _set_loggers_up(now: settings.Settings) -> None:
    given = configuration.load_if_wanted(now)
    if given is not None:
        _apply(given)
        _attach_extra(now)
        return
    root = logging.getLogger("headgate")
    root.setLevel(now.logging_level)
    # Headgate writes its lines itself, so a root logger must not write them again.
    root.propagate = False
    _replace(root, ConsoleHandler(colors=now.logging_colors), ConsoleHandler)
    for name in ("headgate.flow_runs", "headgate.task_runs"):
        handler = ApiHandler() if now.logging_to_api_enabled else None
        _replace(logging.getLogger(name), handler, ApiHandler)
    _attach_extra(now)


def _attach_extra(now: settings.Settings) -> None:
    """Send what other loggers write, too; see HEADGATE_LOGGING_EXTRA_LOGGERS."""
    for name in filter(None, map(str.strip, now.logging_extra_loggers.split(","))):
        logger = logging.getLogger(name)
        if logger.level == logging.NOTSET:
            logger.setLevel(now.logging_level)
        _replace(logger, ApiHandler() if now.logging_to_api_enabled else None, ApiHandler)


def _apply(given: dict[str, Any]) -> None:
    """Set the loggers up as a file, or variables, have it."""
    import logging.config as configuring  # only who has such a file pays

    try:
        configuring.dictConfig(given)
    except (AttributeError, ImportError, KeyError, TypeError, ValueError) as problem:
        reason = problem.__cause__ or problem
        raise errors.InvalidArgument.of(
            "logging.yml", f"logging.config does not take it: {problem} ({reason})."
        ) from problem


def _replace(
    logger: logging.Logger, handler: logging.Handler | None, kind: type[logging.Handler]
) -> None:
    for old in [old for old in logger.handlers if isinstance(old, kind)]:
        logger.removeHandler(old)
    if handler is not None:
        logger.addHandler(handler)


class ConsoleHandler(logging.Handler):
    """Writes to the standard error that is current when it writes.

    Args:
        colors: Whether lines on a terminal are coloured. Default: as the settings have it.
    """

    def __init__(self, *, colors: bool | None = None) -> None:
        """Make a handler with Headgate's format."""
        super().__init__()
        self._colors = settings.current().logging_colors if colors is None else colors
        self.setFormatter(formatting.ConsoleFormatter())

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record."""
        # Tests and notebooks replace sys.stderr; a process may have none, or have closed it.
        stream: TextIO | None = sys.stderr
        if stream is None or stream.closed:
            return
        try:
            text = self.format(record)
            is_for_people = isinstance(self.formatter, formatting.ConsoleFormatter)
            if self._colors and is_for_people and stream.isatty():
                text = formatting.paint(text, record.levelno)
            stream.write(text + "\n")
            stream.flush()
        except Exception:  # logging never fails the code that logs: the library's own rule
            self.handleError(record)

    def format(self, record: logging.LogRecord) -> str:
        """Format one record; marked where a runner reads along and has it already."""
        text = super().format(record)
        sent = _sink is not None and bool(getattr(record, "flow_run_id", None))
        if sent and os.environ.get(CAPTURED_VARIABLE) == "1":
            return "\n".join(MARK + line for line in text.split("\n"))
        return text


class ApiHandler(logging.Handler):
    """Sends the records of runs to the server, by the sink.

    Args:
        size_max: Where a message is cut, in characters. Default: as the settings have it.
        when_missing_flow: What happens to a record outside of any run: ``warn``, ``error``,
            ``ignore``. Default: as the settings have it.
    """

    def __init__(
        self, *, size_max: int | None = None, when_missing_flow: str | None = None
    ) -> None:
        """Make a handler."""
        super().__init__()
        now = settings.current()
        self._size_max = now.logging_to_api_max_log_size if size_max is None else size_max
        self._when_missing_flow = when_missing_flow or now.logging_to_api_when_missing_flow
        self._is_enabled = now.logging_to_api_enabled
        self._formatter = formatting.MessageFormatter()

    def emit(self, record: logging.LogRecord) -> None:
        """Send one record."""
        sink = _sink
        # A record that is made while one is handled, by the link itself, would never end.
        if sink is None or getattr(record, "send_to_api", True) is False or not self._is_enabled:
            return
        try:
            made = self._record(record)
        except errors.MissingContextError:
            raise
        except Exception:  # logging never fails the code that logs: the library's own rule
            self.handleError(record)
            return
        if made is not None:
            sink(made)

    def _record(self, record: logging.LogRecord) -> runs.LogRecord | None:
        flow_run_id = getattr(record, "flow_run_id", None)
        task_run_id = getattr(record, "task_run_id", None)
        if not flow_run_id:
            if task_run_id:
                # Lines belong to flow runs; a task that was called outside of any has none.
                return None
            flow_run_id, task_run_id = _ids_from_context()
            if not flow_run_id:
                _complain(record, self._when_missing_flow)
                return None
        message = self._formatter.format(record)
        limit = self._size_max
        if len(message) > limit:
            message = message[: max(0, limit - len(_TRUNCATED))] + _TRUNCATED
        return runs.LogRecord(
            flow_run_id=str(flow_run_id),
            task_run_id=str(task_run_id) if task_run_id else None,
            timestamp=datetime.fromtimestamp(record.created, UTC),
            level=record.levelno,
            logger=record.name,
            message=message,
        )


#: The name that a ``logging.yml`` of the incumbent has for it.
APILogHandler = ApiHandler
HeadgateConsoleHandler = ConsoleHandler


def _ids_from_context() -> tuple[str | None, str | None]:
    """Find the run of a line of an extra logger, which carries no ids."""
    from headgate import context  # after this module: contexts log, too

    task_context = context.TaskRunContext.get()
    if task_context is not None:
        return task_context.task_run.flow_run_id, task_context.task_run.id
    flow_context = context.current_flow()
    return (flow_context.flow_run.id if flow_context is not None else None), None


def _complain(record: logging.LogRecord, how: str) -> None:
    match how:
        case "error":
            msg = (
                f"Logger {record.name!r} logged outside of any run; log within a flow, or set "
                "HEADGATE_LOGGING_TO_API_WHEN_MISSING_FLOW=ignore."
            )
            raise errors.MissingContextError(msg)
        case "warn":
            warnings.warn(
                f"Logger {record.name!r} logged outside of any run: the line is not kept. Set "
                "HEADGATE_LOGGING_TO_API_WHEN_MISSING_FLOW=ignore to silence this.",
                stacklevel=8,
            )
        case _:
            pass


@contextlib.contextmanager
def sink_of(sink: Sink | None) -> Generator[None]:
    """Send records elsewhere for the length of a ``with`` block, for tests."""
    before = set_sink(sink)
    try:
        yield
    finally:
        set_sink(before)
