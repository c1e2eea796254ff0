"""From where something is called: where a caller can await, or where none can."""

from __future__ import annotations

import sys

__all__ = ["in_event_loop"]


def in_event_loop() -> bool:
    """Say whether an event loop runs in this thread, and the caller can await on it.

    A sync flow or task within an async one cannot: it keeps the loop waiting until it returns.
    """
    asyncio = sys.modules.get("asyncio")
    if asyncio is None or asyncio._get_running_loop() is None:
        return False
    contexts = sys.modules.get("headgate.context")
    if contexts is None:
        return True
    run = contexts.TaskRunContext.get()
    if run is not None:
        return bool(run.task.isasync)
    run = contexts.current_flow()
    return run is None or bool(run.flow.isasync)
