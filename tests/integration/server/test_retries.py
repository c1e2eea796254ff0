"""Retries that people ask for, and the recorded calls that a run goes on from."""

from __future__ import annotations

import uuid
from typing import Any

import grpc
from google.protobuf.timestamp_pb2 import Timestamp
from grpc import aio

from headgate.api.v1 import flow_run_service_pb2 as pb
from headgate.api.v1 import state_pb2, task_run_service_pb2, verdict_pb2
from headgate.api.v1.flow_run_service_pb2_grpc import FlowRunServiceStub
from headgate.api.v1.task_run_service_pb2_grpc import TaskRunServiceStub
from tests.integration.server.calls import create_deployment, create_flow_run, fails
from tests.integration.streams import wire

FUTURE = Timestamp(seconds=4_000_000_000)


async def move(channel: aio.Channel, run_id: str, type: Any) -> None:
    await FlowRunServiceStub(channel).SetFlowRunState(
        pb.SetFlowRunStateRequest(flow_run_id=run_id, state=state_pb2.State(type=type))
    )


async def retry(channel: aio.Channel, run_id: str, **given: Any) -> pb.RetryFlowRunResponse:
    stub = FlowRunServiceStub(channel)
    return await stub.RetryFlowRun(pb.RetryFlowRunRequest(id=run_id, **given))


async def test_a_failed_run_of_a_deployment_goes_back_to_its_queue(channel: aio.Channel):
    await create_deployment(channel)
    run = await create_flow_run(channel)
    await move(channel, run.id, state_pb2.STATE_TYPE_RUNNING)
    refused = await retry(channel, run.id)
    assert refused.verdict.kind == verdict_pb2.VERDICT_KIND_ABORT
    assert refused.flow_run.state.name == "Running"
    await move(channel, run.id, state_pb2.STATE_TYPE_FAILED)
    answer = await retry(channel, run.id)
    assert answer.verdict.kind == verdict_pb2.VERDICT_KIND_ACCEPT
    assert answer.flow_run.state.name == "AwaitingRetry"
    assert not answer.flow_run.HasField("end_time")
    again = await retry(channel, run.id)
    assert again.verdict.kind == verdict_pb2.VERDICT_KIND_REJECT
    assert again.flow_run.state.id == answer.flow_run.state.id


async def test_a_completed_run_is_not_retried_even_by_force(channel: aio.Channel):
    await create_deployment(channel)
    run = await create_flow_run(channel)
    await move(channel, run.id, state_pb2.STATE_TYPE_RUNNING)
    await move(channel, run.id, state_pb2.STATE_TYPE_COMPLETED)
    answer = await retry(channel, run.id, force=True)
    assert answer.verdict.kind == verdict_pb2.VERDICT_KIND_ABORT
    assert answer.flow_run.state.name == "Completed"


async def test_what_is_wrong_with_a_retry_is_named(channel: aio.Channel):
    with fails(grpc.StatusCode.INVALID_ARGUMENT, "INVALID_ARGUMENT", "flow_run_id"):
        await retry(channel, "x")
    with fails(grpc.StatusCode.NOT_FOUND, "NOT_FOUND"):
        await retry(channel, str(uuid.uuid4()))


async def test_recorded_calls_are_listed_by_page_and_by_id(channel: aio.Channel):
    stub = TaskRunServiceStub(channel)
    made: list[str] = []
    async with wire.engine(channel) as engine:
        await engine.open()
        run_id = await engine.start_run()
        items: list[Any] = []
        for number in range(3):
            task_id = str(wire.ids.new_id())
            made.append(task_id)
            ended = wire.report("COMPLETED", task_id)
            ended.report.state.details.call_key = f"key-{number}"
            ended.report.state.data.serializer = "pickle"
            ended.report.state.data.inline = b"\x80"
            items += [wire.create_task(task_id), ended]
        await engine.batch(run_id, 3, items)
        await engine.acked(8)

    request = task_run_service_pb2.ListRecordedCallsRequest(flow_run_id=run_id, page_size=2)
    first = await stub.ListRecordedCalls(request)
    request.page_token = first.next_page_token
    second = await stub.ListRecordedCalls(request)
    calls = [*first.calls, *second.calls]
    assert [(call.task_run_id, call.call_key) for call in calls] == [
        (task_id, f"key-{number}") for number, task_id in enumerate(made)
    ]
    assert not any(call.HasField("state") for call in calls)

    request = task_run_service_pb2.ListRecordedCallsRequest(
        flow_run_id=run_id, task_run_ids=[made[1]]
    )
    (call,) = (await stub.ListRecordedCalls(request)).calls
    assert (call.state.data.serializer, call.state.data.inline) == ("pickle", b"\x80")


async def test_what_is_wrong_with_a_list_of_calls_is_named(channel: aio.Channel):
    stub = TaskRunServiceStub(channel)

    async def ask(**given: Any) -> None:
        await stub.ListRecordedCalls(task_run_service_pb2.ListRecordedCallsRequest(**given))

    somebody = str(uuid.uuid4())
    with fails(grpc.StatusCode.INVALID_ARGUMENT, "INVALID_ARGUMENT", "flow_run_id"):
        await ask()
    with fails(grpc.StatusCode.INVALID_ARGUMENT, "INVALID_ARGUMENT", "task_run_ids"):
        await ask(flow_run_id=somebody, task_run_ids=[somebody] * 201)
    with fails(grpc.StatusCode.INVALID_ARGUMENT, "INVALID_ARGUMENT", "page_size"):
        await ask(flow_run_id=somebody, page_size=-1)
    with fails(grpc.StatusCode.NOT_FOUND, "NOT_FOUND"):
        await ask(flow_run_id=somebody)
