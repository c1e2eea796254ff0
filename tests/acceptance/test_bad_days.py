"""What may happen to a running system, and what must be true afterwards."""

from __future__ import annotations

import contextlib
import os
import pathlib
import signal
import socket
from collections.abc import Iterator, Sequence

import psutil
import pytest

from headgate.core import errors
from headgate.core.states import StateType
from tests import processes
from tests.acceptance.conftest import FLOWS, SHORT, Stage, ask, until
from tests.acceptance.proxy import Proxy

pytestmark = pytest.mark.slow

RESCHEDULE = ("--on-infrastructure-loss", "reschedule:3")


@pytest.fixture
def folder(stage: Stage) -> pathlib.Path:
    """Give the folder through which a flow of flows.py is steered."""
    path = stage.folder / "steer"
    path.mkdir()
    return path


def started(folder: pathlib.Path) -> None:
    """Return when the flow is in the middle."""
    processes.eventually((folder / "started").exists, what="the flow starts")


def children(process: processes.Process) -> list[psutil.Process]:
    """Return all descendants of a process."""
    return psutil.Process(process.pid).children(recursive=True)


def has_ended(pid: int) -> bool:
    """Say whether a process has ended; a zombie that nobody reaps has."""
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


@contextlib.contextmanager
def suspended(asleep: Sequence[psutil.Process]) -> Iterator[None]:
    """Stop processes for the length of a ``with`` block."""
    for process in asleep:
        process.suspend()
    try:
        yield
    finally:
        for process in asleep:
            process.resume()


def test_a_flow_outlives_the_kill_of_its_server_and_every_transition_is_there_once(
    stage: Stage, folder: pathlib.Path
) -> None:
    server = stage.server()
    flow = stage.by_hand("ten_thousand", server.api_url, folder)
    started(folder)
    server.kill()
    before = stage.rows("SELECT revision, state_id FROM journal")
    assert flow.returncode is None, flow.output()

    again = stage.server()
    assert flow.wait(60) == 0, flow.output()

    assert set(before) <= set(stage.rows("SELECT revision, state_id FROM journal"))
    client = stage.client(again.api_url)
    (run,) = client.read_flow_runs()
    assert run.state.type is StateType.COMPLETED
    (count,) = client.count_task_runs()
    assert (count.type, count.count) == ("COMPLETED", 10_000)
    twice = "SELECT run_id, state_type FROM journal GROUP BY run_id, state_type HAVING count(*) > 1"
    assert stage.rows(twice) == []
    assert stage.rows("SELECT count(*) FROM journal WHERE state_type = 'COMPLETED'") == [(10_001,)]


def test_runs_of_a_killed_runner_leave_running_in_time_and_another_runner_takes_them(
    stage: Stage, folder: pathlib.Path
) -> None:
    server = stage.server(env=SHORT)
    client = stage.client(server.api_url)
    deployment = stage.deploy(server.api_url, "steered", *RESCHEDULE)
    first = stage.runner(server.api_url)
    run = ask(client, deployment, folder=str(folder))
    started(folder)
    until(client, run.id, lambda r: r.state.type is StateType.RUNNING)

    first.kill()
    lost = until(client, run.id, lambda r: r.state.type is not StateType.RUNNING, timeout=1.5 + 2)
    assert lost.reschedule_count == 1

    stage.runner(server.api_url, log="second.log")
    (folder / "go").touch()
    done = until(client, run.id, lambda r: r.state.is_terminal)
    assert done.state.type is StateType.COMPLETED
    assert done.run_count == 2


def test_a_run_that_may_not_be_rescheduled_crashes_when_its_runner_is_killed(
    stage: Stage, folder: pathlib.Path
) -> None:
    server = stage.server(env=SHORT)
    client = stage.client(server.api_url)
    deployment = stage.deploy(server.api_url, "steered")
    runner = stage.runner(server.api_url)
    run = ask(client, deployment, folder=str(folder))
    started(folder)
    until(client, run.id, lambda r: r.state.type is StateType.RUNNING)

    runner.kill()
    lost = until(client, run.id, lambda r: r.state.is_terminal, timeout=1.5 + 2)
    assert lost.state.type is StateType.CRASHED
    assert "heartbeat" in lost.state.message
    unfinished = [t for t in client.read_task_runs() if not t.state.is_terminal]
    assert unfinished == []


