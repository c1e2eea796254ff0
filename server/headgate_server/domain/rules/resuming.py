"""A paused run goes on only while its pause lasts, and a suspended one only by a schedule.

After the pause has expired the run has failed, whether or not the loop that says so has come
by. The process of a suspended run is gone; it must be started anew before it can run.
"""

from __future__ import annotations

from datetime import datetime

from headgate.core import states
from headgate.core.states import StateType
from headgate_server.domain import decisions
from headgate_server.domain.context import Context

_GOING_ON = frozenset({StateType.RUNNING, StateType.SCHEDULED})


def expired(*, id: str, now: datetime) -> states.State:
    """Make the state of a run whose pause has expired."""
    return states.new_state(
        StateType.FAILED,
        id=id,
        now=now,
        message="The run was paused and not resumed in time.",
        details=states.StateDetails(retriable=False),
    )


def decide(context: Context, now: datetime) -> decisions.Decision | None:
    """Refuse to go on after an expired pause, or without a process."""
    current, proposed = context.current, context.proposed
    if proposed.name == "Resuming" and current.type is not StateType.PAUSED:
        return decisions.Reject(current, f"The run is not paused; it is {current.name}.")
    if current.type is not StateType.PAUSED or proposed.type not in _GOING_ON:
        return None
    expire_time = current.details.pause_expire_time
    if expire_time is not None and expire_time <= now:
        return decisions.Reject(expired(id=context.new_id, now=now), "The pause has expired.")
    if proposed.type is StateType.RUNNING and current.details.pause_reschedule:
        return decisions.Reject(
            current, "The run is suspended; resume it, and a runner will start it anew."
        )
    return None
