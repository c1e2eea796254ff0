from __future__ import annotations

import uuid
from typing import Any

import grpc
import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.timestamp_pb2 import Timestamp
from grpc import aio

from headgate.api.v1 import flow_run_pb2, state_pb2, verdict_pb2
from headgate.api.v1 import flow_run_service_pb2 as pb
from headgate.api.v1.flow_run_service_pb2_grpc import FlowRunServiceStub
from tests.integration.server.calls import create_deployment, create_flow_run, fails, list_flow_runs

FUTURE = Timestamp(seconds=4_000_000_000)
SCHEMA = '{"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}'


async def test_a_run_of_a_deployment_is_stored_as_scheduled(channel: aio.Channel):
    made = await create_deployment(
        channel, parameters={"n": "1", "who": '"Ann"'}, tags=["a"], labels={"team": "x"}
    )
    run = await create_flow_run(
        channel, parameters={"n": "2"}, tags=["b", "a"], labels={"by": "me"}, priority=3
    )
    assert run.state.type == state_pb2.STATE_TYPE_SCHEDULED
    assert (run.deployment_id, run.deployment_name, run.flow_name) == (
        made.id,
        "etl/nightly",
        "etl",
    )
    assert dict(run.parameters) == {"n": "2", "who": '"Ann"'}
    assert list(run.tags) == ["a", "b"]
    assert dict(run.labels) == {"team": "x", "by": "me"}
    assert (run.work_pool_name, run.work_queue_name, run.priority) == ("default", "default", 3)
    assert run.root_flow_run_id == run.id
    stub = FlowRunServiceStub(channel)
    stored = (await stub.GetFlowRun(pb.GetFlowRunRequest(id=run.id))).flow_run
    assert stored.state == run.state
    states = await stub.ListFlowRunStates(pb.ListFlowRunStatesRequest(flow_run_id=run.id))
    assert [state.id for state in states.states] == [run.state.id]


async def test_the_same_idempotency_key_returns_the_same_run(channel: aio.Channel):
    await create_deployment(channel)
    first = await create_flow_run(channel, idempotency_key="k", scheduled_time=FUTURE)
    again = await create_flow_run(channel, idempotency_key="k")
    other = await create_flow_run(channel, idempotency_key="l")
    assert again.id == first.id != other.id


async def test_what_is_wrong_with_a_request_is_named(channel: aio.Channel):
    made = await create_deployment(channel, parameter_schema=SCHEMA, enforce_parameter_schema=True)
    with fails(grpc.StatusCode.INVALID_ARGUMENT, "INVALID_ARGUMENT", "parameters['n']"):
        await create_flow_run(channel, parameters={"n": "not json"})
    with fails(grpc.StatusCode.INVALID_ARGUMENT, "INVALID_ARGUMENT", "parameters['n']"):
        await create_flow_run(channel, parameters={"n": '"text"'})
    with fails(grpc.StatusCode.INVALID_ARGUMENT, "INVALID_ARGUMENT", "parameters"):
        await create_flow_run(channel)
    with fails(grpc.StatusCode.INVALID_ARGUMENT, "INVALID_ARGUMENT", "parameters['m']"):
        await create_flow_run(channel, parameters={"n": "1", "m": "1"})
    with fails(grpc.StatusCode.INVALID_ARGUMENT, "INVALID_ARGUMENT", "deployment_id"):
        await create_flow_run(channel, deployment_id="x")
    with fails(grpc.StatusCode.INVALID_ARGUMENT, "INVALID_ARGUMENT", "deployment"):
        await create_flow_run(channel, deployment_id="")
    with fails(grpc.StatusCode.INVALID_ARGUMENT, "INVALID_ARGUMENT", "name"):
        await create_flow_run(channel, deployment_name="no-slash")
    with fails(grpc.StatusCode.INVALID_ARGUMENT, "INVALID_ARGUMENT", "name"):
        await create_flow_run(channel, name="nul\x00")
    assert await list_flow_runs(channel, deployment_ids=[made.id]) == []


async def test_what_is_not_there_is_named(channel: aio.Channel):
    await create_deployment(channel)
    nobody = str(uuid.uuid4())
    stub = FlowRunServiceStub(channel)
    with fails(grpc.StatusCode.NOT_FOUND, "NOT_FOUND") as failure:
        await create_flow_run(channel, deployment_name="etl/weekly")
    assert dict(failure.info.metadata) == {"resource": "deployment", "name": "etl/weekly"}
    with fails(grpc.StatusCode.NOT_FOUND, "NOT_FOUND"):
        await create_flow_run(channel, deployment_id=nobody)
    with fails(grpc.StatusCode.NOT_FOUND, "NOT_FOUND") as failure:
        await create_flow_run(channel, work_queue_name="fast")
    assert failure.info.metadata["name"] == "default/fast"
    with fails(grpc.StatusCode.NOT_FOUND, "NOT_FOUND"):
        await create_flow_run(channel, parent_flow_run_id=nobody)
    with fails(grpc.StatusCode.NOT_FOUND, "NOT_FOUND"):
        await stub.GetFlowRun(pb.GetFlowRunRequest(id=nobody))
    with fails(grpc.StatusCode.NOT_FOUND, "NOT_FOUND"):
        await stub.CancelFlowRun(pb.CancelFlowRunRequest(flow_run_id=nobody))
    with fails(grpc.StatusCode.NOT_FOUND, "NOT_FOUND"):
        await stub.ListFlowRunStates(pb.ListFlowRunStatesRequest(flow_run_id=nobody))


