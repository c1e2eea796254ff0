"""``headgate demo``: the command."""

from __future__ import annotations

import contextlib
import json
import shutil
import signal
import sys
import tempfile
import threading
from collections.abc import Generator
from pathlib import Path
from typing import NoReturn

import click

from headgate.cli import following, output
from headgate.cli.app import App, pass_app
from headgate.cli.demo import live
from headgate.cli.demo.stage import NAME, Stage, set_up
from headgate.core import runs


@click.command()
@click.option("--keep", is_flag=True, help="Leave server and runner up until Ctrl-C.")
@click.option(
    "--folder",
    type=click.Path(path_type=Path, file_okay=False),
    help="Where everything goes. Default: a new folder among the temporary files.",
)
@pass_app
def demo(app: App, keep: bool, folder: Path | None) -> None:
    """Run a small real pipeline through a server and a runner, and show it live.

    It measures the source of Python's standard library: lists its files, parses those of each
    package in a task of its own, adds up in a subflow and writes a report. One task fails at
    first, and is retried. The pipeline is an ordinary flow file, which is put into the folder.
    """
    folder = folder.absolute() if folder else Path(tempfile.mkdtemp(prefix="headgate-demo-"))
    folder.mkdir(parents=True, exist_ok=True)
    _tell("folder", str(folder))
    with _sigterm_as_exit(), set_up(app, folder, _tell) as stage:
        run = _play(stage)
        _tell_next(stage, run, keep=keep)
        if keep:
            _wait_for_interrupt(stage)


def _play(stage: Stage) -> runs.FlowRun:
    """Deploy the pipeline, run it and tell how it went; return the run after its end."""
    deployment = stage.deploy()
    _tell("deployed", f"{deployment.full_name}, from {stage.folder / deployment.entrypoint}")
    click.echo()
    started = stage.app.clock.monotonic()
    run = stage.ask(deployment)
    tally = live.Tally()
    with live.display() as display:
        for record in stage.transitions(run):
            tally.add(record)
            display.show(record, tally)
    took = stage.app.clock.monotonic() - started
    ended = stage.client.read_flow_run(run.id)
    click.echo()
    if following.exit_code(ended):
        msg = f"Flow run {ended.name!r} is {ended.state.name}: {ended.state.message}"
        raise click.ClickException(msg)
    _tell_report(stage.folder / "report")
    _tell_outcome(ended, tally, took)
    return ended


def _tell(name: str, text: str) -> None:
    click.echo(f"{click.style(f'{name:<9}', bold=True)} {text}")


def _tell_report(folder: Path) -> None:
    """Write the table of the report."""
    document = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    columns = ["package", "files", "lines", "functions", "classes", "documented"]
    rows = [
        [
            row["package"],
            *[f"{row[name]:,}" for name in columns[1:5]],
            f"{row['documented_percent']} %",
        ]
        for row in [*document["largest"], document["total"]]
    ]
    click.echo(f"The largest packages of the standard library of {document['release']}:\n")
    output.write_table(columns, rows, numbers=columns[1:])
    click.echo()
    _tell("report", f"{folder / 'report.csv'}, {folder / 'report.json'}")


def _tell_outcome(run: runs.FlowRun, tally: live.Tally, took: float) -> None:
    retries = "1 retry" if tally.retries == 1 else f"{tally.retries} retries"
    _tell(
        "took",
        f"{took:.1f} s: {tally.tasks} task runs with {retries}, in a process of their own; "
        f"{tally.transitions:,} transitions recorded",
    )


def _tell_next(stage: Stage, run: runs.FlowRun, *, keep: bool) -> None:
    """Say how to look at what has run, in words that work where this was called.

    Without ``keep`` there is no server any more: an embedded one shows the folder.
    """
    headgate = _own_command()
    look = {
        f"{headgate} flow-run ls": "what has run",
        f"{headgate} flow-run logs {run.name}": "what it said",
    }
    if keep:
        commands = {
            f"export HEADGATE_API_URL={stage.api_url}": "this server",
            **look,
            f"{headgate} deployment run {run.flow_name}/{NAME} --watch": "the same once more",
        }
    else:
        commands = {
            f"export HEADGATE_HOME={stage.folder}": "the home of this demo",
            **look,
            f"{headgate} demo --keep": "leaves server and runner up",
        }
    width = max(len(command) for command in commands)
    click.echo("\nTry next, in another terminal:" if keep else "\nTry next:")
    for command, purpose in commands.items():
        click.echo(f"  {command.ljust(width)}  # {purpose}")


def _own_command() -> str:
    """Return how this command is called here: its name, or its path where that is needed."""
    if shutil.which("headgate"):
        return "headgate"
    called = Path(sys.argv[0])
    return sys.argv[0] if called.name == "headgate" else "python -m headgate.cli"


def _wait_for_interrupt(stage: Stage) -> None:
    """Return at Ctrl-C."""
    click.echo("\nServer and runner are up; Ctrl-C stops them.")
    pause = threading.Event()  # never set: it waits for the signal
    with contextlib.suppress(KeyboardInterrupt):
        while not pause.wait(1.0):
            for process in stage.processes:
                process.check()
    click.echo("\nStopping.")


@contextlib.contextmanager
def _sigterm_as_exit() -> Generator[None, None, None]:
    """Turn SIGTERM into SystemExit, so that server and runner are stopped then, too."""

    def leave(number: int, frame: object) -> NoReturn:
        sys.exit(128 + number)

    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
