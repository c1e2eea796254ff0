"""A flow run that failed is tried again as its policy says.

The server decides, so that the count of attempts survives the process. The run keeps its
lease: the process that holds it waits and tries again.
"""

from __future__ import annotations

import datetime as dt
from datetime import datetime

from headgate.core import retries, states
from headgate.core.states import StateType
from headgate_server.domain import decisions
from headgate_server.domain.context import Context


def decide(context: Context, now: datetime) -> decisions.Decision | None:
    """Put AwaitingRetry in the place of Failed while retries are left."""
    current, proposed = context.current, context.proposed
    if current.type is not StateType.RUNNING or proposed.type is not StateType.FAILED:
        return None
    if proposed.details.retriable is False or (context.held and not context.by_holder):
        return None
    answer = retries.decide(context.run.retry_policy, context.run.run_count, random=context.random)
    if isinstance(answer, retries.GiveUp):
        return None
    waiting = states.new_state(
        StateType.SCHEDULED,
        id=context.new_id,
        now=now,
        name="AwaitingRetry",
        message=proposed.message,
        details=states.StateDetails(
            scheduled_time=now + dt.timedelta(seconds=answer.delay_seconds),
            transition_id=proposed.id,
        ),
    )
    return decisions.Reject(
        waiting,
        f"Attempt {context.run.run_count} of {context.run.retry_policy.max_retries + 1} failed.",
    )
