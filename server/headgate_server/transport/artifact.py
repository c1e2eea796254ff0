"""ArtifactService."""

from __future__ import annotations

from typing import Any

from headgate.api.v1 import artifact_service_pb2 as pb
from headgate.api.v1 import artifact_service_pb2_grpc as pb_grpc
from headgate.codec import artifacts as codec
from headgate_server.services.artifacts import ArtifactService
from headgate_server.storage.kinds.artifacts import ArtifactFilter
from headgate_server.transport import paging


class ArtifactServicer(pb_grpc.ArtifactServiceServicer):
    """Artifacts on the wire."""

    def __init__(self, artifacts: ArtifactService) -> None:
        self._artifacts = artifacts

    async def CreateArtifact(
        self, request: pb.CreateArtifactRequest, context: Any
    ) -> pb.CreateArtifactResponse:
        made = await self._artifacts.create(
            codec.artifact_from_proto(request.artifact), request_id=request.request_id
        )
        return pb.CreateArtifactResponse(artifact=codec.artifact_to_proto(made))

    async def GetArtifact(
        self, request: pb.GetArtifactRequest, context: Any
    ) -> pb.GetArtifactResponse:
        if request.WhichOneof("by") == "key":
            found = await self._artifacts.get_latest(request.key)
        else:
            found = await self._artifacts.get(request.id)
        return pb.GetArtifactResponse(artifact=codec.artifact_to_proto(found))

    async def ListArtifacts(
        self, request: pb.ListArtifactsRequest, context: Any
    ) -> pb.ListArtifactsResponse:
        page = await self._artifacts.list(_read_filter(request.filter), paging.read(request))
        return pb.ListArtifactsResponse(
            artifacts=[codec.artifact_to_proto(found) for found in page.items],
            next_page_token=paging.token(request, page.next),
        )

    async def CountArtifacts(
        self, request: pb.CountArtifactsRequest, context: Any
    ) -> pb.CountArtifactsResponse:
        count = await self._artifacts.count(_read_filter(request.filter))
        return pb.CountArtifactsResponse(count=count)

    async def UpdateArtifact(
        self, request: pb.UpdateArtifactRequest, context: Any
    ) -> pb.UpdateArtifactResponse:
        changed = await self._artifacts.update(
            codec.artifact_from_proto(request.artifact), list(request.update_mask.paths)
        )
        return pb.UpdateArtifactResponse(artifact=codec.artifact_to_proto(changed))

    async def DeleteArtifact(
        self, request: pb.DeleteArtifactRequest, context: Any
    ) -> pb.DeleteArtifactResponse:
        if request.WhichOneof("by") == "key":
            await self._artifacts.delete_key(request.key)
        else:
            await self._artifacts.delete(request.id)
        return pb.DeleteArtifactResponse()


def _read_filter(given: pb.ArtifactFilter) -> ArtifactFilter:
    return ArtifactFilter(
        ids=tuple(given.ids),
        keys=tuple(given.keys),
        key_contains=given.key_contains,
        types=tuple(given.types),
        flow_run_ids=tuple(given.flow_run_ids),
        task_run_ids=tuple(given.task_run_ids),
        latest_only=given.latest_only,
    )
