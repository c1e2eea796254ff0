"""FlowService."""

from __future__ import annotations

from typing import Any

from headgate.api.v1 import flow_service_pb2 as pb
from headgate.api.v1 import flow_service_pb2_grpc
from headgate.codec import flows as codec
from headgate.core import errors
from headgate_server.services.flows import FlowService
from headgate_server.storage.records import FlowFilter
from headgate_server.transport import paging


class FlowServicer(flow_service_pb2_grpc.FlowServiceServicer):
    """Flows on the wire."""

    def __init__(self, flows: FlowService) -> None:
        self._flows = flows

    async def CreateFlow(
        self, request: pb.CreateFlowRequest, context: Any
    ) -> pb.CreateFlowResponse:
        flow = await self._flows.create(codec.flow_from_proto(request.flow))
        return pb.CreateFlowResponse(flow=codec.flow_to_proto(flow))

    async def GetFlow(self, request: pb.GetFlowRequest, context: Any) -> pb.GetFlowResponse:
        match request.WhichOneof("key"):
            case "id":
                flow = await self._flows.get(request.id)
            case "name":
                flow = await self._flows.get_by_name(request.name)
            case None:
                raise errors.InvalidArgument.of("key", "Set id or name.")
        return pb.GetFlowResponse(flow=codec.flow_to_proto(flow))

    async def ListFlows(self, request: pb.ListFlowsRequest, context: Any) -> pb.ListFlowsResponse:
        where = FlowFilter(
            name_contains=request.filter.name_contains, tags=tuple(request.filter.tags)
        )
        page = await self._flows.list(where, paging.read(request))
        return pb.ListFlowsResponse(
            flows=[codec.flow_to_proto(flow) for flow in page.items],
            next_page_token=paging.token(request, page.next),
        )

    async def UpdateFlow(
        self, request: pb.UpdateFlowRequest, context: Any
    ) -> pb.UpdateFlowResponse:
        flow = await self._flows.update(
            codec.flow_from_proto(request.flow), list(request.update_mask.paths)
        )
        return pb.UpdateFlowResponse(flow=codec.flow_to_proto(flow))

    async def DeleteFlow(
        self, request: pb.DeleteFlowRequest, context: Any
    ) -> pb.DeleteFlowResponse:
        await self._flows.delete(request.id)
        return pb.DeleteFlowResponse()
