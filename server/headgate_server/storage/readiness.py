"""When a run is ready to be leased: one answer for every storage."""

from __future__ import annotations

from datetime import datetime

from headgate.core.runs import FlowRun
from headgate.core.states import StateType


def is_ready(flow_run: FlowRun, *, leased: bool) -> bool:
    """Say whether the run belongs into the ready set.

    A Scheduled run with a lease is either offered to a runner just now or waits in its
    process for a retry; neither is for others to take.
    """
    return (
        flow_run.state.type is StateType.SCHEDULED
        and flow_run.work_pool_name is not None
        and not leased
    )


def due_time(flow_run: FlowRun) -> datetime:
    """Return from when on a ready run may be leased."""
    return (
        flow_run.state.details.scheduled_time
        or flow_run.expected_start_time
        or flow_run.state.timestamp
    )


def order_time(flow_run: FlowRun) -> datetime:
    """Return the time by which lists are ordered and filtered."""
    return flow_run.expected_start_time or flow_run.create_time
