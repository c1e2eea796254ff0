"""What becomes of a run when its lease ends before the run does."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Iterable

from headgate.core.deployments import InfrastructureLossAction, InfrastructureLossPolicy
from headgate.core.runs import FlowRun
from headgate.core.states import State, StateType


class Outcome(enum.StrEnum):
    """What a runner says became of the process of a run."""

    FINISHED = "FINISHED"
    CRASHED = "CRASHED"
    HANDED_BACK = "HANDED_BACK"


@dataclasses.dataclass(frozen=True, slots=True)
class Enter:
    """The run enters a state, and the lease ends with it."""

    type: StateType
    message: str
    name: str | None = None
    rescheduled: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class GiveBack:
    """The run goes back to its queue as it is: it was never begun."""


@dataclasses.dataclass(frozen=True, slots=True)
class Drop:
    """The lease ends; the run stays as it is."""


Ending = Enter | GiveBack | Drop


def after_release(
    run: FlowRun,
    *,
    accepted: bool,
    policy: InfrastructureLossPolicy | None,
    outcome: Outcome,
    message: str,
) -> Ending:
    """Say what becomes of a run that its runner releases.

    Args:
        run: The run.
        accepted: Whether the runner had taken the offer.
        policy: What its deployment wants where its process is lost; None for a run by hand.
        outcome: What the runner says became of its process.
        message: What it says in words.
    """
    state = run.state
    if state.is_terminal or _is_suspended(state):
        return Drop()
    if state.type is StateType.CANCELLING:
        return _cancelled(state)
    if outcome is Outcome.HANDED_BACK:
        if state.type is StateType.SCHEDULED and not accepted:
            return GiveBack()
        return Enter(StateType.SCHEDULED, message or "Its runner handed the run back.")
    if outcome is Outcome.FINISHED:
        message = message or "Its process ended without reporting a final state."
        return Enter(StateType.CRASHED, message)
    return _lost(run, policy, message or "Its process ended unexpectedly.")


def after_loss(
    run: FlowRun,
    *,
    accepted: bool,
    policy: InfrastructureLossPolicy | None,
    holder: str,
    silent_seconds: float,
) -> Ending:
    """Say what becomes of a run whose holder is lost.

    Args:
        run: The run.
        accepted: Whether the holder had taken the offer.
        policy: What its deployment wants; None for a run by hand.
        holder: Who held the lease, e.g. ``Runner brave-otter``.
        silent_seconds: For how long nothing was heard of the holder.
    """
    state = run.state
    if state.is_terminal or _is_suspended(state):
        return Drop()
    if state.type is StateType.CANCELLING:
        return _cancelled(state)
    if state.type is StateType.SCHEDULED and not accepted:
        return GiveBack()
    fact = f"{holder} stopped sending heartbeats; nothing was heard for {silent_seconds:.0f} s."
    return _lost(run, policy, fact)


def _lost(run: FlowRun, policy: InfrastructureLossPolicy | None, fact: str) -> Enter:
    """Say what becomes of a run that has lost its process, which it had begun in."""
    if policy is None or policy.action is InfrastructureLossAction.CRASH:
        return Enter(StateType.CRASHED, fact)
    if run.reschedule_count >= policy.max_reschedules:
        times = f"{run.reschedule_count} times"
        return Enter(StateType.CRASHED, f"{fact} It was rescheduled {times} before, no more.")
    return Enter(StateType.SCHEDULED, fact, name="AwaitingRetry", rescheduled=True)


def _is_suspended(state: State) -> bool:
    return state.type is StateType.PAUSED and state.details.pause_reschedule


def _cancelled(state: State) -> Enter:
    return Enter(StateType.CANCELLED, state.message or "The run was cancelled.")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """A lease as both sides name it."""

    flow_run_id: str
    fencing_token: int


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """What is stored about a run of a session: its lease, if it still has one there.

    Attributes:
        held: The lease, or what the runner claims to hold.
        leased: Whether that very lease is the session's.
        accepted: Whether its offer was taken.
        ended: Whether the run has ended (or was suspended) under that very token.
        cancelling: Whether the run is being cancelled.
    """

    held: Held
    leased: bool
    accepted: bool
    ended: bool
    cancelling: bool


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Reconciled:
    """What a runner that comes back is told, and what is done about the rest.

    Attributes:
        keep: It goes on with these.
        drop: It must stop these.
        cancel: Of those kept, these are to be cancelled.
        unsent: Offers that it never saw: they go back.
        suspect: Leases that it took and does not speak of: lost, unless it releases them soon.
    """

    keep: tuple[Held, ...]
    drop: tuple[Held, ...]
    cancel: tuple[Held, ...]
    unsent: tuple[Held, ...]
    suspect: tuple[Held, ...]


def reconcile(claimed: frozenset[Held], stored: tuple[Stored, ...]) -> Reconciled:
    """Compare what a runner says it holds with what is stored.

    Args:
        claimed: What the runner says.
        stored: What is stored about the claimed runs, and about all leases of the session.
    """
    facts = {fact.held: fact for fact in stored}
    # A run that ended a moment ago is not to be stopped: its process is about to end in order.
    keep = [held for held in claimed if held in facts and _goes_on(facts[held])]
    unclaimed = [fact for fact in stored if fact.leased and fact.held not in claimed]
    return Reconciled(
        keep=_sorted(keep),
        drop=_sorted(claimed.difference(keep)),
        cancel=_sorted(held for held in keep if facts[held].cancelling),
        unsent=_sorted(fact.held for fact in unclaimed if not fact.accepted),
        suspect=_sorted(fact.held for fact in unclaimed if fact.accepted),
    )


def _goes_on(fact: Stored) -> bool:
    return fact.leased or fact.ended


def _sorted(held: Iterable[Held]) -> tuple[Held, ...]:
    return tuple(sorted(held, key=lambda lease: lease.flow_run_id))


__all__ = [
    "Drop",
    "Ending",
    "Enter",
    "GiveBack",
    "Held",
    "Outcome",
    "Reconciled",
    "Stored",
    "after_loss",
    "after_release",
    "reconcile",
]
