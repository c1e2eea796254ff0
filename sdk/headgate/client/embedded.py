"""The embedded server: what runs use when no server is configured.

A separate process on a unix socket in ``$HEADGATE_HOME``, over the default database there. All
processes of the user share it, and it ends itself when it has been idle for a while. Whoever
needs it first starts it; a file lock keeps two starters from racing. ``headgate server start``
listens on the same socket, and takes the lock while it takes over from an embedded server.
"""

from __future__ import annotations

import contextlib
import fcntl
import importlib.util
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Generator
from pathlib import Path

from headgate import settings
from headgate.core import clock, errors
from headgate.core.homes import START_LOCK_FILE, socket_path

__all__ = ["ensure_server", "socket_path"]

LOG_FILE = "server.log"
_LOG_BYTES_MAX = 5_000_000
_CONNECT_TIMEOUT_SECONDS = 2.0
_LOOK_EVERY_SECONDS = 0.01

_NOT_FOR_THE_SERVER = ("HEADGATE_API_URL", "HEADGATE_SERVER_HOST", "HEADGATE_SERVER_PORT")


def ensure_server() -> str:
    """Return the address of the user's server; an embedded one is started if there is none.

    It has its database open by then. Takes well under a millisecond where it runs. Call it again
    after a connection was lost: the server may have ended itself, or may have been killed.

    Returns:
        The API URL, ``unix:///...``.

    Raises:
        ServerStartError: It may not be started, is not installed, or did not come up; the
            message says which, where its log is, and what to do.
    """
    now = settings.current()
    path = socket_path(now.home)
    url = f"unix://{path}"
    if _answers(path):
        return url
    if not now.server_ephemeral_enabled:
        msg = (
            "No server is configured and HEADGATE_SERVER_EPHEMERAL_ENABLED is off; set "
            "HEADGATE_API_URL to the address of a server."
        )
        raise errors.ServerStartError(msg)
    with _starting(path, now) as is_needed:
        if is_needed:
            _start(path, now)
    return url


def _answers(path: Path) -> bool:
    """Say whether somebody listens on a unix socket; a file left by a killed server does not."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(_CONNECT_TIMEOUT_SECONDS)
        try:
            probe.connect(os.fspath(path))
        except OSError:
            return False
    return True


@contextlib.contextmanager
def _starting(path: Path, now: settings.Settings) -> Generator[bool]:
    """Hold the right to start the server; it ends with the process, however that ends.

    Yields:
        Whether there is a server to be started: False if another process has started one while
        this one waited for the right.
    """
    try:
        now.home.mkdir(parents=True, exist_ok=True, mode=0o700)
        file = now.home / START_LOCK_FILE
        lock = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as problem:
        msg = (
            f"The folder {now.home} cannot be written ({problem.strerror}); make it writable, or "
            "set HEADGATE_HOME to another one."
        )
        raise errors.ServerStartError(msg) from problem
    timeout_seconds = now.server_ephemeral_startup_timeout_seconds
    try:
        if not _wait_until(lambda: _locks(lock) or _answers(path), timeout_seconds):
            msg = (
                f"Another process has been starting a server for {timeout_seconds:g} s; see "
                f"{now.home / LOG_FILE}, or set HEADGATE_API_URL to the address of a server."
            )
            raise errors.ServerStartError(msg)
        yield not _answers(path)
    finally:
        os.close(lock)


def _locks(file: int) -> bool:
    """Take a lock if it is free, and say whether it was."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _wait_until(fits: Callable[[], bool], timeout_seconds: float) -> bool:
    """Wait until something is so; False if it takes too long."""
    time = clock.SystemClock()
    deadline = time.monotonic() + timeout_seconds
    # Never set: its timed wait is the pause between two looks.
    pause = threading.Event()
    while not fits():
        if time.monotonic() > deadline:
            return False
        pause.wait(_LOOK_EVERY_SECONDS)
    return True


def _start(path: Path, now: settings.Settings) -> None:
    if importlib.util.find_spec("headgate_server") is None or not _has_server_extra():
        msg = (
            "No server is configured, and the embedded one is not installed: run "
            "pip install 'headgate[server]', or set HEADGATE_API_URL to the address of a server."
        )
        raise errors.ServerStartError(msg)
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    if path.parent.stat().st_uid != os.getuid():
        msg = f"The folder {path.parent} belongs to another user; set HEADGATE_HOME."
        raise errors.ServerStartError(msg)
    log = now.home / LOG_FILE
    with contextlib.suppress(OSError):
        if log.stat().st_size > _LOG_BYTES_MAX:
            log.replace(log.with_suffix(".log.1"))
    pid = _spawn(path, log, now)
    _wait(pid, path, log, now.server_ephemeral_startup_timeout_seconds)


def _has_server_extra() -> bool:
    return importlib.util.find_spec("sqlalchemy") is not None


def _spawn(path: Path, log: Path, now: settings.Settings) -> int:
    """Start the server in a session of its own, so that Ctrl-C here does not reach it.

    posix_spawn and not subprocess: the server outlives this process, and an object that waits
    for its end would complain about that.
    """
    # -P: a file called logging.py in the working folder must not become part of the server.
    command = [sys.executable, "-P", "-m", "headgate_server", "start", "--embedded"]
    command += ["--unix-socket", str(path)]
    environment = {
        **os.environ,
        **settings.environment(),
        "HEADGATE_SERVER_IDLE_TIMEOUT_SECONDS": str(now.server_ephemeral_idle_timeout_seconds),
    }
    # A server has no server of its own, and no run; and this one listens on its socket alone.
    for name in [*_NOT_FOR_THE_SERVER, *(n for n in environment if n.startswith("HEADGATE__"))]:
        environment.pop(name, None)
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    return os.posix_spawn(
        command[0],
        command,
        environment,
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, os.fspath(log), flags, 0o600),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ],
        setsid=True,
        setsigdef=[signal.SIGINT, signal.SIGTERM, signal.SIGPIPE],
        setsigmask=[],
    )


def _wait(pid: int, path: Path, log: Path, timeout_seconds: float) -> None:
    has_ended = False

    def is_decided() -> bool:
        nonlocal has_ended
        has_ended = _ended(pid)  # before the look: it also ends because another one listens
        return _answers(path) or has_ended

    if not _wait_until(is_decided, timeout_seconds):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        msg = (
            f"The embedded server did not answer within {timeout_seconds:g} s; its log is "
            f"{log}. Give it longer with HEADGATE_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS, "
            "or set HEADGATE_API_URL to the address of a server."
        )
        raise errors.ServerStartError(msg)
    if has_ended and not _answers(path):
        msg = (
            f"The embedded server ended while it started{_last_words(log)}; its log is {log}. "
            "Mend that, or set HEADGATE_API_URL to the address of a server."
        )
        raise errors.ServerStartError(msg)


def _ended(pid: int) -> bool:
    try:
        return os.waitpid(pid, os.WNOHANG)[0] == pid
    except ChildProcessError:
        # Somebody in this process waits for all children, and has had it.
        return True


def _last_words(log: Path) -> str:
    try:
        lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    except OSError:
        return ""
    return f" ({lines[-1].strip()})" if lines else ""
