"""Executes a run that waits and that nobody holds: this process takes it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from headgate import entrypoints
from headgate.core import errors, runs
from headgate.engine import durable, leased, process
from headgate.engine.creation import LOSSY_LABEL
from headgate.states import State

if TYPE_CHECKING:
    from headgate.flows import Flow

__all__ = ["check", "execute", "load_flow"]


def execute(flow: Flow[..., Any], flow_run_id: str) -> State[Any]:
    """Take a run that is Scheduled, and execute it here; returns the state that it ended in.

    Args:
        flow: Its flow.
        flow_run_id: The run.

    Raises:
        NotFound: There is no such run.
        FailedPrecondition: It is not Scheduled, or another process has it.
        ParameterTypeError: It was called with a value that only the first process had.
    """
    known = durable.ask_server(lambda client: client.read_flow_run(flow_run_id)).result()
    check(known)
    link = process.link()
    outbox = link.claim_run(flow_run_id)
    try:
        run = outbox.opened.result().flow_run
        if run is None:
            raise errors.NotFound("flow run", flow_run_id)
        return leased.execute_or_report(flow, link, outbox, run)
    finally:
        link.close_run(outbox)


def check(run: runs.FlowRun) -> None:
    """Refuse a run that cannot be executed by another process than its first.

    Raises:
        ParameterTypeError: It was called with a value that only the first process had.
    """
    lossy = run.labels.get(LOSSY_LABEL)
    if lossy:
        msg = (
            f"Flow run {run.name!r} cannot go on in another process: it was called with {lossy}, "
            "of which the record does not have all: it has no JSON form, or secrets in it. Call "
            "its flow anew, with values that JSON can say."
        )
        raise errors.ParameterTypeError(msg)


def load_flow(entrypoint: str, path: str | None = None) -> Flow[..., Any]:
    """Load the flow of a run.

    Args:
        entrypoint: Where the flow is, e.g. ``flows.py:etl``.
        path: The folder that it is relative to. Default: the working folder.

    Raises:
        MissingFlowError: There is no such flow.
        ScriptError: The file raised something.
    """
    return entrypoints.load_flow(entrypoint, path or os.getcwd())
