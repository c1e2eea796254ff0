"""What a decided state does to the lease of the run."""

from __future__ import annotations

import dataclasses

from headgate.core import states
from headgate.core.states import StateType
from headgate_server.domain.context import Context


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class LeaseEffect:
    """What happens to the lease.

    Attributes:
        release: The lease ends with the transition.
        fence: The fencing token grows, so that late writes of the holder change nothing.
    """

    release: bool = False
    fence: bool = False


KEEP = LeaseEffect()


def decide(context: Context, state: states.State, *, leased: bool) -> LeaseEffect:
    """Say what entering the state does to the run's lease.

    An end releases the lease. So does a new schedule from outside: the run shall start anew,
    elsewhere. The holder itself keeps the lease through its own retries. Whatever takes the
    lease from a holder that did not ask for it fences the holder.

    Args:
        context: The proposal and what surrounds it.
        state: The state that was decided.
        leased: Whether the run has a lease, accepted or only offered.
    """
    if not leased:
        return KEEP
    if state.is_terminal:
        return LeaseEffect(release=True, fence=not context.by_holder)
    if state.type is StateType.SCHEDULED and not context.by_holder:
        if state.name == "Late" or _resumes_in_process(context):
            return KEEP
        return LeaseEffect(release=True, fence=True)
    return KEEP


def _resumes_in_process(context: Context) -> bool:
    current = context.current
    return current.type is StateType.PAUSED and not current.details.pause_reschedule
