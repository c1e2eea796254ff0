"""What flows that were written for Prefect rely on; found by running them there and here."""

import logging
from typing import Any

import pytest
from pydantic import Field

from headgate import allow_failure, flow, get_run_logger, task
from headgate.client.orchestration import SyncHeadgateClient
from headgate.context import FlowRunContext, TaskRunContext, get_run_context
from headgate.core import errors
from headgate.futures import Future, HeadgateConcurrentFuture, HeadgateFuture, HeadgateFutureList
from headgate.runtime import flow_run
from headgate.states import Cancelled, Completed, Failed, State
from headgate.task_runners import HeadgateTaskRunner, TaskRunner, ThreadPoolTaskRunner


@task
def one() -> int:
    return 1


@task
def fails() -> int:
    raise ValueError("no")


# --- What callers get of functions that return states ---


def test_a_flow_hands_over_the_state_of_a_run_that_it_returned(server: SyncHeadgateClient):
    @flow
    def child() -> int:
        return 7

    @flow
    def parent() -> Any:
        return child(return_state=True)

    @flow
    def submits() -> Any:
        return one.submit()

    handed = parent()
    assert isinstance(handed, State)
    assert handed.result() == 7
    assert submits().result() == 1


def test_a_flow_that_returns_one_failed_run_raises(server: SyncHeadgateClient):
    @flow
    def parent() -> Any:
        return fails.submit()

    with pytest.raises(ValueError, match="no"):
        parent()


def test_a_flow_that_made_a_failure_of_many_states_raises(server: SyncHeadgateClient):
    @flow
    def parent() -> Any:
        return Failed(message="one of two", data=[one(return_state=True), fails.submit().state])

    with pytest.raises((ValueError, errors.FailedRun)):
        parent()


def test_a_parent_goes_on_after_a_child_some_of_whose_tasks_failed(server: SyncHeadgateClient):
    @flow
    def child() -> Any:
        return [one.submit(), fails.submit()]

    @flow
    def parent() -> list[str]:
        return [state.name for state in child()]

    assert parent() == ["Completed", "Failed"]


@pytest.mark.parametrize(
    "made",
    [Failed(message="no"), Cancelled(), Completed(name="Skipped", data=3)],
    ids=["failed", "cancelled", "skipped"],
)
def test_a_task_hands_over_the_state_that_it_returned(made: State[Any], server: SyncHeadgateClient):
    @task
    def decides() -> State[Any]:
        return made

    @flow
    def works() -> Any:
        handed = decides()
        kept = decides(return_state=True)
        return (handed.name, kept.name)

    assert works() == (made.name, made.name)


def test_a_task_outside_of_flows_hands_over_its_state_too(server: SyncHeadgateClient):
    @task
    def decides() -> State[Any]:
        return Failed(message="no")

    assert decides().message == "no"
    assert decides(return_state=True).is_failed()


def test_a_submitted_task_that_returned_a_failure_raises_where_its_result_is_asked_for(
    server: SyncHeadgateClient,
):
    @task
    def decides() -> State[Any]:
        return Failed(message="not today")

    @flow
    def works() -> None:
        future = decides.submit()
        with pytest.raises(errors.FailedRun, match="not today"):
            future.result()

    works()


def test_a_durable_flow_gets_the_result_of_such_a_task_as_its_next_attempt_does(
    server: SyncHeadgateClient,
):
    calls: list[str] = []

    @task
    def decides() -> Any:
        calls.append("decides")
        return Completed(name="Skipped", data=3)

    @flow(durable=True, retries=1)
    def works() -> Any:
        value = decides()
        calls.append(repr(value))
        if len(calls) == 2:
            raise ValueError("once more")
        return value

    assert works() == 3
    assert calls == ["decides", "3", "3"]


# --- What runs build on ---


def test_allow_failure_of_a_run_that_was_not_started_is_none(server: SyncHeadgateClient):
    @task
    def show(value: Any = 5) -> Any:
        return value

    @flow
    def works() -> Any:
        skipped = show.submit(fails.submit())
        return show.submit(allow_failure(skipped)).result(), show(wait_for=[allow_failure(skipped)])

    assert works() == (None, 5)


def test_the_result_of_a_run_that_was_not_started_is_unfinished(server: SyncHeadgateClient):
    @flow
    def works() -> None:
        with pytest.raises(errors.UnfinishedRun):
            one.submit(wait_for=[fails.submit()]).result()

    works()


