"""Functions of the user's that hear of states, and what the engine logs of runs."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from headgate.engine.effects import Call, Steps
from headgate.states import State, get_state_exception

if TYPE_CHECKING:
    from headgate.context import TaskRunContext
    from headgate.logging.loggers import RunLogger
    from headgate.tasks import Task

__all__ = ["ask", "log_failure", "log_retry", "name_of", "run", "run_now"]

Hook = Callable[..., Any]


def name_of(hook: Hook) -> str:
    """Return what people call a hook; the function's name for ``functools.partial``."""
    inner = getattr(hook, "func", hook)
    return getattr(inner, "__name__", type(inner).__name__)


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
        logger.exception("retry_condition_fn %r raised: not tried again", name_of(condition))
        return False


def _logger(subject: Any, subject_run: Any) -> RunLogger:
    from headgate.logging.loggers import flow_run_logger, task_run_logger

    if hasattr(subject_run, "task_key"):
        return task_run_logger(subject_run, task=subject)
    return flow_run_logger(subject_run, flow=subject)


def _log_hook_failure(hook: Hook, subject: Any, subject_run: Any) -> None:
    _logger(subject, subject_run).exception("Hook %r raised an exception", name_of(hook))


def log_failure(task: Task[..., Any], context: TaskRunContext, state: State[Any]) -> None:
    """Log why a task failed."""
    error = get_state_exception(state)
    info = (type(error), error, error.__traceback__) if error is state.data else None
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
        f"{delay_seconds:g} second(s) from now" if delay_seconds else "immediately",
    )
