"""Running a task as a function call, for task runners and tests that were written so."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from headgate import _running_by_name

if TYPE_CHECKING:
    from headgate.tasks import Task

__all__ = ["run_task", "run_task_async", "run_task_sync"]


def run_task(
    task: Task[..., Any],
    *,
    parameters: Mapping[str, Any] | None = None,
    wait_for: Iterable[Any] | None = None,
    return_type: _running_by_name.Wanted = "result",
) -> Any:
    """Run a task: ``task(**parameters)``, with what else the call takes.

    Args:
        task: The task.
        parameters: Its arguments by name.
        wait_for: Futures of runs that must have completed before.
        return_type: Whether its result or its final state is returned.

    Returns:
        That; of a coroutine function a coroutine, to be awaited.
    """
    return _running_by_name.called(task, parameters, wait_for, return_type)


def run_task_sync(task: Task[..., Any], **options: Any) -> Any:
    """Run a task that is a plain function; see ``run_task``."""
    return run_task(task, **options)


async def run_task_async(task: Task[..., Any], **options: Any) -> Any:
    """Run a task in a coroutine; see ``run_task``."""
    return await _running_by_name.awaited(run_task(task, **options))
