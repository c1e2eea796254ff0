"""DeploymentService."""

from __future__ import annotations

from typing import Any

from headgate.api.v1 import deployment_service_pb2 as pb
from headgate.api.v1 import deployment_service_pb2_grpc
from headgate.codec import deployments as codec
from headgate.core import errors
from headgate_server.services.deployments import DeploymentService
from headgate_server.storage.records import DeploymentFilter
from headgate_server.transport import paging


class DeploymentServicer(deployment_service_pb2_grpc.DeploymentServiceServicer):
    """Deployments on the wire."""

    def __init__(self, deployments: DeploymentService) -> None:
        self._deployments = deployments

    async def CreateDeployment(
        self, request: pb.CreateDeploymentRequest, context: Any
    ) -> pb.CreateDeploymentResponse:
        deployment = await self._deployments.create(
            codec.deployment_from_proto(request.deployment), request_id=request.request_id
        )
        return pb.CreateDeploymentResponse(deployment=codec.deployment_to_proto(deployment))

    async def GetDeployment(
        self, request: pb.GetDeploymentRequest, context: Any
    ) -> pb.GetDeploymentResponse:
        match request.WhichOneof("key"):
            case "id":
                deployment = await self._deployments.get(request.id)
            case "name":
                deployment = await self._deployments.get_by_name(request.name)
            case None:
                raise errors.InvalidArgument.of("key", "Set id or name.")
        return pb.GetDeploymentResponse(deployment=codec.deployment_to_proto(deployment))

    async def ListDeployments(
        self, request: pb.ListDeploymentsRequest, context: Any
    ) -> pb.ListDeploymentsResponse:
        given = request.filter
        where = DeploymentFilter(
            flow_ids=tuple(given.flow_ids),
            name_contains=given.name_contains,
            tags=tuple(given.tags),
            work_pool_name=given.work_pool_name,
            paused=given.paused if given.HasField("paused") else None,
        )
        page = await self._deployments.list(where, paging.read(request))
        return pb.ListDeploymentsResponse(
            deployments=[codec.deployment_to_proto(deployment) for deployment in page.items],
            next_page_token=paging.token(request, page.next),
        )

    async def UpdateDeployment(
        self, request: pb.UpdateDeploymentRequest, context: Any
    ) -> pb.UpdateDeploymentResponse:
        deployment = await self._deployments.update(
            codec.deployment_from_proto(request.deployment),
            list(request.update_mask.paths),
            allow_missing=request.allow_missing,
        )
        return pb.UpdateDeploymentResponse(deployment=codec.deployment_to_proto(deployment))

    async def DeleteDeployment(
        self, request: pb.DeleteDeploymentRequest, context: Any
    ) -> pb.DeleteDeploymentResponse:
        await self._deployments.delete(request.id)
        return pb.DeleteDeploymentResponse()
