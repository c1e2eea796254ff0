"""A run that has ended stays as it ended.

Late writes of a process that did not notice must not bring a run back to life. People may:
a deployed run that did not complete can be scheduled again, any other can be retried by who
executes it then, and the name of a terminal state may change within its type.
"""

from __future__ import annotations

import dataclasses
from datetime import datetime

from headgate.core.states import StateType
from headgate_server.domain import decisions
from headgate_server.domain.context import Context


def decide(context: Context, now: datetime) -> decisions.Decision | None:
    """Refuse to leave a terminal state, save for a manual retry or another name."""
    current, proposed = context.current, context.proposed
    if not current.is_terminal:
        return None
    if proposed.type is current.type and proposed.name != current.name:
        # The result belongs to the run, not to the name of its end.
        return decisions.Accept(dataclasses.replace(proposed, data=proposed.data or current.data))
    if proposed.type is not StateType.SCHEDULED:
        return decisions.Abort(f"The run has already ended as {current.name}.")
    if current.type is StateType.COMPLETED:
        return decisions.Abort("The run has completed; ask for a new run instead.")
    if context.run.deployment_id is None and context.retry is None:
        return decisions.Abort(
            "The run has no deployment that could start it again; retry it (`headgate flow-run "
            "retry`), and execute it where its code is."
        )
    return None