def test_a_child_that_outlives_its_lease_changes_nothing_more(
    stage: Stage, folder: pathlib.Path
) -> None:
    server = stage.server(env=SHORT)
    client = stage.client(server.api_url)
    deployment = stage.deploy(server.api_url, "deaf", *RESCHEDULE)
    first = stage.runner(server.api_url)
    run = ask(client, deployment, folder=str(folder))
    started(folder)
    until(client, run.id, lambda r: r.state.type is StateType.RUNNING)
    old_child = int((folder / "attempts").read_text().split()[0])

    # As on a machine that hangs: nobody is left who beats, or who could stop the child.
    asleep = [psutil.Process(first.pid), *(p for p in children(first) if p.pid != old_child)]
    with suspended(asleep):
        until(client, run.id, lambda r: r.state.type is not StateType.RUNNING)
        fenced = client.read_flow_run(run.id)
        (folder / "go").touch()
        processes.eventually(lambda: has_ended(old_child), what="the old child ends")
    first.kill()

    assert client.read_flow_run(run.id).state == fenced.state
    stage.runner(server.api_url, log="second.log")
    done = until(client, run.id, lambda r: r.state.is_terminal)
    assert done.state.type is StateType.COMPLETED
    assert len((folder / "attempts").read_text().split()) == 2


def test_a_killed_child_is_reported_as_crashed_with_the_signal_named(stage: Stage) -> None:
    server = stage.server()
    client = stage.client(server.api_url)
    stage.runner(server.api_url)
    run = ask(client, stage.deploy(server.api_url, "killed"))
    ended = until(client, run.id, lambda r: r.state.is_terminal)
    assert ended.state.type is StateType.CRASHED
    assert "SIGKILL" in ended.state.message


def test_a_runner_told_to_stop_finishes_what_it_has_and_takes_nothing_new(
    stage: Stage, folder: pathlib.Path
) -> None:
    server = stage.server()
    client = stage.client(server.api_url)
    deployment = stage.deploy(server.api_url, "steered")
    runner = stage.runner(server.api_url)
    run = ask(client, deployment, folder=str(folder))
    started(folder)

    runner.signal(signal.SIGTERM)
    processes.eventually(lambda: "rain" in runner.output(), what="the runner drains")
    later = ask(client, deployment, folder=str(folder))
    (folder / "go").touch()

    assert runner.wait(30) == 0, runner.output()
    assert client.read_flow_run(run.id).state.type is StateType.COMPLETED
    assert client.read_flow_run(later.id).state.type is StateType.SCHEDULED


def test_what_a_draining_runner_cannot_finish_goes_back_to_its_queue(
    stage: Stage, folder: pathlib.Path
) -> None:
    server = stage.server()
    client = stage.client(server.api_url)
    deployment = stage.deploy(server.api_url, "steered", *RESCHEDULE)
    runner = stage.runner(server.api_url, "--grace", "0.2")
    run = ask(client, deployment, folder=str(folder))
    started(folder)

    assert runner.terminate() == 0, runner.output()
    assert client.read_flow_run(run.id).state.type is StateType.SCHEDULED


def test_a_cancelled_run_stops_at_once(stage: Stage, folder: pathlib.Path) -> None:
    server = stage.server()
    client = stage.client(server.api_url)
    deployment = stage.deploy(server.api_url, "steered")
    stage.runner(server.api_url)
    run = ask(client, deployment, folder=str(folder))
    started(folder)

    client.cancel_flow_run(run.id)
    ended = until(client, run.id, lambda r: r.state.is_terminal, timeout=10)
    assert ended.state.type is StateType.CANCELLED


def test_a_flow_goes_on_after_its_line_was_cut_for_less_than_its_lease(
    stage: Stage, folder: pathlib.Path
) -> None:
    server = stage.server()
    proxy = Proxy(stage.folder / "proxy.sock", server.socket)
    flow = stage.by_hand("steered", proxy.api_url, folder)
    started(folder)
    proxy.cut()
    (folder / "go").touch()
    processes.pause(3.0)
    assert flow.returncode is None, flow.output()
    proxy.mend()
    assert flow.wait(30) == 0, flow.output()
    proxy.close()
    (run,) = stage.client(server.api_url).read_flow_runs()
    assert run.state.type is StateType.COMPLETED


def test_a_flow_cut_off_for_three_leases_crashes_and_is_told(
    stage: Stage, folder: pathlib.Path
) -> None:
    server = stage.server(env=SHORT)
    proxy = Proxy(stage.folder / "proxy.sock", server.socket)
    flow = stage.by_hand("steered", proxy.api_url, folder)
    started(folder)
    client = stage.client(server.api_url)
    (run,) = client.read_flow_runs()
    proxy.cut()
    crashed = until(client, run.id, lambda r: r.state.is_terminal, timeout=1.5 + 2)
    assert crashed.state.type is StateType.CRASHED
    processes.pause(3 * 1.5)
    proxy.mend()
    (folder / "go").touch()

    assert flow.wait(30) != 0
    assert "lease" in flow.output().lower()
    proxy.close()
    assert client.read_flow_run(run.id).state == crashed.state


