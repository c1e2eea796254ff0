"""Lets processes that the user starts, on this machine, find the way back to a flow run.

The process of the run listens at a unix socket from the first time on that a context is
serialized. Who has the serialized context has the address and the key.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import secrets
import shutil
import tempfile
import threading
from collections.abc import Mapping
from multiprocessing import AuthenticationError
from multiprocessing.connection import Client, Listener
from typing import Any

from headgate.context import FlowRunContext
from headgate.engine import process
from headgate.engine.ports import Host, Port

__all__ = ["offer", "reach"]

_lock = threading.Lock()
_server: _Server | None = None
_ports: dict[str, Port] = {}


def offer(context: FlowRunContext) -> dict[str, Any] | None:
    """Return how another process reaches this one, for a flow run that executes here."""
    from headgate.engine.ports import PortContext

    if isinstance(context, PortContext):
        # From a child a grandchild is started: it cannot reach further than the child.
        return None
    global _server
    with _lock:
        if _server is None:
            _server = _Server()
        return _server.admit(context)


def reach(offered: Mapping[str, Any] | None) -> Port | None:
    """Connect to the process of a flow run; None where there is no way, as on another machine."""
    if not offered:
        return None
    address: str = offered["address"]
    with _lock:
        port = _ports.get(address)
        if port is not None and port.failure is None:
            return port
        try:
            connection = Client(address, "AF_UNIX", authkey=offered["key"])
        except (OSError, EOFError):
            return None
        port = _ports[address] = Port(connection)
        port.start()
        return port


class _Server:
    """Takes connections, a thread for each."""

    def __init__(self) -> None:
        self._key = secrets.token_bytes(32)
        self._folder = tempfile.mkdtemp(prefix="headgate-")
        self._process, self._closed = os.getpid(), False
        atexit.register(self._close)
        self._address = os.path.join(self._folder, "relay")
        self._listener = Listener(self._address, "AF_UNIX", backlog=64, authkey=self._key)
        self._contexts: dict[str, FlowRunContext] = {}
        self._host = Host(self._contexts.get, process.take_log)
        threading.Thread(target=self._accept, name="headgate-relay", daemon=True).start()

    def admit(self, context: FlowRunContext) -> dict[str, Any]:
        """Let what happens elsewhere be recorded in a run; returns how to come here."""
        for run_id, known in list(self._contexts.items()):
            if known.interruption.is_over:
                self._contexts.pop(run_id, None)
        self._contexts[context.flow_run.id] = context
        return {"address": self._address, "key": self._key}

    def _accept(self) -> None:
        while not self._closed:
            try:
                connection = self._listener.accept()
            # Somebody without the key, or who went away at once: the next one shall be served.
            except (AuthenticationError, EOFError, OSError):
                continue
            threading.Thread(
                target=self._serve, args=(connection,), name="headgate-relay", daemon=True
            ).start()

    def _serve(self, connection: Any) -> None:
        lock = threading.Lock()

        def reply(message: tuple[Any, ...]) -> None:
            with lock, contextlib.suppress(OSError):
                connection.send(message)

        with contextlib.closing(connection), contextlib.suppress(EOFError, OSError):
            while True:
                self._host.take(connection.recv(), reply)

    def _close(self) -> None:
        # A fork leaves what is its parent's.
        if os.getpid() == self._process:
            self._closed = True
            self._listener.close()
            shutil.rmtree(self._folder, ignore_errors=True)


def _forget() -> None:
    """Begin anew in a fork, which shares neither threads nor connections."""
    global _lock, _server
    _lock = threading.Lock()
    _server = None
    _ports.clear()


os.register_at_fork(after_in_child=_forget)
