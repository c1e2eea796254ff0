"""Flow runs are stopped from outside: cancelled, told to end, fenced, forked."""

import asyncio
import os
import pathlib
import signal
import subprocess
import sys
import threading

import pytest

from headgate import flow, task
from headgate.client.orchestration import SyncHeadgateClient
from headgate.context import FlowRunContext
from headgate.core import errors, states
from headgate.states import StateType
from tests.processes import eventually


def here() -> FlowRunContext:
    context = FlowRunContext.get()
    assert context is not None
    return context


def cancel_soon(server: SyncHeadgateClient, flow_run_id: str) -> threading.Thread:
    thread = threading.Thread(target=server.cancel_flow_run, args=(flow_run_id,))
    thread.start()
    return thread


def test_a_cancelled_flow_stops_in_the_middle_of_a_blocking_call(server: SyncHeadgateClient):
    heard = []

    def hook(flow, flow_run, state):
        heard.append((flow_run.id, state.name))

    @flow(on_cancellation=[hook])
    def waits():
        cancel_soon(server, here().flow_run.id)
        threading.Event().wait(20)

    with pytest.raises(errors.CancelledRun):
        waits()
    ((flow_run_id, name),) = heard
    assert name == "Cancelled"
    stored = [state.name for state in server.read_flow_run_states(flow_run_id)]
    assert stored == ["Pending", "Running", "Cancelling", "Cancelled"]
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_a_cancelled_flow_can_be_had_as_a_state(server: SyncHeadgateClient):
    @flow
    def waits():
        cancel_soon(server, here().flow_run.id)
        threading.Event().wait(20)

    assert waits(return_state=True).is_cancelled()


async def test_a_cancelled_async_flow_stops_and_its_caller_goes_on(server: SyncHeadgateClient):
    @flow
    async def waits():
        cancel_soon(server, here().flow_run.id)
        await asyncio.sleep(20)

    with pytest.raises(errors.CancelledRun):
        await waits()
    await asyncio.sleep(0)
    current = asyncio.current_task()
    assert current is not None
    assert current.cancelling() == 0


def test_a_cancelled_flow_on_another_thread_stops(server: SyncHeadgateClient):
    ended = []

    @flow
    def spins():
        cancel_soon(server, here().flow_run.id)
        event = threading.Event()
        while True:
            event.wait(0.01)

    thread = threading.Thread(target=lambda: ended.append(spins(return_state=True)))
    thread.start()
    thread.join(10)
    assert [state.name for state in ended] == ["Cancelled"]


def test_cancelling_a_flow_ends_what_it_has_called(server: SyncHeadgateClient):
    begun = threading.Event()
    child_ids: list[str] = []

    @task
    def spins():
        begun.set()
        event = threading.Event()
        while True:
            event.wait(0.01)

    @flow
    def child():
        child_ids.append(here().flow_run.id)
        parent_id = here().flow_run.parent_flow_run_id
        assert parent_id is not None
        spins.submit()
        begun.wait(5)
        cancel_soon(server, parent_id)
        try:
            threading.Event().wait(20)
        except Exception:
            pytest.fail("user code must not be able to hold the end up")

    @flow
    def parent():
        child()

    state = parent(return_state=True)
    assert state.is_cancelled()
    assert state.flow_run_id is not None
    assert server.read_flow_run(child_ids[0]).state.name == "Cancelled"
    for flow_run_id in (state.flow_run_id, child_ids[0]):
        eventually(
            lambda id=flow_run_id: all(
                run.state.is_terminal for run in server.read_task_runs(flow_run_ids=[id])
            )
        )


def test_a_subflow_can_be_cancelled_alone(server: SyncHeadgateClient):
    @flow
    def child():
        cancel_soon(server, here().flow_run.id)
        threading.Event().wait(20)

    @flow
    def parent():
        try:
            child()
        except errors.CancelledRun:
            return "went on"
        return "not raised"

    assert parent() == "went on"


def test_a_run_that_is_forced_to_end_elsewhere_stops_recording(server: SyncHeadgateClient):
    @task
    def one():
        return 1

    @flow
    def loops():
        ended = states.new_state(
            StateType.FAILED, id=here().flow_run.id, now=here().flow_run.create_time
        )
        server.set_flow_run_state(here().flow_run.id, ended, force=True)
        event = threading.Event()
        for _ in range(2_000):
            one()
            event.wait(0.005)

    with pytest.raises(errors.LeaseFenced):
        loops()


SCRIPT = """
import asyncio, os, pathlib, signal, sys, threading
from headgate import flow, task

@task
def one(): return 1

def crashed(flow, flow_run, state): print("hook", state.name, flush=True)

@flow(on_crashed=[crashed])
def told_to_end():
    one()
    pathlib.Path(sys.argv[1], "started").touch()
    threading.Event().wait(30)

@flow(on_crashed=[crashed])
async def waiting():
    one()
    pathlib.Path(sys.argv[1], "started").touch()
    await asyncio.sleep(30)

def told_to_end_async(): asyncio.run(waiting.with_options(name="told-to-end-async")())

@flow
def forks():
    one()
    child = os.fork()
    if child == 0:
        one()
        os._exit(0)
    _pid, code = os.waitpid(child, 0)
    return code

@flow
def quick(): return one()

def forks_after():
    quick()
    child = os.fork()
    if child == 0:
        try:
            quick()
        except Exception as error:
            print(error, flush=True)
        os._exit(0)
    os.waitpid(child, 0)

if __name__ == "__main__":
    print(globals()[sys.argv[2]]())
"""


@pytest.mark.slow
@pytest.mark.parametrize("flow", ["told_to_end", "told_to_end_async"])
def test_sigterm_crashes_a_flow_by_hand(
    flow: str, server: SyncHeadgateClient, api_url: str, tmp_path: pathlib.Path
):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    process = subprocess.Popen(
        [sys.executable, str(script), str(tmp_path), flow],
        env={**os.environ, "HEADGATE_API_URL": api_url, "HEADGATE_HOME": str(tmp_path)},
        stdout=subprocess.PIPE,
        text=True,
    )
    eventually((tmp_path / "started").exists)
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=20)
    assert "hook Crashed" in output
    assert process.returncode != 0
    (run,) = server.read_flow_runs(flow_name=flow.replace("_", "-"))
    assert run.state.is_crashed()
    assert "termination signal" in run.state.message


@pytest.mark.slow
def test_a_fork_within_a_flow_disturbs_nothing(
    server: SyncHeadgateClient, api_url: str, tmp_path: pathlib.Path
):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, str(script), str(tmp_path), "forks"],
        env={**os.environ, "HEADGATE_API_URL": api_url, "HEADGATE_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.stdout.strip() == "0", done.stderr
    (run,) = [run for run in server.read_flow_runs() if run.flow_name == "forks"]
    assert run.state.is_completed()
    assert len(server.read_task_runs(flow_run_ids=[run.id])) == 1


@pytest.mark.slow
def test_a_fork_of_a_connected_process_says_that_it_cannot_run_flows(
    api_url: str, tmp_path: pathlib.Path
):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, str(script), str(tmp_path), "forks_after"],
        env={**os.environ, "HEADGATE_API_URL": api_url, "HEADGATE_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert "gRPC does not survive a fork" in done.stdout, done.stderr
