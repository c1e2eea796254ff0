"""A run is picked up once.

Pending says that somebody has taken the run. A second one who proposes it must go away, or
the run would be executed twice. Pending under another name (Submitting,
InfrastructurePending) is progress of the first.
"""

from __future__ import annotations

from datetime import datetime

from headgate.core.states import StateType
from headgate_server.domain import decisions
from headgate_server.domain.context import Context

_TAKEN = frozenset({StateType.PENDING, StateType.RUNNING, StateType.CANCELLING})


def decide(context: Context, now: datetime) -> decisions.Decision | None:
    """Abort a second pick-up."""
    current, proposed = context.current, context.proposed
    if proposed.type is not StateType.PENDING or current.type not in _TAKEN:
        return None
    if current.type is StateType.PENDING and current.name != proposed.name:
        return None
    return decisions.Abort(f"The run was picked up already; it is {current.name}.")
