"""Runs that execute only in name, for what looks at the run it is in."""

import inspect
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from headgate import context
from headgate.core import runs, states

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
FLOW_RUN_ID = "00000000-0000-7000-8000-000000000001"
TASK_RUN_ID = "00000000-0000-7000-8000-000000000002"

Inside = Callable[..., AbstractContextManager[None]]


def a_flow_run(**changes: Any) -> runs.FlowRun:
    fields: dict[str, Any] = {
        "id": FLOW_RUN_ID,
        "name": "brave-otter",
        "flow_id": "f",
        "flow_name": "etl",
        "root_flow_run_id": FLOW_RUN_ID,
        "state": states.new_state(states.StateType.RUNNING, id="s", now=NOW),
        "create_time": NOW,
        **changes,
    }
    return runs.FlowRun(**fields)


@pytest.fixture
def inside() -> Inside:
    """A block that is inside of a flow run, or of a task run in it."""

    @contextmanager
    def enter(*, task: bool = False, parameters: Any = None, **changes: Any) -> Iterator[None]:
        # The engine's parts of a context are of no interest here.
        parts: dict[str, Any] = dict.fromkeys(inspect.signature(context.FlowRunContext).parameters)
        parts["flow"] = SimpleNamespace(name="etl", version="v1", is_task_root=False)
        parts["flow_run"] = a_flow_run(**changes)
        flow_context = context.FlowRunContext(**parts)
        flow_context.parameters = parameters or {}
        task_context = None
        if task:
            task_context = context.TaskRunContext(
                a_task(), flow_context, TASK_RUN_ID, "load-0", "0", None, (5,), {}, NOW, ("t",)
            )
        with context.executing(flow_context, task_context):
            yield

    return enter


def a_task() -> Any:
    from headgate import parameters

    def load(x: int): ...

    return SimpleNamespace(
        name="load",
        task_key="load-key",
        version=None,
        retry_policy=runs.NO_RETRIES,
        signature=parameters.Signature(load, kind="task"),
    )
