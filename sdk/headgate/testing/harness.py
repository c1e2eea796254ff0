"""Control planes for tests: each begins empty, and nothing of it is left behind."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

from headgate import settings
from headgate.core import errors
from headgate.core.clock import SystemClock
from headgate.testing.clock import AdvancingClock

if TYPE_CHECKING:
    from headgate.client.orchestration import SyncHeadgateClient
    from headgate.core.runs import FlowRun

__all__ = ["Harness", "memory_server", "server_process"]

#: Entry points of this group are servers that run within the process of a test.
ENTRY_POINTS = "headgate.testing"
_LOOK_EVERY_SECONDS = 0.005
_STOP_SECONDS = 10.0


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Harness:
    """A control plane of a test's own, in use.

    Attributes:
        api_url: Its address; also ``HEADGATE_API_URL`` within the harness.
        home: The ``HEADGATE_HOME`` of the test, an empty folder at first.
        clock: The clock that runs and server share, where there is one.
    """

    api_url: str
    home: Path
    clock: AdvancingClock | None = None

    def client(self) -> SyncHeadgateClient:
        """Return a blocking client of the control plane; enter it to use it."""
        from headgate.client.orchestration import get_client

        return get_client(sync_client=True, api_url=self.api_url)

    def most_recent_flow_run(self, flow_name: str | None = None) -> FlowRun:
        """Return the flow run that was made last.

        Args:
            flow_name: Of this flow. Default: of any.

        Raises:
            NotFound: There is none.
        """
        from headgate.client.schemas import FlowRunOrder

        with self.client() as client:
            found = client.read_flow_runs(
                flow_name=flow_name or "", order=FlowRunOrder.ID_DESC, limit=1
            )
        if not found:
            raise errors.NotFound("flow run", flow_name or "any flow")
        return found[0]

    def state_names(self, flow_run_id: str) -> list[str]:
        """Return the names of the states that a flow run went through, the first one first."""
        with self.client() as client:
            return [state.name for state in client.read_flow_run_states(flow_run_id)]


class _MemoryServer(Protocol):
    """What the entry point gives: see ``headgate_server.testing``."""

    @property
    def api_url(self) -> str: ...

    def look(self) -> None: ...


_Serve = Callable[[Path, "AdvancingClock | None"], AbstractContextManager[_MemoryServer]]


@contextlib.contextmanager
def memory_server(clock: AdvancingClock | None) -> Generator[Harness]:
    """Use a server within this process that remembers nothing.

    Args:
        clock: The clock that it shares with the runs. Default: the machine's, for both.

    Raises:
        ServerStartError: The server is not installed.
    """
    serve = _find_memory_server()
    with contextlib.ExitStack() as stack:
        home = stack.enter_context(_folder())
        server = stack.enter_context(serve(home / "s", clock))
        if clock is not None:
            stack.callback(clock.on_advance(server.look))
            stack.enter_context(clock.installed())
        stack.enter_context(_in_use(server.api_url, home))
        yield Harness(api_url=server.api_url, home=home, clock=clock)


def _find_memory_server() -> _Serve:
    from importlib import metadata

    for entry in metadata.entry_points(group=ENTRY_POINTS, name="memory"):
        try:
            return cast("_Serve", entry.load())
        except ModuleNotFoundError:
            break
    msg = (
        "The server is not installed, which this harness runs; run pip install 'headgate[server]'."
    )
    raise errors.ServerStartError(msg)


@contextlib.contextmanager
def server_process(startup_timeout_seconds: float) -> Generator[Harness]:
    """Use a server process over an SQLite database, both of them new.

    Args:
        startup_timeout_seconds: How long its start may take.

    Raises:
        ServerStartError: It did not start; the message has its last words.
    """
    with _folder() as home:
        path, log = home / "s", home / "server.log"
        process = _start(home, path, log)
        try:
            _wait_until_answering(process, path, log, startup_timeout_seconds)
            with _in_use(f"unix://{path}", home):
                yield Harness(api_url=f"unix://{path}", home=home)
        finally:
            _stop(process)


@contextlib.contextmanager
def _folder() -> Generator[Path]:
    # Short: the path of a unix socket within it has at most 107 characters.
    with tempfile.TemporaryDirectory(prefix="headgate-", ignore_cleanup_errors=True) as name:
        yield Path(name)


@contextlib.contextmanager
def _in_use(api_url: str, home: Path) -> Generator[None]:
    """Let runs go to a server for the length of a ``with`` block."""
    with settings.temporary_settings({"api_url": api_url, "home": home}):
        try:
            yield
        finally:
            # While the server is there to hear of it; the tests may not have run a flow at all.
            process: Any = sys.modules.get("headgate.engine.process")
            if process is not None:
                process.stop_links(api_url=api_url)


def _start(home: Path, path: Path, log: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-P", "-m", "headgate_server", "start", "--unix-socket", str(path)]
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("HEADGATE_")},
        "HEADGATE_HOME": str(home),
        "HEADGATE_SERVER_DATABASE_URL": f"sqlite:///{home / 'headgate.db'}",
        "HEADGATE_SERVER_SHUTDOWN_GRACE_SECONDS": "0",
    }
    with log.open("ab") as output:
        # A session of its own: Ctrl-C is for the tests, which stop it themselves.
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=True,
        )


def _wait_until_answering(
    process: subprocess.Popen[bytes], path: Path, log: Path, timeout_seconds: float
) -> None:
    clock = SystemClock()
    deadline = clock.monotonic() + timeout_seconds
    # Never set: its timed wait is the pause between two looks.
    pause = threading.Event()
    while not _answers(path):
        late = clock.monotonic() > deadline
        if late or process.poll() is not None:
            what = f"did not answer within {timeout_seconds:g} s" if late else "ended at once"
            said = log.read_text("utf-8", errors="replace").strip()[-2000:]
            msg = f"The server of the harness {what}. It said: {said or 'nothing'}"
            raise errors.ServerStartError(msg)
        pause.wait(_LOOK_EVERY_SECONDS)


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(os.fspath(path))
        except OSError:
            return False
    return True


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        # Its database goes with its folder: there is nothing that it could lose.
        process.kill()
        process.wait()
