"""A run that runs again says so.

People see at a glance that it is not the first attempt. A run that goes on after a pause is
not a new attempt.
"""

from __future__ import annotations

import dataclasses
from datetime import datetime

from headgate.core.states import StateType
from headgate_server.domain import decisions
from headgate_server.domain.context import Context

_BEFORE_AN_ATTEMPT = frozenset({StateType.SCHEDULED, StateType.PENDING})


def decide(context: Context, now: datetime) -> decisions.Decision | None:
    """Rename Running to Retrying where the run has run before."""
    current, proposed = context.current, context.proposed
    if proposed.type is not StateType.RUNNING or proposed.name != "Running":
        return None
    if current.type not in _BEFORE_AN_ATTEMPT or current.name == "Resuming":
        return None
    if context.run.run_count == 0:
        return None
    return decisions.Accept(dataclasses.replace(proposed, name="Retrying"))
