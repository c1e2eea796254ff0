"""Not even force takes the result of an ended run away.

Force is for repairs. A result that was overwritten cannot be brought back, so an ended run
that has one may only be scheduled again.
"""

from __future__ import annotations

from datetime import datetime

from headgate_server.domain import decisions
from headgate_server.domain.context import Context


def decide(context: Context, now: datetime) -> decisions.Decision | None:
    """Abort a forced end of a run that has ended with a result."""
    current, proposed = context.current, context.proposed
    if current.is_terminal and current.data is not None and proposed.is_terminal:
        return decisions.Abort(
            f"The run has ended as {current.name} with a result, which force does not replace."
        )
    return None
