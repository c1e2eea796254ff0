"""Runs without a deployment, and task runs that people end."""

from __future__ import annotations

from typing import Any

import grpc
import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.timestamp_pb2 import Timestamp
from grpc import aio

from headgate.api.v1 import (
    event_service_pb2,
    flow_run_pb2,
    state_pb2,
    task_run_pb2,
    task_run_service_pb2,
    verdict_pb2,
)
from headgate.api.v1 import flow_run_service_pb2 as pb
from headgate.api.v1.event_service_pb2_grpc import EventServiceStub
from headgate.api.v1.flow_run_service_pb2_grpc import FlowRunServiceStub
from headgate.api.v1.task_run_service_pb2_grpc import TaskRunServiceStub
from headgate.core import ids
from tests.integration.server.calls import create_deployment, create_flow_run, fails

FUTURE = Timestamp(seconds=4_000_000_000)


async def make(channel: aio.Channel, **given: Any) -> flow_run_pb2.FlowRun:
    request = pb.CreateFlowRunRequest(flow_name="etl", **given)
    return (await FlowRunServiceStub(channel).CreateFlowRun(request)).flow_run


async def test_a_run_of_a_flow_is_pending_and_nobodys_to_start(channel: aio.Channel):
    run = await make(
        channel, parameters={"n": "1"}, tags=["a", "a"], labels={"by": "me"}, flow_version="7"
    )
    assert (run.state.type, run.state.name) == (state_pb2.STATE_TYPE_PENDING, "Pending")
    assert (run.flow_name, run.flow_version, run.deployment_id) == ("etl", "7", "")
    assert (run.work_pool_name, run.root_flow_run_id, run.fencing_token) == ("", run.id, 0)
    assert (dict(run.parameters), list(run.tags), dict(run.labels)) == (
        {"n": "1"},
        ["a"],
        {"by": "me"},
    )
    stub = FlowRunServiceStub(channel)
    assert (await stub.GetFlowRun(pb.GetFlowRunRequest(id=run.id))).flow_run == run
    other = await make(channel)
    assert other.flow_id == run.flow_id
    events = await EventServiceStub(channel).ListEvents(event_service_pb2.ListEventsRequest())
    assert [e.name for e in events.events if e.name.startswith("headgate.flow.")] == [
        "headgate.flow.created"
    ]


async def test_the_same_key_returns_the_same_run(channel: aio.Channel):
    first = await make(channel, idempotency_key="k")
    again = await make(channel, idempotency_key="k", flow_version="other")
    assert again == first
    assert (await make(channel, idempotency_key="l")).id != first.id


@pytest.mark.parametrize(
    ("type", "name"),
    [
        (state_pb2.STATE_TYPE_SCHEDULED, "Scheduled"),
        (state_pb2.STATE_TYPE_RUNNING, "Running"),
        (state_pb2.STATE_TYPE_COMPLETED, "Completed"),
        (state_pb2.STATE_TYPE_CRASHED, "Crashed"),
    ],
)
async def test_a_run_begins_in_the_state_that_was_asked_for(
    channel: aio.Channel, type: state_pb2.StateType.ValueType, name: str
):
    run = await make(channel, state=state_pb2.State(type=type))
    assert (run.state.type, run.state.name) == (type, name)
    assert ids.is_id(run.state.id)
    running, ended = name == "Running", name in ("Completed", "Crashed")
    assert (run.run_count, run.HasField("start_time")) == (int(running), running)
    assert run.HasField("end_time") is ended
    assert run.HasField("expected_start_time")
    stub = FlowRunServiceStub(channel)
    states = await stub.ListFlowRunStates(pb.ListFlowRunStatesRequest(flow_run_id=run.id))
    assert [state.id for state in states.states] == [run.state.id]


async def test_a_time_makes_it_scheduled(channel: aio.Channel):
    run = await make(channel, scheduled_time=FUTURE)
    assert run.state.type == state_pb2.STATE_TYPE_SCHEDULED
    assert run.expected_start_time == run.state.details.scheduled_time == FUTURE
    late = state_pb2.State(type=state_pb2.STATE_TYPE_SCHEDULED, name="Late")
    run = await make(channel, scheduled_time=FUTURE, state=late)
    assert (run.state.name, run.expected_start_time) == ("Late", FUTURE)


async def test_a_run_of_a_deployment_begins_in_the_state_that_was_asked_for(
    channel: aio.Channel,
):
    await create_deployment(channel)
    done = state_pb2.State(type=state_pb2.STATE_TYPE_COMPLETED, message="It was done by hand.")
    run = await create_flow_run(channel, state=done)
    assert (run.state.message, run.deployment_name) == ("It was done by hand.", "etl/nightly")


