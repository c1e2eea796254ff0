"""``headgate task serve`` and ``headgate flow-run resume``, as a user types them."""

from __future__ import annotations

import os
import pathlib
import signal

import pytest

from headgate import settings
from headgate.client.orchestration import SyncHeadgateClient
from headgate.core import runs
from tests import processes

pytestmark = pytest.mark.slow

TASKS = """
from headgate import flow, pause_flow_run, task


@task
def add(a: int, b: int) -> int:
    return a + b


@flow
def asks() -> None:
    print("coloured", pause_flow_run(wait_for_input=str, timeout=60))


if __name__ == "__main__":
    import sys

    print("sum", add.delay(1, 2).result(30)) if sys.argv[1] == "add" else asks()
"""


@pytest.fixture
def file(tmp_path: pathlib.Path) -> pathlib.Path:
    path = tmp_path / "tasks.py"
    path.write_text(TASKS)
    return path


def start(api_url: str, log: pathlib.Path, *words: str) -> processes.Process:
    return processes.Process(list(words), log=log, env={"HEADGATE_API_URL": api_url})


def run(api_url: str, tmp_path: pathlib.Path, *words: str) -> tuple[int | None, str]:
    log = tmp_path / "command.log"
    process = start(api_url, log, "-m", "headgate.cli", *words)
    code = process.wait(30)
    return code, process.output()


def test_tasks_are_served_until_the_worker_is_told_to_stop(
    api_url: str, tmp_path: pathlib.Path, file: pathlib.Path
):
    worker = start(
        api_url, tmp_path / "worker.log", "-m", "headgate.cli", "task", "serve", f"{file}:add"
    )
    try:
        processes.eventually(
            lambda: "onnected" in worker.output(), what=f"it connects: {worker.output()}"
        )
        asking = start(api_url, tmp_path / "asking.log", str(file), "add")
        assert asking.wait(30) == 0, asking.output()
        assert "sum 3" in asking.output()
        os.kill(worker.pid, signal.SIGTERM)
        assert worker.wait(20) == 0, worker.output()
    finally:
        worker.clean_up()


def test_what_cannot_be_served_is_told(api_url: str, tmp_path: pathlib.Path, file: pathlib.Path):
    code, output = run(api_url, tmp_path, "task", "serve", f"{file}:asks")
    assert code == 1
    assert "is no task" in output
    code, output = run(api_url, tmp_path, "task", "serve", "nowhere.py")
    assert code == 1
    assert "nowhere.py" in output


def test_a_run_is_resumed_with_an_input(
    api_url: str, tmp_path: pathlib.Path, file: pathlib.Path, server: SyncHeadgateClient
):
    flow = start(api_url, tmp_path / "flow.log", str(file), "asks")

    def paused() -> list[runs.FlowRun]:
        with settings.temporary_settings({"api_url": api_url}):
            return server.read_flow_runs(flow_name="asks", state_names=["Paused"])

    processes.eventually(lambda: bool(paused()), what=f"the flow pauses: {flow.output()}")
    (found,) = paused()
    code, output = run(api_url, tmp_path, "flow-run", "resume", found.id, "--input", "colour=1")
    assert code == 1
    assert "colour" in output
    code, output = run(api_url, tmp_path, "flow-run", "resume", found.id, "--input", "value=blue")
    assert code == 0
    assert output.endswith(f"Flow run {found.name!r} is Resuming.\n")
    assert flow.wait(30) == 0, flow.output()
    assert "coloured blue" in flow.output()
    code, output = run(api_url, tmp_path, "flow-run", "pause", found.id)
    assert code == 1
    assert "stays as it is" in output
