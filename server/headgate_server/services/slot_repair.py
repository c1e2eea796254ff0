"""What puts slots right after a fault: leases that nobody could renew, holders that are gone."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from datetime import timedelta

from headgate.core.runs import FlowRun
from headgate.core.states import StateType
from headgate_server.domain import slots as domain
from headgate_server.services import slot_records
from headgate_server.storage.interface import Transaction

#: How long leases live on that nobody could renew, and how far back that goes.
_EXTEND_SECONDS = 30.0
_AWAY_SECONDS_MAX = 3_600.0
#: So many leases that have ended are looked at: those that ended first.
_ENDED_MAX = 1_000
#: Runs that have come into one of these no longer execute; nobody gives their slots back.
_GONE = (StateType.SCHEDULED, StateType.CRASHED, StateType.CANCELLED)


def extend(tx: Transaction) -> None:
    """Let leases live on that nobody could renew while no server was there.

    Those that have ended only where their slots are free still: other servers may have been
    there all the time, and have given the slots to others.
    """
    limits, now = tx.concurrency_limits, tx.now()
    until = now + timedelta(seconds=_EXTEND_SECONDS)
    limits.extend(until)
    since = now - timedelta(seconds=_AWAY_SECONDS_MAX)
    ended = slot_records.by_lease(limits.list_ended(since, _ENDED_MAX))
    rooms = slot_records.rooms(tx, ended)
    for wish in domain.admit(map(slot_records.wish, ended), rooms):
        claims = [claim for claim in limits.claims([wish.id]) if claim.granted]
        limits.put([dataclasses.replace(claim, expire_time=until) for claim in claims])


def is_gone(run: FlowRun) -> bool:
    """Say whether nothing executes a run that was executed; one never leased has no slots."""
    return run.state.type in _GONE and run.fencing_token > 0


def release_gone(tx: Transaction, flow_run_ids: Iterable[str]) -> None:
    """Free the slots of these runs where nothing executes them.

    They are read anew: where one executes again by now, its slots are those of that attempt.
    """
    for flow_run_id in flow_run_ids:
        run = tx.flow_runs.get(flow_run_id)
        if run is not None and is_gone(run):
            tx.concurrency_limits.release_flow_run(flow_run_id)


def find_gone(tx: Transaction, limit: int) -> Sequence[str]:
    """Return runs that have slots, and that nothing executes.

    As a rule there are none: their slots are freed when they come into such a state. But whoever
    was about to do that may have been killed between the one commit and the other.
    """
    return tx.concurrency_limits.list_holders_in(_GONE, limit)


__all__ = ["extend", "find_gone", "is_gone", "release_gone"]
