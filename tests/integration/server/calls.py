"""Short ways to say calls, and what is to be seen of their failures."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from google.rpc import error_details_pb2, status_pb2
from grpc import aio

from headgate.api.v1 import (
    deployment_pb2,
    deployment_service_pb2,
    deployment_service_pb2_grpc,
    flow_run_pb2,
    flow_run_service_pb2,
    flow_run_service_pb2_grpc,
)


class Failure:
    """How a call failed; filled when the block of ``fails`` has ended."""

    code: grpc.StatusCode
    message: str
    info: error_details_pb2.ErrorInfo
    fields: list[str]
    details: dict[str, Any]


@contextlib.contextmanager
def fails(code: grpc.StatusCode, reason: str, *fields: str) -> Iterator[Failure]:
    """Expect a failure with this code, this reason, and violations of these fields."""
    failure = Failure()
    with pytest.raises(aio.AioRpcError) as caught:
        yield failure
    error = caught.value
    assert error.code() is code, f"{error.code()}: {error.details()}"
    failure.code, failure.message = error.code(), error.details() or ""
    trailers: dict[str, Any] = dict(error.trailing_metadata() or ())
    status = status_pb2.Status.FromString(trailers["grpc-status-details-bin"])
    assert (status.code, status.message) == (code.value[0], failure.message)
    known: tuple[Any, ...] = (
        error_details_pb2.ErrorInfo,
        error_details_pb2.BadRequest,
        error_details_pb2.ResourceInfo,
        error_details_pb2.PreconditionFailure,
    )
    failure.details = {}
    for detail in status.details:
        for kind in known:
            if detail.Is(kind.DESCRIPTOR):
                message = failure.details[kind.__name__] = kind()
                detail.Unpack(message)
    failure.info = failure.details["ErrorInfo"]
    assert (failure.info.domain, failure.info.reason) == ("headgate.dev", reason)
    bad = failure.details.get("BadRequest", error_details_pb2.BadRequest())
    failure.fields = [violation.field for violation in bad.field_violations]
    if fields:
        assert failure.fields == list(fields)


async def create_deployment(
    channel: aio.Channel, name: str = "nightly", **given: Any
) -> deployment_pb2.Deployment:
    """Make a deployment "etl/<name>"."""
    stub = deployment_service_pb2_grpc.DeploymentServiceStub(channel)
    given.setdefault("flow_name", "etl")
    request = deployment_service_pb2.CreateDeploymentRequest(
        deployment=deployment_pb2.Deployment(name=name, **given)
    )
    return (await stub.CreateDeployment(request)).deployment


async def update_deployment(
    channel: aio.Channel, mask: list[str], *, allow_missing: bool = False, **given: Any
) -> deployment_pb2.Deployment:
    """Change a deployment."""
    stub = deployment_service_pb2_grpc.DeploymentServiceStub(channel)
    request = deployment_service_pb2.UpdateDeploymentRequest(
        deployment=deployment_pb2.Deployment(**given),
        update_mask=FieldMask(paths=mask),
        allow_missing=allow_missing,
    )
    return (await stub.UpdateDeployment(request)).deployment


async def create_flow_run(channel: aio.Channel, **given: Any) -> flow_run_pb2.FlowRun:
    """Ask for a run of "etl/nightly"."""
    stub = flow_run_service_pb2_grpc.FlowRunServiceStub(channel)
    if "deployment_id" not in given:
        given.setdefault("deployment_name", "etl/nightly")
    return (await stub.CreateFlowRun(flow_run_service_pb2.CreateFlowRunRequest(**given))).flow_run


async def list_flow_runs(channel: aio.Channel, **where: Any) -> list[flow_run_pb2.FlowRun]:
    """List all runs that fit a filter."""
    stub = flow_run_service_pb2_grpc.FlowRunServiceStub(channel)
    request = flow_run_service_pb2.ListFlowRunsRequest(
        filter=flow_run_service_pb2.FlowRunFilter(**where), page_size=200
    )
    return list((await stub.ListFlowRuns(request)).flow_runs)
