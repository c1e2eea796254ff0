"""The embedded server: what runs use when no server is configured.

A separate process on a unix socket in ``$HEADGATE_HOME``, over the default database there. All
processes of the user share it, and it ends itself when it has been idle for a while. Whoever
needs it first starts it; a file lock keeps two starters from racing.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import importlib.util
import os
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import Generator
from pathlib import Path

from headgate import settings
from headgate.core import clock, errors

__all__ = ["ensure_server", "socket_path"]

SOCKET_FILE = "server.sock"
LOCK_FILE = "server.lock"
LOG_FILE = "server.log"
_LOG_BYTES_MAX = 5_000_000
_CONNECT_TIMEOUT_SECONDS = 2.0
_LOOK_EVERY_SECONDS = 0.01
#: The kernel's limit for the path of a unix socket, less the closing zero and a dot for luck.
_SOCKET_PATH_BYTES_MAX = 100

_NOT_FOR_THE_SERVER = ("HEADGATE_API_URL", "HEADGATE_SERVER_HOST", "HEADGATE_SERVER_PORT")


def ensure_server() -> str:
    """Return the address of the embedded server, which is started if it is not running.

    Takes well under a millisecond where it runs. Call it again after a connection was lost: the
    server may have ended itself, or may have been killed.

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
    with _starting(now.home):
        # Another process may have started it while this one waited for the lock.
        if not _answers(path):
            _start(path, now)
    return url


def socket_path(home: Path) -> Path:
    """Return where the embedded server of a home folder listens.

    In the folder itself; where that has too long a name for a unix socket, in a folder of this
    user's own among the temporary files.
    """
    path = home / SOCKET_FILE
    if len(os.fsencode(path)) <= _SOCKET_PATH_BYTES_MAX:
        return path
    digest = hashlib.sha256(os.fsencode(home)).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"headgate-{os.getuid()}" / f"{digest}.sock"


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
def _starting(home: Path) -> Generator[None]:
    """Hold the right to start the server; it ends with the process, however that ends."""
    try:
        home.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = os.open(home / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as problem:
        msg = (
            f"The folder {home} cannot be written ({problem.strerror}); make it writable, or set "
            "HEADGATE_HOME to another one."
        )
        raise errors.ServerStartError(msg) from problem
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


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
    command = [sys.executable, "-P", "-m", "headgate_server", "start", "--unix-socket", str(path)]
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
    time = clock.SystemClock()
    deadline = time.monotonic() + timeout_seconds
    # Never set: its timed wait is the pause between two looks.
    pause = threading.Event()
    while not _answers(path):
        if _ended(pid):
            msg = (
                f"The embedded server ended while it started{_last_words(log)}; its log is {log}. "
                "Mend that, or set HEADGATE_API_URL to the address of a server."
            )
            raise errors.ServerStartError(msg)
        if time.monotonic() > deadline:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            msg = (
                f"The embedded server did not answer within {timeout_seconds:g} s; its log is "
                f"{log}. Give it longer with HEADGATE_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS, "
                "or set HEADGATE_API_URL to the address of a server."
            )
            raise errors.ServerStartError(msg)
        pause.wait(_LOOK_EVERY_SECONDS)


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
