"""What the rules may answer to a proposed state."""

from __future__ import annotations

import dataclasses

from headgate.core import states


@dataclasses.dataclass(frozen=True, slots=True)
class Accept:
    """The state stands, as proposed or renamed."""

    state: states.State


@dataclasses.dataclass(frozen=True, slots=True)
class Reject:
    """Another state stands instead; the current one where nothing changes."""

    state: states.State
    reason: str


@dataclasses.dataclass(frozen=True, slots=True)
class Wait:
    """Nothing changes; propose again after the delay."""

    delay_seconds: float
    reason: str


@dataclasses.dataclass(frozen=True, slots=True)
class Abort:
    """Nothing changes; do not go on with this run."""

    reason: str


Decision = Accept | Reject | Wait | Abort


def to_verdict(decision: Decision, *, current: states.State) -> states.Verdict:
    """Say a decision in the words of the contract.

    Args:
        decision: What the rules decided.
        current: The state the run had when they did.
    """
    match decision:
        case Accept(state):
            return states.Verdict(kind=states.VerdictKind.ACCEPT, state=state)
        case Reject(state, reason):
            return states.Verdict(kind=states.VerdictKind.REJECT, state=state, reason=reason)
        case Wait(delay, reason):
            return states.Verdict(
                kind=states.VerdictKind.WAIT, state=current, reason=reason, delay_seconds=delay
            )
        case Abort(reason):
            return states.Verdict(kind=states.VerdictKind.ABORT, state=current, reason=reason)
