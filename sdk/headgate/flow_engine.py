"""Running a flow as a function call, for programs and tests that were written so."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from headgate.flows import Flow

__all__ = ["run_flow", "run_flow_async", "run_flow_sync"]


def run_flow(
    flow: Flow[..., Any],
    *,
    parameters: Mapping[str, Any] | None = None,
    wait_for: Iterable[Any] | None = None,
    return_type: Literal["state", "result"] = "result",
) -> Any:
    """Run a flow: ``flow(**parameters)``, with what else the call takes.

    Args:
        flow: The flow.
        parameters: Its arguments by name.
        wait_for: Futures of runs that must have completed before.
        return_type: Whether its result or its final state is returned.

    Returns:
        That; of a coroutine function a coroutine, to be awaited.
    """
    options: dict[str, Any] = {"return_state": return_type == "state"}
    if wait_for is not None:
        options["wait_for"] = wait_for
    return flow(**(parameters or {}), **options)


def run_flow_sync(flow: Flow[..., Any], **options: Any) -> Any:
    """Run a flow that is a plain function; see ``run_flow``."""
    return run_flow(flow, **options)


async def run_flow_async(flow: Flow[..., Any], **options: Any) -> Any:
    """Run a flow in a coroutine; see ``run_flow``."""
    result = run_flow(flow, **options)
    return await result if inspect.isawaitable(result) else result
