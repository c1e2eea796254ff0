"""Only a run that still waits can be late.

The loop that looks for late runs reads first and proposes after; in between a runner may have
taken the run.
"""

from __future__ import annotations

from datetime import datetime

from headgate.core.states import StateType
from headgate_server.domain import decisions
from headgate_server.domain.context import Context


def decide(context: Context, now: datetime) -> decisions.Decision | None:
    """Refuse Late for a run that does not wait any more."""
    current, proposed = context.current, context.proposed
    if proposed.type is not StateType.SCHEDULED or proposed.name != "Late":
        return None
    if current.type is StateType.SCHEDULED and not context.held:
        return None
    return decisions.Reject(current, f"The run does not wait any more; it is {current.name}.")
