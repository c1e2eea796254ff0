"""Calls the hooks of a flow whose own process could not: it was killed, or it crashed.

Runs in a process of its own, with the environment of the run. It asks the server how the run has
ended: ``on_crashed`` and ``on_cancellation`` hooks are called, each at most once from here.
"""

from __future__ import annotations

import os
import sys

from headgate import states
from headgate.client import orchestration
from headgate.core import errors
from headgate.core.states import StateType
from headgate.engine import child, hooks


def main() -> int:
    """Call the hooks of the flow that the environment names; returns an exit code."""
    client = orchestration.get_client(sync_client=True, api_url=os.environ["HEADGATE_API_URL"])
    try:
        with client:
            run = client.read_flow_run(os.environ["HEADGATE__FLOW_RUN_ID"])
        if run.state.type not in (StateType.CRASHED, StateType.CANCELLED):
            return 0
        flow = child.load(child.Spec.of_environment(os.environ))
    except errors.HeadgateError as error:
        print(f"The hooks of the flow could not be called: {error}", file=sys.stderr)
        return 1
    state = states.from_record(run.state, flow_run_id=run.id)
    hooks.run_now(flow.hooks_for(state), flow, run, state)
    return 0


if __name__ == "__main__":
    sys.exit(main())
