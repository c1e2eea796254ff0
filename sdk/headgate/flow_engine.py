"""Running a flow as a function call, for programs and tests that were written so."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from headgate import _running_by_name

if TYPE_CHECKING:
    from headgate.flows import Flow

__all__ = ["run_flow", "run_flow_async", "run_flow_sync"]


def run_flow(
    flow: Flow[..., Any],
    *,
    parameters: Mapping[str, Any] | None = None,
    wait_for: Iterable[Any] | None = None,
    return_type: _running_by_name.Wanted = "result",
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
    return _running_by_name.called(flow, parameters, wait_for, return_type)


def run_flow_sync(flow: Flow[..., Any], **options: Any) -> Any:
    """Run a flow that is a plain function; see ``run_flow``."""
    return run_flow(flow, **options)


async def run_flow_async(flow: Flow[..., Any], **options: Any) -> Any:
    """Run a flow in a coroutine; see ``run_flow``."""
    return await _running_by_name.awaited(run_flow(flow, **options))
