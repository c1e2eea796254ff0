from __future__ import annotations

import uuid
from typing import Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from grpc import aio

from headgate.api.v1 import deployment_pb2, state_pb2
from headgate.api.v1 import deployment_service_pb2 as pb
from headgate.api.v1 import flow_run_service_pb2 as run_pb
from headgate.api.v1.deployment_service_pb2_grpc import DeploymentServiceStub
from headgate.api.v1.flow_run_service_pb2_grpc import FlowRunServiceStub
from tests.integration.server.calls import (
    create_deployment,
    create_flow_run,
    fails,
    list_flow_runs,
    update_deployment,
)

HOURLY = deployment_pb2.Schedule(cron=deployment_pb2.CronRule(expression="@hourly"))
DAILY = deployment_pb2.Schedule(
    interval=deployment_pb2.IntervalRule(interval=Duration(seconds=86_400))
)


async def test_a_deployment_is_stored_as_it_was_sent(channel: aio.Channel):
    made = await create_deployment(
        channel,
        entrypoint="flows.py:etl",
        path="/srv",
        tags=["a"],
        parameters={"n": "1"},
        job_variables={"cpu": "2"},
        pull_steps=[deployment_pb2.PullStep(name="set_working_directory", inputs={"d": '"/x"'})],
        concurrency_limit=2,
    )
    stub = DeploymentServiceStub(channel)
    by_id = await stub.GetDeployment(pb.GetDeploymentRequest(id=made.id))
    by_name = await stub.GetDeployment(pb.GetDeploymentRequest(name="etl/nightly"))
    assert by_id.deployment == by_name.deployment == made
    assert made.etag
    assert made.work_pool_name == "default"
    listed = await stub.ListDeployments(pb.ListDeploymentsRequest())
    assert list(listed.deployments) == [made]


async def test_the_same_request_sent_again_returns_the_same_deployment(channel: aio.Channel):
    stub = DeploymentServiceStub(channel)
    request = pb.CreateDeploymentRequest(
        deployment=deployment_pb2.Deployment(name="nightly", flow_name="etl"),
        request_id=str(uuid.uuid4()),
    )
    first = await stub.CreateDeployment(request)
    assert await stub.CreateDeployment(request) == first
    with fails(grpc.StatusCode.ALREADY_EXISTS, "ALREADY_EXISTS") as failure:
        await create_deployment(channel)
    assert failure.info.metadata["name"] == "etl/nightly"


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"name": ""}, "deployment.name"),
        ({"name": "a/b"}, "deployment.name"),
        ({"flow_name": "x" * 256}, "deployment.flow_name"),
        ({"parameters": {"n": "nope"}}, "deployment.parameters['n']"),
        ({"parameters": {"n": "NaN"}}, "deployment.parameters['n']"),
        ({"job_variables": {"n": ""}}, "deployment.job_variables['n']"),
        ({"parameter_schema": "{"}, "deployment.parameter_schema"),
        ({"parameter_schema": '{"type": "nonsense"}'}, "deployment.parameter_schema"),
        ({"parameter_schema": "[]"}, "deployment.parameter_schema"),
        ({"concurrency_limit": 0}, "deployment.concurrency_limit"),
        ({"tags": [""]}, "deployment.tags[0]"),
        ({"collision_strategy": 9}, "deployment.collision_strategy"),
        ({"schedules": [deployment_pb2.Schedule()]}, "deployment.schedules[0].rule"),
        (
            {
                "schedules": [
                    HOURLY,
                    deployment_pb2.Schedule(cron=deployment_pb2.CronRule(expression="61 * * * *")),
                ]
            },
            "deployment.schedules[1].cron.expression",
        ),
        (
            {"schedules": [deployment_pb2.Schedule(interval=deployment_pb2.IntervalRule())]},
            "deployment.schedules[0].interval.interval",
        ),
        (
            {
                "schedules": [
                    deployment_pb2.Schedule(
                        cron=deployment_pb2.CronRule(expression="@daily", time_zone="Mars/Base")
                    )
                ]
            },
            "deployment.schedules[0].cron.time_zone",
        ),
        (
            {
                "schedules": [
                    deployment_pb2.Schedule(
                        recurrence=deployment_pb2.RecurrenceRule(rule="FREQ=NEVER")
                    )
                ]
            },
            "deployment.schedules[0].recurrence.rule",
        ),
        (
            {
                "schedules": [
                    deployment_pb2.Schedule(cron=HOURLY.cron, max_scheduled_runs=101),
                ]
            },
            "deployment.schedules[0].max_scheduled_runs",
        ),
    ],
)
async def test_what_is_wrong_with_a_deployment_is_named_and_nothing_is_stored(
    channel: aio.Channel, given: dict[str, Any], field: str
):
    with fails(grpc.StatusCode.INVALID_ARGUMENT, "INVALID_ARGUMENT", field):
        await create_deployment(channel, **given)
    stub = DeploymentServiceStub(channel)
    assert not (await stub.ListDeployments(pb.ListDeploymentsRequest())).deployments


async def test_a_pool_or_queue_that_does_not_exist_is_not_found(channel: aio.Channel):
    with fails(grpc.StatusCode.NOT_FOUND, "NOT_FOUND") as failure:
        await create_deployment(channel, work_pool_name="gpu")
    assert dict(failure.info.metadata) == {"resource": "work pool", "name": "gpu"}
    assert failure.details["ResourceInfo"].resource_name == "gpu"
    with fails(grpc.StatusCode.NOT_FOUND, "NOT_FOUND") as failure:
        await create_deployment(channel, work_queue_name="fast")
    assert dict(failure.info.metadata) == {"resource": "work queue", "name": "default/fast"}


