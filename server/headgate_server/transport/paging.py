"""Pages of lists: sizes, and tokens that lead to the next page.

A token is the sort key of the last item, with a check over the rest of the request: a token
belongs to the filter and the order that it was made for.
"""

from __future__ import annotations

import base64
import hashlib
import json
from typing import Any, cast

from google.protobuf.message import Message

from headgate.core import errors
from headgate_server.storage.records import Cursor, PageRequest

DEFAULT_SIZE = 50
MAX_SIZE = 200
_CHECK_BYTES = 8


def read(
    request: Any, *, default_size: int = DEFAULT_SIZE, max_size: int = MAX_SIZE
) -> PageRequest:
    """Return the page that a list request asks for.

    Args:
        request: A message with ``page_size`` and ``page_token``.
        default_size: The size where none is asked for.
        max_size: More are not given.

    Raises:
        InvalidArgument: The size is negative, or the token is not of this list.
    """
    size = request.page_size
    if size < 0:
        raise errors.InvalidArgument.of("page_size", f"{size} is negative; leave it out, or 1 up.")
    size = min(size or default_size, max_size)
    if not request.page_token:
        return PageRequest(size=size)
    return PageRequest(size=size, after=_parse(request.page_token, request))


def token(request: Message, cursor: Cursor | None) -> str:
    """Return the token of the next page; empty on the last."""
    if cursor is None:
        return ""
    body = json.dumps(cursor, separators=(",", ":")).encode()
    return base64.urlsafe_b64encode(_check(request, body) + body).decode().rstrip("=")


def _parse(text: str, request: Message) -> Cursor:
    try:
        data = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
        check, body = data[:_CHECK_BYTES], data[_CHECK_BYTES:]
        values = json.loads(body) if check == _check(request, body) else None
    except ValueError:
        values = None
    if not isinstance(values, list):
        raise errors.InvalidArgument.of(
            "page_token",
            "The token is not of this list; repeat filter and order, or start without a token.",
        )
    return tuple(cast("list[str | int]", values))


def _check(request: Message, body: bytes) -> bytes:
    """Digest a cursor and all of the request but the page."""
    bound = type(request)()
    bound.CopyFrom(request)
    bound.ClearField("page_size")
    bound.ClearField("page_token")
    text = type(request).__name__.encode() + bound.SerializeToString(deterministic=True)
    return hashlib.sha256(text + body).digest()[:_CHECK_BYTES]
