"""Which state a result, or an exception, becomes. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

from headgate import states
from headgate.core import errors
from headgate.states import State, StateType

__all__ = [
    "crashed",
    "failed",
    "handed_over",
    "invalid",
    "of_task_value",
    "of_value",
    "timed_out",
]

#: States that a function cannot bring about by returning them: it is past them.
_UNDER_WAY = frozenset({StateType.PENDING, StateType.RUNNING})


def of_value(value: Any) -> State[Any]:
    """Turn what a function returned into a final state.

    A state made by hand is the final state, its name included, if a run can be left in it. States
    of runs decide together: Completed if all are; else Cancelled if one is, Paused if one is, else
    Failed. Anything else is the result of a completed run.

    Args:
        value: What was returned, futures replaced by their states.
    """
    if isinstance(value, State):
        state = cast("State[Any]", value)
        if state.flow_run_id is None and state.task_run_id is None:
            return state if state.type not in _UNDER_WAY else _no_end(state)
        return _together([state], state)
    if states.is_state_iterable(value):
        return _together(value, value).copy(given=value)
    return states.new(StateType.COMPLETED, data=value)


def of_task_value(value: Any) -> State[Any]:
    """Turn what a task returned into its final state: as for a flow, but nothing resumes a task."""
    state = of_value(value)
    if not state.is_terminal:
        return _no_end(state)
    # A flow that calls a task which returns a state gets just that, and looks at it.
    return state.copy(given=value) if state is value or state.data is value else state


def handed_over(state: State[Any]) -> Any:
    """Return what who called the function gets; raises what made the run fail.

    It is the result; but states that the function returned are handed over as they are, for the
    run has ended as they say, and who called it can see what became of each.
    """
    return state.result() if state.given is None else state.given


def _no_end(state: State[Any]) -> State[Any]:
    """Turn a state that ends no run into a failure; a run in it would never end."""
    return states.Failed(
        message=f"The function returned the state {state!r}, which does not end a run; return a "
        "value, or a final state such as Completed.",
        details=states.StateDetails(retriable=False),
    )


def _together(found: Iterable[State[Any]], data: Any) -> State[Any]:
    group = states.StateGroup(found)
    total = group.total_count
    if group.all_completed():
        return states.Completed(message="All states completed.", data=data)
    if group.any_cancelled():
        count = group.type_counts[StateType.CANCELLED]
        return states.Cancelled(message=f"{count}/{total} states cancelled.", data=data)
    if group.any_paused():
        count = group.type_counts[StateType.PAUSED]
        return states.Paused(message=f"{count}/{total} states paused.", data=data)
    if group.not_final_count:
        message = f"{group.not_final_count}/{total} states are not final."
    else:
        message = f"{group.fail_count}/{total} states failed."
    return states.Failed(message=message, data=data)


def failed(error: BaseException, what: str) -> State[Any]:
    """Turn an exception into a state.

    Args:
        error: The exception.
        what: ``Flow run`` or ``Task run``.
    """
    text = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    # People search their logs, and have automations, for these very words.
    colon = "" if what == "Task run" else ":"
    return states.Failed(message=f"{what} encountered an exception{colon} {text}", data=error)


def invalid(error: BaseException) -> State[Any]:
    """Turn the reason why a run could not begin into a state; trying again would not help."""
    text = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    details = states.StateDetails(retriable=False)
    return states.Failed(message=f"The flow run did not begin: {text}", data=error, details=details)


def timed_out(error: BaseException) -> State[Any]:
    """Turn the end of a timeout into a state."""
    return states.Failed(name="TimedOut", message=str(error), data=error)


def crashed(error: BaseException) -> State[Any]:
    """Turn what tears a run down into a state."""
    match error:
        case KeyboardInterrupt():
            message = "Execution was aborted by an interrupt signal."
        case errors.TerminationSignal():
            message = "Execution was aborted by a termination signal."
        case SystemExit():
            message = f"Execution was aborted by a system exit call (code {error.code})."
        case GeneratorExit():
            message = "Execution was aborted: its generator was closed before its end."
        case errors.HeadgateError():
            message = f"Execution was aborted: {error}"
        case _ if type(error).__name__ == "TimeIsOver":
            message = "Execution was aborted: the time of the run around it was over."
        case _ if type(error).__name__ == "CancelledError":
            message = "Execution was cancelled by the runtime environment."
        case _:
            message = f"Execution was interrupted by {type(error).__name__}: {error}"
    return states.Crashed(message=message, data=error)
