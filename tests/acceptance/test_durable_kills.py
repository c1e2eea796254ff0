"""Durable flows are killed with SIGKILL at every step, and what they have done stays done."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys
from collections import Counter

import pytest

from headgate.core.states import StateType
from headgate.states import from_record
from tests.acceptance.conftest import SHORT, Stage, ask, headgate, until

pytestmark = pytest.mark.slow

FLOWS = pathlib.Path(__file__).with_name("durable_flows.py")
STEPS = 50


class Story:
    """One flow run by hand, and all the processes in which it was executed."""

    def __init__(self, stage: Stage, flow: str) -> None:
        self.lines_file = stage.folder / "lines"
        server = stage.server(env=SHORT)
        self.client = stage.client(server.api_url)
        self._env = {
            **os.environ,
            "HEADGATE_API_URL": server.api_url,
            "HEADGATE_HOME": str(stage.folder),
            "LINES": str(self.lines_file),
        }
        self._flow = flow

    def begin(self, **env: str) -> int:
        """Call the flow; returns the exit code."""
        return self.execute(str(FLOWS), self._flow, **env)

    def go_on(self, **env: str) -> int:
        """Retry the run, whose process is gone; returns the exit code."""
        (run,) = self.client.read_flow_runs(top_level=True)
        return self.execute("-m", "headgate.cli", "flow-run", "retry", run.id, "--force", **env)

    def execute(self, *command: str, **env: str) -> int:
        """Run Python; returns its exit code, which is 0 or that of SIGKILL."""
        done = subprocess.run(
            [sys.executable, *command],
            env={**self._env, **env},
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode in (0, -9), done.stdout + done.stderr
        return done.returncode

    @property
    def lines(self) -> list[int]:
        """The numbers of the steps, in the order in which they were done."""
        return [int(line) for line in self.lines_file.read_text().split()]


def where(number: int) -> dict[str, str]:
    """Say where to kill: within a step under way, or right behind one that has completed."""
    return {"DIE_WITHIN" if number % 2 == 0 else "DIE_BEHIND": str(number)}


def test_a_durable_flow_killed_at_each_of_50_steps_does_no_completed_step_again(
    stage: Stage,
) -> None:
    story = Story(stage, "durable")
    assert story.begin(**where(0)) == -9
    for number in range(1, STEPS):
        assert story.go_on(**where(number)) == -9
    assert story.go_on() == 0

    # In order; twice those alone that were under way when their process was killed.
    assert sorted(story.lines) == story.lines
    assert Counter(story.lines) == {n: 2 if n % 2 == 0 else 1 for n in range(STEPS)}
    (run,) = story.client.read_flow_runs()
    assert (run.state.type, run.run_count) == (StateType.COMPLETED, STEPS + 1)
    assert from_record(run.state).result() == sum(range(STEPS))


def test_a_retried_flow_that_is_not_durable_is_executed_here_and_starts_over(stage: Stage) -> None:
    story = Story(stage, "fragile")
    assert story.begin(DIE_WITHIN="1") == -9
    assert story.go_on(DIE_BEHIND="2") == -9
    assert story.go_on() == 0
    assert story.lines == [0, 1, 0, 1, 2, *range(STEPS)]
    (run,) = story.client.read_flow_runs()
    assert (run.state.type, run.run_count) == (StateType.COMPLETED, 3)


def test_subflows_that_have_completed_are_not_run_again_and_the_one_under_way_goes_on(
    stage: Stage,
) -> None:
    story = Story(stage, "nested")
    assert story.begin(DIE_WITHIN="3") == -9
    assert story.go_on(DIE_WITHIN="4") == -9
    assert story.go_on() == 0
    assert story.lines == [0, 1, 2, 3, 3, 4, 4, 5]
    found = story.client.read_flow_runs(flow_name="inner")
    assert [run.state.type for run in found] == [StateType.COMPLETED] * 3


def test_a_deployed_durable_run_killed_at_every_step_completes_by_itself(stage: Stage) -> None:
    server = stage.server(env=SHORT)
    lines, marks = stage.folder / "lines", stage.folder / "marks"
    marks.mkdir()
    stage.runner(server.api_url, LINES=str(lines), DIE_ONCE=str(marks))
    options = ("--name", "test", "--on-infrastructure-loss", "reschedule:20")
    headgate(server.api_url, "deploy", f"{FLOWS}:durable", *options)
    client = stage.client(server.api_url)
    run = ask(client, "durable/test", count=8)
    ended = until(client, run.id, lambda run: run.state.is_terminal, timeout=60)
    assert ended.state.type is StateType.COMPLETED, ended.state
    assert (ended.reschedule_count, ended.run_count) == (8, 9)
    done = [int(line) for line in lines.read_text().split()]
    assert done == [number for number in range(8) for _ in range(2)]


def test_a_durable_deployment_goes_on_after_a_loss_without_being_told_to(stage: Stage) -> None:
    server = stage.server(env=SHORT)
    headgate(server.api_url, "deploy", f"{FLOWS}:durable", "--name", "test")
    headgate(server.api_url, "deploy", f"{FLOWS}:fragile", "--name", "test")
    client = stage.client(server.api_url)
    actions = {
        name: client.read_deployment_by_name(f"{name}/test").on_infrastructure_loss.action.value
        for name in ("durable", "fragile")
    }
    assert actions == {"durable": "RESCHEDULE", "fragile": "CRASH"}
