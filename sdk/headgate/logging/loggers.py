"""The loggers of runs.

A run's logger is an adapter over ``headgate.flow_runs`` or ``headgate.task_runs`` whose records
carry the ids of the run; ``headgate.logging.handlers`` shows and sends them. Nothing is set up,
and nothing is paid for, until the first logger is asked for.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Generator, Mapping, MutableMapping
from typing import TYPE_CHECKING, Any, Self

from headgate._explaining import explained
from headgate.core import errors
from headgate.logging import handlers

if TYPE_CHECKING:
    from headgate.core.runs import FlowRun, TaskRun
    from headgate.logging.prints import patch_print

__all__ = [
    "FLOW_RUNS",
    "TASK_RUNS",
    "LogEavesdropper",
    "RunLogger",
    "disable_logger",
    "disable_run_logger",
    "flow_run_logger",
    "get_logger",
    "get_run_logger",
    "patch_print",
    "task_run_logger",
]

ROOT = "headgate"
FLOW_RUNS = "headgate.flow_runs"
TASK_RUNS = "headgate.task_runs"

if TYPE_CHECKING:
    _Adapter = logging.LoggerAdapter[logging.Logger]
else:
    _Adapter = logging.LoggerAdapter

_disabled = 0


class RunLogger(_Adapter):
    """A logger whose records carry the ids and names of a run."""

    extra: Mapping[str, object]  # pyright: ignore[reportIncompatibleVariableOverride]  # never None here

    def __init__(self, logger: logging.Logger, extra: Mapping[str, object]) -> None:
        """Wrap a logger; ``extra`` becomes attributes of its records."""
        super().__init__(logger, extra)

    def process(
        self, msg: Any, kwargs: MutableMapping[str, Any]
    ) -> tuple[Any, MutableMapping[str, Any]]:
        """Join the run's facts with the ``extra`` of the call, which the base class drops."""
        given = kwargs.get("extra")
        kwargs["extra"] = {**self.extra, **given} if given else self.extra
        return msg, kwargs

    def get_child(self, suffix: str, extra: Mapping[str, object] | None = None) -> RunLogger:
        """Return a logger below this one, for the same run."""
        return RunLogger(self.logger.getChild(suffix), {**self.extra, **(extra or {})})


def get_logger(name: str | None = None) -> logging.Logger:
    """Return a logger of Headgate's, for code that is not in a run.

    Args:
        name: Its name below ``headgate``. Default: the one above all.
    """
    handlers.set_up()
    if not name or name == ROOT:
        return logging.getLogger(ROOT)
    return logging.getLogger(name if name.startswith(f"{ROOT}.") else f"{ROOT}.{name}")


@explained
def get_run_logger(context: Any = None, **extra: object) -> logging.LoggerAdapter[logging.Logger]:
    """Return the logger of the task run, or else the flow run, that is executing here.

    Args:
        context: The run context to use. Default: the current one.
        **extra: More attributes for its records.

    Raises:
        MissingContextError: There is no run here.
    """
    from headgate import context as contexts  # after this module: contexts log, too

    task_context = flow_context = None
    if context is None:
        task_context = contexts.TaskRunContext.get()
        if task_context is None:
            flow_context = contexts.current_flow()
    elif isinstance(context, contexts.TaskRunContext):
        task_context = context
    elif hasattr(context, "flow_run"):
        flow_context = context
    else:
        msg = f"context is {context!r}; use that of a run, or leave it away for the current one."
        raise errors.OptionTypeError(msg)
    if task_context is not None:
        return task_run_logger(
            task_context.task_run,
            task=task_context.task,
            flow_run=task_context.flow_run,
            **extra,
        )
    if flow_context is not None:
        return flow_run_logger(flow_context.flow_run, flow=flow_context.flow, **extra)
    if _disabled:
        return RunLogger(logging.getLogger(FLOW_RUNS), extra)
    msg = (
        "There is no run here to log for; call get_run_logger within a flow or task, or use "
        "headgate.logging.get_logger, or disable_run_logger in a test."
    )
    raise errors.MissingContextError(msg)


