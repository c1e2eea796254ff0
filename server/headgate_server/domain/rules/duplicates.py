"""A proposal that was answered before is answered again, not carried out again.

The answer to a proposal may get lost with the connection. Whoever proposed sends the same
state, with the same id, again, and must neither be refused for having succeeded nor count as
a second attempt.
"""

from __future__ import annotations

from datetime import datetime

from headgate_server.domain import decisions
from headgate_server.domain.context import Context


def decide(context: Context, now: datetime) -> decisions.Decision | None:
    """Answer from the current state if it came of this very proposal."""
    current = context.current
    if current.id == context.proposed.id:
        return decisions.Accept(current)
    if current.details.transition_id == context.proposed.id:
        return decisions.Reject(current, current.message or "This proposal was answered before.")
    return None
