"""Channels to a server: addresses, limits, keepalive, and what failed calls mean."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias
from urllib.parse import urlsplit

import grpc
from google.protobuf.message import DecodeError
from google.rpc import status_pb2
from grpc import aio

from headgate import _version, settings
from headgate.codec import errors as error_codec
from headgate.core import errors

MESSAGE_BYTES_MAX = 64 * 1024 * 1024
PORT_DEFAULT = 4200
TLS_PORT_DEFAULT = 443

_DETAILS_KEY = "grpc-status-details-bin"
_EXAMPLES = "use e.g. http://127.0.0.1:4200, https://headgate.example.com or unix:///run/hg.sock"

#: What grpc says where a web server, or a proxy, answers in the place of a gRPC server.
_NO_GRPC = "http2 header with status"
#: And of a server that speaks an older HTTP, or no TLS, or TLS that one of the two does not trust.
_NO_HTTP2 = "Failed parsing HTTP/2"
_NO_TLS = "WRONG_VERSION_NUMBER"
_NO_HANDSHAKE = "andshake failed"

_Options: TypeAlias = list[tuple[str, str | int]]

#: They agree with those of the server: it sends away who pings more often than every 5 s.
_OPTIONS: tuple[tuple[str, str | int], ...] = (
    ("grpc.max_receive_message_length", MESSAGE_BYTES_MAX),
    ("grpc.max_send_message_length", MESSAGE_BYTES_MAX),
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    # A server that restarts is found again within a moment; the defaults wait for up to 2 min.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 3_000),
    # Connections of its own, and with them a backoff of its own, for each channel.
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.primary_user_agent", f"headgate-python/{_version.__version__}"),
)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where a server is.

    Attributes:
        api_url: As it was configured.
        address: As grpc wants it, e.g. ``127.0.0.1:4200`` or ``unix:/run/headgate.sock``.
        secure: Whether the connection is by TLS.
        local: Whether it is on this machine, beyond all proxies.
    """

    api_url: str
    address: str
    secure: bool = False
    local: bool = False


def target(api_url: str) -> Target:
    """Understand the address of a server.

    Args:
        api_url: ``http://host:port``, ``https://host``, ``host:port`` or ``unix:///path``.

    Raises:
        InvalidArgument: It is none of these.
    """
    if api_url.startswith("unix:"):
        path = api_url.removeprefix("unix:")
        path = path.removeprefix("//") if path.startswith("//") else path
        if not path or path == "/":
            raise errors.InvalidArgument.of("api_url", f"{api_url!r} has no path; {_EXAMPLES}.")
        return Target(api_url=api_url, address=f"unix:{path}", local=True)
    try:
        parts = urlsplit(api_url if "://" in api_url else f"http://{api_url}")
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise errors.InvalidArgument.of(
            "api_url", f"{api_url!r} is no address ({error}); {_EXAMPLES}."
        ) from None
    if parts.scheme not in ("http", "https") or not host or any(map(str.isspace, host)):
        raise errors.InvalidArgument.of("api_url", f"{api_url!r} is no address; {_EXAMPLES}.")
    if parts.path not in ("", "/"):
        raise errors.InvalidArgument.of(
            "api_url", f"{api_url!r} has the path {parts.path!r}; leave it away: {_EXAMPLES}."
        )
    secure = parts.scheme == "https"
    if port is None:
        port = TLS_PORT_DEFAULT if secure else PORT_DEFAULT
    bracketed = f"[{host}]" if ":" in host else host
    return Target(
        api_url=api_url,
        address=f"{bracketed}:{port}",
        secure=secure,
        local=host in ("localhost", "::1") or host.startswith("127."),
    )


def _options(where: Target, more: Sequence[tuple[str, str | int]]) -> _Options:
    options: _Options = [*_OPTIONS, *more]
    server_name = settings.current().api_tls_server_name
    if where.secure and server_name:
        options.append(("grpc.ssl_target_name_override", server_name))
    if where.local:
        # http_proxy in the environment means the way out, not the way to ourselves.
        options.append(("grpc.enable_http_proxy", 0))
    return options


def _credentials() -> grpc.ChannelCredentials:
    """Return what TLS needs, by the settings."""
    now = settings.current()
    if (now.api_tls_cert_file is None) != (now.api_tls_key_file is None):
        missing = "CERT" if now.api_tls_cert_file is None else "KEY"
        raise errors.InvalidArgument.of(
            f"HEADGATE_API_TLS_{missing}_FILE",
            "is needed as well: a certificate goes with its key.",
        )
    return grpc.ssl_channel_credentials(
        _read("HEADGATE_API_TLS_CA_FILE", now.api_tls_ca_file),
        _read("HEADGATE_API_TLS_KEY_FILE", now.api_tls_key_file),
        _read("HEADGATE_API_TLS_CERT_FILE", now.api_tls_cert_file),
    )


def _read(variable: str, file: Path | None) -> bytes | None:
    if file is None:
        return None
    try:
        return file.read_bytes()
    except OSError as problem:
        raise errors.InvalidArgument.of(
            variable, f"{file} cannot be read: {problem.strerror}."
        ) from problem


