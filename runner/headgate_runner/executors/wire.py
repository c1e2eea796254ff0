"""How a runner and its fork server talk: JSON frames over a unix socket, with descriptors.

A frame is a head of eight bytes (length of the body, number of descriptors), then the body.
Descriptors travel with the first byte of their frame; a stream socket keeps them in order, so
that the receiver hands them out first come, first served.
"""

from __future__ import annotations

import array
import json
import os
import socket
import struct
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

_HEAD = struct.Struct("!II")
_DESCRIPTOR_SIZE = array.array("i").itemsize
#: The most descriptors that one read may bring; Linux allows 253 per message.
_DESCRIPTORS_MAX = 253
READ_SIZE = 64 * 1024

Frame = tuple[dict[str, Any], list[int]]


def encode(message: Mapping[str, Any], descriptors: int = 0) -> bytes:
    """Make a frame."""
    body = json.dumps(message).encode()
    return _HEAD.pack(len(body), descriptors) + body


def send_some(sock: socket.socket, data: bytes, descriptors: Sequence[int]) -> int:
    """Send the beginning of a frame with its descriptors; return how many bytes went."""
    if not descriptors:
        return sock.send(data)
    rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors).tobytes())
    return sock.sendmsg([data], [rights])


def receive(sock: socket.socket) -> tuple[bytes, list[int]]:
    """Read what is there: bytes, empty at the end of the stream, and descriptors."""
    room = socket.CMSG_SPACE(_DESCRIPTORS_MAX * _DESCRIPTOR_SIZE)
    data, ancillary, _flags, _address = sock.recvmsg(READ_SIZE, room)
    received = array.array("i")
    for level, kind, rights in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            received.frombytes(rights[: len(rights) - len(rights) % _DESCRIPTOR_SIZE])
    for descriptor in received:
        os.set_inheritable(descriptor, False)
    return data, list(received)


class Decoder:
    """Cuts what was read into frames."""

    def __init__(self) -> None:
        self._bytes = bytearray()
        self._descriptors: deque[int] = deque()

    def feed(self, data: bytes, descriptors: Sequence[int] = ()) -> Iterator[Frame]:
        """Take what was read; yield the frames that are complete now."""
        self._bytes += data
        self._descriptors.extend(descriptors)
        while len(self._bytes) >= _HEAD.size:
            length, count = _HEAD.unpack_from(self._bytes)
            end = _HEAD.size + length
            if len(self._bytes) < end:
                return
            message = json.loads(self._bytes[_HEAD.size : end])
            del self._bytes[:end]
            yield message, [self._descriptors.popleft() for _ in range(count)]

    def close(self) -> None:
        """Close the descriptors of a frame that is not complete."""
        while self._descriptors:
            os.close(self._descriptors.popleft())
