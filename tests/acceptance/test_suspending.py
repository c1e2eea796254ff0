"""A suspended run needs no process, and goes on in a new one with what it was told."""

from __future__ import annotations

import pathlib
import re

import psutil
import pytest

from headgate import settings
from headgate.core import states
from headgate.core.ids import new_id
from headgate.core.states import StateType
from headgate.flow_runs import resume_flow_run, suspend_flow_run
from tests import processes
from tests.acceptance.conftest import Stage, ask, until

pytestmark = pytest.mark.slow


@pytest.fixture
def folder(stage: Stage) -> pathlib.Path:
    """Give the folder through which a flow of flows.py is steered."""
    path = stage.folder / "steer"
    path.mkdir()
    return path


def test_a_flow_suspends_itself_and_goes_on_in_a_new_process_with_its_input(
    stage: Stage, folder: pathlib.Path
) -> None:
    server = stage.server()
    client = stage.client(server.api_url)
    deployment = stage.deploy(server.api_url, "suspends")
    runner = stage.runner(server.api_url)
    run = ask(client, deployment, folder=str(folder))
    suspended = until(client, run.id, lambda r: r.state.type is StateType.PAUSED)
    assert suspended.state.name == "Suspended"
    (pid,) = map(int, (folder / "attempts").read_text().split())
    processes.eventually(lambda: not psutil.pid_exists(pid), what="its process ends")

    with settings.temporary_settings({"api_url": server.api_url}):
        resume_flow_run(run.id, {"approved": True})
    done = until(client, run.id, lambda r: r.state.is_terminal)
    assert done.state.type is StateType.COMPLETED, done.state
    assert len((folder / "attempts").read_text().split()) == 2
    assert (folder / "answer").read_text() == "True"
    names = [state.name for state in client.read_flow_run_states(run.id)]
    assert names.count("Suspended") == 1
    assert "Crashed" not in names
    assert re.search(r"ended: Suspended", runner.output()), runner.output()


def test_a_run_that_somebody_suspends_stops_before_its_next_task(
    stage: Stage, folder: pathlib.Path
) -> None:
    server = stage.server()
    client = stage.client(server.api_url)
    deployment = stage.deploy(server.api_url, "steered")
    stage.runner(server.api_url)
    run = ask(client, deployment, folder=str(folder))
    processes.eventually((folder / "started").exists, what="the flow starts")
    until(client, run.id, lambda r: r.state.type is StateType.RUNNING)
    with settings.temporary_settings({"api_url": server.api_url}):
        suspend_flow_run(flow_run_id=run.id, timeout=None)
        (folder / "go").touch()
        (pid,) = map(int, (folder / "attempts").read_text().split())
        processes.eventually(lambda: not psutil.pid_exists(pid), what="its process ends")
        assert client.read_flow_run(run.id).state.name == "Suspended"
        resume_flow_run(run.id)
    done = until(client, run.id, lambda r: r.state.is_terminal)
    assert done.state.type is StateType.COMPLETED


def test_a_run_that_is_suspended_can_be_cancelled(stage: Stage, folder: pathlib.Path) -> None:
    server = stage.server()
    client = stage.client(server.api_url)
    deployment = stage.deploy(server.api_url, "suspends")
    stage.runner(server.api_url)
    run = ask(client, deployment, folder=str(folder))
    until(client, run.id, lambda r: r.state.type is StateType.PAUSED)
    client.cancel_flow_run(run.id)
    until(client, run.id, lambda r: r.state.type is StateType.CANCELLED)


def test_a_run_that_has_ended_cannot_be_suspended(stage: Stage) -> None:
    server = stage.server()
    client = stage.client(server.api_url)
    deployment = stage.deploy(server.api_url, "quick")
    stage.runner(server.api_url)
    run = ask(client, deployment)
    until(client, run.id, lambda r: r.state.is_terminal)
    now = client.read_flow_run(run.id).create_time
    state = states.new_state(StateType.PAUSED, id=new_id(), now=now)
    assert client.set_flow_run_state(run.id, state).verdict.kind is not states.VerdictKind.ACCEPT
