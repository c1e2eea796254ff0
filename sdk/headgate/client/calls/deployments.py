"""Deployments."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from google.protobuf.field_mask_pb2 import FieldMask

from headgate.api.v1 import deployment_pb2
from headgate.api.v1 import deployment_service_pb2 as pb
from headgate.client.rpc import Rpc, Steps, pages, texts
from headgate.codec import deployments as codec
from headgate.core import deployments, ids

if TYPE_CHECKING:
    from headgate.client.rpc import Id

SERVICE = "DeploymentService"
CREATE = Rpc(SERVICE, "CreateDeployment", pb.CreateDeploymentRequest, pb.CreateDeploymentResponse)
GET = Rpc(SERVICE, "GetDeployment", pb.GetDeploymentRequest, pb.GetDeploymentResponse)
LIST = Rpc(SERVICE, "ListDeployments", pb.ListDeploymentsRequest, pb.ListDeploymentsResponse)
UPDATE = Rpc(SERVICE, "UpdateDeployment", pb.UpdateDeploymentRequest, pb.UpdateDeploymentResponse)
DELETE = Rpc(SERVICE, "DeleteDeployment", pb.DeleteDeploymentRequest, pb.DeleteDeploymentResponse)


def create_deployment(deployment: deployments.Deployment) -> Steps[deployments.Deployment]:
    """Make a deployment, and its flow if there is none.

    Args:
        deployment: What to make; the server chooses ids, times and etag.

    Raises:
        AlreadyExists: The flow has a deployment of this name.
        NotFound: There is no such work pool.
        InvalidArgument: A field is wrong; it is named.
    """
    request = pb.CreateDeploymentRequest(request_id=ids.new_id())
    codec.deployment_to_proto(deployment, request.deployment)
    response = yield from CREATE(request)
    return codec.deployment_from_proto(response.deployment)


def apply_deployment(
    deployment: deployments.Deployment, *, update_mask: Sequence[str] = ()
) -> Steps[deployments.Deployment]:
    """Make a deployment, or change the one of its flow and name.

    Args:
        deployment: As it shall be. With an etag, the change is refused unless that is current.
        update_mask: The fields to change where there is one; empty: all.

    Raises:
        NotFound: There is no such work pool.
        EtagMismatch: The deployment was changed by somebody else.
        InvalidArgument: A field is wrong; it is named.
    """
    request = pb.UpdateDeploymentRequest(
        update_mask=FieldMask(paths=list(update_mask)), allow_missing=True
    )
    codec.deployment_to_proto(deployment, request.deployment)
    response = yield from UPDATE(request)
    return codec.deployment_from_proto(response.deployment)


def update_deployment(
    deployment: deployments.Deployment, *, update_mask: Sequence[str] = ()
) -> Steps[deployments.Deployment]:
    """Change a deployment that is there; like ``apply_deployment`` otherwise.

    Raises:
        NotFound: There is no such deployment or work pool.
        EtagMismatch: The deployment was changed by somebody else.
        InvalidArgument: A field is wrong; it is named.
    """
    request = pb.UpdateDeploymentRequest(update_mask=FieldMask(paths=list(update_mask)))
    codec.deployment_to_proto(deployment, request.deployment)
    response = yield from UPDATE(request)
    return codec.deployment_from_proto(response.deployment)


def read_deployment(deployment_id: Id) -> Steps[deployments.Deployment]:
    """Return a deployment by its id.

    Raises:
        NotFound: There is none.
    """
    response = yield from GET(pb.GetDeploymentRequest(id=str(deployment_id)))
    return codec.deployment_from_proto(response.deployment)


def read_deployment_by_name(name: str) -> Steps[deployments.Deployment]:
    """Return a deployment by ``flow name/deployment name``.

    Raises:
        NotFound: There is none.
    """
    response = yield from GET(pb.GetDeploymentRequest(name=name))
    return codec.deployment_from_proto(response.deployment)


def read_deployments(
    *,
    flow_ids: Sequence[Id] = (),
    name_contains: str = "",
    tags: Sequence[str] = (),
    work_pool_name: str | None = None,
    paused: bool | None = None,
    limit: int | None = 200,
) -> Steps[list[deployments.Deployment]]:
    """Return deployments by ``flow name/deployment name``.

    Args:
        flow_ids: Of these flows.
        name_contains: A part of ``flow name/deployment name``, upper and lower case alike.
        tags: With all of these.
        work_pool_name: In this pool.
        paused: Only paused or only active ones.
        limit: How many at most; None for all.
    """
    where = pb.DeploymentFilter(
        flow_ids=texts(flow_ids),
        name_contains=name_contains,
        tags=texts(tags),
        work_pool_name=work_pool_name or "",
        paused=paused,
    )
    request = pb.ListDeploymentsRequest(filter=where)
    return (
        yield from pages(LIST, request, lambda r: r.deployments, codec.deployment_from_proto, limit)
    )


def _set_paused(deployment_id: Id, paused: bool) -> Steps[deployments.Deployment]:
    response = yield from UPDATE(
        pb.UpdateDeploymentRequest(
            deployment=deployment_pb2.Deployment(id=str(deployment_id), paused=paused),
            update_mask=FieldMask(paths=["paused"]),
        )
    )
    return codec.deployment_from_proto(response.deployment)


def pause_deployment(deployment_id: Id) -> Steps[deployments.Deployment]:
    """Let the schedules of a deployment rest.

    Raises:
        NotFound: There is no such deployment.
    """
    return (yield from _set_paused(deployment_id, True))


def resume_deployment(deployment_id: Id) -> Steps[deployments.Deployment]:
    """Let the schedules of a deployment go on.

    Raises:
        NotFound: There is no such deployment.
    """
    return (yield from _set_paused(deployment_id, False))


def delete_deployment(deployment_id: Id) -> Steps[None]:
    """Delete a deployment and its future runs; past runs stay.

    Raises:
        NotFound: There is no such deployment.
    """
    yield from DELETE(pb.DeleteDeploymentRequest(id=str(deployment_id)))
