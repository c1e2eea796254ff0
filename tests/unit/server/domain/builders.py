"""Runs, states and contexts with as little said as a test needs."""

from __future__ import annotations

import dataclasses
import datetime as dt
import itertools
from typing import Any

from headgate.core import runs, states
from headgate.core.states import StateType
from headgate_server.domain.context import Context

NOW = dt.datetime(2026, 3, 1, 12, tzinfo=dt.UTC)
NEW_ID = "made-by-a-rule"

_numbers = itertools.count()


def state(type: StateType, name: str | None = None, **given: Any) -> states.State:
    """Make a state; arguments that StateDetails has go into the details."""
    known = {field.name for field in dataclasses.fields(states.StateDetails)}
    details = {key: given.pop(key) for key in list(given) if key in known}
    given.setdefault("id", f"state-{next(_numbers)}")
    return states.new_state(
        type, name=name, now=NOW, details=states.StateDetails(**details), **given
    )


def flow_run(current: states.State | StateType, **given: Any) -> runs.FlowRun:
    """Make a flow run in a state."""
    given.setdefault("deployment_id", "deployment")
    return runs.FlowRun(
        id="run",
        name="brave-otter",
        flow_id="flow",
        flow_name="etl",
        state=state(current) if isinstance(current, StateType) else current,
        root_flow_run_id="run",
        create_time=NOW,
        **given,
    )


def context(
    current: states.State | StateType, proposed: states.State | StateType, **given: Any
) -> Context:
    """Make a context; arguments that Context does not have go into the run."""
    known = {field.name for field in dataclasses.fields(Context)}
    surroundings = {key: given.pop(key) for key in list(given) if key in known}
    return Context(
        run=flow_run(current, **given),
        proposed=state(proposed) if isinstance(proposed, StateType) else proposed,
        new_id=NEW_ID,
        **surroundings,
    )
