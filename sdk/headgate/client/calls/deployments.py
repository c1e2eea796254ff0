"""Deployments."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

from google.protobuf.field_mask_pb2 import FieldMask

from headgate.api.v1 import deployment_pb2
from headgate.api.v1 import deployment_service_pb2 as pb
from headgate.client import choosing, related
from headgate.client.rpc import Rpc, Steps, texts
from headgate.client.schemas import actions
from headgate.codec import deployments as codec
from headgate.core import deployments, ids

if TYPE_CHECKING:
    from headgate.client.rpc import Id
    from headgate.client.schemas import filters, sorting
    from headgate.client.schemas.actions import DeploymentUpdate

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
    deployment: deployments.Deployment | Id,
    change: DeploymentUpdate | None = None,
    *,
    update_mask: Sequence[str] = (),
) -> Steps[deployments.Deployment]:
    """Change a deployment that is there; like ``apply_deployment`` otherwise.

    Args:
        deployment: As it shall be; or its id, with the change.
        change: What is to change, described as in ``headgate.client.schemas.actions``.
        update_mask: The fields to change; empty: all.

    Raises:
        NotFound: There is no such deployment or work pool.
        EtagMismatch: The deployment was changed by somebody else.
        InvalidArgument: A field is wrong; it is named.
    """
    if not isinstance(deployment, deployments.Deployment):
        fields = actions.given(actions.DeploymentUpdate, change) or {}
        current = yield from read_deployment(deployment)
        if not fields:
            return current
        deployment, update_mask = dataclasses.replace(current, **fields), tuple(fields)
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
    flow_filter: filters.FlowFilter | None = None,
    deployment_filter: filters.DeploymentFilter | None = None,
    work_pool_filter: filters.WorkPoolFilter | None = None,
    sort: sorting.DeploymentSort | str | None = None,
    limit: int | None = 200,
    offset: int = 0,
) -> Steps[list[deployments.Deployment]]:
    """Return deployments by ``flow name/deployment name``.

    Args:
        flow_ids: Of these flows.
        name_contains: A part of ``flow name/deployment name``, upper and lower case alike.
        tags: With all of these.
        work_pool_name: In this pool.
        paused: Only paused or only active ones.
        flow_filter: Of flows that fit; see ``headgate.client.schemas.filters``.
        deployment_filter: That fit.
        work_pool_filter: In work pools that fit.
        sort: Another order; it takes reading all that fits.
        limit: How many at most; None for all.
        offset: How many are passed over first.
    """
    where = pb.DeploymentFilter(
        flow_ids=texts(flow_ids),
        name_contains=name_contains,
        tags=texts(tags),
        work_pool_name=work_pool_name or "",
        paused=paused,
    )
    wanted = related.Wanted(
        flow=flow_filter, deployment=deployment_filter, work_pool=work_pool_filter
    )
    where.tags.extend(choosing.pushed(deployment_filter, "tags.all_") or ())
    keep = yield from related.narrow_deployments(where, wanted)
    return (
        yield from choosing.read(
            LIST,
            pb.ListDeploymentsRequest(filter=where),
            lambda r: r.deployments,
            codec.deployment_from_proto,
            limit,
            keep=keep,
            sort=sort,
            offset=offset,
        )
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


def set_deployment_paused_state(deployment_id: Id, paused: bool) -> Steps[deployments.Deployment]:
    """Let the schedules of a deployment rest, or go on.

    Raises:
        NotFound: There is no such deployment.
    """
    return (yield from _set_paused(deployment_id, paused))


def read_deployment_schedules(deployment_id: Id) -> Steps[tuple[deployments.Schedule, ...]]:
    """Return the schedules of a deployment.

    Raises:
        NotFound: There is no such deployment.
    """
    return (yield from read_deployment(deployment_id)).schedules


def delete_deployment(deployment_id: Id) -> Steps[None]:
    """Delete a deployment and its future runs; past runs stay.

    Raises:
        NotFound: There is no such deployment.
    """
    yield from DELETE(pb.DeleteDeploymentRequest(id=str(deployment_id)))
