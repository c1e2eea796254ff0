"""What earlier attempts of a flow run have done, as code in another process asks for it.

A task that is isolated may call tasks and flows itself. Those that an earlier attempt has completed
are not called again there, either; the process that has the flow run knows which they are.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

from headgate.core import runs
from headgate.engine import call_keys, durable, effects, reattachment
from headgate.engine.effects import Steps, Wait
from headgate.states import State

if TYPE_CHECKING:
    from headgate.context import FlowRunContext, TaskRunContext
    from headgate.engine.ports import Port

__all__ = ["PortCalls", "PortSubflows", "recall", "take_subflow"]


class PortCalls(durable.Calls):
    """The recorded calls of a durable flow run that executes in another process.

    Args:
        port: The way there.
        flow_run_id: The run.
        has_recorded: Whether there may be any.
    """

    def __init__(self, port: Port, flow_run_id: str, *, has_recorded: bool) -> None:
        """Ask for nothing yet."""
        super().__init__(flow_run_id)
        self._port = port
        self._may_have = has_recorded

    @property
    def has_recorded(self) -> bool:
        """Whether there may be calls that were not made again yet."""
        return self._may_have

    def recall(self, context: TaskRunContext) -> Steps[State[Any] | None]:
        """Return how a call ended in an earlier attempt; None: it is to be made."""
        parameters = context.task.signature.bind(context.args, context.kwargs)
        key = call_keys.of_call(context.call_key, context.task.task_key, parameters)
        context.call_key = key
        while self._may_have:
            call: runs.RecordedCall | None = yield Wait(
                self._port.ask(self._flow_run_id, "recall", key, context.dynamic_key)
            )
            if call is None:
                return None
            # What it returned is loaded here: only here it is wanted.
            state = self._restored(context, call)
            if state is not None:
                self._real_ids[context.id] = call.task_run_id
                return state
        return None


class PortSubflows(reattachment.Subflows):
    """The subflows of earlier attempts of a flow run that executes in another process.

    Args:
        port: The way there.
        run: The flow run.
    """

    def __init__(self, port: Port, run: runs.FlowRun) -> None:
        """Ask for nothing yet."""
        super().__init__(run)
        self._port = port

    def take(self, key: str, *, resumes: bool) -> Steps[runs.FlowRun | None]:
        """Return the run that a call became in an earlier attempt; each once."""
        if not self.has_earlier:
            return None
        return (yield Wait(self._port.ask(self._flow_run_id, "take_subflow", key, resumes)))


def recall(context: FlowRunContext, key: str, number: str) -> Future[runs.RecordedCall | None]:
    """Take a recorded call for another process; None: there is none."""
    calls = context.calls
    if calls is None or not calls.has_recorded:
        return _done(None)
    return _aside(lambda: _find(calls, key, number))


def _find(calls: Any, key: str, number: str) -> Steps[runs.RecordedCall | None]:
    # What is private is so to users; this is the engine.
    while (place := calls._take(key, number)) is not None:
        reading: Steps[runs.RecordedCall | None] = calls._read(place)
        call = yield from reading
        if call is not None:
            return call
    return None


def take_subflow(context: FlowRunContext, key: str, resumes: bool) -> Future[runs.FlowRun | None]:
    """Take the run of a subflow for another process; None: there is none."""
    subflows = context.subflows
    if subflows is None or not subflows.has_earlier:
        return _done(None)
    return _aside(lambda: subflows.take(key, resumes=resumes))


def _done(value: Any) -> Future[Any]:
    answer: Future[Any] = Future()
    answer.set_result(value)
    return answer


def _aside(steps: Callable[[], Steps[Any]]) -> Future[Any]:
    """Go through steps that may wait for the server, while the port hears what else is said."""
    answer: Future[Any] = Future()

    def go() -> None:
        try:
            answer.set_result(effects.drive(steps()))
        except BaseException as error:  # passed on to who waits
            answer.set_exception(error)

    threading.Thread(target=go, name="headgate-recall", daemon=True).start()
    return answer
