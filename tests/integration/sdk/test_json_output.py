"""What the command prints for programs, of runs that really ran."""

import json
from typing import Any

import click.testing
import pytest

from headgate import flow, task
from headgate.cli import main
from headgate.client.orchestration import SyncHeadgateClient


@task
def add(a: int, b: int) -> int:
    return a + b


@flow
def totals(n: int, name: str, more: dict[str, Any]) -> int:
    return add(n, len(more))


def printed(*arguments: str) -> Any:
    result = click.testing.CliRunner().invoke(main.cli, [*arguments, "-o", "json"])
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


@pytest.fixture
def run_id(server: SyncHeadgateClient) -> str:
    state = totals(3, "5", {"deep": [1, {"er": None}]}, return_state=True)
    assert state.is_completed()
    return state.flow_run_id or ""


def test_runs_are_printed_with_their_parameters_as_values(run_id: str):
    listed = {run["id"]: run for run in printed("flow-run", "ls", "--flow-name", "totals")}
    inspected = printed("flow-run", "inspect", run_id)
    for run in (listed[run_id], inspected):
        assert run["parameters"] == {"n": 3, "name": "5", "more": {"deep": [1, {"er": None}]}}
        assert (run["state"]["name"], run["state"]["data"]) == ("Completed", None)


def test_task_runs_are_printed_too(run_id: str):
    [run] = [run for run in printed("task-run", "ls") if run["flow_run_id"] == run_id]
    assert printed("task-run", "inspect", run["id"])["state"]["type"] == "COMPLETED"


@pytest.mark.parametrize(
    "command",
    [
        "flow-run logs {run_id}",
        "deployment ls",
        "work-pool ls",
        "block ls",
        "block type ls",
        "artifact ls",
        "variable ls",
        "global-concurrency-limit ls",
        "concurrency-limit ls",
        "config view",
        "profile ls",
        "version",
    ],
)
def test_whatever_reads_prints_json(command: str, run_id: str):
    printed(*command.format(run_id=run_id).split())
