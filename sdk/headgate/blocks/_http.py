"""HTTP requests of webhooks and notifications, with what Python brings."""

from __future__ import annotations

import dataclasses
import http.client
import ipaddress
import json
import socket
import ssl
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from typing import Any

from headgate._version import __version__
from headgate.core import errors

__all__ = ["Request", "Response", "form_body", "json_body", "refuse_private", "send"]

_BODY_BYTES_MAX = 1024 * 1024
_SHOWN_CHARACTERS_MAX = 500


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What is sent.

    Attributes:
        body: The content and its type; None for a request without.
        verify: Whether the certificate of the other side is checked.
        allow_private: Whether hosts of private networks, and this one, may be asked.
    """

    url: str
    method: str = "POST"
    headers: Mapping[str, str] = dataclasses.field(default_factory=dict[str, str])
    body: tuple[bytes, str] | None = None
    timeout_seconds: float = 10.0
    verify: bool = True
    allow_private: bool = True


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """What was answered."""

    status_code: int
    headers: Mapping[str, str]
    content: bytes

    @property
    def text(self) -> str:
        """The content as text."""
        return self.content.decode("utf-8", "replace")

    @property
    def is_success(self) -> bool:
        """Whether the other side has done what was asked."""
        return 200 <= self.status_code < 300

    def json(self) -> Any:
        """Return the content as what its JSON says."""
        return json.loads(self.content)

    def raise_for_status(self) -> Response:
        """Return the response itself, if it is a success.

        Raises:
            NotificationError: It is none.
        """
        if self.is_success:
            return self
        msg = (
            f"The answer was {self.status_code}: {self.text[:_SHOWN_CHARACTERS_MAX]}; see to the "
            "URL and the credentials."
        )
        raise errors.NotificationError(msg)


def json_body(value: Any) -> tuple[bytes, str]:
    """Return a JSON body."""
    return json.dumps(value).encode(), "application/json"


def form_body(fields: Mapping[str, str]) -> tuple[bytes, str]:
    """Return a body as browsers send forms."""
    return urllib.parse.urlencode(fields).encode(), "application/x-www-form-urlencoded"


def send(request: Request) -> Response:
    """Send a request; an answer that is no success is returned, too.

    Raises:
        NotificationError: There is no answer, or the URL may not be asked. The message names the
            host alone: the rest of such URLs is often a secret.
    """
    host = _checked_host(request.url)
    if not request.allow_private:
        refuse_private(host)
    headers = {"User-Agent": f"headgate/{__version__}", **request.headers}
    content = None
    if request.body is not None:
        content, kind = request.body
        headers.setdefault("Content-Type", kind)
    prepared = urllib.request.Request(
        request.url, data=content, headers=headers, method=request.method
    )
    try:
        with _opener(request).open(prepared, timeout=request.timeout_seconds) as answer:
            return _read(answer)
    except urllib.error.HTTPError as error:
        with error:
            return _read(error)
    except (OSError, http.client.HTTPException, ValueError) as problem:
        reason = getattr(problem, "reason", problem)
        msg = f"{host} was asked and did not answer: {reason}; see to the URL and the network."
        raise errors.NotificationError(msg) from None


def refuse_private(host: str) -> None:
    """Refuse a host of a private network, or of this machine.

    Raises:
        NotificationError: It is one, or its address is not known.
    """
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError as problem:
        msg = f"The address of {host} is not known: {problem}; see to the URL."
        raise errors.NotificationError(msg) from None
    for entry in found:
        address = ipaddress.ip_address(str(entry[4][0]).partition("%")[0])
        if not address.is_global or address.is_multicast:
            msg = (
                f"{host} is at {address}, which is no public address; set allow_private_urls if "
                "that is meant."
            )
            raise errors.NotificationError(msg)


class _NoWayInside(urllib.request.HTTPRedirectHandler):
    """Refuses to be led to a private network."""

    def redirect_request(
        self, req: urllib.request.Request, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        """Look at the host that a redirect leads to."""
        refuse_private(_checked_host(newurl))
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _opener(request: Request) -> urllib.request.OpenerDirector:
    context = ssl.create_default_context()
    if not request.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    handlers: list[urllib.request.BaseHandler] = [urllib.request.HTTPSHandler(context=context)]
    if not request.allow_private:
        handlers.append(_NoWayInside())
    return urllib.request.build_opener(*handlers)


def _checked_host(url: str) -> str:
    try:
        parts = urllib.parse.urlsplit(url)
        host = parts.hostname
    except ValueError:
        parts, host = None, None
    if parts is None or parts.scheme not in ("http", "https") or not host:
        msg = "The URL does not start with https://host or http://host; give the whole URL."
        raise errors.NotificationError(msg)
    return host


def _read(answer: Any) -> Response:
    content: bytes = answer.read(_BODY_BYTES_MAX)
    return Response(status_code=answer.status, headers=dict(answer.headers), content=content)
