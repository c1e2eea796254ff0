"""ServerService."""

from __future__ import annotations

from typing import Any

from headgate.api.v1 import server_service_pb2 as pb
from headgate.api.v1 import server_service_pb2_grpc
from headgate.codec import times
from headgate_server.services.result_storage import ResultStorageService
from headgate_server.services.server_info import ServerInfoService
from headgate_server.storage.kinds.blocks import StoredBlockDocument


class ServerServicer(server_service_pb2_grpc.ServerServiceServicer):
    """The server itself on the wire."""

    def __init__(
        self, server_info: ServerInfoService, result_storage: ResultStorageService
    ) -> None:
        self._server_info = server_info
        self._result_storage = result_storage

    async def GetServerInfo(
        self, request: pb.GetServerInfoRequest, context: Any
    ) -> pb.GetServerInfoResponse:
        info = self._server_info.info()
        return pb.GetServerInfoResponse(
            version=info.version,
            api_versions=info.api_versions,
            features=info.features,
            database=info.database,
            instance_id=info.instance_id,
            server_time=times.to_timestamp(info.server_time),
            process_id=info.process_id,
        )

    async def ListServerSettings(
        self, request: pb.ListServerSettingsRequest, context: Any
    ) -> pb.ListServerSettingsResponse:
        return pb.ListServerSettingsResponse(
            settings=[
                pb.ServerSetting(name=setting.name, value=setting.value, changed=setting.changed)
                for setting in self._server_info.settings()
            ]
        )

    async def GetResultStorage(
        self, request: pb.GetResultStorageRequest, context: Any
    ) -> pb.GetResultStorageResponse:
        document = await self._result_storage.get()
        return pb.GetResultStorageResponse(result_storage=_result_storage(document))

    async def SetResultStorage(
        self, request: pb.SetResultStorageRequest, context: Any
    ) -> pb.SetResultStorageResponse:
        document = await self._result_storage.set(request.block_document_id)
        return pb.SetResultStorageResponse(result_storage=_result_storage(document))


def _result_storage(document: StoredBlockDocument | None) -> pb.ResultStorage:
    if document is None:
        return pb.ResultStorage()
    return pb.ResultStorage(block_document_id=document.id, block_document_name=document.full_name)
