"""Whether an embedded server is still needed, though nobody calls it just now."""

from __future__ import annotations

from datetime import timedelta

from headgate.core.states import StateType
from headgate_server.storage.interface import Transaction
from headgate_server.storage.records import FlowRunFilter, FlowRunOrder, PageRequest

_PAGE = 200
#: How long around its time a run that was asked for keeps a server. A runner that comes later
#: starts the server again, and finds the run.
_ASKED_FOR = timedelta(hours=1)


def is_in_use(tx: Transaction) -> bool:
    """Say whether the server must go on.

    It must for a runner or an engine, even if it has lost its connection: it will come back.
    With a runner there, schedules are served, too. Without one an active schedule does not
    keep the server, for nobody would run what it asks for; what somebody asked for does, but
    not for ever: no runner may come.
    """
    return tx.leases.next_expiry() is not None or _is_run_asked_for(tx)


def _is_run_asked_for(tx: Transaction) -> bool:
    """Say whether a run waits for a runner that was not made by a schedule."""
    now = tx.now()
    where = FlowRunFilter(
        state_types=(StateType.SCHEDULED,),
        expected_after=now - _ASKED_FOR,
        expected_before=now + _ASKED_FOR,
    )
    page = PageRequest(size=_PAGE)
    while True:
        found = tx.flow_runs.list(where, FlowRunOrder.EXPECTED_START_TIME_ASC, page)
        if any(run.work_pool_name and not run.auto_scheduled for run in found.items):
            return True
        if found.next is None:
            return False
        page = PageRequest(size=_PAGE, after=found.next)


__all__ = ["is_in_use"]
