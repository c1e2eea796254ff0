"""The server itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headgate.api.v1 import server_service_pb2 as pb
from headgate.client import compatibility, schemas
from headgate.client.rpc import Rpc, Steps
from headgate.codec import times
from headgate.core import errors

if TYPE_CHECKING:
    from headgate.client.rpc import Id

SERVICE = "ServerService"
INFO = Rpc(SERVICE, "GetServerInfo", pb.GetServerInfoRequest, pb.GetServerInfoResponse)
RESULT_STORAGE = Rpc(
    SERVICE, "GetResultStorage", pb.GetResultStorageRequest, pb.GetResultStorageResponse
)
SET_RESULT_STORAGE = Rpc(
    SERVICE, "SetResultStorage", pb.SetResultStorageRequest, pb.SetResultStorageResponse
)
SETTINGS = Rpc(
    SERVICE, "ListServerSettings", pb.ListServerSettingsRequest, pb.ListServerSettingsResponse
)


def server_info() -> Steps[schemas.ServerInfo]:
    """Return what the server is and what it can do."""
    response = yield from INFO(pb.GetServerInfoRequest())
    return schemas.ServerInfo(
        version=response.version,
        api_versions=tuple(response.api_versions),
        features=frozenset(response.features),
        database=response.database,
        instance_id=response.instance_id,
        server_time=times.timestamp_to_datetime(response.server_time),
        process_id=response.process_id,
    )


def read_server_settings() -> Steps[list[schemas.ServerSetting]]:
    """Return the server's settings in force; secrets are masked."""
    response = yield from SETTINGS(pb.ListServerSettingsRequest())
    return [
        schemas.ServerSetting(name=setting.name, value=setting.value, changed=setting.changed)
        for setting in response.settings
    ]


def read_server_default_result_storage() -> Steps[schemas.ServerDefaultResultStorage]:
    """Return where results are kept that neither flow, task nor settings name a storage for."""
    response = yield from RESULT_STORAGE(pb.GetResultStorageRequest())
    return _result_storage(response.result_storage)


def update_server_default_result_storage(
    default_result_storage_block_id: Id,
) -> Steps[schemas.ServerDefaultResultStorage]:
    """Choose the block that such results are kept in, by all who use this server.

    A process that has asked for it before goes by what it was told then, until it ends.

    Args:
        default_result_storage_block_id: The id of a saved block, such as a file system.

    Raises:
        NotFound: There is no such block.
    """
    request = pb.SetResultStorageRequest(block_document_id=str(default_result_storage_block_id))
    response = yield from SET_RESULT_STORAGE(request)
    return _result_storage(response.result_storage)


def clear_server_default_result_storage() -> Steps[None]:
    """Choose no block; each machine keeps such results in a folder of its own."""
    yield from SET_RESULT_STORAGE(pb.SetResultStorageRequest())


def _result_storage(message: pb.ResultStorage) -> schemas.ServerDefaultResultStorage:
    return schemas.ServerDefaultResultStorage(
        default_result_storage_block_id=message.block_document_id or None,
        block=message.block_document_name or None,
    )


def api_version() -> Steps[str]:
    """Return the version of the server, e.g. ``0.1.0``."""
    return (yield from server_info()).version


def api_healthcheck() -> Steps[Exception | None]:
    """Say whether the server answers: None, or the error that says why not."""
    try:
        yield from server_info()
    except errors.ControlPlaneError as error:
        return error
    return None


def raise_for_api_version_mismatch(api_url: str = "the configured address") -> Steps[None]:
    """Refuse a server that does not speak the contract of this client.

    Args:
        api_url: Where it is, for the message.

    Raises:
        VersionMismatch: It does not.
    """
    compatibility.check((yield from server_info()), api_url)
