"""A run that nobody executes is Cancelled at once.

Cancelling means: somebody has to stop it first. Where no runner or engine holds the run,
nobody would ever report the end.
"""

from __future__ import annotations

from datetime import datetime

from headgate.core import states
from headgate.core.states import StateType
from headgate_server.domain import decisions
from headgate_server.domain.context import Context


def decide(context: Context, now: datetime) -> decisions.Decision | None:
    """Put Cancelled in the place of Cancelling where the run is not held."""
    if context.proposed.type is not StateType.CANCELLING or context.held:
        return None
    cancelled = states.new_state(
        StateType.CANCELLED,
        id=context.new_id,
        now=now,
        message=context.proposed.message or "The run was cancelled before it was executed.",
        details=states.StateDetails(transition_id=context.proposed.id),
    )
    return decisions.Reject(cancelled, "Nobody executes the run; it is cancelled at once.")
