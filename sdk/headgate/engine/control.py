"""The line between a run's process and the runner that started it."""

from __future__ import annotations

import contextlib
import json
import socket

from headgate.core import states
from headgate.engine.interruption import Intent

__all__ = ["Control"]


class Control:
    """The child's end: the runner says why it is about to send SIGTERM, the child how it ended.

    Args:
        descriptor: The file descriptor of a socket.
    """

    def __init__(self, descriptor: int) -> None:
        """Take the socket over."""
        self._socket = socket.socket(fileno=descriptor)
        self._socket.setblocking(False)
        self._unread = b""
        self._intent: Intent | None = None

    def read_intent(self) -> Intent | None:
        """Return the last intent that the runner sent; does not wait."""
        # BlockingIOError: nothing more has been sent; the others: the runner is gone.
        with contextlib.suppress(OSError):
            while chunk := self._socket.recv(4096):
                self._unread += chunk
        *lines, self._unread = self._unread.split(b"\n")
        for line in lines:
            # A newer runner may say what this engine does not know.
            with contextlib.suppress(ValueError, KeyError, TypeError):
                self._intent = Intent(json.loads(line)["intent"])
        return self._intent

    def send_receipt(self, state: states.State) -> None:
        """Say that a state which ends the process is committed."""
        receipt = {"receipt": {"type": state.type.value, "name": state.name}}
        # Where the runner is gone nobody needs the receipt.
        with contextlib.suppress(OSError):
            self._socket.setblocking(True)
            self._socket.settimeout(1.0)
            self._socket.sendall(json.dumps(receipt).encode() + b"\n")
