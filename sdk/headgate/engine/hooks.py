"""Functions of the user's that hear of states, and what the engine logs of runs."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import TYPE_CHECKING, Any

from headgate.engine.effects import Call, Steps
from headgate.states import State, get_state_exception

if TYPE_CHECKING:
    from headgate.context import TaskRunContext
    from headgate.logging.loggers import RunLogger
    from headgate.tasks import Task

__all__ = [
    "ask",
    "log_failure",
    "log_retry",
    "misfit",
    "name_of",
    "run",
    "run_now",
    "shown_error",
    "shown_seconds",
]

Hook = Callable[..., Any]
_ExcInfo = tuple[type[BaseException], BaseException, TracebackType | None]
_ROUNDED_FROM_SECONDS = 99.5


def name_of(hook: Hook) -> str:
    """Return what people call a hook; the function's name for ``functools.partial``."""
    inner = getattr(hook, "func", hook)
    return getattr(inner, "__name__", type(inner).__name__)


def misfit(hook: Hook, *takes: str) -> str | None:
    """Say why a hook that raised could not be called at all; None: it was called.

    Args:
        hook: The hook.
        *takes: What hooks of its kind are called with, for people.
    """
    try:
        signature = inspect.signature(hook)
    except (TypeError, ValueError):  # one in C may not say what it takes
        return None
    try:
        signature.bind(*takes)
    except TypeError:
        code = getattr(getattr(hook, "func", hook), "__code__", None)
        where = "" if code is None else f" ({code.co_filename}:{code.co_firstlineno})"
        return (
            f"{name_of(hook)!r}{where} takes {signature}, so it could not be called; make it a "
            f"function of ({', '.join(takes)})."
        )
    return None


def run(hooks: Iterable[Hook], subject: Any, subject_run: Any, state: State[Any]) -> Steps[None]:
    """Call hooks, one after the other. What they raise is logged."""
    for hook in hooks:
        try:
            yield Call(hook, (subject, subject_run, state))
        except Exception:  # a hook is code of the user's, and must not change the run
            _log_hook_failure(hook, subject, subject_run)


def run_now(hooks: Iterable[Hook], subject: Any, subject_run: Any, state: State[Any]) -> None:
    """Call hooks here and now, because the run is being torn down."""
    for hook in hooks:
        try:
            Call(hook, (subject, subject_run, state)).perform()
        except Exception:  # a hook is code of the user's, and must not change the run
            _log_hook_failure(hook, subject, subject_run)


def ask(condition: Hook, subject: Any, subject_run: Any, state: State[Any]) -> Steps[bool]:
    """Ask a ``retry_condition_fn``; what it raises means no."""
    try:
        return bool((yield Call(condition, (subject, subject_run, state))))
    except Exception:  # it is code of the user's; the failed attempt stands
        logger = _logger(subject, subject_run)
        wrong = misfit(condition, *_takes(subject_run))
        if wrong is not None:
            logger.error("Not tried again: retry_condition_fn %s", wrong)
        else:
            logger.exception("retry_condition_fn %r raised: not tried again", name_of(condition))
        return False


def _takes(subject_run: Any) -> tuple[str, str, str]:
    kind = "task" if _is_task_run(subject_run) else "flow"
    return kind, f"{kind}_run", "state"


def _is_task_run(subject_run: Any) -> bool:
    return hasattr(subject_run, "task_key")


def _logger(subject: Any, subject_run: Any) -> RunLogger:
    from headgate.logging.loggers import flow_run_logger, task_run_logger

    if _is_task_run(subject_run):
        return task_run_logger(subject_run, task=subject)
    return flow_run_logger(subject_run, flow=subject)


def _log_hook_failure(hook: Hook, subject: Any, subject_run: Any) -> None:
    wrong = misfit(hook, *_takes(subject_run))
    if wrong is not None:
        _logger(subject, subject_run).error("Hook %s", wrong)
    else:
        _logger(subject, subject_run).exception("Hook %r raised an exception", name_of(hook))


def shown_error(error: BaseException) -> _ExcInfo | None:
    """Return what is logged of an exception beside its message; None: that says it all."""
    from headgate.logging import tracebacks

    return None if tracebacks.is_told(error) else (type(error), error, error.__traceback__)


def shown_seconds(seconds: float) -> str:
    """Return a length of time as people read it: ``0.25``, ``1.5``, ``4583``."""
    return f"{seconds:.3g}" if seconds < _ROUNDED_FROM_SECONDS else f"{seconds:.0f}"


def log_failure(task: Task[..., Any], context: TaskRunContext, state: State[Any]) -> None:
    """Log why a task failed."""
    if context.flow is not None:
        context.flow.note_failed(context.id, context.name)
    error = get_state_exception(state)
    info = shown_error(error) if error is state.data else None
    _logger(task, context.task_run).error("%s", state.message or state, exc_info=info)


def log_retry(
    task: Task[..., Any], context: TaskRunContext, state: State[Any], delay_seconds: float
) -> None:
    """Log why a task is tried again."""
    _logger(task, context.task_run).warning(
        "%s - Retry %d/%d will start %s",
        state.message or state,
        context.run_count,
        task.retry_policy.max_retries,
        f"{shown_seconds(delay_seconds)} second(s) from now" if delay_seconds else "immediately",
    )