async def test_only_the_masked_fields_change(channel: aio.Channel):
    made = await create_deployment(channel, tags=["a"], description="old")
    changed = await update_deployment(
        channel, ["description"], id=made.id, description="new", tags=["b"]
    )
    assert (changed.description, list(changed.tags)) == ("new", ["a"])
    assert changed.etag != made.etag
    with fails(grpc.StatusCode.INVALID_ARGUMENT, "INVALID_ARGUMENT", "update_mask"):
        await update_deployment(channel, ["name"], id=made.id, name="other")


async def test_an_update_without_a_mask_makes_or_replaces(channel: aio.Channel):
    with fails(grpc.StatusCode.NOT_FOUND, "NOT_FOUND"):
        await update_deployment(channel, [], flow_name="etl", name="nightly")
    made = await update_deployment(
        channel, [], allow_missing=True, flow_name="etl", name="nightly", tags=["a"]
    )
    again = await update_deployment(
        channel, [], allow_missing=True, flow_name="etl", name="nightly", tags=["b"]
    )
    assert again.id == made.id
    assert list(again.tags) == ["b"]


async def test_an_old_etag_is_refused(channel: aio.Channel):
    made = await create_deployment(channel)
    changed = await update_deployment(
        channel, ["description"], id=made.id, etag=made.etag, description="a"
    )
    with fails(grpc.StatusCode.FAILED_PRECONDITION, "ETAG_MISMATCH") as failure:
        await update_deployment(
            channel, ["description"], id=made.id, etag=made.etag, description="b"
        )
    assert failure.info.metadata["current"] == changed.etag
    assert failure.details["PreconditionFailure"].violations


async def test_a_schedule_has_runs_ahead_at_once(channel: aio.Channel):
    made = await create_deployment(channel, schedules=[HOURLY, DAILY], parameters={"n": "1"})
    runs = await list_flow_runs(channel, deployment_ids=[made.id])
    assert len(runs) == 6
    assert all(run.auto_scheduled for run in runs)
    assert all(run.state.type == state_pb2.STATE_TYPE_SCHEDULED for run in runs)
    assert all(dict(run.parameters) == {"n": "1"} for run in runs)


async def test_the_runs_of_changed_schedules_are_replaced(channel: aio.Channel):
    made = await create_deployment(channel, schedules=[HOURLY])
    by_hand = await create_flow_run(channel, deployment_id=made.id)
    await update_deployment(channel, ["schedules"], id=made.id, schedules=[DAILY])
    runs = await list_flow_runs(channel, deployment_ids=[made.id])
    assert len(runs) == 4
    assert by_hand.id in {run.id for run in runs}


async def test_pausing_takes_future_runs_away_and_resuming_brings_them_back(
    channel: aio.Channel,
):
    made = await create_deployment(channel, schedules=[HOURLY])
    await update_deployment(channel, ["paused"], id=made.id, paused=True)
    assert await list_flow_runs(channel, deployment_ids=[made.id]) == []
    await update_deployment(channel, ["paused"], id=made.id, paused=False)
    assert len(await list_flow_runs(channel, deployment_ids=[made.id])) == 3


async def test_a_future_run_that_was_cancelled_is_not_made_again(channel: aio.Channel):
    made = await create_deployment(channel, schedules=[HOURLY])
    first, *_ = await list_flow_runs(channel, deployment_ids=[made.id])
    stub = FlowRunServiceStub(channel)
    await stub.CancelFlowRun(run_pb.CancelFlowRunRequest(flow_run_id=first.id))
    await update_deployment(channel, ["description"], id=made.id, description="new")
    runs = await list_flow_runs(channel, deployment_ids=[made.id])
    times = [run.expected_start_time.seconds for run in runs]
    assert len(set(times)) == len(times) == 3


async def test_applying_a_schedule_again_keeps_its_identity_and_anchor(channel: aio.Channel):
    made = await create_deployment(
        channel, schedules=[deployment_pb2.Schedule(slug="daily", interval=DAILY.interval)]
    )
    again = await update_deployment(
        channel,
        [],
        id=made.id,
        name=made.name,
        flow_name=made.flow_name,
        schedules=[deployment_pb2.Schedule(slug="daily", interval=DAILY.interval)],
    )
    assert list(again.schedules) == list(made.schedules)


async def test_deleting_a_deployment_ends_its_future_and_keeps_its_past(channel: aio.Channel):
    made = await create_deployment(channel, schedules=[HOURLY])
    waiting = await create_flow_run(channel, deployment_id=made.id)
    stub = DeploymentServiceStub(channel)
    await stub.DeleteDeployment(pb.DeleteDeploymentRequest(id=made.id))
    (left,) = await list_flow_runs(channel)
    assert (left.id, left.state.name) == (waiting.id, "Cancelled")
    with fails(grpc.StatusCode.NOT_FOUND, "NOT_FOUND"):
        await stub.DeleteDeployment(pb.DeleteDeploymentRequest(id=made.id))


async def test_a_run_that_has_run_survives_a_change_of_its_schedule(channel: aio.Channel):
    made = await create_deployment(channel, schedules=[HOURLY])
    first, *_ = await list_flow_runs(channel, deployment_ids=[made.id])
    stub = FlowRunServiceStub(channel)
    # Forced, because its time has not come.
    for type in (state_pb2.STATE_TYPE_RUNNING, state_pb2.STATE_TYPE_SCHEDULED):
        await stub.SetFlowRunState(
            run_pb.SetFlowRunStateRequest(
                flow_run_id=first.id, state=state_pb2.State(type=type), force=True
            )
        )
    await update_deployment(channel, ["paused"], id=made.id, paused=True)
    (left,) = await list_flow_runs(channel, deployment_ids=[made.id])
    assert left.id == first.id
