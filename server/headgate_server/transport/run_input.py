"""RunInputService."""

from __future__ import annotations

from typing import Any

from headgate.api.v1 import run_input_service_pb2 as pb
from headgate.api.v1 import run_input_service_pb2_grpc as pb_grpc
from headgate.codec import run_inputs as codec
from headgate.codec import times
from headgate_server.services.run_inputs import RunInputService
from headgate_server.storage.kinds.run_inputs import RunInputFilter
from headgate_server.transport import paging


class RunInputServicer(pb_grpc.RunInputServiceServicer):
    """Inputs of flow runs on the wire."""

    def __init__(self, run_inputs: RunInputService) -> None:
        self._run_inputs = run_inputs

    async def CreateRunInput(
        self, request: pb.CreateRunInputRequest, context: Any
    ) -> pb.CreateRunInputResponse:
        made = await self._run_inputs.create(
            codec.run_input_from_proto(request.run_input), request_id=request.request_id
        )
        return pb.CreateRunInputResponse(run_input=codec.run_input_to_proto(made))

    async def GetRunInput(
        self, request: pb.GetRunInputRequest, context: Any
    ) -> pb.GetRunInputResponse:
        found = await self._run_inputs.get(request.flow_run_id, request.key)
        return pb.GetRunInputResponse(run_input=codec.run_input_to_proto(found))

    async def ListRunInputs(
        self, request: pb.ListRunInputsRequest, context: Any
    ) -> pb.ListRunInputsResponse:
        given = request.filter
        where = RunInputFilter(
            flow_run_id=request.flow_run_id,
            key_prefix=given.key_prefix,
            exclude_keys=tuple(given.exclude_keys),
            after_place=given.after_place,
        )
        page = await self._run_inputs.list(
            where, paging.read(request), wait_seconds=times.from_duration(request.wait)
        )
        return pb.ListRunInputsResponse(
            run_inputs=[codec.run_input_to_proto(found) for found in page.items],
            next_page_token=paging.token(request, page.next),
        )

    async def DeleteRunInput(
        self, request: pb.DeleteRunInputRequest, context: Any
    ) -> pb.DeleteRunInputResponse:
        await self._run_inputs.delete(request.flow_run_id, request.key)
        return pb.DeleteRunInputResponse()