async def test_its_states_are_set_by_hand(channel: aio.Channel):
    run = await make(channel)
    stub = FlowRunServiceStub(channel)
    for type in (state_pb2.STATE_TYPE_RUNNING, state_pb2.STATE_TYPE_COMPLETED):
        request = pb.SetFlowRunStateRequest(flow_run_id=run.id, state=state_pb2.State(type=type))
        run = (await stub.SetFlowRunState(request)).flow_run
        assert run.state.type == type
    assert run.run_count == 1
    other = await make(channel, state=state_pb2.State(type=state_pb2.STATE_TYPE_RUNNING))
    ended = await stub.CancelFlowRun(pb.CancelFlowRunRequest(flow_run_id=other.id))
    assert ended.flow_run.state.type == state_pb2.STATE_TYPE_CANCELLED


async def test_what_is_wrong_with_a_run_of_a_flow_is_named(channel: aio.Channel):
    invalid = grpc.StatusCode.INVALID_ARGUMENT
    with fails(invalid, "INVALID_ARGUMENT", "flow_name"):
        await make(channel, deployment_name="etl/nightly")
    with fails(invalid, "INVALID_ARGUMENT", "job_variables", "work_queue_name"):
        await make(channel, job_variables={"a": "1"}, work_queue_name="default")
    for type in (state_pb2.STATE_TYPE_PAUSED, state_pb2.STATE_TYPE_CANCELLING):
        with fails(invalid, "INVALID_ARGUMENT", "state.type"):
            await make(channel, state=state_pb2.State(type=type))
    with fails(invalid, "INVALID_ARGUMENT", "state.type"):
        await make(channel, state=state_pb2.State(name="Odd"))
    stub = FlowRunServiceStub(channel)
    with fails(invalid, "INVALID_ARGUMENT", "flow_name"):
        await stub.CreateFlowRun(pb.CreateFlowRunRequest(flow_name="a/b"))
    with fails(invalid, "INVALID_ARGUMENT", "flow_version"):
        await create_flow_run(channel, flow_version="7")
    with fails(grpc.StatusCode.NOT_FOUND, "NOT_FOUND"):
        await make(channel, parent_flow_run_id=ids.new_id())


async def test_what_is_wrong_with_the_end_of_a_task_run_is_named(channel: aio.Channel):
    stub = TaskRunServiceStub(channel)
    done = state_pb2.State(type=state_pb2.STATE_TYPE_COMPLETED)
    with fails(grpc.StatusCode.INVALID_ARGUMENT, "INVALID_ARGUMENT", "task_run_id"):
        await stub.SetTaskRunState(
            task_run_service_pb2.SetTaskRunStateRequest(task_run_id="x", state=done)
        )
    with fails(grpc.StatusCode.INVALID_ARGUMENT, "INVALID_ARGUMENT", "state.type"):
        await stub.SetTaskRunState(
            task_run_service_pb2.SetTaskRunStateRequest(task_run_id=ids.new_id())
        )
    with fails(grpc.StatusCode.NOT_FOUND, "NOT_FOUND"):
        await stub.SetTaskRunState(
            task_run_service_pb2.SetTaskRunStateRequest(task_run_id=ids.new_id(), state=done)
        )


async def make_task_run(channel: aio.Channel, **given: Any) -> task_run_pb2.TaskRun:
    request = task_run_service_pb2.CreateTaskRunRequest(task_run=task_run_pb2.TaskRun(**given))
    return (await TaskRunServiceStub(channel).CreateTaskRun(request)).task_run


async def test_a_task_run_is_recorded_by_hand(channel: aio.Channel):
    run = await make(channel)
    made = await make_task_run(
        channel, flow_run_id=run.id, task_key="parse", dynamic_key="3", tags=["a"], max_retries=2
    )
    assert (made.name, made.state.type) == ("parse-3", state_pb2.STATE_TYPE_PENDING)
    assert (made.flow_run_attempt, made.run_count, made.HasField("create_time")) == (1, 0, True)
    stub = TaskRunServiceStub(channel)
    stored = await stub.GetTaskRun(task_run_service_pb2.GetTaskRunRequest(id=made.id))
    assert stored.task_run == made
    for type in (state_pb2.STATE_TYPE_RUNNING, state_pb2.STATE_TYPE_COMPLETED):
        request = task_run_service_pb2.SetTaskRunStateRequest(
            task_run_id=made.id, state=state_pb2.State(type=type)
        )
        answer = await stub.SetTaskRunState(request)
        assert answer.verdict.kind == verdict_pb2.VERDICT_KIND_ACCEPT
        assert answer.task_run.state.type == type
    assert answer.task_run.run_count == 1
    assert answer.task_run.HasField("start_time")
    assert answer.task_run.HasField("end_time")
    states = await stub.ListTaskRunStates(
        task_run_service_pb2.ListTaskRunStatesRequest(task_run_id=made.id)
    )
    assert [state.name for state in states.states] == ["Pending", "Running", "Completed"]


async def test_a_task_run_with_a_known_id_is_not_stored_again(channel: aio.Channel):
    run, other = await make(channel), await make(channel)
    id = ids.new_id()
    done = state_pb2.State(type=state_pb2.STATE_TYPE_RUNNING)
    first = await make_task_run(
        channel, id=id, flow_run_id=run.id, task_key="a", name="x", state=done
    )
    assert (first.id, first.name, first.run_count) == (id, "x", 1)
    assert await make_task_run(channel, id=id, flow_run_id=run.id, task_key="a") == first
    with fails(grpc.StatusCode.ALREADY_EXISTS, "ALREADY_EXISTS"):
        await make_task_run(channel, id=id, flow_run_id=other.id, task_key="a")


