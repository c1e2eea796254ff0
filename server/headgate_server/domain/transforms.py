"""What entering a state does to a run: counts, times, details. No decisions here."""

from __future__ import annotations

import dataclasses
from datetime import datetime

from headgate.core import runs, states
from headgate.core.states import StateType

_GOES_ON = frozenset({StateType.PAUSED, StateType.RUNNING})


def apply(run: runs.FlowRun, state: states.State, now: datetime) -> runs.FlowRun:
    """Return the flow run as it is after it entered the state.

    Args:
        run: The run before.
        state: The state it enters, as decided.
        now: The time by the database clock, UTC-aware.
    """
    state = _with_scheduled_time(run.state, state, now)
    if state.type is StateType.CANCELLING and state.timestamp > now:
        # The grace counts from here: a clock that is ahead must not put its end off.
        state = dataclasses.replace(state, timestamp=now)
    return dataclasses.replace(
        run,
        state=state,
        run_count=run.run_count + is_attempt(run.state, state),
        expected_start_time=_expected_start_time(run.expected_start_time, state),
        start_time=_start_time(run.start_time, state),
        end_time=state.timestamp if state.is_terminal else None,
    )


def apply_to_task_run(run: runs.TaskRun, state: states.State) -> runs.TaskRun:
    """Return the task run as it is after it entered the state."""
    again = run.state.type is state.type is StateType.RUNNING and state.name == "Retrying"
    return dataclasses.replace(
        run,
        state=state,
        # A task that is tried again at once does not wait in between.
        run_count=run.run_count + (again or is_attempt(run.state, state)),
        expected_start_time=_expected_start_time(run.expected_start_time, state),
        start_time=_start_time(run.start_time, state),
        end_time=state.timestamp if state.is_terminal else None,
    )


def new_task_run(run: runs.TaskRun, now: datetime) -> runs.TaskRun:
    """Return a task run that begins in its state, with the counts and times that go with that."""
    state = first(run.state, now)
    running = state.type is StateType.RUNNING
    return dataclasses.replace(
        run,
        name=run.name or "-".join(part for part in (run.task_key, run.dynamic_key) if part),
        state=state,
        run_count=int(running),
        expected_start_time=_expected_start_time(None, state),
        start_time=state.timestamp if running else None,
        end_time=state.timestamp if state.is_terminal else None,
        create_time=now,
    )


def first(state: states.State, now: datetime) -> states.State:
    """Complete the first state of a new flow run: Scheduled has a time."""
    return _with_scheduled_time(None, state, now)


def is_attempt(current: states.State, entered: states.State) -> bool:
    """Say whether entering the state begins an attempt, rather than going on with one."""
    if entered.type is not StateType.RUNNING or current.type in _GOES_ON:
        return False
    return not (current.type is StateType.SCHEDULED and current.name == "Resuming")


def _with_scheduled_time(
    current: states.State | None, state: states.State, now: datetime
) -> states.State:
    """Give Scheduled a time, and let Pending keep the time of the Scheduled before it."""
    if state.details.scheduled_time is not None:
        return state
    if state.type is StateType.SCHEDULED:
        scheduled_time = now
    elif state.type is StateType.PENDING and current is not None:
        scheduled_time = current.details.scheduled_time
    else:
        return state
    details = dataclasses.replace(state.details, scheduled_time=scheduled_time)
    return dataclasses.replace(state, details=details)


def _expected_start_time(known: datetime | None, state: states.State) -> datetime | None:
    if state.type is StateType.SCHEDULED:
        return state.details.scheduled_time or state.timestamp
    return known or state.timestamp


def _start_time(known: datetime | None, state: states.State) -> datetime | None:
    if known is None and state.type is StateType.RUNNING:
        return state.timestamp
    return known
