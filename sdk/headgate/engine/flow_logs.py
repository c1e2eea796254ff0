"""What the engine logs of flow runs."""

from __future__ import annotations

import logging
from contextlib import AbstractContextManager
from datetime import datetime
from typing import TYPE_CHECKING, Any

from headgate.engine import hooks
from headgate.states import State, StateType

if TYPE_CHECKING:
    from headgate.context import FlowRunContext
    from headgate.logging.loggers import RunLogger

__all__ = ["begun", "ended", "given_up", "prints", "retrying", "suspended", "warn"]

_LEVELS = {StateType.COMPLETED: logging.INFO, StateType.CANCELLED: logging.WARNING}


def _logger(context: FlowRunContext) -> RunLogger:
    from headgate.logging.loggers import flow_run_logger

    return flow_run_logger(context.flow_run, flow=context.flow)


def begun(context: FlowRunContext) -> None:
    """Log that a run begins, or begins again."""
    if context.flow.is_task_root:
        return
    again = f" (attempt {context.attempt})" if context.attempt > 1 else ""
    _logger(context).info(
        "Beginning flow run %r for flow %r%s", context.flow_run.name, context.flow.name, again
    )


def ended(context: FlowRunContext, state: State[Any]) -> None:
    """Log how a run ended; with the traceback where an exception ended it."""
    if context.flow.is_task_root:
        return
    info = hooks.shown_error(state.data) if isinstance(state.data, Exception) else None
    level = _LEVELS.get(state.type, logging.ERROR)
    _logger(context).log(level, "Finished in state %r", state, exc_info=info)


def retrying(
    context: FlowRunContext, failed: State[Any], waiting: State[Any], now: datetime
) -> None:
    """Log why a run is tried again, and when."""
    due = waiting.details.scheduled_time
    seconds = max(0.0, (due - now).total_seconds()) if due is not None else 0.0
    when = f"in {hooks.shown_seconds(seconds)} second(s)" if seconds else "immediately"
    info = hooks.shown_error(failed.data) if isinstance(failed.data, Exception) else None
    _logger(context).warning("%s - Retrying %s", failed.message or failed, when, exc_info=info)


def given_up(context: FlowRunContext, error: BaseException) -> None:
    """Log why a run is left without being reported."""
    _logger(context).error("The flow run does not go on here: %s", error)


def suspended(context: FlowRunContext) -> None:
    """Log that the process of a run ends, and what starts the run anew."""
    _logger(context).info("Suspended; the run goes on in a new process when it is resumed")


def warn(context: FlowRunContext, message: str) -> None:
    """Log a warning."""
    _logger(context).warning("%s", message)


def prints(context: FlowRunContext) -> AbstractContextManager[None]:
    """Log what is printed in a flow, if it says so."""
    from headgate.logging.prints import patch_print

    # Also where it is off: a flow that is called by one that logs its prints may not want that.
    return patch_print(context.log_prints)
