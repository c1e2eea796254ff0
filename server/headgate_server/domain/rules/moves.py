"""A run moves along the table of moves only.

What no other rule speaks of is decided by one table that the SDK and the server share.
"""

from __future__ import annotations

from datetime import datetime

from headgate.core import states
from headgate_server.domain import decisions
from headgate_server.domain.context import Context


def decide(context: Context, now: datetime) -> decisions.Decision | None:
    """Abort a move that is not in the table."""
    current, proposed = context.current, context.proposed
    if states.may_move(current.type, proposed.type):
        return None
    return decisions.Abort(f"A run cannot go from {current.name} to {proposed.name}.")
