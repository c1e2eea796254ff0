"""What people may do to a task run by hand.

A task that failed for a reason outside of its code may have been done by other means. Who says so
spares the flow run another call of it. Engines keep what they execute in memory, so nothing is
changed behind their back, and no result is thrown away.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from headgate.core import states
from headgate.core.states import StateType
from headgate_server.domain import decisions


def decide(
    history: Sequence[states.State], proposed: states.State, *, flow_run_name: str, executed: bool
) -> decisions.Decision:
    """Answer a state that somebody proposes for a task run.

    Args:
        history: The states that it was in, oldest first.
        proposed: The state that it shall enter.
        flow_run_name: The name of its flow run.
        executed: Whether somebody executes its flow run.
    """
    current = history[-1]
    if current.id == proposed.id:
        return decisions.Accept(current)
    if executed:
        return decisions.Abort(
            f"Flow run {flow_run_name!r} is being executed, and its task runs with it; cancel it, "
            "or wait until it has ended."
        )
    if not current.is_terminal and states.may_move(current.type, proposed.type):
        return decisions.Accept(_with_call_key(history, proposed))
    if not proposed.is_terminal:
        return decisions.Abort(
            f"The task run is {current.name}, and {proposed.name} is no end. Retry its flow run to "
            "have it called again."
        )
    if current.is_terminal and current.data is not None:
        return decisions.Abort(f"The task run has ended as {current.name}, with a result.")
    return decisions.Accept(_with_call_key(history, proposed))


def _with_call_key(history: Sequence[states.State], proposed: states.State) -> states.State:
    """Say which call of a durable flow run it is, as the engine has said it."""
    keys = (state.details.call_key for state in reversed(history) if state.details.call_key)
    key = next(keys, None) if proposed.type is StateType.COMPLETED else None
    details = dataclasses.replace(proposed.details, call_key=key)
    return dataclasses.replace(proposed, details=details)


__all__ = ["decide"]
