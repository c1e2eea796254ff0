"""``log_prints`` for the engine: costs nothing where nobody asks for it."""

from __future__ import annotations

import contextlib
from contextlib import AbstractContextManager

from headgate.context import TaskRunContext

__all__ = ["logged"]

_NOTHING: AbstractContextManager[None] = contextlib.nullcontext()


def logged(context: TaskRunContext) -> AbstractContextManager[None]:
    """Log what is printed in a task, if the task, or else its flow, says so."""
    flow = context.flow
    outer = flow is not None and flow.log_prints
    wanted = context.task.log_prints
    active = outer if wanted is None else wanted
    if not active and not outer:
        return _NOTHING
    from headgate.logging.prints import patch_print

    return patch_print(active)
