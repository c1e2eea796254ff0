"""A run does not start before its time.

A runner or an engine may hold a run early, e.g. while it waits for its next attempt; it is
told how long to wait.
"""

from __future__ import annotations

from datetime import datetime

from headgate.core.states import StateType
from headgate_server.domain import decisions
from headgate_server.domain.context import Context

_WAITING = frozenset({StateType.SCHEDULED, StateType.PENDING})
_STARTING = frozenset({StateType.PENDING, StateType.RUNNING})


def decide(context: Context, now: datetime) -> decisions.Decision | None:
    """Let a start before the scheduled time wait."""
    current, proposed = context.current, context.proposed
    if current.type not in _WAITING or proposed.type not in _STARTING:
        return None
    scheduled_time = current.details.scheduled_time
    if scheduled_time is None or scheduled_time <= now:
        return None
    return decisions.Wait(
        (scheduled_time - now).total_seconds(), "The scheduled time has not come yet."
    )
