"""Tasks that are called outside of flows are recorded as runs of their own."""

import multiprocessing
import os

import pytest

from headgate import flow, task
from headgate.client.orchestration import SyncHeadgateClient
from headgate.context import TaskRunContext
from headgate.core import errors, runs
from headgate.states import StateType


def roots(server: SyncHeadgateClient, state_name: str = "Completed") -> list[runs.FlowRun]:
    return server.read_flow_runs(flow_name=runs.TASKS_FLOW, state_names=[state_name])


def here() -> str:
    context = TaskRunContext.get()
    assert context is not None
    return context.id


def test_a_call_outside_of_flows_is_recorded_with_its_parameters(server: SyncHeadgateClient):
    @task
    def add(a: int, b: int = 2) -> tuple[int, str]:
        return a + b, here()

    total, id = add(1)
    assert total == 3
    run = server.read_task_run(id)
    assert run.state.type is StateType.COMPLETED
    root = server.read_flow_run(run.flow_run_id)
    assert root.state.type is StateType.COMPLETED
    assert (root.flow_name, root.parameters) == (runs.TASKS_FLOW, {"a": 1, "b": 2})
    assert root.name.startswith("add-")
    assert root.id not in [
        run.id for run in server.read_flow_runs(exclude_flow_name=runs.TASKS_FLOW)
    ]


async def test_an_async_task_outside_of_flows_runs_on_the_loop_of_its_caller(
    server: SyncHeadgateClient,
):
    @task
    async def add(a: int) -> tuple[int, str]:
        return a + 1, here()

    total, id = await add(1)
    assert total == 2
    assert server.read_task_run(id).state.type is StateType.COMPLETED


def test_a_failure_outside_of_flows_is_raised_after_its_retries(server: SyncHeadgateClient):
    ids = []

    @task(retries=1)
    def fails() -> None:
        ids.append(here())
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        fails()
    run = server.read_task_run(ids[0])
    assert (run.state.type, run.run_count) == (StateType.FAILED, 2)
    state = fails(return_state=True)
    assert state.is_failed()
    assert state.task_run_id == ids[-1]


def test_what_such_a_task_calls_is_recorded_with_it(server: SyncHeadgateClient):
    @task
    def inner() -> str:
        return here()

    @flow
    def sub() -> str:
        return inner()

    @task
    def outer() -> tuple[str, str, str]:
        return here(), inner(), sub()

    own, called, of_subflow = outer()
    root = server.read_task_run(own).flow_run_id
    assert server.read_task_run(called).flow_run_id == root
    parent = server.read_flow_run(server.read_task_run(of_subflow).flow_run_id)
    assert parent.root_flow_run_id == root


def test_a_call_that_does_not_fit_is_refused_and_recorded_nowhere(server: SyncHeadgateClient):
    @task
    def add(a: int) -> int:
        return a

    before = len(roots(server))
    with pytest.raises(errors.ParameterBindError):
        add()  # pyright: ignore[reportCallIssue]  # that is the point
    assert len(roots(server)) == before


@task
def number() -> int:
    return 1


def test_in_a_fork_of_a_connected_process_such_tasks_run_unrecorded(server: SyncHeadgateClient):
    number()
    context = multiprocessing.get_context("fork")
    child = context.Process(target=lambda: os._exit(40 + number()))
    child.start()
    child.join(20)
    assert child.exitcode == 41
