"""A server takes over from the embedded one, with real processes and a flow in the middle."""

from __future__ import annotations

import contextlib
import itertools
import os
import pathlib
import re
import signal
import sqlite3
from collections.abc import Iterator

import psutil
import pytest

from headgate import settings
from headgate.client import embedded, orchestration
from headgate.core.states import StateType
from headgate_server.storage.holding import Holder, HolderKind, find_holder
from tests import processes

pytestmark = pytest.mark.slow

FLOW = pathlib.Path(__file__).with_name("relayed_flow.py")
ROOT = FLOW.parents[3]
START = ["-m", "headgate_server", "start", "--port", "0"]


class Stage:
    """A home folder with the processes of one test."""

    def __init__(self, home: pathlib.Path, stack: contextlib.ExitStack) -> None:
        self.home = home
        self.stack = stack

    def process(self, name: str, *command: str) -> processes.Process:
        """Start a process that is told of no server."""
        environment = {
            "HEADGATE_HOME": str(self.home),
            "HEADGATE_API_URL": "",
            "PYTHONPATH": str(ROOT),
            "PYTHONUNBUFFERED": "1",
        }
        process = processes.Process(command, log=self.home / f"{name}.log", env=environment)
        self.stack.callback(process.clean_up)
        return process

    def flow(self) -> processes.Process:
        """Start the flow; it is in the middle, and its server an embedded one."""
        process = self.process("flow", str(FLOW), str(self.home))
        processes.eventually((self.home / "started").exists, what="the flow starts")
        return process

    def server(self, name: str = "real") -> processes.Process:
        """Start a server as people do."""
        return self.process(name, *START)

    def holder(self, kind: HolderKind | None = None) -> Holder:
        """Wait until a server, one of this kind, has the database and answers calls."""

        def found() -> Holder | None:
            holder = find_holder(self.home / "headgate.db")
            fits = holder is not None and holder.addresses and kind in (None, holder.kind)
            return holder if fits else None

        return processes.eventually(found, what=f"{kind} has the database; {self.logs()}")

    def logs(self) -> str:
        return "\n".join(f"{log.name}: {log.read_text()}" for log in self.home.glob("*.log"))

    def rows(self, query: str) -> list[tuple[object, ...]]:
        """Read the database directly, past all of our code."""
        url = f"file:{self.home / 'headgate.db'}?mode=ro"
        with contextlib.closing(sqlite3.connect(url, uri=True)) as connection:
            return connection.execute(query).fetchall()

    def check_that_all_is_recorded_once(self, flow: processes.Process) -> None:
        """Let the flow end, and look at what the server has of it."""
        (self.home / "go").touch()
        assert flow.wait(60) == 0, self.logs()
        found = re.search(r"calls: (\d+)", flow.output())
        assert found is not None, flow.output()
        calls = int(found[1])
        with (
            settings.temporary_settings({"home": self.home}),
            orchestration.get_client(sync_client=True) as client,
        ):
            (run,) = client.read_flow_runs()
            assert run.state.type is StateType.COMPLETED
            (count,) = client.count_task_runs()
        assert (count.type, count.count) == ("COMPLETED", calls)
        twice = "SELECT run_id FROM journal GROUP BY run_id, state_type HAVING count(*) > 1"
        assert self.rows(twice) == []


