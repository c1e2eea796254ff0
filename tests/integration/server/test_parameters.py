"""Parameters of deployments and their runs: merged, resolved, frozen, limited."""

from __future__ import annotations

import json
from typing import Any

import grpc
from google.protobuf.field_mask_pb2 import FieldMask
from grpc import aio

from headgate.api.v1 import deployment_pb2, variable_pb2, variable_service_pb2
from headgate.api.v1 import variable_service_pb2_grpc as variables
from tests.integration.server.calls import (
    create_deployment,
    create_flow_run,
    fails,
    list_flow_runs,
    update_deployment,
)

REGION = {"__headgate_kind": "workspace_variable", "variable_name": "region"}
HOURLY = deployment_pb2.Schedule(cron=deployment_pb2.CronRule(expression="@hourly"))


async def set_region(channel: aio.Channel, value: str) -> None:
    await variables.VariableServiceStub(channel).UpdateVariable(
        variable_service_pb2.UpdateVariableRequest(
            variable=variable_pb2.Variable(name="region", value=json.dumps(value)),
            update_mask=FieldMask(paths=["value"]),
            allow_missing=True,
        )
    )


async def deployed(channel: aio.Channel, **given: Any) -> deployment_pb2.Deployment:
    properties = {
        "region": {"type": "string"},
        "limit": {"type": "integer", "readOnly": True, "enum": [3]},
    }
    return await create_deployment(
        channel,
        parameters={"region": json.dumps(REGION), "limit": "3"},
        parameter_schema=json.dumps({"type": "object", "properties": properties}),
        enforce_parameter_schema=True,
        **given,
    )


async def test_a_run_has_the_variable_as_it_is_when_the_run_is_created(channel: aio.Channel):
    deployment = await deployed(channel)
    with fails(grpc.StatusCode.INVALID_ARGUMENT, "INVALID_ARGUMENT") as failure:
        await create_flow_run(channel, deployment_id=deployment.id)
    assert "no variable 'region'" in failure.message
    for value in ("eu", "us"):
        await set_region(channel, value)
        run = await create_flow_run(channel, deployment_id=deployment.id)
        assert dict(run.parameters) == {"region": f'"{value}"', "limit": "3"}


async def test_what_a_template_becomes_is_held_to_the_schema(channel: aio.Channel):
    deployment = await deployed(channel)
    number = json.dumps({"__headgate_kind": "json", "value": "5"})
    with fails(grpc.StatusCode.INVALID_ARGUMENT, "INVALID_ARGUMENT") as failure:
        await create_flow_run(channel, deployment_id=deployment.id, parameters={"region": number})
    assert "is not of type 'string'" in failure.message
    named = json.dumps({"__headgate_kind": "jinja", "template": "{{ flow_run.name }}"})
    run = await create_flow_run(
        channel, deployment_id=deployment.id, parameters={"region": named}, name="mine"
    )
    assert run.parameters["region"] == '"mine"'


async def test_runs_of_schedules_have_their_templates_resolved_where_they_can_be(
    channel: aio.Channel,
):
    deployment = await deployed(channel, schedules=[HOURLY])
    assert {run.parameters["region"] for run in await list_flow_runs(channel)} == {
        json.dumps(REGION)
    }
    await set_region(channel, "eu")
    await update_deployment(channel, ["description"], id=deployment.id, description="x")
    assert {run.parameters["region"] for run in await list_flow_runs(channel)} == {'"eu"'}


async def test_a_frozen_parameter_is_refused_when_given(channel: aio.Channel):
    deployment = await deployed(channel)
    await set_region(channel, "eu")
    with fails(grpc.StatusCode.INVALID_ARGUMENT, "INVALID_ARGUMENT") as failure:
        await create_flow_run(channel, deployment_id=deployment.id, parameters={"limit": "4"})
    assert "'limit' is frozen by its deployment" in failure.message
    assert (
        await create_flow_run(channel, deployment_id=deployment.id, parameters={"limit": "3"})
    ).id


async def test_a_schedule_cannot_change_a_frozen_parameter_either(channel: aio.Channel):
    changed = deployment_pb2.Schedule(
        cron=deployment_pb2.CronRule(expression="@hourly"), parameters={"limit": "4"}
    )
    with fails(grpc.StatusCode.INVALID_ARGUMENT, "INVALID_ARGUMENT") as failure:
        await deployed(channel, schedules=[changed])
    assert "frozen" in failure.message


async def test_parameters_of_a_run_have_512_kib_at_most(channel: aio.Channel):
    deployment = await create_deployment(channel)
    fits = json.dumps("x" * (512 * 1024 - 2))
    assert (await create_flow_run(channel, deployment_id=deployment.id, parameters={"x": fits})).id
    with fails(grpc.StatusCode.INVALID_ARGUMENT, "INVALID_ARGUMENT") as failure:
        await create_flow_run(
            channel, deployment_id=deployment.id, parameters={"x": fits, "y": "1"}
        )
    assert "at most 524288 fit" in failure.message
