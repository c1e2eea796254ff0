"""The session stream, as grpc has it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator

import grpc
from grpc import aio

from headgate.api.v1 import engine_service_pb2 as pb
from headgate.api.v1 import (
    engine_service_pb2_grpc,
    server_service_pb2,
    server_service_pb2_grpc,
)
from headgate.client import channel as channels
from headgate.client import compatibility, metadata
from headgate.client.calls import server
from headgate.codec import session as frames
from headgate.core import errors

__all__ = ["SessionStream", "connect"]

_CHECK_SECONDS = 5.0


class SessionStream:
    """One session stream. Its methods raise ``HeadgateError`` only.

    Args:
        call: The call of grpc.
        api_url: The server, for messages.
    """

    def __init__(
        self,
        call: aio.StreamStreamCall[pb.SessionRequest, pb.SessionResponse],
        api_url: str,
    ) -> None:
        """Wrap a call."""
        self._call = call
        self._api_url = api_url

    async def write(self, frame: frames.Frame) -> None:
        """Send a frame; returns when grpc has taken it."""
        try:
            await self._call.write(frame)
        except grpc.RpcError as error:
            raise channels.error_of(error, self._api_url) from None
        except asyncio.InvalidStateError as error:
            # What grpc says where the stream ended in the meantime.
            raise errors.Unavailable("The session stream has ended.") from error

    async def read(self) -> frames.Event | None:
        """Return the next event; None when the server has ended the stream in order."""
        while True:
            try:
                frame = await self._call.read()
            except grpc.RpcError as error:
                raise channels.error_of(error, self._api_url) from None
            if not isinstance(frame, pb.SessionResponse):
                return None
            event = frames.decode(frame)
            if event is not None:
                return event

    async def finish(self) -> None:
        """Say that nothing more is sent."""
        try:
            await self._call.done_writing()
        except grpc.RpcError as error:
            raise channels.error_of(error, self._api_url) from None


@contextlib.asynccontextmanager
async def connect(api_url: str) -> AsyncGenerator[SessionStream]:
    """Open a session stream; what goes wrong is raised by the first read or write.

    Args:
        api_url: The server, as ``headgate.client.channel.target`` takes it.

    Raises:
        InvalidArgument: That is no address, or what travels with the stream cannot be sent.
    """
    async with channels.open_channel(api_url) as channel:
        stub = engine_service_pb2_grpc.EngineServiceStub(channel)
        call = stub.Session(metadata=metadata.of_process())
        try:
            yield SessionStream(call, api_url)
        except errors.Unsupported:
            await _check_version(channel, api_url)
            raise
        finally:
            call.cancel()


async def _check_version(channel: aio.Channel, api_url: str) -> None:
    """Ask a server that does not have sessions what it is.

    Raises:
        VersionMismatch: It does not speak the contract of this client.
    """
    stub = server_service_pb2_grpc.ServerServiceStub(channel)
    request = server_service_pb2.GetServerInfoRequest()
    asking = server.server_info()
    next(asking)
    try:
        asking.send(await stub.GetServerInfo(request, timeout=_CHECK_SECONDS))
    except StopIteration as end:
        compatibility.check(end.value, api_url)
    except grpc.RpcError:
        return  # it says nothing that is better than what it said already
