"""The gRPC server: addresses, limits, health, reflection; no services of its own."""

from __future__ import annotations

import os
import socket
import stat
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol, cast

from grpc import aio
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from headgate.core import errors
from headgate_server.transport import reflection
from headgate_server.transport.activity import Activity
from headgate_server.transport.interceptors import CallInterceptor

MESSAGE_BYTES_MAX = 64 * 1024 * 1024
#: The kernel's limit for the path of a unix socket, less the closing NUL.
_SOCKET_PATH_BYTES_MAX = 107

#: They agree with those of ``headgate.client.channel``: a client that pings more often than
#: the server allows is sent away with ENHANCE_YOUR_CALM.
_OPTIONS: tuple[tuple[str, int], ...] = (
    ("grpc.max_receive_message_length", MESSAGE_BYTES_MAX),
    ("grpc.max_send_message_length", MESSAGE_BYTES_MAX),
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
    ("grpc.http2.max_pings_without_data", 0),
    # Or a second server on the same port would quietly take half of the connections.
    ("grpc.so_reuseport", 0),
)

_PACKAGE = "headgate.api.v1"


class _Health(Protocol):
    """The part of the health servicer that is used here."""

    async def set(
        self, service: str, status: health_pb2.HealthCheckResponse.ServingStatus
    ) -> None: ...

    async def enter_graceful_shutdown(self) -> None: ...


class Server:
    """A gRPC server for some services.

    Args:
        servicers: The services: subclasses of the generated ``...Servicer`` classes.
        activity: Counts the calls that are under way.
    """

    def __init__(self, servicers: Sequence[object], activity: Activity) -> None:
        """Make it; nothing listens yet."""
        self._server = aio.server(interceptors=(CallInterceptor(activity),), options=_OPTIONS)
        # The stubs of grpcio-health-checking leave the asynchronous part out.
        aio_health: Any = getattr(health, "aio")  # noqa: B009 - as an attribute it is an error
        self._health: _Health = aio_health.HealthServicer()
        self._services = [_add(servicer, self._server) for servicer in servicers]
        self._socket_paths: list[Path] = []
        health_pb2_grpc.add_HealthServicer_to_server(cast(Any, self._health), self._server)
        reflection.enable(self._server, (*self._services, health.SERVICE_NAME))

    def listen_tcp(self, host: str, port: int) -> int:
        """Listen on a TCP port; 0 lets the system choose. Returns the port.

        Raises:
            ListenError: The port is in use, or the address is not of this machine.
        """
        address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        try:
            return self._server.add_insecure_port(address)
        except RuntimeError as error:
            raise ListenError(
                f"Cannot listen on {address}: it is in use, or not an address of this machine; "
                "stop the other server, or choose another --host or --port."
            ) from error

    def check_unix(self, path: Path) -> None:
        """Look whether a unix socket can be listened on.

        Raises:
            ListenError: Another server listens there, or the path is too long.
        """
        if len(os.fsencode(path)) > _SOCKET_PATH_BYTES_MAX:
            raise ListenError(
                f"Cannot listen on {path}: a unix socket's path has at most "
                f"{_SOCKET_PATH_BYTES_MAX} bytes; choose a shorter one."
            )
        if is_listening(path):
            # grpc would take the path over without a word.
            raise ListenError(
                f"Cannot listen on {path}: another server does; stop it, or choose another path."
            )

    def listen_unix(self, path: Path, *, private: bool = False) -> None:
        """Listen on a unix socket that only this user may use.

        Args:
            path: Where; its folder is made if need be.
            private: Refuse a folder of another user: one may be waiting there for those who
                come by a path that everybody can guess.

        Raises:
            ListenError: Another server listens there, or the path cannot be used.
        """
        self.check_unix(path)
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            if private and path.parent.stat().st_uid != os.getuid():
                raise ListenError(f"Cannot listen on {path}: its folder is another user's.")
        except OSError as error:
            raise ListenError(f"Cannot listen on {path}: {error.strerror}.") from error
        try:
            self._server.add_insecure_port(f"unix:{path}")
        except RuntimeError as error:
            raise ListenError(f"Cannot listen on {path}; choose another path.") from error
        path.chmod(stat.S_IRUSR | stat.S_IWUSR)
        self._socket_paths.append(path)

    async def start(self) -> None:
        """Begin to answer; health says SERVING."""
        await self._server.start()
        for name in self._services:
            await self._health.set(name, health_pb2.HealthCheckResponse.SERVING)

    async def say_not_serving(self) -> None:
        """Tell those who ask for health that the server is about to stop."""
        await self._health.enter_graceful_shutdown()

    async def stop(self, grace_seconds: float) -> None:
        """Take no new calls, let those under way finish for the grace, then cancel them."""
        await self._server.stop(grace_seconds)
        # Once only: afterwards they may be somebody else's.
        paths, self._socket_paths = self._socket_paths, []
        for path in paths:
            if not is_listening(path):
                path.unlink(missing_ok=True)


def _add(servicer: object, server: aio.Server) -> str:
    """Put a service on the wire; return its full name."""
    base = next(cls for cls in type(servicer).__mro__ if cls.__module__.startswith(_PACKAGE))
    # The generated module has, for each base class, the function that adds it.
    add: Callable[[object, aio.Server], None] = getattr(
        sys.modules[base.__module__], f"add_{base.__name__}_to_server"
    )
    add(servicer, server)
    return f"{_PACKAGE}.{base.__name__.removesuffix('Servicer')}"


class ListenError(errors.HeadgateError):
    """An address cannot be listened on."""


def is_listening(path: Path) -> bool:
    """Say whether anybody listens on a unix socket."""
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(1)
        try:
            probe.connect(os.fspath(path))
        except OSError:
            return False
    return True
