"""What task runners execute: task runs, and flow runs that were submitted."""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import os
import threading
from collections.abc import Mapping
from concurrent.futures import Future as PlainFuture
from typing import TYPE_CHECKING, Any, Protocol

from headgate import context as contexts
from headgate import states
from headgate.codec.session import Reported
from headgate.core import errors
from headgate.core.ids import new_id
from headgate.engine import effects, flow_engine, outcomes, process, reattachment, resolve
from headgate.engine.creation import Made, Resumed
from headgate.states import State

if TYPE_CHECKING:
    from headgate.engine.cells import Cells
    from headgate.flows import Flow
    from headgate.task_runners import ThreadPoolTaskRunner

__all__ = ["Job", "SubmittedFlow", "loose_runner", "new_ids"]


class Job(Protocol):
    """One run that somebody wants to be executed."""

    @property
    def id(self) -> str:
        """UUID text of the run."""
        ...

    @property
    def waits_for(self) -> tuple[str, ...]:
        """UUID texts of the runs that must have ended before the run begins."""
        ...

    def announce(self) -> None:
        """Record that the run waits for its turn."""
        ...

    def state(self) -> State[Any]:
        """Return where the run stands; from any thread."""
        ...

    def run(self) -> State[Any]:
        """Run it on this thread; never raises."""
        ...

    async def run_async(self) -> State[Any]:
        """Run it on this loop; raises nothing but the cancellation of the loop's task."""
        ...

    def abandon(self) -> State[Any]:
        """End the run, which nothing has begun to execute."""
        ...

    def torn_down(self, error: BaseException) -> State[Any]:
        """Return the state in which the run was torn down."""
        ...


def new_ids() -> tuple[str, str]:
    """Choose the ids of a flow run that is submitted here, and of what stands for it here."""
    return new_id(), "" if contexts.current_flow() is None else new_id()


class SubmittedFlow:
    """A flow run that was submitted; a ``Job``.

    Args:
        flow: The flow.
        parameters: What it is called with, by name, defaults included.
        wait_for: Futures that must be completed first.
        ids: See ``new_ids``.
        cells: Processes that execute it in the place of this one.
    """

    def __init__(
        self,
        flow: Flow[..., Any],
        parameters: Mapping[str, Any],
        wait_for: Any = None,
        *,
        ids: tuple[str, str],
        cells: Cells | None = None,
    ) -> None:
        """Record nothing yet: a flow run comes into being when it begins."""
        self._flow = flow
        self._parameters: Mapping[str, Any] = parameters
        self._wait_for = wait_for
        self._ids = ids
        self._cells = cells
        self._ended: State[Any] | None = None
        self._call = flow_engine.FlowCall(flow, parameters, wait_for, return_state=True, ids=ids)

    @property
    def id(self) -> str:
        """UUID text of the flow run."""
        return self._ids[0]

    @property
    def waits_for(self) -> tuple[str, ...]:
        """UUID texts of the runs that must have ended before the run begins."""
        return tuple(resolve.find(self._parameters.values(), self._wait_for).run_ids)

    def announce(self) -> None:
        """Do nothing: what the run is called with may not be known yet."""

    def state(self) -> State[Any]:
        """Return where the run stands."""
        return self._ended or self._call.state or states.Pending(flow_run_id=self.id)

    def abandon(self) -> State[Any]:
        """End the run, of which nobody has heard."""
        return states.Cancelled(
            message="The flow run that submitted this one ended before it began.",
            flow_run_id=self.id,
        )

    def interrupt(self) -> None:
        """Stop what the run has submitted itself."""
        self._call.interrupt()

    def run(self) -> State[Any]:
        """Run it on this thread, on a loop of its own if it is async."""
        try:
            if self._cells is not None:
                return self._run_isolated(self._cells)
            return _drive(self._flow, self._call)
        except BaseException as error:  # handed to whoever asks the future for its result
            return self.torn_down(error)
        finally:
            self._let_go()

    async def run_async(self) -> State[Any]:
        """Run it on this loop."""
        try:
            return await effects.drive_async(self._call.steps())
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # handed to whoever asks the future for its result
            return self.torn_down(error)
        finally:
            self._let_go()

    def torn_down(self, error: BaseException) -> State[Any]:
        """Return the state in which the run was torn down."""
        state = self._call.state
        if state is not None and state.is_terminal:
            return state
        return outcomes.crashed(error).copy(flow_run_id=self.id)

    def _let_go(self) -> None:
        """Forget the arguments: the future must not keep them."""
        self._parameters = dict[str, Any]()
        self._wait_for = None

    def _run_isolated(self, cells: Cells) -> State[Any]:
        """Let another process execute the run; what it waits for is waited for here."""
        from headgate.engine import isolation

        parent = contexts.current_flow()
        lineage = parent.lineage if parent is not None else None
        upstream = resolve.find(self._parameters.values(), self._wait_for, lineage=lineage)
        try:
            effects.drive(upstream.wait())
        except errors.UpstreamTaskError:
            # Here it becomes NotReady, and its function is not called.
            return _drive(self._flow, self._call)
        parameters = dict(self._parameters)
        if upstream.replace:
            parameters = {name: resolve.values_of(value) for name, value in parameters.items()}
        earlier = effects.drive(reattachment.find_submitted(self._flow, parameters, parent))
        if isinstance(earlier, State):
            self._ended = earlier
            return earlier
        arguments = (self._flow, parameters, tuple(upstream.run_ids), self._ids, earlier)
        call = isolation.IsolatedCall(cells, f"flow {self._flow.name!r}", _execute, arguments)
        try:
            state: State[Any] = call.perform()
        except errors.IsolatedProcessDied as error:
            state = outcomes.crashed(error).copy(flow_run_id=self.id)
            self._mirror(parent, state)
        self._ended = state
        return state

    def _mirror(self, parent: contexts.FlowRunContext | None, state: State[Any]) -> None:
        """Say in the parent's story what the process could not say any more."""
        if parent is None:
            return
        with contextlib.suppress(errors.HeadgateError):
            parent.recorder.record(
                Reported(
                    self._ids[1],
                    state.type,
                    state.name,
                    new_id(),
                    process.clock.now(),
                    state.message,
                    states.StateDetails(child_flow_run_id=self.id),
                )
            )


