"""A program that serves a flow executes the runs that others ask for, and rests at its end."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from headgate import settings
from headgate.client import orchestration
from headgate.deployments import run_deployment
from tests.processes import eventually

pytestmark = pytest.mark.slow

PROGRAM = """
from headgate import flow, get_run_logger, runtime
from headgate.deployments import serve_flow

@flow(log_prints=True)
def hello(name: str = "world"):
    get_run_logger().info("by logger")
    print("hello,", name)
    return runtime.flow_run.fencing_token

if __name__ == "__main__":
    serve_flow(hello, "served", interval=3600)
"""


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """The home folder of a user without any server; the embedded one is ended."""
    folder = tmp_path / "h"
    with settings.temporary_settings({"home": folder, "api_url": None}):
        yield folder
        with orchestration.get_client(sync_client=True) as client:
            server = psutil.Process(client.hello().process_id)
    server.terminate()
    server.wait(10)


def test_a_served_flow_runs_when_asked_and_rests_at_the_end(home: Path, tmp_path: Path):
    (tmp_path / "program.py").write_text(PROGRAM)
    environment = {name: v for name, v in os.environ.items() if not name.startswith("HEADGATE")}
    program = subprocess.Popen(
        [sys.executable, "program.py"],
        cwd=tmp_path,
        env={**environment, "HEADGATE_HOME": str(home)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    with orchestration.get_client(sync_client=True) as client:
        eventually(
            lambda: client.read_deployments(name_contains="hello/served"), what="it is deployed"
        )
        run = run_deployment("hello/served", {"name": "you"}, timeout=30)
        program.send_signal(signal.SIGTERM)
        output, _ = program.communicate(timeout=30)
        assert run.state.name == "Completed", output
        assert program.returncode == 0, output
        assert run.work_queue_name == "serve-hello-served"
        lines = [record.message for record in client.read_logs(flow_run_ids=[run.id])]
        assert [lines.count(line) for line in ("by logger", "hello, you")] == [1, 1]
        assert "hello/served" in output
        assert client.read_deployment_by_name("hello/served").paused
