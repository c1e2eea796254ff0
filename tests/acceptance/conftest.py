"""Real servers, runners and flow processes for the acceptance tests."""

from __future__ import annotations

import contextlib
import dataclasses
import pathlib
import sqlite3
import sys
from collections.abc import Callable, Iterator

import pytest

from headgate.client.orchestration import SyncHeadgateClient
from headgate.core import runs
from tests import processes

FLOWS = pathlib.Path(__file__).with_name("flows.py")

#: A ttl short enough to watch leases end.
SHORT = {
    "HEADGATE_SERVER_LEASE_TTL_SECONDS": "1.5",
    "HEADGATE_SERVER_BEAT_INTERVAL_SECONDS": "0.3",
    "HEADGATE_SERVER_LEASE_MARGIN_SECONDS": "0.2",
}


@dataclasses.dataclass
class Stage:
    """A folder with the processes of one test."""

    folder: pathlib.Path
    _stack: contextlib.ExitStack

    def server(self, **options: object) -> processes.Server:
        """Start a server; cleaned up at the end of the test."""
        server = processes.Server(self.folder, **options)  # pyright: ignore[reportArgumentType]  # options are the server's own
        self._stack.callback(server.clean_up)
        return server

    def runner(
        self, api_url: str, *arguments: str, log: str = "runner.log", **env: str
    ) -> processes.Runner:
        """Start a runner that has said that it is connected."""
        folder = self.folder / log.removesuffix(".log")
        folder.mkdir(exist_ok=True)
        runner = processes.Runner(folder, api_url, *arguments, env=env)
        self._stack.callback(runner.clean_up)
        processes.eventually(
            lambda: "onnected" in runner.output(), what=f"runner connects: {runner.output()}"
        )
        return runner

    def by_hand(self, flow: str, api_url: str, folder: pathlib.Path) -> processes.Process:
        """Run a flow of flows.py in a process of its own."""
        process = processes.Process(
            [str(FLOWS), flow, str(folder)],
            log=self.folder / f"{flow}.log",
            env={"HEADGATE_API_URL": api_url, "HEADGATE_HOME": str(self.folder)},
        )
        self._stack.callback(process.clean_up)
        return process

    def client(self, api_url: str) -> SyncHeadgateClient:
        """Open a client; closed at the end of the test."""
        return self._stack.enter_context(SyncHeadgateClient(api_url))

    def deploy(self, api_url: str, flow: str, *options: str) -> str:
        """Deploy a flow of flows.py under the name ``test``; return its full name."""
        headgate(api_url, "deploy", f"{FLOWS}:{flow}", "--name", "test", *options)
        return f"{flow.replace('_', '-')}/test"

    def rows(self, query: str) -> list[tuple[object, ...]]:
        """Read the server's SQLite database directly, past all of our code."""
        with contextlib.closing(
            sqlite3.connect(f"file:{self.folder / 'headgate.db'}?mode=ro", uri=True)
        ) as connection:
            return connection.execute(query).fetchall()


def headgate(api_url: str, *arguments: str) -> str:
    """Run the headgate command; return what it printed."""
    import subprocess

    done = subprocess.run(
        [sys.executable, "-m", "headgate.cli", *arguments],
        env={**__import__("os").environ, "HEADGATE_API_URL": api_url},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def ask(client: SyncHeadgateClient, deployment: str, **parameters: object) -> runs.FlowRun:
    """Ask for a run of a deployment."""
    return client.create_flow_run_from_deployment(deployment, parameters=parameters)


def until(
    client: SyncHeadgateClient,
    flow_run_id: str,
    fits: Callable[[runs.FlowRun], bool],
    *,
    timeout: float = 30.0,
) -> runs.FlowRun:
    """Wait until a run is as it shall be; return it."""
    latest: list[runs.FlowRun] = []

    def probe() -> bool:
        latest[:] = [client.read_flow_run(flow_run_id)]
        return fits(latest[0])

    try:
        processes.eventually(probe, timeout=timeout)
    except AssertionError:
        raise AssertionError(f"The run stayed {latest[0].state}") from None
    return latest[0]


@pytest.fixture
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """Give a folder with a short path (unix sockets need one) and clean up after the test."""
    folder = tmp_path_factory.mktemp("s")
    with contextlib.ExitStack() as stack:
        yield Stage(folder, stack)