async def test_a_run_that_waits_is_cancelled_at_once(channel: aio.Channel):
    await create_deployment(channel)
    run = await create_flow_run(channel, scheduled_time=FUTURE)
    stub = FlowRunServiceStub(channel)
    request = pb.CancelFlowRunRequest(flow_run_id=run.id)
    cancelled = (await stub.CancelFlowRun(request)).flow_run
    assert cancelled.state.type == state_pb2.STATE_TYPE_CANCELLED
    again = (await stub.CancelFlowRun(request)).flow_run
    assert again.state == cancelled.state


async def test_a_state_is_proposed_and_answered_by_the_rules(channel: aio.Channel):
    await create_deployment(channel)
    run = await create_flow_run(channel)
    stub = FlowRunServiceStub(channel)

    async def propose(type: Any, **given: Any) -> pb.SetFlowRunStateResponse:
        state = state_pb2.State(type=type)
        return await stub.SetFlowRunState(
            pb.SetFlowRunStateRequest(flow_run_id=run.id, state=state, **given)
        )

    answer = await propose(state_pb2.STATE_TYPE_RUNNING)
    assert answer.verdict.kind == verdict_pb2.VERDICT_KIND_ACCEPT
    assert answer.verdict.state.name == "Running"
    assert answer.flow_run.run_count == 1
    answer = await propose(state_pb2.STATE_TYPE_PENDING)
    assert answer.verdict.kind == verdict_pb2.VERDICT_KIND_ABORT
    answer = await propose(state_pb2.STATE_TYPE_COMPLETED)
    assert answer.flow_run.HasField("end_time")
    answer = await propose(state_pb2.STATE_TYPE_SCHEDULED)
    assert answer.verdict.kind == verdict_pb2.VERDICT_KIND_ABORT
    answer = await propose(state_pb2.STATE_TYPE_SCHEDULED, force=True)
    assert answer.verdict.kind == verdict_pb2.VERDICT_KIND_ACCEPT
    with fails(grpc.StatusCode.FAILED_PRECONDITION, "LEASE_FENCED") as failure:
        await propose(state_pb2.STATE_TYPE_RUNNING, fencing_token=9)
    assert dict(failure.info.metadata) == {
        "flow_run_id": run.id,
        "token": "9",
        "current": "0",
    }
    with fails(grpc.StatusCode.INVALID_ARGUMENT, "INVALID_ARGUMENT", "state.type"):
        await propose(state_pb2.STATE_TYPE_UNSPECIFIED)
    with fails(grpc.StatusCode.INVALID_ARGUMENT, "INVALID_ARGUMENT", "state.type"):
        await propose(99)


async def test_a_run_that_is_not_paused_is_not_resumed(channel: aio.Channel):
    await create_deployment(channel)
    run = await create_flow_run(channel, scheduled_time=FUTURE)
    stub = FlowRunServiceStub(channel)
    answer = await stub.ResumeFlowRun(pb.ResumeFlowRunRequest(flow_run_id=run.id))
    assert answer.verdict.kind == verdict_pb2.VERDICT_KIND_REJECT
    assert answer.flow_run.state == run.state


async def test_a_suspended_run_is_resumed_by_a_schedule(channel: aio.Channel):
    await create_deployment(channel)
    run = await create_flow_run(channel)
    stub = FlowRunServiceStub(channel)
    for state in (
        state_pb2.State(type=state_pb2.STATE_TYPE_RUNNING),
        state_pb2.State(
            type=state_pb2.STATE_TYPE_PAUSED,
            name="Suspended",
            details=state_pb2.StateDetails(pause_reschedule=True),
        ),
    ):
        await stub.SetFlowRunState(pb.SetFlowRunStateRequest(flow_run_id=run.id, state=state))
    answer = await stub.ResumeFlowRun(pb.ResumeFlowRunRequest(flow_run_id=run.id))
    assert answer.verdict.kind == verdict_pb2.VERDICT_KIND_ACCEPT
    assert answer.flow_run.state.name == "Resuming"


