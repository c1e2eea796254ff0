"""The demo's server and runner: started, looked after, stopped."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import click

from headgate.core.clock import Clock

STOP_SECONDS = 10.0
_LOOK_EVERY_SECONDS = 0.02
_LAST_LINES = 20


class Process:
    """A process with its output in a file, in a session of its own.

    In its own session Ctrl-C does not reach it: whoever started it stops it, in order.
    """

    def __init__(
        self, name: str, command: Sequence[str], *, log: Path, environment: Mapping[str, str]
    ) -> None:
        """Start ``python command...``."""
        self.name = name
        self.log = log
        with log.open("ab") as file:
            self._popen = subprocess.Popen(
                # -P: a file called logging.py in the working folder must not become part of it.
                [sys.executable, "-P", *command],
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                env={**os.environ, **environment},
                start_new_session=True,
            )

    def check(self) -> None:
        """Raise if it has ended by itself, with its last words.

        Raises:
            click.ClickException: It has.
        """
        if self._popen.poll() is None:
            return
        words = self.log.read_text(errors="replace").splitlines()[-_LAST_LINES:]
        msg = "\n".join(
            [
                f"The {self.name} ended by itself with exit code {self._popen.returncode}; "
                f"its log is {self.log}. Its last lines:",
                *(f"  {line}" for line in words),
            ]
        )
        raise click.ClickException(msg)

    def stop(self) -> None:
        """End it with SIGTERM; with SIGKILL if it does not."""
        self._popen.terminate()
        try:
            self._popen.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(self._popen.pid, signal.SIGKILL)
            self._popen.wait()


def server(folder: Path, listen_at: Path, environment: Mapping[str, str]) -> Process:
    """Start a server on a unix socket, over the database of its home folder."""
    command = ["-m", "headgate_server", "start", "--unix-socket", str(listen_at)]
    return Process("server", command, log=folder / "server.log", environment=environment)


def runner(folder: Path, environment: Mapping[str, str]) -> Process:
    """Start a runner of the pool ``default``."""
    command = ["-m", "headgate.cli", "runner", "start", "--pool", "default", "--grace", "1"]
    return Process("runner", command, log=folder / "runner.log", environment=environment)


def wait_until(
    ready: Callable[[], bool], *processes: Process, clock: Clock, timeout_seconds: float, what: str
) -> None:
    """Return when something is so; raise when a process ends before, or it takes too long.

    Raises:
        click.ClickException: With the last words of the process, or of all of them.
    """
    deadline = clock.monotonic() + timeout_seconds
    pause = threading.Event()  # never set: its timed wait is the pause between two looks
    while not ready():
        for process in processes:
            process.check()
        if clock.monotonic() > deadline:
            logs = ", ".join(str(process.log) for process in processes)
            msg = f"Not within {timeout_seconds:g} s: {what}; what happened is in {logs}."
            raise click.ClickException(msg)
        pause.wait(_LOOK_EVERY_SECONDS)


def listens(path: Path) -> bool:
    """Say whether somebody listens on a unix socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            return False
    return True
