"""Only a run that has ended is retried.

Two processes that execute one run would each do all of its work. Who knows that the process of a
run is gone, though the server still waits for it, says so; then the process is fenced.
"""

from __future__ import annotations

from datetime import datetime

from headgate.core.states import StateType
from headgate_server.domain import decisions
from headgate_server.domain.context import Context, Retry


def decide(context: Context, now: datetime) -> decisions.Decision | None:
    """Refuse to retry a run that waits already, or that somebody may still execute."""
    current = context.current
    if context.retry is None or current.is_terminal:
        return None
    if current.type is StateType.SCHEDULED and not context.held:
        return decisions.Reject(current, f"The run waits already; it is {current.name}.")
    if context.retry is Retry.TAKEN_FROM_ITS_HOLDER:
        return None
    return decisions.Abort(
        f"The run has not ended; it is {current.name}. Cancel it first, or, if its process is "
        "gone, force the retry."
    )