def _execute(
    flow: Flow[..., Any],
    parameters: Mapping[str, Any],
    upstream_run_ids: tuple[str, ...],
    ids: tuple[str, str],
    resumed_id: str | None,
) -> State[Any]:
    """Run a flow in the process of a cell, or go on with one of its runs."""
    parent = contexts.current_flow()
    if resumed_id is None or parent is None:
        origin = Made(flow, parent, upstream_run_ids, ids)
    else:
        steps = Resumed.claim(flow, parent, resumed_id, upstream_run_ids, ids[1])
        origin = effects.drive(steps)
    return _drive(flow, flow_engine.FlowCall(flow, parameters, return_state=True, origin=origin))


def _drive(flow: Flow[..., Any], call: flow_engine.FlowCall) -> State[Any]:
    if flow.isasync:
        return asyncio.run(effects.drive_async(call.steps()))
    return effects.drive(call.steps())


_lock = threading.Lock()
_loose: ThreadPoolTaskRunner | None = None


def loose_runner() -> ThreadPoolTaskRunner:
    """Return the runner of flows that are submitted outside of any flow.

    The process does not end before they do.

    Raises:
        ServerStartError: No server is configured and the embedded one did not start.
    """
    from headgate.task_runners import ThreadPoolTaskRunner

    # First, so that at the end of the process the link is there until the runs have ended.
    process.link()
    global _loose
    with _lock:
        if _loose is None:
            _loose = ThreadPoolTaskRunner()
            atexit.register(_wait_for_loose)
        return _loose


def _wait_for_loose() -> None:
    while loose_futures:
        effects.drive(resolve.wait_all(tuple(loose_futures)))


#: Those of flow runs that no flow waits for at its end.
loose_futures: set[PlainFuture[Any]] = set()


def _forget() -> None:
    """Begin anew in a fork, which has no threads."""
    global _lock, _loose
    _lock, _loose = threading.Lock(), None
    loose_futures.clear()


os.register_at_fork(after_in_child=_forget)
