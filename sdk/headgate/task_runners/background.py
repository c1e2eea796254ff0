"""Tasks of a flow that task workers execute, wherever those run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self

from headgate.task_runners.base import TaskRunner, track

if TYPE_CHECKING:
    from headgate._distributed_future import DistributedFuture
    from headgate.tasks import Task

__all__ = ["BackgroundTaskRunner"]


class BackgroundTaskRunner(TaskRunner):
    """Leaves submitted tasks to those who serve them, as ``Task.delay`` does.

    Arguments and results travel between machines: by the server where they are small, else by the
    result storage. The flow run waits for them at its end; where nobody serves a task, for ever.
    """

    def duplicate(self) -> Self:
        """Return a new runner."""
        return type(self)()

    def submit(
        self,
        task: Task[..., Any],
        parameters: Mapping[str, Any],
        wait_for: Any = None,
        dependencies: Any = None,
    ) -> DistributedFuture[Any]:
        """Ask for a run of a task; futures among its parameters are waited for first."""
        args, kwargs = task.signature.call_arguments(parameters)
        future = task.apply_async(args, kwargs, wait_for)
        track(future)
        return future
