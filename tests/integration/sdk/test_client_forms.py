"""The client as users of the incumbent call it: filters, orders, and what is made and changed."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from headgate import flow, tags, task
from headgate.client.orchestration import SyncHeadgateClient
from headgate.client.schemas.actions import (
    ArtifactCreate,
    ArtifactUpdate,
    DeploymentUpdate,
    GlobalConcurrencyLimitCreate,
    GlobalConcurrencyLimitUpdate,
    LogCreate,
    VariableCreate,
    VariableUpdate,
    WorkPoolCreate,
    WorkPoolUpdate,
)
from headgate.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterKey,
    DeploymentFilter,
    FlowFilter,
    FlowFilterName,
    FlowRunFilter,
    FlowRunFilterId,
    FlowRunFilterName,
    FlowRunFilterStartTime,
    FlowRunFilterState,
    FlowRunFilterStateName,
    FlowRunFilterStateType,
    FlowRunFilterTags,
    LogFilter,
    Operator,
    TaskRunFilter,
    WorkPoolFilter,
    WorkQueueFilter,
)
from headgate.client.schemas.objects import TERMINAL_STATES, StateType
from headgate.client.schemas.sorting import (
    DeploymentSort,
    FlowRunSort,
    FlowSort,
    LogSort,
    TaskRunSort,
)
from headgate.core import errors
from headgate.core.clock import process_clock
from headgate.core.runs import FlowRun
from headgate.runtime import flow_run


@task(tags=["told"])
def says(word: str) -> str:
    return word


@task
def fails() -> None:
    raise ValueError("no")


@flow(name="client-forms-good")
def good(word: str) -> str:
    return says(word)


@flow(name="client-forms-bad")
def bad() -> None:
    fails()


BOTH = FlowFilter(name=FlowFilterName(like_="client-FORMS"))
GOOD = FlowFilter(name=FlowFilterName(any_=["client-forms-good"]))


@pytest.fixture(scope="module")
def history(api_url: str) -> list[FlowRun]:
    """Two runs that completed, and one that failed."""
    from headgate import get_client, settings

    with settings.temporary_settings({"api_url": api_url}):
        with tags("one", "two"):
            good("first")
        good("second")
        bad(return_state=True)
        with get_client(sync_client=True) as client:
            return client.read_flow_runs(flow_filter=BOTH)


WHICH: list[tuple[FlowRunFilter, int]] = [
    (FlowRunFilter(), 3),
    (FlowRunFilter(state=FlowRunFilterState(type=FlowRunFilterStateType(any_=["FAILED"]))), 1),
    (FlowRunFilter.model_validate({"state": {"type": {"not_any_": ["FAILED"]}}}), 2),
    (FlowRunFilter(state=FlowRunFilterState(name=FlowRunFilterStateName(any_=["Completed"]))), 2),
    (FlowRunFilter(tags=FlowRunFilterTags(all_=["one", "two"])), 1),
    (FlowRunFilter(tags=FlowRunFilterTags(any_=["two", "three"])), 1),
    (FlowRunFilter(tags=FlowRunFilterTags(is_null_=True)), 2),
    (FlowRunFilter.model_validate({"deployment_id": {"is_null_": True}}), 3),
    (FlowRunFilter.model_validate({"parent_task_run_id": {"is_null_": False}}), 0),
    (FlowRunFilter(name=FlowRunFilterName(like_="no such name")), 0),
    (
        FlowRunFilter.model_validate(
            {
                "operator": "or_",
                "state": {"type": {"any_": ["FAILED"]}},
                "tags": {"all_": ["one"]},
            }
        ),
        2,
    ),
]


@pytest.mark.parametrize(("wanted", "count"), WHICH)
def test_a_filter_finds_the_flow_runs_that_fit(
    server: SyncHeadgateClient, history: list[FlowRun], wanted: FlowRunFilter, count: int
):
    found = server.read_flow_runs(flow_filter=BOTH, flow_run_filter=wanted)
    assert len(found) == count


def test_times_and_ids_are_filtered_by(server: SyncHeadgateClient, history: list[FlowRun]):
    later = FlowRunFilterStartTime(after_=process_clock.now() + timedelta(hours=1))
    earlier = FlowRunFilterStartTime(before_=process_clock.now() + timedelta(hours=1))
    one = uuid.UUID(history[0].id)
    by_id = FlowRunFilter(id=FlowRunFilterId(any_=[one]))  # pyright: ignore[reportArgumentType]  # UUIDs become texts
    others = FlowRunFilter(id=FlowRunFilterId(not_any_=[str(one)]))
    read = server.read_flow_runs
    assert read(flow_filter=BOTH, flow_run_filter=FlowRunFilter(start_time=later)) == []
    assert len(read(flow_filter=BOTH, flow_run_filter=FlowRunFilter(start_time=earlier))) == 3
    assert [run.id for run in read(flow_run_filter=by_id)] == [str(one)]
    assert len(read(flow_filter=BOTH, flow_run_filter=others)) == 2


def test_what_no_record_can_fit_is_not_asked_for_at_all(
    server: SyncHeadgateClient, history: list[FlowRun]
):
    nobody = FlowFilter(name=FlowFilterName(any_=["nobody's"]))
    assert server.read_flow_runs(flow_filter=nobody) == []
    assert server.read_task_runs(flow_filter=nobody) == []
    assert server.read_deployments(flow_filter=nobody) == []
    pools = WorkPoolFilter.model_validate({"name": {"any_": ["nobody's"]}})
    assert server.read_flow_runs(work_pool_filter=pools) == []


def test_an_empty_list_of_values_fits_nothing(server: SyncHeadgateClient, history: list[FlowRun]):
    none = FlowRunFilter(id=FlowRunFilterId(any_=[]))
    assert server.read_flow_runs(flow_run_filter=none) == []


ORDERS: list[tuple[FlowRunSort, Callable[[FlowRun], Any], bool]] = [
    (FlowRunSort.START_TIME_ASC, lambda run: run.start_time, False),
    (FlowRunSort.START_TIME_DESC, lambda run: run.start_time, True),
    (FlowRunSort.EXPECTED_START_TIME_ASC, lambda run: run.expected_start_time, False),
    (FlowRunSort.EXPECTED_START_TIME_DESC, lambda run: run.expected_start_time, True),
    (FlowRunSort.NAME_ASC, lambda run: run.name, False),
    (FlowRunSort.NAME_DESC, lambda run: run.name, True),
    (FlowRunSort.END_TIME_DESC, lambda run: run.end_time, True),
    (FlowRunSort.ID_DESC, lambda run: run.id, True),
]


@pytest.mark.parametrize(("sort", "key", "reverse"), ORDERS)
def test_every_order_is_kept_with_limit_and_offset(
    server: SyncHeadgateClient,
    history: list[FlowRun],
    sort: FlowRunSort,
    key: Callable[[FlowRun], Any],
    reverse: bool,
):
    expected = [run.id for run in sorted(history, key=key, reverse=reverse)]
    found = server.read_flow_runs(flow_filter=BOTH, sort=sort)
    part = server.read_flow_runs(flow_filter=BOTH, sort=sort, limit=1, offset=1)
    assert [run.id for run in found] == expected
    assert [run.id for run in part] == expected[1:2]


def test_an_order_that_there_is_not_is_refused(server: SyncHeadgateClient):
    with pytest.raises(errors.OptionValueError, match="BY_MOOD"):
        server.read_flow_runs(sort="BY_MOOD")


def test_something_else_than_a_filter_is_refused(server: SyncHeadgateClient):
    wrong: Any = {"name": "x"}
    with pytest.raises(errors.OptionTypeError, match="is no filter"):
        server.read_flow_runs(flow_run_filter=wrong)
    with pytest.raises(ValueError, match="nam"):
        FlowRunFilter.model_validate({"nam": {"any_": ["x"]}})


def test_task_runs_are_found_by_themselves_and_by_their_flows(
    server: SyncHeadgateClient, history: list[FlowRun]
):
    told = TaskRunFilter.model_validate({"tags": {"all_": ["told"]}})
    failed = TaskRunFilter.model_validate({"state": {"type": {"any_": ["FAILED"]}}})
    names = {run.name.rpartition("-")[0] for run in server.read_task_runs(flow_filter=GOOD)}
    assert names == {"says"}
    assert len(server.read_task_runs(flow_filter=BOTH, task_run_filter=told)) == 2
    assert len(server.read_task_runs(flow_filter=BOTH, task_run_filter=failed)) == 1
    runs = server.read_flow_runs(flow_filter=BOTH, task_run_filter=failed)
    assert [run.flow_name for run in runs] == ["client-forms-bad"]
    found = server.read_task_runs(flow_filter=BOTH, sort=TaskRunSort.END_TIME_DESC, limit=2)
    assert [run.end_time for run in found] == sorted(
        (run.end_time for run in found if run.end_time), reverse=True
    )


def test_flows_and_log_lines_are_found(server: SyncHeadgateClient, history: list[FlowRun]):
    named = server.read_flows(flow_filter=BOTH, sort=FlowSort.NAME_DESC)
    assert [found.name for found in named] == ["client-forms-good", "client-forms-bad"]
    line = {"name": "mine", "level": 20, "message": "by hand", "timestamp": "2026-01-01T00:00:00"}
    server.create_logs([{**line, "flow_run_id": history[0].id}])
    server.create_logs(
        [LogCreate(name="mine", level=40, message="worse", flow_run_id=history[0].id)]
    )
    wanted = LogFilter.model_validate({"flow_run_id": {"any_": [history[0].id]}})
    lines = server.read_logs(log_filter=wanted, sort=LogSort.TIMESTAMP_ASC)
    mine = [(found.name, found.message) for found in lines if found.name == "mine"]
    assert mine == [("mine", "by hand"), ("mine", "worse")]
    bad_ones = LogFilter.model_validate(
        {"level": {"ge_": 40}, "flow_run_id": {"any_": [history[0].id]}, "text": {"query": "WORSE"}}
    )
    assert [found.message for found in server.read_logs(bad_ones)] == ["worse"]


def test_a_run_that_is_read_has_values_and_the_names_that_users_know(
    server: SyncHeadgateClient, history: list[FlowRun]
):
    run = next(run for run in history if "one" in run.tags)
    assert run.parameters == {"word": "first"}
    assert run.state_type is StateType.COMPLETED
    assert run.state_type in TERMINAL_STATES
    assert (run.state_name, run.created, run.next_scheduled_start_time) == (
        "Completed",
        run.create_time,
        None,
    )
    assert run.start_time is not None
    assert run.end_time is not None
    assert run.total_run_time == run.end_time - run.start_time


def test_a_run_of_a_deployment_is_asked_for_with_values(server: SyncHeadgateClient):
    from headgate.deployments.flow_runs import run_deployment
    from headgate.deployments.runner import RunnerDeployment

    described = RunnerDeployment(name="daily", flow_name="forms", entrypoint="x.py:forms")
    deployment_id = described.apply()
    run = server.create_flow_run_from_deployment(deployment_id, parameters={"n": 7, "who": "Ann"})
    assert run.parameters == {"n": 7, "who": "Ann"}
    again = run_deployment("forms/daily", timeout=0, parameters={"n": 8})
    assert again.parameters == {"n": 8}
    wanted = DeploymentFilter.model_validate({"name": {"any_": ["daily"]}})
    assert [found.id for found in server.read_deployments(deployment_filter=wanted)] == [
        deployment_id
    ]
    queued = WorkQueueFilter.model_validate({"name": {"startswith_": ["def"]}})
    found = server.read_flow_runs(deployment_filter=wanted, work_queue_filter=queued)
    assert {run.id for run in found} == {run.id, again.id}
    assert server.read_deployment_schedules(deployment_id) == ()
    assert server.set_deployment_paused_state(deployment_id, True).paused


def test_runs_are_found_by_the_id_of_their_queue(server: SyncHeadgateClient):
    from headgate.deployments.runner import RunnerDeployment

    server.create_work_pool("queued")
    server.create_work_queue("queued", "fast")
    described = RunnerDeployment(
        name="queued",
        flow_name="queued",
        entrypoint="x.py:f",
        work_pool_name="queued",
        work_queue_name="fast",
    )
    run = server.create_flow_run_from_deployment(described.apply())
    fast = server.read_work_queue_by_name("fast", "queued")
    other = server.read_work_queue_by_name("default", "queued")
    wanted = WorkQueueFilter.model_validate({"id": {"any_": [fast.id]}})
    assert [found.id for found in server.read_flow_runs(work_queue_filter=wanted)] == [run.id]
    wanted = WorkQueueFilter.model_validate({"id": {"any_": [other.id]}})
    assert server.read_flow_runs(work_queue_filter=wanted) == []


def test_an_order_that_the_records_do_not_have_is_refused(
    server: SyncHeadgateClient, history: list[FlowRun]
):
    with pytest.raises(errors.OptionValueError, match="KEY_ASC"):
        server.read_flows(sort="KEY_ASC")


def test_deployments_are_ordered_by_their_limit(server: SyncHeadgateClient):
    from headgate.deployments.runner import RunnerDeployment

    for name, limit in (("few", 1), ("many", 9), ("any", None)):
        RunnerDeployment(
            name=name, flow_name="limited", entrypoint="x.py:f", concurrency_limit=limit
        ).apply()
    found = server.read_deployments(
        flow_filter=FlowFilter(name=FlowFilterName(any_=["limited"])),
        sort=DeploymentSort.CONCURRENCY_LIMIT_DESC,
    )
    assert [deployment.name for deployment in found] == ["many", "few", "any"]


async def test_the_next_input_is_awaited_where_a_loop_runs(api_url: str):
    from headgate import settings
    from headgate.input import RunInput, receive_input

    class Word(RunInput):
        word: str

    @flow
    async def tells_itself() -> list[str]:
        run_id = flow_run.id
        assert run_id is not None
        await Word(word="one").asend_to(run_id)
        await Word(word="two").asend_to(run_id)
        receiver = receive_input(Word, timeout=10)
        awaited: Any = receiver.next()
        return [(await awaited).word, (await receiver.anext()).word]

    with settings.temporary_settings({"api_url": api_url}):
        assert await tells_itself() == ["one", "two"]


def test_a_deployment_is_changed_by_what_describes_the_change(server: SyncHeadgateClient):
    from headgate.deployments.runner import RunnerDeployment

    described = RunnerDeployment(
        name="weekly", flow_name="forms", entrypoint="x.py:forms", tags=["a"]
    )
    change = DeploymentUpdate(parameters={"n": 3}, description="Weekly", concurrency_limit=2)
    changed = server.update_deployment(described.apply(), change)
    assert (changed.description, changed.concurrency_limit, changed.tags) == ("Weekly", 2, ("a",))
    assert server.create_flow_run_from_deployment(changed.id).parameters == {"n": 3}
    same = server.update_deployment(changed.id, DeploymentUpdate())
    assert same.etag == changed.etag
    with pytest.raises(errors.NotFound):
        server.update_deployment(str(uuid.uuid4()), change)


def test_limits_are_made_changed_and_made_or_changed(server: SyncHeadgateClient):
    server.create_global_concurrency_limit(GlobalConcurrencyLimitCreate(name="forms", limit=2))
    changed = GlobalConcurrencyLimitUpdate(limit=3)
    server.update_global_concurrency_limit(name="forms", concurrency_limit=changed)
    assert server.read_global_concurrency_limit_by_name("forms").limit == 3
    server.upsert_global_concurrency_limit_by_name("forms", 4)
    server.upsert_global_concurrency_limit_by_name("forms-too", 1, slot_decay_per_second=2.0)
    assert server.read_global_concurrency_limit_by_name("forms").limit == 4
    assert server.read_global_concurrency_limit_by_name("forms-too").slot_decay_per_second == 2
    part = server.read_global_concurrency_limits(name_prefix="forms", limit=1, offset=1)
    assert [limit.name for limit in part] == ["forms-too"]
    tagged = server.create_concurrency_limit("forms", 5)
    assert (tagged.tag, tagged.concurrency_limit) == ("forms", 5)


def test_variables_and_artifacts_are_made_of_what_describes_them(server: SyncHeadgateClient):
    made = server.create_variable(VariableCreate(name="forms", value=[1], tags=["a"]))
    server.update_variable(variable=VariableUpdate(name="forms", value=2))
    assert (made.value, made.tags) == ([1], ("a",))
    found = server.read_variable_by_name("forms")
    assert found is not None
    assert (found.value, found.tags) == (2, ("a",))
    artifact = server.create_artifact(ArtifactCreate(key="forms", type="markdown", data="x"))
    server.update_artifact(artifact.id, ArtifactUpdate(data="y"))
    wanted = ArtifactFilter(key=ArtifactFilterKey(any_=["forms"]))
    assert [found.data for found in server.read_artifacts(artifact_filter=wanted)] == ["y"]


def test_work_pools_are_made_of_what_describes_them(server: SyncHeadgateClient):
    described = WorkPoolCreate(name="forms", concurrency_limit=3, base_job_template={"a": 1})
    pool = server.create_work_pool(described)
    assert (pool.concurrency_limit, json.loads(pool.base_job_template)) == (3, {"a": 1})
    with pytest.raises(errors.AlreadyExists):
        server.create_work_pool(described)
    server.update_work_pool("forms", WorkPoolUpdate(is_paused=True, concurrency_limit=2))
    assert server.read_work_pool("forms").is_paused
    assert server.create_work_pool(work_pool=described, overwrite=True).concurrency_limit == 3
    assert server.read_work_queue_by_name("default", "forms").work_pool_name == "forms"
    with pytest.raises(errors.NotFound, match="forms/none"):
        server.read_work_queue_by_name("none", "forms")


def test_a_flow_is_registered_by_itself_or_its_name(server: SyncHeadgateClient):
    assert server.create_flow(good).id == server.create_flow_from_name("client-forms-good").id


async def test_coroutines_ask_in_the_same_forms(api_url: str, history: list[FlowRun]):
    from headgate import get_client, settings

    with settings.temporary_settings({"api_url": api_url}):
        async with get_client() as client:
            wanted = FlowRunFilter(operator=Operator.and_, tags=FlowRunFilterTags(all_=["one"]))
            assert len(await client.read_flow_runs(flow_run_filter=wanted, flow_filter=BOTH)) == 1
