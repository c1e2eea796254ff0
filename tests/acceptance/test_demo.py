"""``headgate demo``, as a new user calls it."""

from __future__ import annotations

import csv
import json
import pathlib
import signal
import sqlite3
import sys
from collections.abc import Iterator

import psutil
import pytest

from tests import processes

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]


@pytest.fixture
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[pathlib.Path]:
    """Give a folder with a short path, and end what a failing test leaves running there."""
    folder = tmp_path_factory.mktemp("d")
    yield folder
    for process in left_running(folder):
        process.kill()


def demo(folder: pathlib.Path, *arguments: str) -> processes.Process:
    """Start the demo."""
    return processes.Process(
        ["-m", "headgate.cli", "demo", "--folder", str(folder), *arguments],
        log=folder.parent / f"{folder.name}.log",
        env={"PYTHONUNBUFFERED": "1", "COLUMNS": "120"},
    )


def left_running(folder: pathlib.Path) -> list[psutil.Process]:
    """Find the processes that have the folder for their home."""
    found: list[psutil.Process] = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("HEADGATE_HOME") == str(folder):
                found.append(process)
        except psutil.Error:
            continue
    return found


def test_the_demo_runs_the_pipeline_and_leaves_nothing_running(folder: pathlib.Path) -> None:
    process = demo(folder)
    with processes.running(process):
        assert process.wait(120) == 0, process.output()
    said = process.output()
    assert "Traceback" not in said
    for word in ("Pending", "Running", "AwaitingRetry", "Retrying", "Completed", "1 retry"):
        assert word in said
    assert str(folder / "report" / "report.csv") in said
    assert "Try next" in said

    with (folder / "report" / "report.csv").open() as file:
        rows = list(csv.DictReader(file))
    lines = [int(row["lines"]) for row in rows]
    assert len(rows) == 10
    assert lines == sorted(lines, reverse=True)
    assert all(row["package"] in said for row in rows)
    total = json.loads((folder / "report" / "report.json").read_text())["total"]
    assert total["files"] > 300
    assert total["lines"] > sum(lines)

    with sqlite3.connect(folder / "headgate.db") as database:
        ((unfinished,),) = database.execute(
            "SELECT count(*) FROM task_runs WHERE state_type <> 'COMPLETED'"
        )
        ((flow_runs,),) = database.execute("SELECT count(*) FROM flow_runs")
    database.close()
    assert unfinished == 0
    assert flow_runs == 2
    assert left_running(folder) == []


def test_the_demo_that_is_kept_goes_on_until_it_is_interrupted(folder: pathlib.Path) -> None:
    process = demo(folder, "--keep")
    with processes.running(process):
        processes.eventually(
            lambda: "Ctrl-C" in process.output() or process.returncode is not None,
            timeout=120,
            what="the demo waits",
        )
        assert process.returncode is None, process.output()
        assert processes.is_answering(f"unix://{folder / 'server.sock'}")
        process.signal(signal.SIGINT)
        assert process.wait(30) == 0, process.output()
    assert left_running(folder) == []


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_demo_that_is_stopped_half_way_leaves_nothing_running(
    folder: pathlib.Path, number: signal.Signals, code: int
) -> None:
    process = demo(folder)
    with processes.running(process):
        processes.eventually(
            lambda: "Running" in process.output() or process.returncode is not None,
            timeout=120,
            what="the pipeline runs",
        )
        process.signal(number)
        assert process.wait(30) == code, process.output()
    assert "Traceback" not in process.output()
    assert left_running(folder) == []


def test_a_server_that_cannot_start_is_told_with_its_last_words(folder: pathlib.Path) -> None:
    (folder / "headgate.db").mkdir()
    process = demo(folder)
    with processes.running(process):
        assert process.wait(60) == 1
    said = process.output()
    assert "The server ended" in said
    assert "server.log" in said
    assert sys.executable not in said.splitlines()[-1]
    assert left_running(folder) == []
