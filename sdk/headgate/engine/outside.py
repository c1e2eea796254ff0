"""Tasks that are called outside of flows: each call is a run of its own.

The contract knows task runs within flow runs only, and that is where leases, heartbeats and the
order of a run's states live. So a call outside of flows is a run of the flow ``headgate.tasks``
whose one task it is: recorded, ended when its process dies, and retried as in any flow.
"""

from __future__ import annotations

import functools
import weakref
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, cast

from headgate.core import runs
from headgate.core.ids import new_id
from headgate.engine import flow_engine, outcomes
from headgate.flows import Flow
from headgate.logging import tracebacks
from headgate.states import State

if TYPE_CHECKING:
    from headgate.tasks import Task

__all__ = ["TaskRoot", "call", "root_of"]


class TaskRoot(Flow[..., Any]):
    """The flow of the runs of one task outside of flows. Its result is the task run's state.

    Args:
        task: The task.
    """

    is_task_root = True

    def __init__(self, task: Task[..., Any]) -> None:
        """Make it for a task."""
        super().__init__(
            _calling(task),
            name=runs.TASKS_FLOW,
            flow_run_name=lambda: f"{task.name}-{new_id()[-3:]}",
            description=task.description,
            version=task.version or "",
            validate_parameters=False,
            retries=0,
        )
        self.signature.kind = "task"  # so it is for who called it


def call(
    task: Task[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    wait_for: Any = None,
    *,
    return_state: bool = False,
) -> Any:
    """Run a task that is called outside of flows; see ``Task.__call__``."""
    root = root_of(task)
    parameters = root.signature.bind(args, kwargs)
    run = flow_engine.FlowCall(root, parameters, wait_for, return_state=True)
    ended = flow_engine.drive(root, run.steps())
    if root.isasync:
        return _awaited(ended, return_state=return_state)
    return _handed_over(ended, return_state=return_state)


#: Made once for each task: the signature of its function is looked at only then.
_roots: weakref.WeakKeyDictionary[Task[..., Any], TaskRoot] = weakref.WeakKeyDictionary()


def root_of(task: Task[..., Any]) -> TaskRoot:
    """Return the flow of the runs of a task outside of flows."""
    found = _roots.get(task)
    if found is None:
        found = _roots[task] = TaskRoot(task)
    return found


def _calling(task: Task[..., Any]) -> Any:
    """Return a function with the task's signature that calls it."""
    # Weak, because it is a value in a dictionary whose weak key the task is.
    found = weakref.ref(task)

    if task.isasync:

        @functools.wraps(task.fn)
        async def run_async(*args: Any, **kwargs: Any) -> Any:
            return await cast("Any", found())(*args, return_state=True, **kwargs)

        return run_async

    @functools.wraps(task.fn)
    def run(*args: Any, **kwargs: Any) -> Any:
        return cast("Any", found())(*args, return_state=True, **kwargs)

    return run


async def _awaited(ended: Coroutine[Any, Any, State[Any]], *, return_state: bool) -> Any:
    try:
        return _handed_over(await ended, return_state=return_state)
    except BaseException as error:
        tracebacks.trim(error)
        raise


def _handed_over(state: State[Any], *, return_state: bool) -> Any:
    """Give the caller what they want of the root's final state."""
    # Where the run itself ended otherwise, e.g. was cancelled, its own state says so.
    inner = cast("State[Any]", state.data if isinstance(state.data, State) else state)
    if return_state:
        return inner
    return outcomes.handed_over(inner)
