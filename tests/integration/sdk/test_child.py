"""A process that executes one leased run, as a runner starts it."""

import json
import os
import pathlib
import queue
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest

from headgate import parameters as codec
from headgate.api.v1 import lease_service_pb2, lease_service_pb2_grpc
from headgate.client import channel
from headgate.client.orchestration import SyncHeadgateClient
from headgate.core import ids
from headgate.deployments import RunnerDeployment
from tests.processes import eventually

lpb = lease_service_pb2
FILE = pathlib.Path(__file__).with_name("child_flows.py")

pytestmark = pytest.mark.slow


class Child:
    """A child process, and the runner's end of its control line."""

    def __init__(self, api_url: str, offer: lpb.Offer, folder: pathlib.Path, **env: str) -> None:
        self.flow_run_id = offer.flow_run.id
        self._line, theirs = socket.socketpair()
        self._line.settimeout(10)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "headgate.engine"],
            env={
                **os.environ,
                "HEADGATE_API_URL": api_url,
                "HEADGATE_HOME": str(folder),
                "HEADGATE__FLOW_RUN_ID": offer.flow_run.id,
                "HEADGATE__FENCING_TOKEN": str(offer.fencing_token),
                "HEADGATE__ENTRYPOINT": offer.deployment.entrypoint,
                "HEADGATE__PATH": offer.deployment.path,
                "HEADGATE__CONTROL_FD": str(theirs.fileno()),
                "HEARD": str(folder / "heard"),
                **env,
            },
            pass_fds=[theirs.fileno()],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        theirs.close()

    def end(self) -> int:
        """Wait for its end; return the exit code."""
        self.output, _ = self.process.communicate(timeout=20)
        return self.process.returncode

    def receipt(self) -> dict[str, str] | None:
        """Return what it said it reported."""
        line = self._line.makefile().readline()
        return json.loads(line)["receipt"] if line else None

    def stop(self, intent: str | None = None) -> None:
        """Send an intent, and SIGTERM."""
        if intent is not None:
            self._line.sendall(json.dumps({"intent": intent}).encode() + b"\n")
        self.process.send_signal(signal.SIGTERM)


Start = Callable[..., Child]


@pytest.fixture
def start(server: SyncHeadgateClient, api_url: str, tmp_path: pathlib.Path) -> Iterator[Start]:
    """Deploy a flow, ask for a run, lease it, and start its child."""
    frames: queue.SimpleQueue[lpb.LeaseRequest | None] = queue.SimpleQueue()
    (tmp_path / "home").mkdir()
    children: list[Child] = []
    with channel.open_sync_channel(api_url) as wire:
        stream = lease_service_pb2_grpc.LeaseServiceStub(wire).Lease(iter(frames.get, None))
        hello = lpb.Hello(name="r", instance_id=ids.new_id(), work_pool_names=["default"], slots=9)
        frames.put(lpb.LeaseRequest(hello=hello))
        frames.put(lpb.LeaseRequest(credit=lpb.Credit(granted_total=9)))

        def begin(flow: str, parameters: dict[str, object], **env: str) -> Child:
            # Not from_entrypoint: what cannot be loaded is deployed here, too.
            deployment = RunnerDeployment(
                name="test", flow_name=flow, entrypoint=f"{FILE.name}:{flow}", path=str(FILE.parent)
            )
            deployment.apply()
            server.create_flow_run_from_deployment(
                f"{flow}/test", parameters=codec.encode(parameters)
            )
            offer = next(f.offer for f in stream if f.WhichOneof("frame") == "offer")
            accept = lpb.Accept(flow_run_id=offer.flow_run.id, fencing_token=offer.fencing_token)
            frames.put(lpb.LeaseRequest(accept=accept))
            children.append(Child(api_url, offer, tmp_path / "home", **env))
            return children[-1]

        yield begin
        frames.put(None)
        for child in children:
            child.process.kill()
            child.process.wait()
            assert child.process.stdout is not None
            child.process.stdout.close()
            child._line.close()


def test_a_child_executes_its_run_and_leaves_a_receipt(start: Start, server: SyncHeadgateClient):
    child = start("works", {"n": 41})
    assert child.end() == 0, child.output
    assert child.receipt() == {"type": "COMPLETED", "name": "Completed"}
    assert server.read_flow_run(child.flow_run_id).state.name == "Completed"
    messages = [r.message for r in server.read_logs(flow_run_ids=[child.flow_run_id])]
    assert "at work" in messages


def test_a_failed_run_is_an_orderly_end(start: Start, server: SyncHeadgateClient):
    child = start("fails", {})
    assert child.end() == 0, child.output
    assert child.receipt() == {"type": "FAILED", "name": "Failed"}
    assert "no such thing" in server.read_flow_run(child.flow_run_id).state.message


def test_a_deployed_flow_is_retried_in_its_process(
    start: Start, server: SyncHeadgateClient, tmp_path: pathlib.Path
):
    child = start("flaky", {"folder": str(tmp_path)})
    assert child.end() == 0, child.output
    run = server.read_flow_run(child.flow_run_id)
    assert (run.state.name, run.run_count) == ("Completed", 3)