def _tell_of_open_token(where: Target) -> None:
    """Say once that a token goes over the network for all to read."""
    now = settings.current()
    has_token = bool(now.api_key or now.api_auth_string)
    if has_token and not where.secure and not where.local and where.address not in _told:
        _told.add(where.address)
        logging.getLogger("headgate.client").warning(
            "The token for the server at %s is sent unencrypted; use https:// and TLS.",
            where.api_url,
        )


_told: set[str] = set()


def open_channel(api_url: str, *, options: Sequence[tuple[str, str | int]] = ()) -> aio.Channel:
    """Open an asyncio channel. Nothing is sent before the first call.

    Args:
        api_url: The address of the server.
        options: More options of grpc.

    Raises:
        InvalidArgument: The address is none, or a file for TLS cannot be read.
    """
    where = target(api_url)
    _tell_of_open_token(where)
    if where.secure:
        return aio.secure_channel(where.address, _credentials(), options=_options(where, options))
    return aio.insecure_channel(where.address, options=_options(where, options))


def open_sync_channel(
    api_url: str, *, options: Sequence[tuple[str, str | int]] = ()
) -> grpc.Channel:
    """Open a channel for calls that block. Nothing is sent before the first call.

    Args:
        api_url: The address of the server.
        options: More options of grpc.

    Raises:
        InvalidArgument: The address is none, or a file for TLS cannot be read.
    """
    where = target(api_url)
    _tell_of_open_token(where)
    if where.secure:
        return grpc.secure_channel(where.address, _credentials(), options=_options(where, options))
    return grpc.insecure_channel(where.address, options=_options(where, options))


def error_of(error: grpc.RpcError, api_url: str = "") -> errors.ControlPlaneError:
    """Say what a failed call means, in the errors of ``headgate.core.errors``.

    Args:
        error: What grpc raised, on an asyncio channel or a blocking one.
        api_url: The address of the server, for the message.
    """
    status = _status_of(error)
    if status is not None:
        return error_codec.from_status(status)
    code: grpc.StatusCode = getattr(error, "code", lambda: grpc.StatusCode.UNKNOWN)()
    text: str = getattr(error, "details", lambda: "")() or str(error)
    server = f"the server at {api_url}" if api_url else "the server"
    if code is grpc.StatusCode.UNAVAILABLE:
        return errors.Unavailable(_unreachable(server, text))
    if code is grpc.StatusCode.UNIMPLEMENTED and _NO_GRPC not in text:
        return errors.Unsupported(
            "",
            f"{server[0].upper()}{server[1:]} does not have what it was asked for "
            f"({_first_line(text).rstrip('!')}): it is of another version, or no server of "
            "Headgate; install versions that go together, or check HEADGATE_API_URL.",
        )
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return errors.DeadlineExceeded(
            f"{server[0].upper()}{server[1:]} did not answer in time; try again, or look at its "
            "log."
        )
    said = _first_line(text)
    if _NO_GRPC in said:
        said = (
            f"What answers there is not {server} ({said}); check that HEADGATE_API_URL is the "
            "address of a server of Headgate, and that no proxy is in between."
        )
    return error_codec.from_status(status_pb2.Status(code=code.value[0], message=said))


def _unreachable(server: str, text: str) -> str:
    """Say that a server cannot be reached, why, and what to do about it."""
    if _NO_HTTP2 in text:
        return (
            f"What answers there is not {server}: it does not speak HTTP/2; check that "
            "HEADGATE_API_URL is the address of a server of Headgate."
        )
    subject = f"{server[0].upper()}{server[1:]}"
    if _NO_TLS in text:
        return f"{subject} does not speak TLS; use http:// in HEADGATE_API_URL."
    if _NO_HANDSHAKE in text:
        reason = "certificate" if "CERTIFICATE" in text else "handshake"
        return (
            f"{subject} cannot be reached by TLS (the {reason} is not accepted); check that "
            "HEADGATE_API_TLS_CA_FILE is of whom signed its certificate, and that it is for this "
            "name."
        )
    return (
        f"{subject} cannot be reached ({_reason(text)}); check that it runs, and that "
        "HEADGATE_API_URL is its address."
    )


def _reason(text: str) -> str:
    """Return the heart of what grpc says of a failed connection: ``Connection refused``."""
    line = _first_line(text)
    if not line.startswith(("failed to connect to all addresses", "errors resolving")):
        return line
    return line.rpartition(": ")[2].rstrip("].")


def _first_line(text: str) -> str:
    return text.strip().splitlines()[0].rstrip(".") if text.strip() else "no reason given"


def _status_of(error: grpc.RpcError) -> status_pb2.Status | None:
    """Return the rich status that the server sent along, if it did."""
    trailing = getattr(error, "trailing_metadata", lambda: None)()
    for key, value in trailing or ():
        if key == _DETAILS_KEY:
            try:
                return status_pb2.Status.FromString(value)
            except DecodeError:
                return None
    return None


__all__ = [
    "MESSAGE_BYTES_MAX",
    "Target",
    "error_of",
    "open_channel",
    "open_sync_channel",
    "target",
]
