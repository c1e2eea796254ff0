"""What the rules know about a proposal: read before they think, written after by CAS."""

from __future__ import annotations

import dataclasses
import enum

from headgate.core import runs, states


class Retry(enum.Enum):
    """What somebody who asks for a retry knows about the run."""

    ENDED = enum.auto()
    #: It may still be executed; who executes it is to be fenced.
    TAKEN_FROM_ITS_HOLDER = enum.auto()


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """A proposal and what surrounds it.

    Attributes:
        run: The flow run as it was read.
        proposed: The state it shall enter.
        held: Whether somebody executes it: it has a lease whose offer was accepted.
        by_holder: Whether the proposal came with the newest fencing token.
        forced: Whether the proposal overrides the rules.
        retry: Set where somebody asks to retry the run.
        fired_pause_keys: The pause keys of pauses that the run has been in.
        new_id: The id of the state, if a rule puts one of its own in place.
        random: A number from 0 up to 1, for jitter.
    """

    run: runs.FlowRun
    proposed: states.State
    held: bool = False
    by_holder: bool = False
    forced: bool = False
    retry: Retry | None = None
    fired_pause_keys: frozenset[str] = frozenset()
    new_id: str
    random: float = 0.0

    @property
    def current(self) -> states.State:
        """The state the run is in."""
        return self.run.state