def test_map_goes_over_what_a_state_has(server: SyncHeadgateClient):
    @task
    def several() -> list[int]:
        return [1, 2]

    @task
    def double(n: int) -> int:
        return n * 2

    @flow
    def works() -> list[int]:
        return double.map(several(return_state=True)).result()

    assert works() == [2, 4]


def test_the_states_that_a_failed_flow_returned_are_there_without_raising(
    server: SyncHeadgateClient,
):
    @flow
    def child() -> Any:
        return one.submit(), fails.submit()

    state = child(return_state=True)
    returned: Any = state.result(raise_on_failure=False)
    assert [each.name for each in returned] == ["Completed", "Failed"]


# --- What runs tell of themselves ---


def test_a_task_that_is_tried_again_is_retrying(server: SyncHeadgateClient):
    seen: list[str] = []

    @task(retries=1)
    def works() -> None:
        context = TaskRunContext.get()
        assert context is not None
        seen.append(context.task_run.state.name)
        if len(seen) == 1:
            raise ValueError("no")

    @flow
    def calls() -> None:
        works()

    calls()
    assert seen == ["Running", "Retrying"]


def test_hooks_are_told_of_parameters_as_values(server: SyncHeadgateClient):
    seen: list[Any] = []

    def tell(_flow: Any, run: Any, _state: Any) -> None:
        seen.append(run.parameters)

    @flow(on_running=[tell], on_completion=[tell])
    def works(n: int, names: list[str]) -> None: ...

    works(3, ["a"])
    assert seen == [{"n": 3, "names": ["a"]}] * 2


def test_a_task_outside_of_flows_is_in_no_flow_run(server: SyncHeadgateClient):
    @task
    def works() -> Any:
        return FlowRunContext.get(), flow_run.id, flow_run.flow_name, type(get_run_context())

    assert works() == (None, None, None, TaskRunContext)


def test_a_run_context_knows_when_the_run_started(server: SyncHeadgateClient):
    @flow
    def works() -> Any:
        context = FlowRunContext.get()
        assert context is not None
        return context.start_time

    assert works().tzinfo is not None


def test_lines_of_a_task_name_its_flow(
    server: SyncHeadgateClient, caplog: pytest.LogCaptureFixture
):
    @task
    def works() -> None:
        get_run_logger().info("here")

    @flow(name="etl")
    def calls() -> None:
        works()

    with caplog.at_level(logging.INFO, "headgate.task_runs"):
        logging.getLogger("headgate.task_runs").addHandler(caplog.handler)
        try:
            calls()
        finally:
            logging.getLogger("headgate.task_runs").removeHandler(caplog.handler)
    assert {getattr(r, "flow_name", "") for r in caplog.records if r.message == "here"} == {"etl"}


def test_the_message_of_a_failed_task_is_the_one_people_search_for(server: SyncHeadgateClient):
    @flow
    def works() -> Any:
        return fails(return_state=True).message

    assert works() == "Task run encountered an exception ValueError: no"


# --- What flows are made of ---


def test_a_field_of_pydantic_is_a_default_with_bounds(server: SyncHeadgateClient):
    @flow
    def works(n: int = Field(default=3, ge=0, description="how many")) -> int:
        return n

    assert (works(), works(4)) == (3, 4)
    with pytest.raises(errors.ParameterTypeError, match="greater than or equal to 0"):
        works(-1)
    assert works.parameters["properties"]["n"]["minimum"] == 0
    assert works.parameters["properties"]["n"]["default"] == 3
    assert works.parameters["properties"]["n"]["description"] == "how many"


def test_a_field_without_default_has_to_be_given(server: SyncHeadgateClient):
    @flow
    def works(n: int = Field(ge=0)) -> int:
        return n

    assert works(2) == 2
    with pytest.raises(errors.ParameterBindError, match="'n'"):
        works()


def test_a_task_runner_of_ones_own_hands_on_dependencies(server: SyncHeadgateClient):
    seen: list[str] = []

    class Mine(ThreadPoolTaskRunner):
        def submit(
            self, task: Any, parameters: Any, wait_for: Any = None, dependencies: Any = None
        ) -> Future[Any]:
            seen.append(task.name)
            return super().submit(task, parameters, wait_for, dependencies)

    @flow(task_runner=Mine())
    def works() -> int:
        return one.submit().result()

    assert (works(), seen) == (1, ["one"])


def test_the_names_of_prefect_are_there_for_annotations():
    assert HeadgateFuture is HeadgateConcurrentFuture is Future
    assert issubclass(HeadgateFutureList, list)
    assert issubclass(HeadgateTaskRunner, TaskRunner)
