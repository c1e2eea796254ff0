"""Leases a run that waits to an engine that asks for this very run."""

from __future__ import annotations

import dataclasses

from headgate.core import errors
from headgate.core.states import StateType
from headgate_server.storage.interface import Transaction
from headgate_server.storage.records import Session

#: Pending without a lease is a run that was made by hand (``CreateFlowRun`` with a flow's name).
_WAITING = frozenset({StateType.SCHEDULED, StateType.PENDING})


def claim(tx: Transaction, flow_run_id: str, session: Session) -> int:
    """Lease a run to a session; return the fencing token of the lease.

    A run that the session holds already, because the answer to its claim was lost, is answered
    with the token that it has.

    Raises:
        NotFound: There is no such run.
        FailedPrecondition: It does not wait, or another one holds it.
        Unavailable: The session has expired, or the run is being changed by many.
    """
    run = tx.flow_runs.get(flow_run_id)
    if run is None:
        raise errors.NotFound("flow run", flow_run_id)
    if tx.leases.get_session(session.id) is None:
        # A lease without a session would never be reaped.
        raise errors.Unavailable(
            f"Session {session.id} has expired; connect again.", retry_after_seconds=0.0
        )
    lease = tx.leases.get(flow_run_id)
    if lease is not None and lease.session_id == session.id:
        return lease.fencing_token
    if lease is not None or run.state.type not in _WAITING:
        holder = f" and executed by {run.runner_name}" if run.runner_name else ""
        raise errors.FailedPrecondition(
            f"Flow run {run.name!r} is {run.state.name}{holder}; only one that waits can be "
            "taken. Retry it first: `headgate flow-run retry`.",
            "flow run",
            run.id,
        )
    token = run.fencing_token + 1
    # The lease first: a run that has one is not ready for runners.
    tx.leases.grant_to_engine(run.id, fencing_token=token, session_id=session.id)
    if tx.flow_runs.save(run, dataclasses.replace(run, fencing_token=token)) is None:
        msg = f"Flow run {run.id} is being changed by many at once; claim it again."
        raise errors.Unavailable(msg)
    return token


__all__ = ["claim"]
