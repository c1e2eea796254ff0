"""Waits for the end of a flow run: it is pushed, nothing is polled."""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from headgate.core import errors, runs, states

if TYPE_CHECKING:
    from headgate.client.orchestration import HeadgateClient, SyncHeadgateClient

__all__ = ["wait", "wait_blocking"]

OnTransition = Callable[[runs.TransitionRecord], None]


async def wait(
    client: HeadgateClient,
    run: runs.FlowRun,
    timeout: float | None = None,
    *,
    on_transition: OnTransition | None = None,
) -> runs.FlowRun:
    """Wait until a run has ended.

    Args:
        client: An open client.
        run: The run, as it was read.
        timeout: How long, in seconds. Default: until it has ended.
        on_transition: Called with each transition.

    Returns:
        The run, as it is when the wait is over.
    """
    import anyio  # only who waits pays

    if run.state.is_terminal:
        return run  # nothing more of it is to come
    with anyio.move_on_after(timeout):
        async with contextlib.aclosing(client.watch(**_what(run, on_transition))) as transitions:
            async for transition in transitions:
                if on_transition is not None:
                    on_transition(transition)
                if transition.state.is_terminal:
                    break
    return await client.read_flow_run(run.id)


def wait_blocking(
    client: SyncHeadgateClient,
    run: runs.FlowRun,
    timeout: float | None = None,
    *,
    on_transition: OnTransition | None = None,
) -> runs.FlowRun:
    """Do what ``wait`` does, blocking."""
    if run.state.is_terminal:
        return run  # nothing more of it is to come

    def follow() -> None:
        with contextlib.closing(client.watch(**_what(run, on_transition))) as transitions:
            for transition in transitions:
                if on_transition is not None:
                    on_transition(transition)
                if transition.state.is_terminal:
                    return

    if timeout is None:
        follow()
    else:
        _limit(follow, timeout)
    return client.read_flow_run(run.id)


def _limit(follow: Callable[[], None], timeout: float) -> None:
    """Call what blocks on a stream, which knows no timeout, for some seconds.

    The thread ends with the run, or when the client is closed, which is right after this wait.
    """
    ended = queue.SimpleQueue[errors.HeadgateError | None]()

    def run() -> None:
        try:
            follow()
        except errors.HeadgateError as problem:
            ended.put(problem)
        except RuntimeError:
            return  # the client was closed before the stream was opened
        else:
            ended.put(None)

    threading.Thread(target=run, name="headgate-wait", daemon=True).start()
    with contextlib.suppress(queue.Empty):
        problem = ended.get(timeout=max(0.0, timeout))
        if problem is not None:
            raise problem


def _what(run: runs.FlowRun, on_transition: OnTransition | None) -> dict[str, Any]:
    """Return what to watch for: the end of a run, from where it is known to stand."""
    return {
        "after_revision": run.revision,
        "flow_run_ids": [run.id],
        "kind": runs.RunKind.FLOW_RUN,
        "state_types": sorted(states.TERMINAL) if on_transition is None else None,
    }
