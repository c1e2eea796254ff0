"""Flow runs: pause, suspend and resume them, and wait for their end.

A *paused* run keeps its process, which waits; a *suspended* one lets it end, and is started anew,
by a runner, when somebody resumes it. Nothing is polled: the server says when a run is resumed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar, cast, overload

from headgate import _calling, context
from headgate._explaining import explained
from headgate.core import errors, runs

if TYPE_CHECKING:
    import uuid

    from headgate.engine.effects import Steps

__all__ = [
    "apause_flow_run",
    "aresume_flow_run",
    "asuspend_flow_run",
    "await_for_flow_run",
    "pause_flow_run",
    "resume_flow_run",
    "suspend_flow_run",
    "wait_for_flow_run",
]

T = TypeVar("T")

#: How long a pause lasts that nobody ends.
PAUSE_SECONDS = 3600.0
#: How long the end of a run is waited for.
WAIT_SECONDS = 10800.0


@overload
def pause_flow_run(
    wait_for_input: None = None,
    timeout: float = PAUSE_SECONDS,
    poll_interval: float | None = None,
    key: str | None = None,
) -> None: ...


@overload
def pause_flow_run(
    wait_for_input: type[T],
    timeout: float = PAUSE_SECONDS,
    poll_interval: float | None = None,
    key: str | None = None,
) -> T: ...


@explained
def pause_flow_run(
    wait_for_input: type[Any] | None = None,
    timeout: float = PAUSE_SECONDS,
    poll_interval: float | None = None,
    key: str | None = None,
) -> Any:
    """Pause the flow run that calls this, and wait until somebody resumes it.

    Works anywhere in the run, in a task, too. While the run is paused no further task of it
    begins. Where an event loop runs in this thread the call returns a coroutine to await.

    Args:
        wait_for_input: What whoever resumes the run has to say: a ``RunInput``, another model of
            pydantic, or a type such as ``str``. Default: nothing.
        timeout: In seconds; then the run fails.
        poll_interval: Without effect, since nothing is polled; taken so that code which gives it
            goes on to work.
        key: A pause with a key fires once in an attempt of the run. Default: its number.

    Returns:
        The input, where one was waited for.

    Raises:
        MissingContextError: There is no flow run here.
        FlowPauseTimeout: Nobody resumed the run in time.
        FlowPauseError: The run cannot be paused now.
    """
    return _run(lambda: _pause(wait_for_input, timeout, key))


@overload
async def apause_flow_run(
    wait_for_input: None = None,
    timeout: float = PAUSE_SECONDS,
    poll_interval: float | None = None,
    key: str | None = None,
) -> None: ...


@overload
async def apause_flow_run(
    wait_for_input: type[T],
    timeout: float = PAUSE_SECONDS,
    poll_interval: float | None = None,
    key: str | None = None,
) -> T: ...


@explained
async def apause_flow_run(
    wait_for_input: type[Any] | None = None,
    timeout: float = PAUSE_SECONDS,
    poll_interval: float | None = None,
    key: str | None = None,
) -> Any:
    """Do what ``pause_flow_run`` does, in a coroutine."""
    from headgate.engine import effects

    return await effects.drive_async(_pause(wait_for_input, timeout, key))


@overload
def suspend_flow_run(
    wait_for_input: None = None,
    flow_run_id: str | uuid.UUID | None = None,
    timeout: float | None = PAUSE_SECONDS,
    key: str | None = None,
) -> None: ...


@overload
def suspend_flow_run(
    wait_for_input: type[T],
    flow_run_id: str | uuid.UUID | None = None,
    timeout: float | None = PAUSE_SECONDS,
    key: str | None = None,
) -> T: ...


@explained
def suspend_flow_run(
    wait_for_input: type[Any] | None = None,
    flow_run_id: str | uuid.UUID | None = None,
    timeout: float | None = PAUSE_SECONDS,
    key: str | None = None,
) -> Any:
    """Suspend a flow run: its process ends, and it starts anew when somebody resumes it.

    Only for runs of a deployment that are not subflows. Tasks whose results are kept, and all of
    a durable flow, are not called again.

    Args:
        wait_for_input: As for ``pause_flow_run``.
        flow_run_id: Another run; it stops before its next task. Default: the one that calls this.
        timeout: In seconds; then the run fails. None: it waits for ever.
        key: As for ``pause_flow_run``.

    Returns:
        In the new process, after the run was resumed: the input, where one was waited for.

    Raises:
        MissingContextError: There is no flow run here, and none was named.
        FlowPauseError: The run cannot be suspended.
    """
    return _run(lambda: _suspend(wait_for_input, flow_run_id, timeout, key))


@overload
async def asuspend_flow_run(
    wait_for_input: None = None,
    flow_run_id: str | uuid.UUID | None = None,
    timeout: float | None = PAUSE_SECONDS,
    key: str | None = None,
) -> None: ...


@overload
async def asuspend_flow_run(
    wait_for_input: type[T],
    flow_run_id: str | uuid.UUID | None = None,
    timeout: float | None = PAUSE_SECONDS,
    key: str | None = None,
) -> T: ...


@explained
async def asuspend_flow_run(
    wait_for_input: type[Any] | None = None,
    flow_run_id: str | uuid.UUID | None = None,
    timeout: float | None = PAUSE_SECONDS,
    key: str | None = None,
) -> Any:
    """Do what ``suspend_flow_run`` does, in a coroutine."""
    from headgate.engine import effects

    return await effects.drive_async(_suspend(wait_for_input, flow_run_id, timeout, key))


@explained
def resume_flow_run(flow_run_id: str | uuid.UUID, run_input: Any = None) -> None:
    """Let a paused or suspended flow run go on.

    Args:
        flow_run_id: The run.
        run_input: What the pause waits for: a dictionary, or an instance of its model.

    Raises:
        NotFound: There is no such run.
        InvalidArgument: The input does not fit what the pause waits for.
        FlowPauseError: The run is not paused.
    """
    if _calling.in_event_loop():
        return cast("None", aresume_flow_run(flow_run_id, run_input))
    from headgate.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        _accepted(client.resume_flow_run(str(flow_run_id), run_input=_input_value(run_input)))
    return None


@explained
async def aresume_flow_run(flow_run_id: str | uuid.UUID, run_input: Any = None) -> None:
    """Do what ``resume_flow_run`` does, in a coroutine."""
    from headgate.client.orchestration import get_client

    async with get_client() as client:
        _accepted(await client.resume_flow_run(str(flow_run_id), run_input=_input_value(run_input)))


@explained
def wait_for_flow_run(
    flow_run_id: str | uuid.UUID,
    timeout: float | None = WAIT_SECONDS,
    poll_interval: float | None = None,
    log_states: bool = False,
) -> runs.FlowRun:
    """Wait until a flow run has ended.

    Args:
        flow_run_id: The run.
        timeout: In seconds. None: for ever.
        poll_interval: Without effect, since nothing is polled.
        log_states: Log each state that the run enters.

    Returns:
        The run; its ``state.result()`` raises what the run failed with.

    Raises:
        NotFound: There is no such run.
        FlowRunWaitTimeout: It has not ended in time.
    """
    if _calling.in_event_loop():
        return cast("Any", await_for_flow_run(flow_run_id, timeout, poll_interval, log_states))
    from headgate.client import ending
    from headgate.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        run = client.read_flow_run(str(flow_run_id))
        if not run.state.is_terminal:
            told = _log if log_states else None
            run = ending.wait_blocking(client, run, timeout, on_transition=told)
    return _ended(run, timeout)


@explained
async def await_for_flow_run(
    flow_run_id: str | uuid.UUID,
    timeout: float | None = WAIT_SECONDS,
    poll_interval: float | None = None,
    log_states: bool = False,
) -> runs.FlowRun:
    """Do what ``wait_for_flow_run`` does, in a coroutine."""
    from headgate.client import ending
    from headgate.client.orchestration import get_client

    async with get_client() as client:
        run = await client.read_flow_run(str(flow_run_id))
        if not run.state.is_terminal:
            told = _log if log_states else None
            run = await ending.wait(client, run, timeout, on_transition=told)
    return _ended(run, timeout)


def _run(make: Callable[[], Steps[T]]) -> T:
    """Take steps, blocking; where an event loop runs, return a coroutine that takes them."""
    from headgate.engine import effects

    if _calling.in_event_loop():
        return cast("Any", effects.drive_async(make()))
    return effects.drive(make())


def _pause(wait_for_input: Any, timeout: float, key: str | None) -> Steps[Any]:
    from headgate import states
    from headgate.engine import pausing
    from headgate.input import answers

    here = _flow_run("paused")
    key = answers.checked_key(key or here.next_pause())
    state = states.Paused(timeout_seconds=timeout, pause_key=key)
    run_id = here.flow_run.id
    yield from answers.ask(run_id, key, state.id, wait_for_input)
    if not (yield from pausing.pause(here.gate, here.recorder, state)):
        yield from answers.withdraw(run_id, key, state.id, wait_for_input)
    return (yield from answers.read(run_id, key, wait_for_input))


def _suspend(
    wait_for_input: Any,
    flow_run_id: str | uuid.UUID | None,
    timeout: float | None,
    key: str | None,
) -> Steps[Any]:
    from headgate import states
    from headgate.engine import pausing
    from headgate.input import answers

    other = context.current_flow()
    if flow_run_id is not None and (other is None or str(flow_run_id) != other.flow_run.id):
        return (yield from _suspend_other(str(flow_run_id), timeout))
    here = _flow_run("suspended")
    key = answers.checked_key(key or here.next_pause())
    state = states.Suspended(timeout_seconds=timeout, pause_key=key)
    run_id = here.flow_run.id
    yield from answers.ask(run_id, key, state.id, wait_for_input)
    yield from pausing.suspend(here.gate, here.recorder, state)
    yield from answers.withdraw(run_id, key, state.id, wait_for_input)
    return (yield from answers.read(run_id, key, wait_for_input))


def _suspend_other(flow_run_id: str, timeout: float | None) -> Steps[None]:
    from headgate import states
    from headgate.input.remote import Ask

    state = states.Suspended(timeout_seconds=timeout).record()
    _accepted((yield Ask(lambda client: client.set_flow_run_state(flow_run_id, state))))


def _flow_run(what: str) -> context.FlowRunContext:
    here = context.current_flow()
    if here is None:
        msg = (
            f"There is no flow run here that could be {what}; call this within a flow, or name the "
            "run."
        )
        raise errors.MissingContextError(msg)
    return here


def _input_value(run_input: Any) -> Any:
    """Return an input as JSON has it."""
    if run_input is None:
        return None
    from headgate import parameters

    value = parameters.jsonable(run_input)
    if isinstance(value, dict):
        return cast("dict[str, Any]", value)
    # A simple value is the field of an input that was asked for by its type.
    return {"value": value}


def _accepted(result: Any) -> None:
    from headgate.core.states import VerdictKind

    if result.verdict.kind is not VerdictKind.ACCEPT:
        msg = result.verdict.reason or f"The run is {result.flow_run.state.name}."
        raise errors.FlowPauseError(msg)


def _ended(run: runs.FlowRun, timeout: float | None) -> runs.FlowRun:
    import dataclasses

    from headgate import states

    if not run.state.is_terminal:
        msg = (
            f"Flow run {run.name!r} has not ended within {timeout:g} s; it is {run.state.name}. "
            "Wait longer, with timeout=..., or look at it: headgate flow-run watch " + run.id
        )
        raise errors.FlowRunWaitTimeout(msg)
    return dataclasses.replace(run, state=states.from_record(run.state, flow_run_id=run.id))


def _log(transition: runs.TransitionRecord) -> None:
    from headgate.logging import get_logger

    get_logger("headgate.flow_runs").info(
        "Flow run %r is in state %s", transition.run_name, transition.state.name
    )