def flow_run_logger(flow_run: FlowRun, flow: Any = None, **extra: object) -> RunLogger:
    """Return the logger of a flow run.

    Args:
        flow_run: The run.
        flow: Its flow, where it is at hand.
        **extra: More attributes for its records.
    """
    handlers.set_up()
    return RunLogger(
        logging.getLogger(FLOW_RUNS),
        {
            "flow_run_id": flow_run.id,
            "flow_run_name": flow_run.name,
            "flow_name": getattr(flow, "name", None) or flow_run.flow_name,
            **extra,
        },
    )


def task_run_logger(
    task_run: TaskRun, task: Any = None, flow_run: FlowRun | None = None, **extra: object
) -> RunLogger:
    """Return the logger of a task run.

    Args:
        task_run: The run.
        task: Its task, where it is at hand.
        flow_run: The flow run that it belongs to, where it is at hand.
        **extra: More attributes for its records.
    """
    handlers.set_up()
    return RunLogger(
        logging.getLogger(TASK_RUNS),
        {
            "flow_run_id": task_run.flow_run_id,
            "flow_run_name": flow_run.name if flow_run is not None else None,
            "flow_name": flow_run.flow_name if flow_run is not None else None,
            "task_run_id": task_run.id,
            "task_run_name": task_run.name,
            "task_name": getattr(task, "name", None) or task_run.task_key,
            **extra,
        },
    )


@contextlib.contextmanager
def disable_logger(name: str) -> Generator[None]:
    """Let a logger say nothing for the length of a ``with`` block.

    Args:
        name: The logger.
    """
    logger = logging.getLogger(name)
    before, logger.disabled = logger.disabled, True
    try:
        yield
    finally:
        logger.disabled = before


@contextlib.contextmanager
def disable_run_logger() -> Generator[None]:
    """Let ``get_run_logger`` work outside of runs, and log nothing: for tests of a flow's code."""
    global _disabled
    loggers = [logging.getLogger(FLOW_RUNS), logging.getLogger(TASK_RUNS)]
    before = [logger.disabled for logger in loggers]
    _disabled += 1
    for logger in loggers:
        logger.disabled = True
    try:
        yield
    finally:
        _disabled -= 1
        for logger, value in zip(loggers, before, strict=True):
            logger.disabled = value


class LogEavesdropper(logging.Handler):
    """Listens to a logger for the length of a ``with`` block, for tests and for reports of errors.

    Example:
        ```python
        with LogEavesdropper("uvicorn", level=logging.WARNING) as eavesdropper:
            start()
        print(eavesdropper.text())
        ```

    Args:
        eavesdrop_on: The name of the logger; what is below it is heard, too.
        level: From which level.
    """

    def __init__(self, eavesdrop_on: str, level: int = logging.NOTSET) -> None:
        """Make one that does not listen yet."""
        super().__init__(level=level)
        self.eavesdrop_on = eavesdrop_on
        self._target: logging.Logger | None = None
        self._lines: list[str] = []

    def __enter__(self) -> Self:
        """Listen."""
        self._target = logging.getLogger(self.eavesdrop_on)
        self._level_before = self._target.level
        self._target.addHandler(self)
        # The logger's own level must let through what is listened for, and nothing less.
        if self.level and self._target.getEffectiveLevel() > self.level:
            self._target.setLevel(self.level)
        self._lines = []
        return self

    def __exit__(self, *_: object) -> None:
        """Listen no more."""
        if self._target is not None:
            self._target.removeHandler(self)
            self._target.setLevel(self._level_before)

    def emit(self, record: logging.LogRecord) -> None:
        """Note a line."""
        self._lines.append(self.format(record))

    def text(self) -> str:
        """Return what was heard, a line per record."""
        return "\n".join(self._lines)


def __getattr__(name: str) -> Any:
    if name == "patch_print":
        from headgate.logging import prints  # it needs this module

        return prints.patch_print
    msg = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(msg)
