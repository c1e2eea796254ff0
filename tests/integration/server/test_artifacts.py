"""Artifacts on the wire."""

from __future__ import annotations

from typing import Any

import grpc
import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from grpc import aio

from headgate.api.v1 import (
    artifact_pb2,
    artifact_service_pb2,
    artifact_service_pb2_grpc,
    flow_run_service_pb2,
    flow_run_service_pb2_grpc,
)
from headgate.core import ids
from headgate_server.app import App
from tests.integration.server import calls
from tests.integration.server.lifecycle import event_names


@pytest.fixture
def stub(channel: aio.Channel) -> Any:
    return artifact_service_pb2_grpc.ArtifactServiceStub(channel)


async def create(stub: Any, key: str = "", data: str = "1", request_id: str = "", **given: Any):
    given.setdefault("type", "markdown")
    request = artifact_service_pb2.CreateArtifactRequest(
        artifact=artifact_pb2.Artifact(key=key, data=data, **given), request_id=request_id
    )
    return (await stub.CreateArtifact(request)).artifact


async def get(stub: Any, **by: str):
    return (await stub.GetArtifact(artifact_service_pb2.GetArtifactRequest(**by))).artifact


async def listed(stub: Any, **where: Any) -> list[str]:
    given = artifact_service_pb2.ArtifactFilter(**where)
    page = await stub.ListArtifacts(artifact_service_pb2.ListArtifactsRequest(filter=given))
    count = await stub.CountArtifacts(artifact_service_pb2.CountArtifactsRequest(filter=given))
    assert count.count == len(page.artifacts)
    return [found.id for found in page.artifacts]


async def update(stub: Any, *mask: str, **given: Any):
    request = artifact_service_pb2.UpdateArtifactRequest(
        artifact=artifact_pb2.Artifact(**given), update_mask=FieldMask(paths=mask)
    )
    return (await stub.UpdateArtifact(request)).artifact


async def test_the_newest_of_a_key_is_the_latest(stub: Any):
    first = await create(stub, "report", '"one"', metadata={"a": "b"}, description="d")
    assert first.latest
    second = await create(stub, "report", '"two"')
    bare = await create(stub)
    assert await get(stub, key="report") == second
    assert not (await get(stub, id=first.id)).latest
    assert not bare.latest
    assert await listed(stub) == [bare.id, second.id, first.id]
    assert await listed(stub, latest_only=True) == [second.id]
    assert await listed(stub, keys=["report"]) == [second.id, first.id]


async def test_an_artifact_is_changed_and_deleted(stub: Any):
    older = await create(stub, "report")
    made = await create(stub, "report", type="progress", data="10")
    changed = await update(stub, "data", id=made.id, data="50.5", description="ignored")
    assert (changed.data, changed.description, changed.type) == ("50.5", "", "progress")
    delete = artifact_service_pb2.DeleteArtifactRequest(id=made.id)
    await stub.DeleteArtifact(delete)
    with calls.fails(grpc.StatusCode.NOT_FOUND, "NOT_FOUND"):
        await stub.DeleteArtifact(delete)
    assert (await get(stub, key="report")).id == older.id
    delete_key = artifact_service_pb2.DeleteArtifactRequest(key="report")
    await stub.DeleteArtifact(delete_key)
    with calls.fails(grpc.StatusCode.NOT_FOUND, "NOT_FOUND"):
        await stub.DeleteArtifact(delete_key)
    with calls.fails(grpc.StatusCode.NOT_FOUND, "NOT_FOUND"):
        await get(stub, key="report")


async def test_a_request_sent_again_makes_nothing_again(stub: Any):
    request_id = ids.new_id()
    made = await create(stub, "report", request_id=request_id)
    assert await create(stub, "report", request_id=request_id) == made
    assert await listed(stub) == [made.id]


async def test_artifacts_belong_to_their_run_and_go_with_it(stub: Any, channel: aio.Channel):
    await calls.create_deployment(channel)
    run = await calls.create_flow_run(channel)
    task_run_id = ids.new_id()  # not reported yet
    made = await create(stub, flow_run_id=run.id, task_run_id=task_run_id)
    assert await listed(stub, flow_run_ids=[run.id]) == [made.id]
    assert await listed(stub, task_run_ids=[task_run_id]) == [made.id]
    flow_runs = flow_run_service_pb2_grpc.FlowRunServiceStub(channel)
    await flow_runs.DeleteFlowRun(flow_run_service_pb2.DeleteFlowRunRequest(id=run.id))
    assert await listed(stub) == []
    with calls.fails(grpc.StatusCode.NOT_FOUND, "NOT_FOUND"):
        await create(stub, flow_run_id=run.id)


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"key": "Report"}, "artifact.key"),
        ({"key": "k" * 256}, "artifact.key"),
        ({"type": "t" * 256}, "artifact.type"),
        ({"data": "text"}, "artifact.data"),
        ({"data": f'"{"x" * 1_048_576}"'}, "artifact.data"),
        ({"description": "d" * 65_537}, "artifact.description"),
        ({"metadata": {str(n): "" for n in range(201)}}, "artifact.metadata"),
        ({"flow_run_id": "x"}, "artifact.flow_run_id"),
        ({"task_run_id": "x"}, "artifact.task_run_id"),
        ({"request_id": "x"}, "request_id"),
    ],
)
async def test_a_wrong_field_is_named(stub: Any, given: dict[str, Any], field: str):
    with calls.fails(grpc.StatusCode.INVALID_ARGUMENT, "INVALID_ARGUMENT", field):
        await create(stub, **given)


@pytest.mark.parametrize(
    ("where", "field"),
    [
        ({"ids": ["x"]}, "filter.ids[0]"),
        ({"keys": ["k"] * 1_001}, "filter.keys"),
        ({"flow_run_ids": ["x"]}, "filter.flow_run_ids[0]"),
        ({"task_run_ids": ["x"]}, "filter.task_run_ids[0]"),
    ],
)
async def test_a_wrong_condition_is_named(stub: Any, where: dict[str, Any], field: str):
    with calls.fails(grpc.StatusCode.INVALID_ARGUMENT, "INVALID_ARGUMENT", field):
        await listed(stub, **where)


async def test_whoever_names_neither_id_nor_key_is_told(stub: Any):
    with calls.fails(grpc.StatusCode.INVALID_ARGUMENT, "INVALID_ARGUMENT", "id"):
        await get(stub)
    with calls.fails(grpc.StatusCode.INVALID_ARGUMENT, "INVALID_ARGUMENT", "key"):
        await get(stub, key="")


async def test_events_tell_what_became_of_an_artifact(stub: Any, app: App):
    made = await create(stub, "report")
    await update(stub, "data", id=made.id, data="2")
    await stub.DeleteArtifact(artifact_service_pb2.DeleteArtifactRequest(id=made.id))
    assert await event_names(app, "headgate.artifact.") == [
        "headgate.artifact.created",
        "headgate.artifact.updated",
        "headgate.artifact.deleted",
    ]
