"""The demo without server and runner: what it counts, shows, and says when something dies."""

from __future__ import annotations

import io
import pathlib

import click
import pytest
import rich.console

from headgate.cli.demo import live, processes
from headgate.core import clock, runs
from headgate.core.states import StateType
from tests.unit.cli.conftest import a_state, a_transition


def a_task_transition(task: str, type: StateType, name: str | None = None) -> runs.TransitionRecord:
    return a_transition(
        type,
        1,
        kind=runs.RunKind.TASK_RUN,
        run_id=task,
        run_name=task,
        state=a_state(type, name=name),
    )


def test_the_tally_counts_tasks_once_and_retries_each_time():
    tally = live.Tally()
    for record in [
        a_transition(StateType.RUNNING, 1),
        a_task_transition("a", StateType.RUNNING),
        a_task_transition("b", StateType.RUNNING),
        a_task_transition("a", StateType.SCHEDULED, "AwaitingRetry"),
        a_task_transition("a", StateType.RUNNING, "Retrying"),
        a_task_transition("a", StateType.COMPLETED),
    ]:
        tally.add(record)
    assert (tally.tasks, tally.ended, tally.retries, tally.transitions) == (2, 1, 1, 6)


@pytest.mark.parametrize(
    ("record", "worth"),
    [
        (a_transition(StateType.RUNNING, 1), True),
        (a_task_transition("a", StateType.RUNNING), False),
        (a_task_transition("a", StateType.COMPLETED), False),
        (a_task_transition("a", StateType.SCHEDULED, "AwaitingRetry"), True),
        (a_task_transition("a", StateType.RUNNING, "Retrying"), True),
        (a_task_transition("a", StateType.FAILED), True),
    ],
)
def test_the_story_of_a_run_is_its_flows_and_what_goes_wrong(
    record: runs.TransitionRecord, worth: bool
):
    assert live.is_worth_a_line(record) is worth


def test_elsewhere_than_on_a_terminal_lines_stay(capsys: pytest.CaptureFixture[str]):
    tally = live.Tally()
    with live.display() as display:
        assert isinstance(display, live.PlainDisplay)
        for number in range(live.TELL_EVERY):
            record = a_task_transition(str(number), StateType.COMPLETED)
            tally.add(record)
            display.show(record, tally)
        display.show(a_transition(StateType.COMPLETED, 1), tally)
    progress, ended = capsys.readouterr().out.splitlines()
    assert "50 of 50" in progress
    assert "brave-otter" in ended


def test_on_a_terminal_the_story_stays_and_the_tail_goes(monkeypatch: pytest.MonkeyPatch):
    drawn = io.StringIO()
    console = rich.console.Console(file=drawn, force_terminal=True, width=100)
    monkeypatch.setattr("rich.get_console", lambda: console)
    display, tally = live.TerminalDisplay(), live.Tally()
    with display:
        for record in [
            a_transition(StateType.RUNNING, 1),
            a_task_transition("load", StateType.COMPLETED),
        ]:
            tally.add(record)
            display.show(record, tally)
    said = drawn.getvalue()
    assert "brave-otter" in said
    assert "1/1" in said
    assert "load" not in said.splitlines()[-1]


def a_process(folder: pathlib.Path, program: str) -> processes.Process:
    return processes.Process(
        "server", ["-c", program], log=folder / "server.log", environment={"WHO": "nobody"}
    )


def test_a_process_that_dies_is_told_with_its_last_words(tmp_path: pathlib.Path):
    process = a_process(tmp_path, "import os, sys; sys.exit(f'{os.environ[\"WHO\"]} asked')")
    with pytest.raises(click.ClickException, match=r"(?s)exit code 1.*server\.log.*nobody asked"):
        processes.wait_until(
            lambda: False, process, clock=clock.SystemClock(), timeout_seconds=30, what="it answers"
        )


def test_what_does_not_come_up_in_time_is_told(tmp_path: pathlib.Path):
    living = a_process(tmp_path, "import signal; signal.pause()")
    time = clock.ManualClock()

    def ready() -> bool:
        time.advance(20)
        return False

    try:
        with pytest.raises(click.ClickException, match="Not within 30 s: it answers"):
            processes.wait_until(ready, living, clock=time, timeout_seconds=30, what="it answers")
    finally:
        living.stop()
    living.stop()  # a second time does no harm


def test_nobody_listens_where_there_is_no_socket(tmp_path: pathlib.Path):
    assert not processes.listens(tmp_path / "server.sock")
