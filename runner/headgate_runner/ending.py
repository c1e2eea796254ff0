"""How a supervised process ended, and what the runner tells the server about it. Pure."""

from __future__ import annotations

import dataclasses
import enum

from headgate_runner import exit_codes, lease


class StopReason(enum.StrEnum):
    """Why the runner stops a run."""

    #: Somebody cancelled it.
    CANCEL = "cancel"
    #: Its lease is lost: it must not go on here, and nothing is to be reported.
    LOST = "lost"
    #: The runner ends: it shall run elsewhere.
    HAND_BACK = "hand_back"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """The child's word that it reported a state which ends its process."""

    type: str
    name: str


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How a process ended.

    Attributes:
        exit_code: Negative where a signal ended it; None where it was never started.
        receipt: What it reported, if it did.
        stopped: Why the runner stopped it, if it did.
        forced: Whether it had to be killed after the grace.
        trouble: One sentence, where it could not be started or watched.
    """

    exit_code: int | None
    receipt: Receipt | None = None
    stopped: StopReason | None = None
    forced: bool = False
    trouble: str = ""


def conclude(ending: Ending) -> lease.Release | None:
    """Say how the lease ends; None where it is not the runner's to end."""
    if ending.receipt is not None:
        # The child's word counts whatever its exit code: the state is committed.
        return lease.Release(outcome=lease.Outcome.FINISHED)
    match ending.stopped:
        case StopReason.LOST:
            return None
        case StopReason.HAND_BACK:
            return lease.Release(
                outcome=lease.Outcome.HANDED_BACK,
                message="The runner was stopped; the run goes back to its queue.",
            )
        case StopReason.CANCEL:
            # The server knows that the run is cancelling and makes it Cancelled.
            return lease.Release(
                outcome=lease.Outcome.CRASHED, message=_cancelled(forced=ending.forced)
            )
        case None:
            return lease.Release(outcome=lease.Outcome.CRASHED, message=_crashed(ending))


def _cancelled(*, forced: bool) -> str:
    if forced:
        return "The run was cancelled; its process was killed, for it did not end within the grace."
    return "The run was cancelled; its process ended before it could say so itself."


def _crashed(ending: Ending) -> str:
    if ending.exit_code is None:
        return ending.trouble or "The process of the run could not be started."
    explanation = exit_codes.explain(ending.exit_code)
    return f"{explanation} {ending.trouble}".rstrip()
