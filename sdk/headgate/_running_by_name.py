"""Calling a flow or a task with its arguments by name: what ``run_flow`` and ``run_task`` share."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal

__all__ = ["Wanted", "awaited", "called"]

#: What a caller wants of a run.
Wanted = Literal["state", "result"]


def called(
    function: Callable[..., Any],
    parameters: Mapping[str, Any] | None,
    wait_for: Iterable[Any] | None,
    return_type: Wanted,
) -> Any:
    """Call it, and return what that returns: of a coroutine function a coroutine."""
    options: dict[str, Any] = {"return_state": return_type == "state"}
    if wait_for is not None:
        options["wait_for"] = wait_for
    return function(**(parameters or {}), **options)


async def awaited(result: Any) -> Any:
    """Return what was returned, once it is there."""
    return await result if inspect.isawaitable(result) else result
