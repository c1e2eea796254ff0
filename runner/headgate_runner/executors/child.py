"""A child process, as its runner sees it: pipes, a control socket, signals and an end."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
from collections.abc import Callable

import anyio

from headgate_runner import ending
from headgate_runner.executors import interface

#: A line longer than this is cut by whoever reads it.
_LINE_BYTES_MAX = 1024 * 1024


class ProcessChild:
    """A child process with its pipes.

    Args:
        send_signal: Sends it a signal; SIGKILL goes to all of its process group.
    """

    def __init__(self, send_signal: Callable[[int], None]) -> None:
        self.pid = 0
        self.stdout = asyncio.StreamReader(limit=_LINE_BYTES_MAX)
        self.stderr = asyncio.StreamReader(limit=_LINE_BYTES_MAX)
        self.started = anyio.Event()
        self.failure = ""
        self._send_signal = send_signal
        self._code: int | None = None
        self._ended = anyio.Event()
        self._control: socket.socket | None = None
        self._transports: list[asyncio.ReadTransport] = []

    async def open(self, given: list[int]) -> None:
        """Make its pipes.

        Args:
            given: Takes the descriptors to be passed on and then closed: its standard output and
                error, its end of the control socket, and another of the runner's end.

        Raises:
            OSError: There are no descriptors left; those in ``given`` are to be closed.
        """
        loop = asyncio.get_running_loop()
        for reader in (self.stdout, self.stderr):
            read_end, write_end = os.pipe()
            given.append(write_end)
            transport, _protocol = await loop.connect_read_pipe(
                lambda reader=reader: asyncio.StreamReaderProtocol(reader),
                os.fdopen(read_end, "rb", buffering=0),
            )
            self._transports.append(transport)
        self._control, childs_end = socket.socketpair()
        self._control.setblocking(False)
        given.append(childs_end.detach())
        given.append(os.dup(self._control.fileno()))

    def note_exit(self, code: int) -> None:
        """Note how it ended."""
        self._code = code
        self._ended.set()
        self.started.set()

    async def wait(self) -> int:
        """Wait for its end and return the exit code, negative where a signal ended it."""
        await self._ended.wait()
        assert self._code is not None
        return self._code

    async def receipt(self) -> ending.Receipt | None:
        """Wait until it says that it has reported its last state; None if it ends before."""
        if self._control is None:
            return None
        loop = asyncio.get_running_loop()
        buffer = b""
        with contextlib.suppress(OSError):
            while data := await loop.sock_recv(self._control, 4096):
                buffer += data
                *lines, buffer = buffer.split(b"\n")
                for line in lines:
                    found = _receipt(line)
                    if found is not None:
                        return found
        return None

    def terminate(self, intent: interface.Intent) -> None:
        """Say why, then send SIGTERM."""
        if self._ended.is_set() or self._control is None:
            return
        # A child that does not read any more gets the signal all the same.
        with contextlib.suppress(OSError):
            self._control.send(words(intent))
        self._send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Send SIGKILL to it and what it started."""
        if not self._ended.is_set():
            self._send_signal(signal.SIGKILL)

    def close(self) -> None:
        """Let go of its pipes."""
        for transport in self._transports:
            transport.close()
        if self._control is not None:
            self._control.close()
            self._control = None


def words(intent: interface.Intent) -> bytes:
    """What a child hears on its control socket before a signal."""
    return json.dumps({"intent": intent.value}).encode() + b"\n"


def _receipt(line: bytes) -> ending.Receipt | None:
    try:
        message = json.loads(line)
        told = message["receipt"]
        return ending.Receipt(type=str(told["type"]), name=str(told["name"]))
    except (ValueError, KeyError, TypeError):
        return None  # user code may write to descriptors that are not its own