def test_a_flow_that_cannot_be_loaded_crashes_with_the_reason(
    start: Start, server: SyncHeadgateClient
):
    child = start("missing", {})
    assert child.end() == 0, child.output
    state = server.read_flow_run(child.flow_run_id).state
    assert state.is_crashed()
    assert "missing" in state.message


@pytest.mark.parametrize("parameters", [{}, {"n": "x"}, {"n": 1, "other": 2}])
def test_parameters_that_do_not_fit_fail_the_run(
    parameters: dict[str, object], start: Start, server: SyncHeadgateClient
):
    child = start("works", parameters)
    assert child.end() == 0, child.output
    run = server.read_flow_run(child.flow_run_id)
    assert (run.state.name, run.run_count) == ("Failed", 0)


@pytest.mark.parametrize("flow", ["waits", "waits_async"])
@pytest.mark.parametrize(
    ("intent", "name"), [(None, "Crashed"), ("crash", "Crashed"), ("cancel", "Cancelled")]
)
def test_sigterm_ends_the_run_as_the_runner_meant_it(
    flow: str,
    intent: str | None,
    name: str,
    start: Start,
    server: SyncHeadgateClient,
    tmp_path: pathlib.Path,
):
    child = start(flow, {"folder": str(tmp_path)})
    eventually((tmp_path / "started").exists)
    child.stop(intent)
    assert child.end() == 0, child.output
    assert child.receipt() == {"type": name.upper(), "name": name}
    assert server.read_flow_run(child.flow_run_id).state.name == name
    assert (tmp_path / "home" / "heard").read_text() == name


@pytest.mark.parametrize("flow", ["waits", "waits_async"])
def test_a_run_that_shall_go_on_elsewhere_is_left_as_it_is(
    flow: str, start: Start, server: SyncHeadgateClient, tmp_path: pathlib.Path
):
    child = start(flow, {"folder": str(tmp_path)})
    eventually((tmp_path / "started").exists)
    child.stop("reschedule")
    assert child.end() == 143, child.output
    assert child.receipt() is None
    assert server.read_flow_run(child.flow_run_id).state.is_running()


def test_sigterm_wakes_a_loop_that_waits(start: Start, server: SyncHeadgateClient):
    child = start("hears_on_a_thread", {})
    assert child.end() == 0, child.output
    assert server.read_flow_run(child.flow_run_id).state.type == "CRASHED"


@pytest.mark.parametrize("flow", ["waits", "waits_async"])
def test_a_process_may_send_its_run_back_when_its_machine_goes_down(
    flow: str, start: Start, server: SyncHeadgateClient, tmp_path: pathlib.Path
):
    child = start(
        flow,
        {"folder": str(tmp_path)},
        HEADGATE_FLOW_RUN_EXECUTE_SIGTERM_BEHAVIOR="reschedule",
    )
    eventually((tmp_path / "started").exists)
    child.stop()
    assert child.end() == 143, child.output
    names = [state.name for state in server.read_flow_run_states(child.flow_run_id)]
    assert "AwaitingRetry" in names


def test_a_durable_run_goes_back_when_its_process_is_told_to_end(
    start: Start, server: SyncHeadgateClient, tmp_path: pathlib.Path
):
    child = start("waits_durably", {"folder": str(tmp_path)})
    eventually((tmp_path / "started").exists)
    child.stop()
    assert child.end() == 143, child.output
    names = [state.name for state in server.read_flow_run_states(child.flow_run_id)]
    assert names[-1] == "AwaitingRetry"


@pytest.mark.parametrize("flow", ["waits", "waits_async"])
def test_a_cancelled_run_is_stopped_by_the_server_alone(
    flow: str, start: Start, server: SyncHeadgateClient, tmp_path: pathlib.Path
):
    child = start(flow, {"folder": str(tmp_path)})
    eventually((tmp_path / "started").exists)
    server.cancel_flow_run(child.flow_run_id)
    assert child.end() == 0, child.output
    assert child.receipt() == {"type": "CANCELLED", "name": "Cancelled"}
    assert (tmp_path / "home" / "heard").read_text() == "Cancelled"


def test_a_stale_token_is_fenced(start: Start, server: SyncHeadgateClient):
    child = start("works", {"n": 1}, HEADGATE__FENCING_TOKEN="0")
    assert child.end() == 1
    assert child.receipt() is None
    assert not server.read_flow_run(child.flow_run_id).state.is_terminal


def test_a_deployed_run_gets_the_name_that_its_flow_has_for_it(
    start: Start, server: SyncHeadgateClient
):
    child = start("named", {"n": 5})
    assert child.end() == 0, child.output
    assert server.read_flow_run(child.flow_run_id).name == "named-5"


def test_a_process_without_a_run_says_what_is_missing():
    done = subprocess.run(
        [sys.executable, "-m", "headgate.engine"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "HEADGATE__FLOW_RUN_ID" in done.stderr