async def test_name_tags_labels_and_priority_change_by_mask(channel: aio.Channel):
    await create_deployment(channel)
    run = await create_flow_run(channel, tags=["old"])
    stub = FlowRunServiceStub(channel)

    async def update(*mask: str, **given: Any) -> flow_run_pb2.FlowRun:
        request = pb.UpdateFlowRunRequest(
            flow_run=flow_run_pb2.FlowRun(id=run.id, **given), update_mask=FieldMask(paths=mask)
        )
        return (await stub.UpdateFlowRun(request)).flow_run

    changed = await update("name", "priority", name="mine", priority=5, tags=["ignored"])
    assert (changed.name, changed.priority, list(changed.tags)) == ("mine", 5, ["old"])
    for mask in ((), ("state",), ("nonsense",)):
        with fails(grpc.StatusCode.INVALID_ARGUMENT, "INVALID_ARGUMENT", "update_mask"):
            await update(*mask, name="mine")


async def test_pages_follow_one_another_and_belong_to_their_filter(channel: aio.Channel):
    await create_deployment(channel)
    made = [(await create_flow_run(channel, scheduled_time=FUTURE)).id for _ in range(5)]
    stub = FlowRunServiceStub(channel)
    where = pb.FlowRunFilter(state_types=[state_pb2.STATE_TYPE_SCHEDULED])
    seen: list[str] = []
    token = ""
    for expected in (2, 2, 1):
        request = pb.ListFlowRunsRequest(
            filter=where, order=pb.FLOW_RUN_ORDER_ID_DESC, page_size=2, page_token=token
        )
        page = await stub.ListFlowRuns(request)
        assert len(page.flow_runs) == expected
        seen += [run.id for run in page.flow_runs]
        last, token = token, page.next_page_token
    assert seen == sorted(made, reverse=True)
    assert token == ""
    for broken in (
        pb.ListFlowRunsRequest(order=pb.FLOW_RUN_ORDER_ID_DESC, page_token=last),
        pb.ListFlowRunsRequest(page_token="garbage"),
        pb.ListFlowRunsRequest(page_token="é"),
    ):
        with fails(grpc.StatusCode.INVALID_ARGUMENT, "INVALID_ARGUMENT", "page_token"):
            await stub.ListFlowRuns(broken)
    with fails(grpc.StatusCode.INVALID_ARGUMENT, "INVALID_ARGUMENT", "page_size"):
        await stub.ListFlowRuns(pb.ListFlowRunsRequest(page_size=-1))


@pytest.mark.parametrize(
    ("where", "field"),
    [
        (pb.FlowRunFilter(ids=["x"]), "filter.ids[0]"),
        (pb.FlowRunFilter(flow_ids=["x"]), "filter.flow_ids[0]"),
        (pb.FlowRunFilter(deployment_ids=[""]), "filter.deployment_ids[0]"),
        (pb.FlowRunFilter(parent_flow_run_id="x"), "filter.parent_flow_run_id"),
        (pb.FlowRunFilter(state_types=[state_pb2.STATE_TYPE_UNSPECIFIED]), "filter.state_types[0]"),
    ],
)
async def test_what_is_wrong_with_a_filter_is_named(
    channel: aio.Channel, where: pb.FlowRunFilter, field: str
):
    stub = FlowRunServiceStub(channel)
    with fails(grpc.StatusCode.INVALID_ARGUMENT, "INVALID_ARGUMENT", field):
        await stub.ListFlowRuns(pb.ListFlowRunsRequest(filter=where))
    with fails(grpc.StatusCode.INVALID_ARGUMENT, "INVALID_ARGUMENT", field):
        await stub.CountFlowRuns(pb.CountFlowRunsRequest(filter=where))


async def test_runs_are_counted_by_state(channel: aio.Channel):
    await create_deployment(channel)
    for _ in range(2):
        await create_flow_run(channel, scheduled_time=FUTURE)
    stub = FlowRunServiceStub(channel)
    answer = await stub.CountFlowRuns(pb.CountFlowRunsRequest())
    assert answer.total == 2
    (count,) = answer.counts
    assert (count.type, count.name, count.count) == (
        state_pb2.STATE_TYPE_SCHEDULED,
        "Scheduled",
        2,
    )


async def test_a_run_is_deleted(channel: aio.Channel):
    await create_deployment(channel)
    run = await create_flow_run(channel)
    stub = FlowRunServiceStub(channel)
    await stub.DeleteFlowRun(pb.DeleteFlowRunRequest(id=run.id))
    with fails(grpc.StatusCode.NOT_FOUND, "NOT_FOUND"):
        await stub.DeleteFlowRun(pb.DeleteFlowRunRequest(id=run.id))


async def test_a_run_that_nobody_takes_becomes_late(channel: aio.Channel):
    await create_deployment(channel)
    run = await create_flow_run(channel, scheduled_time=Timestamp(seconds=1_000_000_000))
    stub = FlowRunServiceStub(channel)
    while True:
        found = (await stub.GetFlowRun(pb.GetFlowRunRequest(id=run.id))).flow_run
        if found.state.name == "Late":
            break
    assert found.state.details.scheduled_time.seconds == 1_000_000_000
