"""Real Headgate processes for tests and benchmarks: started, watched, killed.

Nothing here sleeps for a fixed time: a process is ready when it answers, and a wait polls a
condition against a deadline.
"""

from __future__ import annotations

import contextlib
import os
import pathlib
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeVar

import grpc

from headgate.api.v1 import server_service_pb2, server_service_pb2_grpc
from headgate.core import clock

T = TypeVar("T")

_CLOCK = clock.SystemClock()
_POLL = threading.Event()  # Never set: waiting on it is a pause that a signal can end.


def eventually(
    probe: Callable[[], T | None], *, timeout: float = 30.0, every: float = 0.01, what: str = ""
) -> T:
    """Call probe until it returns something true; fail with ``what`` after the timeout."""
    deadline = _CLOCK.monotonic() + timeout
    while True:
        value = probe()
        if value:
            return value
        if _CLOCK.monotonic() > deadline:
            raise AssertionError(f"Not within {timeout:g} s: {what or probe}")
        _POLL.wait(every)


def pause(seconds: float) -> None:
    """Let real time pass, where the time itself is what a test is about."""
    _POLL.wait(seconds)


class Process:
    """A child process of the test with its output in a file."""

    def __init__(
        self, command: Sequence[str], *, log: pathlib.Path, env: Mapping[str, str]
    ) -> None:
        self.log = log
        with log.open("ab") as output:
            self._popen = subprocess.Popen(
                [sys.executable, *command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, **env},
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._popen.pid

    @property
    def returncode(self) -> int | None:
        """Its exit code, None while it runs."""
        return self._popen.poll()

    def output(self) -> str:
        """All it has printed so far."""
        return self.log.read_text(errors="replace")

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self._popen.send_signal(number)

    def wait(self, timeout: float = 30.0) -> int:
        """Wait for its end; return its exit code."""
        return self._popen.wait(timeout)

    def kill(self) -> None:
        """Kill it with SIGKILL, it alone, and wait until it is gone."""
        self._popen.kill()
        self._popen.wait(10)

    def terminate(self, timeout: float = 30.0) -> int:
        """Stop it with SIGTERM; return its exit code."""
        self._popen.terminate()
        return self._popen.wait(timeout)

    def clean_up(self) -> None:
        """Leave nothing of it, nor of the processes in its session, behind."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._popen.pid, signal.SIGKILL)
        self._popen.wait(10)


class Server(Process):
    """A Headgate server on a unix socket in a folder of its own."""

    def __init__(
        self,
        folder: pathlib.Path,
        *,
        database_url: str | None = None,
        env: Mapping[str, str] | None = None,
        wait: bool = True,
    ) -> None:
        self.socket = folder / "server.sock"
        self.api_url = f"unix://{self.socket}"
        super().__init__(
            [
                "-m",
                "headgate_server",
                "start",
                "--unix-socket",
                str(self.socket),
                "--database-url",
                database_url or f"sqlite:///{folder / 'headgate.db'}",
            ],
            log=folder / "server.log",
            env={"HEADGATE_HOME": str(folder), **(env or {})},
        )
        if wait:
            try:
                self.wait_until_ready()
            except BaseException:
                self.clean_up()
                raise

    def wait_until_ready(self, timeout: float = 30.0) -> None:
        """Return when it answers; fail with its output when it ends instead."""

        def answers() -> bool:
            if self.returncode is not None:
                raise AssertionError(f"The server ended: {self.output()}")
            return self.socket.exists() and is_answering(self.api_url)

        eventually(answers, timeout=timeout, what=f"the server answers; {self.output()}")


class Runner(Process):
    """A Headgate runner."""

    def __init__(
        self,
        folder: pathlib.Path,
        api_url: str,
        *arguments: str,
        env: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(
            [
                "-c",
                "import sys; from headgate.cli.main import runner; sys.exit(runner())",
                "--pool",
                "default",
                "--api-url",
                api_url,
                *arguments,
            ],
            log=folder / "runner.log",
            env={"HEADGATE_HOME": str(folder), "PYTHONUNBUFFERED": "1", **(env or {})},
        )


def is_answering(api_url: str) -> bool:
    """Say whether a server answers at this address."""
    with grpc.insecure_channel(api_url.replace("unix://", "unix:")) as channel:
        stub = server_service_pb2_grpc.ServerServiceStub(channel)
        try:
            stub.GetServerInfo(server_service_pb2.GetServerInfoRequest(), timeout=1)
        except grpc.RpcError:
            return False
    return True


@contextlib.contextmanager
def running(process: Process) -> Iterator[Process]:
    """Clean the process up at the end of the block."""
    try:
        yield process
    finally:
        process.clean_up()


def stop_embedded(home: pathlib.Path) -> None:
    """Stop the embedded server of this HEADGATE_HOME, if there is one."""
    import psutil

    for process in psutil.process_iter(["cmdline"]):
        if any(str(home / "server.sock") in word for word in process.info["cmdline"] or ()):
            process.terminate()
            process.wait(10)
