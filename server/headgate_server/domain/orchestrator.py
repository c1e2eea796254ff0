"""The ordered list of rules, and the one function that asks them.

The first rule that has an answer decides; a proposal that no rule minds is accepted. A forced
proposal asks the few rules only that protect what cannot be repaired.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from headgate_server.domain import decisions
from headgate_server.domain.context import Context
from headgate_server.domain.rules import (
    cancelling,
    duplicates,
    ended,
    late,
    moves,
    pausing,
    pickup,
    rerunning,
    results,
    resuming,
    retrying,
    scheduled_time,
    unended,
    unexecuted,
)


class Rule(Protocol):
    """A rule: a module with one function."""

    def decide(self, context: Context, now: datetime) -> decisions.Decision | None:
        """Answer the proposal, or return None to leave it to the next rule."""
        ...


RULES: Sequence[Rule] = (
    duplicates,
    ended,
    unended,
    cancelling,
    unexecuted,
    pickup,
    pausing,
    resuming,
    late,
    moves,
    scheduled_time,
    retrying,
    rerunning,
)

FORCED_RULES: Sequence[Rule] = (duplicates, results, cancelling)


def decide(context: Context, now: datetime) -> decisions.Decision:
    """Answer a proposed state.

    Args:
        context: The proposal and what surrounds it.
        now: The time by the database clock, UTC-aware.
    """
    for rule in FORCED_RULES if context.forced else RULES:
        decision = rule.decide(context, now)
        if decision is not None:
            return decision
    return decisions.Accept(context.proposed)
