"""A proxy between two unix sockets whose line can be cut: the bad network of the tests."""

from __future__ import annotations

import contextlib
import pathlib
import select
import socket
import threading


class Proxy:
    """Passes bytes from ``listen`` to ``target`` until it is cut, and again when mended.

    While it is cut, open connections are closed and new ones are closed at once.
    """

    def __init__(self, listen: pathlib.Path, target: pathlib.Path) -> None:
        self._target = target
        self._cut = threading.Event()
        self._ended = threading.Event()
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(listen))
        self._listener.listen(64)
        self.api_url = f"unix://{listen}"
        self._accepting = threading.Thread(target=self._accept, daemon=True)
        self._accepting.start()

    def cut(self) -> None:
        """Cut the line."""
        self._cut.set()
        with self._lock:
            for connection in self._open:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def mend(self) -> None:
        """Let new connections through."""
        self._cut.clear()

    def close(self) -> None:
        """End everything."""
        self._ended.set()
        self.cut()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._accepting.join(5)

    def _accept(self) -> None:
        while not self._ended.is_set():
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            if self._cut.is_set():
                near.close()
                continue
            far = socket.socket(socket.AF_UNIX)
            try:
                far.connect(str(self._target))
            except OSError:
                near.close()
                far.close()
                continue
            threading.Thread(target=self._pass, args=(near, far), daemon=True).start()

    def _pass(self, near: socket.socket, far: socket.socket) -> None:
        with near, far:
            with self._lock:
                self._open |= {near, far}
            other = {near: far, far: near}
            try:
                while not self._cut.is_set():
                    ready, _, _ = select.select([near, far], [], [], 1.0)
                    for end in ready:
                        data = end.recv(65536)
                        if not data:
                            return
                        other[end].sendall(data)
            except OSError:
                return
            finally:
                with self._lock:
                    self._open -= {near, far}
