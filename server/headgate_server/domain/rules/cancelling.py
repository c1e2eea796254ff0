"""A run that is being cancelled ends as Cancelled and as nothing else.

Whoever asked for the cancellation must be able to rely on it, even if the process comes to
its own end, good or bad, in the same moment.
"""

from __future__ import annotations

from datetime import datetime

from headgate.core import states
from headgate.core.states import StateType
from headgate_server.domain import decisions
from headgate_server.domain.context import Context


def decide(context: Context, now: datetime) -> decisions.Decision | None:
    """Turn every other end into Cancelled, and refuse everything that is not an end."""
    current, proposed = context.current, context.proposed
    if current.type is not StateType.CANCELLING or proposed.type is StateType.CANCELLED:
        return None
    if context.forced and not context.by_holder:
        return None
    if not proposed.is_terminal:
        return decisions.Reject(current, "The run is being cancelled.")
    ended = states.new_state(
        StateType.CANCELLED,
        id=context.new_id,
        now=now,
        message=current.message or "The run was cancelled.",
        details=states.StateDetails(transition_id=proposed.id),
        data=proposed.data,
    )
    return decisions.Reject(ended, f"The run was being cancelled when it ended as {proposed.name}.")
