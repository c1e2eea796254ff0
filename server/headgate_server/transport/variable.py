"""VariableService."""

from __future__ import annotations

from typing import Any

from headgate.api.v1 import variable_service_pb2 as pb
from headgate.api.v1 import variable_service_pb2_grpc as pb_grpc
from headgate.codec import variables as codec
from headgate_server.services.variables import VariableService
from headgate_server.storage.kinds.variables import VariableFilter
from headgate_server.transport import paging


class VariableServicer(pb_grpc.VariableServiceServicer):
    """Variables on the wire."""

    def __init__(self, variables: VariableService) -> None:
        self._variables = variables

    async def CreateVariable(
        self, request: pb.CreateVariableRequest, context: Any
    ) -> pb.CreateVariableResponse:
        made = await self._variables.create(
            codec.variable_from_proto(request.variable), request_id=request.request_id
        )
        return pb.CreateVariableResponse(variable=codec.variable_to_proto(made))

    async def GetVariable(
        self, request: pb.GetVariableRequest, context: Any
    ) -> pb.GetVariableResponse:
        found = await self._variables.get(request.name)
        return pb.GetVariableResponse(variable=codec.variable_to_proto(found))

    async def ListVariables(
        self, request: pb.ListVariablesRequest, context: Any
    ) -> pb.ListVariablesResponse:
        where = VariableFilter(
            name_contains=request.filter.name_contains, tags=tuple(request.filter.tags)
        )
        page = await self._variables.list(where, paging.read(request))
        return pb.ListVariablesResponse(
            variables=[codec.variable_to_proto(found) for found in page.items],
            next_page_token=paging.token(request, page.next),
        )

    async def UpdateVariable(
        self, request: pb.UpdateVariableRequest, context: Any
    ) -> pb.UpdateVariableResponse:
        changed = await self._variables.update(
            codec.variable_from_proto(request.variable),
            list(request.update_mask.paths),
            allow_missing=request.allow_missing,
        )
        return pb.UpdateVariableResponse(variable=codec.variable_to_proto(changed))

    async def DeleteVariable(
        self, request: pb.DeleteVariableRequest, context: Any
    ) -> pb.DeleteVariableResponse:
        await self._variables.delete(request.name)
        return pb.DeleteVariableResponse()