@pytest.fixture
def stage(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    home = tmp_path / "h"
    home.mkdir()
    monkeypatch.setenv("HEADGATE_HOME", str(home))
    monkeypatch.delenv("HEADGATE_API_URL", raising=False)
    with contextlib.ExitStack() as stack:
        stack.callback(processes.stop_embedded, home)
        yield Stage(home, stack)


def test_a_flow_goes_on_when_a_server_takes_over_and_every_task_is_recorded_once(stage: Stage):
    flow = stage.flow()
    before = stage.holder()
    assert before.kind is HolderKind.EMBEDDED

    server = stage.server()
    now = stage.holder(HolderKind.SERVER)
    assert now.pid == server.pid
    lines = server.output().splitlines()
    assert lines[0] == f"Took over from the embedded server (process {before.pid})."
    assert f"unix://{embedded.socket_path(stage.home)}" in now.addresses
    processes.eventually(lambda: has_ended(before.pid), what="the embedded one ends")

    stage.check_that_all_is_recorded_once(flow)
    assert stage.holder().pid == server.pid


def test_a_flow_goes_on_when_the_server_that_takes_over_is_killed_meanwhile(stage: Stage):
    flow = stage.flow()
    first = psutil.Process(stage.holder().pid)
    first.suspend()  # it does not end, though asked to
    server = stage.server()
    processes.eventually(lambda: has_pending_term(first.pid), what="it is asked to end")
    server.kill()
    first.resume()

    def another_has_it() -> bool:
        holder = find_holder(stage.home / "headgate.db")
        return holder is not None and holder.pid != first.pid

    processes.eventually(another_has_it, what="a new embedded server")
    assert stage.holder().kind is HolderKind.EMBEDDED
    stage.check_that_all_is_recorded_once(flow)


def has_ended(pid: int) -> bool:
    """Say whether a process has ended; the flow that started it need not have noticed."""
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def has_pending_term(pid: int) -> bool:
    """Say whether SIGTERM waits for a process that is suspended."""
    lines = pathlib.Path(f"/proc/{pid}/status").read_text().splitlines()
    (pending,) = (int(line.split()[1], 16) for line in lines if line.startswith("ShdPnd"))
    return bool(pending & 1 << (signal.SIGTERM - 1))


def test_a_flow_goes_on_when_the_server_that_took_over_is_killed(stage: Stage):
    flow = stage.flow()
    server = stage.server()
    stage.holder(HolderKind.SERVER)
    server.kill()
    assert embedded.socket_path(stage.home).exists()  # stale, as is the record of the holder
    stage.holder(HolderKind.EMBEDDED)
    stage.check_that_all_is_recorded_once(flow)


def test_runs_that_are_told_of_no_server_find_the_one_that_runs(stage: Stage):
    server = stage.server()
    stage.holder(HolderKind.SERVER)
    flow = stage.flow()
    stage.check_that_all_is_recorded_once(flow)
    assert stage.holder().pid == server.pid
    assert not (stage.home / "server.log").exists()  # no embedded one was even started


def test_of_two_servers_that_take_over_at_once_one_does(stage: Stage):
    flow = stage.flow()
    servers = [stage.server("a"), stage.server("b")]
    holder = stage.holder(HolderKind.SERVER)
    (winner,) = (server for server in servers if server.pid == holder.pid)
    (loser,) = (server for server in servers if server is not winner)
    assert loser.wait(30) == 1
    assert f"process id {winner.pid}" in loser.output()
    assert winner.returncode is None
    stage.check_that_all_is_recorded_once(flow)


def test_flows_and_a_server_that_start_at_once_end_up_at_that_server(stage: Stage):
    flows = [stage.process(f"flow{n}", str(FLOW), str(stage.home)) for n in range(2)]
    server = stage.server()
    (stage.home / "go").touch()
    for flow in flows:
        assert flow.wait(60) == 0, stage.logs()
    assert stage.holder(HolderKind.SERVER).pid == server.pid
    assert stage.rows("SELECT state_type, count(*) FROM flow_runs") == [("COMPLETED", 2)]


def test_a_server_that_was_started_by_hand_is_not_asked_to_end(stage: Stage):
    first = stage.server("first")
    stage.holder(HolderKind.SERVER)
    second = stage.server("second")
    assert second.wait(30) == 1
    assert f"process id {first.pid}" in second.output()
    assert first.returncode is None


def test_an_embedded_server_of_another_home_is_left_alone(stage: Stage):
    url = f"sqlite:///{stage.home / 'shared.db'}"
    os.environ["HEADGATE_SERVER_DATABASE_URL"] = url
    try:
        embedded.ensure_server()
    finally:
        del os.environ["HEADGATE_SERVER_DATABASE_URL"]
    holder = processes.eventually(lambda: find_holder(stage.home / "shared.db"))
    other = stage.process("other", *START, "--database-url", url)
    assert other.wait(30) == 1
    assert f"process id {holder.pid}" in other.output()
    still = find_holder(stage.home / "shared.db")
    assert still is not None
    assert still.pid == holder.pid


def test_a_server_is_found_and_stopped_by_its_database(stage: Stage):
    names = itertools.count()

    def command(*words: str) -> tuple[int, str]:
        process = stage.process(f"command{next(names)}", "-m", "headgate_server", *words)
        code = process.wait(30)
        return code, process.output()

    code, said = command("status")
    assert (code, said.count("\n")) == (1, 1)
    assert "headgate server start" in said
    assert command("stop")[0] == 0

    waiting = stage.process("waiting", "-m", "headgate_server", "status", "--wait", "-o", "json")
    server = stage.server()
    assert waiting.wait(30) == 0
    assert f'"pid": {server.pid}' in waiting.output()
    assert f"unix://{embedded.socket_path(stage.home)}" in waiting.output()

    assert command("stop") == (0, f"Headgate server (process {server.pid}) stopped.\n")
    assert server.wait(30) == 0
    assert command("status", "--wait", "--timeout", "0.1")[0] == 1