def test_a_runner_cut_off_for_less_than_its_lease_keeps_its_run(
    stage: Stage, folder: pathlib.Path
) -> None:
    server = stage.server()
    client = stage.client(server.api_url)
    deployment = stage.deploy(server.api_url, "steered")
    proxy = Proxy(stage.folder / "proxy.sock", server.socket)
    stage.runner(proxy.api_url)
    run = ask(client, deployment, folder=str(folder))
    started(folder)
    proxy.cut()
    processes.pause(3.0)
    proxy.mend()
    (folder / "go").touch()
    done = until(client, run.id, lambda r: r.state.is_terminal)
    proxy.close()
    assert done.state.type is StateType.COMPLETED
    assert done.run_count == 1


def test_a_runner_cut_off_for_three_leases_stops_its_child_before_the_run_starts_again(
    stage: Stage, folder: pathlib.Path
) -> None:
    server = stage.server(env=SHORT)
    client = stage.client(server.api_url)
    deployment = stage.deploy(server.api_url, "steered", *RESCHEDULE)
    proxy = Proxy(stage.folder / "proxy.sock", server.socket)
    stage.runner(proxy.api_url)
    run = ask(client, deployment, folder=str(folder))
    started(folder)
    first = int((folder / "attempts").read_text().split()[0])
    proxy.cut()
    until(client, run.id, lambda r: r.state.type is StateType.SCHEDULED, timeout=1.5 + 2)
    processes.pause(3 * 1.5)
    assert not psutil.pid_exists(first)
    (folder / "go").touch()
    proxy.mend()
    done = until(client, run.id, lambda r: r.state.is_terminal)
    proxy.close()
    assert done.state.type is StateType.COMPLETED
    assert done.run_count == 2


def test_a_second_server_on_one_sqlite_file_refuses_with_the_reason(stage: Stage) -> None:
    first = stage.server()
    other = stage.folder / "other"
    other.mkdir()
    second = processes.Server(
        other, database_url=f"sqlite:///{stage.folder / 'headgate.db'}", wait=False
    )
    with processes.running(second):
        assert second.wait(30) != 0
        output = second.output()
    assert "Traceback" not in output
    assert str(first.pid) in output
    assert "headgate.db" in output


def test_a_lock_of_a_killed_server_does_not_keep_the_next_one_out(stage: Stage) -> None:
    stage.server().kill()
    stage.server()


def test_what_is_wrong_is_refused_and_nothing_is_stored(stage: Stage) -> None:
    server = stage.server()
    client = stage.client(server.api_url)
    deployment = stage.deploy(server.api_url, "quick")
    tables = ("flow_runs", "deployments", "journal", "work_pools", "flows")
    counts = [stage.rows(f"SELECT count(*) FROM {table}") for table in tables]

    with pytest.raises(errors.NotFound, match="nobody/knows"):
        ask(client, "nobody/knows")
    with pytest.raises(errors.InvalidArgument, match="limit"):
        ask(client, deployment, limit="many")
    with pytest.raises(errors.InvalidArgument, match="limitt"):
        ask(client, deployment, limitt=3)
    command = [f"{FLOWS}:quick", "--name", "bad"]
    assert "cron" in refused(server.api_url, "deploy", *command, "--cron", "61 * * * *")
    assert "nowhere" in refused(server.api_url, "deploy", *command, "--pool", "nowhere")
    assert "nowhere" in refused(server.api_url, "runner", "start", "--pool", "nowhere")

    assert [stage.rows(f"SELECT count(*) FROM {table}") for table in tables] == counts


def test_garbage_on_the_socket_does_not_disturb_the_server(stage: Stage) -> None:
    server = stage.server()
    for garbage in (b"\0" * 4096, b"GET / HTTP/1.1\r\n\r\n", os.urandom(65536)):
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(server.socket))
            connection.sendall(garbage)
    assert processes.is_answering(server.api_url)


def refused(api_url: str, *arguments: str) -> str:
    """Run a headgate command that must fail without a traceback; return what it said."""
    import subprocess
    import sys

    done = subprocess.run(
        [sys.executable, "-m", "headgate.cli", *arguments],
        env={**os.environ, "HEADGATE_API_URL": api_url},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode != 0, done.stdout
    assert "Traceback" not in done.stderr
    return done.stdout + done.stderr