async def test_what_is_wrong_with_a_task_run_is_named(channel: aio.Channel):
    invalid = grpc.StatusCode.INVALID_ARGUMENT
    with fails(invalid, "INVALID_ARGUMENT", "task_run.flow_run_id", "task_run.task_key"):
        await make_task_run(channel)
    with fails(
        invalid,
        "INVALID_ARGUMENT",
        "task_run.name",
        "task_run.max_retries",
        "task_run.upstream_run_ids[0]",
    ):
        await make_task_run(
            channel,
            flow_run_id=ids.new_id(),
            task_key="a",
            name="x" * 1_025,
            max_retries=-1,
            upstream_run_ids=["x"],
        )
    with fails(grpc.StatusCode.NOT_FOUND, "NOT_FOUND"):
        await make_task_run(channel, flow_run_id=ids.new_id(), task_key="a")


async def test_a_task_run_is_named_and_deleted(channel: aio.Channel):
    run = await make(channel)
    made = await make_task_run(channel, flow_run_id=run.id, task_key="a", tags=["x"])
    stub = TaskRunServiceStub(channel)
    update = task_run_service_pb2.UpdateTaskRunRequest(
        task_run=task_run_pb2.TaskRun(id=made.id, name="new", tags=["y"]),
        update_mask=FieldMask(paths=["name"]),
    )
    changed = (await stub.UpdateTaskRun(update)).task_run
    assert (changed.name, list(changed.tags), changed.state) == ("new", ["x"], made.state)
    update.update_mask.paths[:] = ["tags"]
    assert list((await stub.UpdateTaskRun(update)).task_run.tags) == ["y"]
    invalid = grpc.StatusCode.INVALID_ARGUMENT
    update.update_mask.paths[:] = ["state"]
    with fails(invalid, "INVALID_ARGUMENT", "update_mask"):
        await stub.UpdateTaskRun(update)
    update.update_mask.paths[:] = ["name"]
    update.task_run.name = " "
    with fails(invalid, "INVALID_ARGUMENT", "task_run.name"):
        await stub.UpdateTaskRun(update)
    delete = task_run_service_pb2.DeleteTaskRunRequest(id=made.id)
    await stub.DeleteTaskRun(delete)
    with fails(grpc.StatusCode.NOT_FOUND, "NOT_FOUND"):
        await stub.DeleteTaskRun(delete)
    with fails(grpc.StatusCode.NOT_FOUND, "NOT_FOUND"):
        await stub.GetTaskRun(task_run_service_pb2.GetTaskRunRequest(id=made.id))


@pytest.mark.parametrize("field", ["cache_key", "call_key", "pause_key", "traceparent"])
async def test_no_part_of_a_state_by_hand_is_endless(channel: aio.Channel, field: str):
    long = "x" * 4_097
    type = state_pb2.STATE_TYPE_COMPLETED
    state = state_pb2.State(type=type)
    setattr(state.details, field, long)
    invalid = grpc.StatusCode.INVALID_ARGUMENT
    with fails(invalid, "INVALID_ARGUMENT", f"state.details.{field}"):
        await make(channel, state=state)
    for part in ("serializer", "storage_key"):
        data = state_pb2.Payload()
        setattr(data, part, long)
        with fails(invalid, "INVALID_ARGUMENT", f"state.data.{part}"):
            await make(channel, state=state_pb2.State(type=type, data=data))


async def test_the_keys_of_parameters_and_all_labels_have_an_end(channel: aio.Channel):
    invalid = grpc.StatusCode.INVALID_ARGUMENT
    with fails(invalid, "INVALID_ARGUMENT", "parameters"):
        await make(channel, parameters={"x" * 600_000: "1"})
    with fails(invalid, "INVALID_ARGUMENT", "labels"):
        await make(channel, labels={str(n): "x" * 60_000 for n in range(10)})


async def test_a_filter_that_no_database_could_answer_is_refused(channel: aio.Channel):
    invalid, stub = grpc.StatusCode.INVALID_ARGUMENT, FlowRunServiceStub(channel)
    given = pb.FlowRunFilter(
        name_contains="x" * 4_097, ids=[ids.new_id()] * 5_001, tags=["a"] * 201
    )
    fields = ("filter.ids", "filter.name_contains", "filter.tags")
    with fails(invalid, "INVALID_ARGUMENT", *fields):
        await stub.ListFlowRuns(pb.ListFlowRunsRequest(filter=given))
    with fails(invalid, "INVALID_ARGUMENT", *fields):
        await stub.CountFlowRuns(pb.CountFlowRunsRequest(filter=given))
    most = pb.FlowRunFilter(
        name_contains="%" * 4_096, ids=[ids.new_id() for _ in range(5_000)], tags=["a"] * 200
    )
    assert not (await stub.ListFlowRuns(pb.ListFlowRunsRequest(filter=most))).flow_runs
