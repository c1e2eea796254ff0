"""Only a run that executes can be paused, and each pause fires once.

A flow that runs again from its start comes to the same pause again; its key says that it was
resumed before. Suspending ends the process, so there must be a deployment to start it anew
and no parent that waits in the same process.
"""

from __future__ import annotations

from datetime import datetime

from headgate.core.states import StateType
from headgate_server.domain import decisions
from headgate_server.domain.context import Context


def decide(context: Context, now: datetime) -> decisions.Decision | None:
    """Refuse pauses that cannot be, or that have been."""
    current, proposed = context.current, context.proposed
    if proposed.type is not StateType.PAUSED:
        return None
    if current.type is not StateType.RUNNING:
        return decisions.Reject(
            current, f"Only a running flow run can be paused; it is {current.name}."
        )
    if proposed.details.pause_key in context.fired_pause_keys:
        return decisions.Reject(current, "This pause has fired before.")
    if not proposed.details.pause_reschedule:
        return None
    if context.run.deployment_id is None:
        return decisions.Abort("A run without a deployment cannot be suspended; pause it instead.")
    if context.run.parent_task_run_id is not None:
        return decisions.Abort("A subflow cannot be suspended; pause it instead.")
    return None
