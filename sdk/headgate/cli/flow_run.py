"""``headgate flow-run``."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import click

from headgate.cli import following, output, pausing, retrying
from headgate.cli.app import App, pass_app
from headgate.cli.output import Format
from headgate.core import errors, ids, runs
from headgate.core.states import StateType

if TYPE_CHECKING:
    from headgate.client.orchestration import SyncHeadgateClient

STATE_TYPES = [kind.value for kind in StateType]
LEVELS = ["debug", "info", "warning", "error", "critical"]
#: At most so many subflows are looked for when the logs of a run are shown.
SUBFLOWS_MAX = 1_000
NAMES_AT_ONCE = 200


@click.group("flow-run")
def flow_run() -> None:
    """List, watch, pause, cancel and retry flow runs, read their logs."""


@flow_run.command()
@click.option("-n", "--limit", type=click.IntRange(1), default=20, show_default=True)
@click.option("--flow-name", default="", help="Only runs of this flow.")
@click.option("--state", "state_names", multiple=True, help="Only in a state of this name.")
@click.option(
    "--state-type",
    "state_types",
    multiple=True,
    type=click.Choice(STATE_TYPES, case_sensitive=False),
    help="Only in a state of this type.",
)
@output.format_option
@pass_app
def ls(
    app: App,
    limit: int,
    flow_name: str,
    state_names: Sequence[str],
    state_types: Sequence[str],
    format: Format,
) -> None:
    """List flow runs, the newest first."""
    with app.client() as client:
        found = client.read_flow_runs(
            flow_name=flow_name,
            # They are listed by their name.
            exclude_flow_name="" if flow_name else runs.TASKS_FLOW,
            state_names=state_names,
            state_types=[StateType(kind) for kind in state_types],
            limit=limit,
        )
    if format == "json":
        output.write_json(found)
        return
    now = app.clock.now()
    rows = [
        [run.id, run.flow_name, run.name, output.state_cell(run.state), _when(run, now)]
        for run in found
    ]
    output.write_table(
        ["id", "flow", "name", "state", "when"],
        rows,
        empty="There are no flow runs like that.",
    )


@flow_run.command()
@click.argument("run", metavar="ID|NAME")
@output.format_option
@pass_app
def inspect(app: App, run: str, format: Format) -> None:
    """Show everything about one flow run."""
    with app.client() as client:
        found = find(client, run)
        if format == "json":
            output.write_json(found)
            return
        counts = client.count_task_runs(flow_run_ids=[found.id])
    facts: dict[str, Any] = {
        "name": found.name,
        "id": found.id,
        "flow": found.flow_name,
        "deployment": found.deployment_name,
        "state": found.state,
        "parameters": found.parameters,
        "tags": ", ".join(found.tags),
        "attempts": found.run_count,
        "task_runs": ", ".join(f"{count.count} {count.name}" for count in counts),
        "expected_start": found.expected_start_time,
        "start": found.start_time,
        "end": found.end_time,
        "took": _took(found),
        "work_pool": found.work_pool_name,
        "work_queue": found.work_queue_name,
        "runner": found.runner_name,
        "fencing_token": found.fencing_token or None,
        "parent": found.parent_flow_run_id,
        "created": found.create_time,
    }
    output.write_record(facts, format)


@flow_run.command()
@click.argument("run", metavar="ID|NAME")
@click.option("-f", "--follow", is_flag=True, help="Go on until the run has ended.")
@click.option("-n", "--limit", type=click.IntRange(1), help="Only so many lines.")
@click.option("--reverse", is_flag=True, help="The newest first.")
@click.option("--level", type=click.Choice(LEVELS), default="debug", help="This or worse.")
@output.format_option
@pass_app
def logs(
    app: App,
    run: str,
    follow: bool,
    limit: int | None,
    reverse: bool,
    level: str,
    format: Format,
) -> None:
    """Show what a flow run, its tasks and its subflows logged.

    With --follow, JSON is one object on a line for each log line; else it is a list of them.
    """
    if follow and (limit is not None or reverse):
        msg = "--follow goes with neither --limit nor --reverse: it shows all lines as they come."
        raise click.UsageError(msg)
    level_min: int = logging.getLevelNamesMapping()[level.upper()]
    with app.client() as client:
        found = find(client, run)
        names = _Names(client, found)
        if follow:
            _write_logs(client.tail_logs(found.id, level_min=level_min), names, format)
            return
        records = client.read_logs(
            flow_run_ids=_with_subflows(client, found.id),
            level_min=level_min,
            descending=reverse,
            limit=limit,
        )
        if format == "json":
            output.write_json(records)
            return
        names.learn(records)
        _write_logs(records, names, format)


@flow_run.command()
@click.argument("run", metavar="ID|NAME")
@pass_app
def cancel(app: App, run: str) -> None:
    """End a flow run: at once where nothing executes it, else as soon as its runner stopped it."""
    with app.client() as client:
        before = find(client, run)
        after = client.cancel_flow_run(before.id)
    if before.state.is_terminal:
        msg = f"Flow run {before.name!r} has ended already: it is {before.state.name}."
        raise errors.FailedPrecondition(msg, "flow run", before.id)
    if after.state.is_terminal:
        click.echo(f"Flow run {after.name!r} is {after.state.name}.")
    else:
        click.echo(
            f"Flow run {after.name!r} is {after.state.name}. "
            f"Watch it end: headgate flow-run watch {after.id}"
        )


@flow_run.command()
@click.argument("run", metavar="ID|NAME")
@output.format_option
@pass_app
def watch(app: App, run: str, format: Format) -> None:
    """Show the transitions of a flow run, its tasks and its subflows, until it has ended.

    As JSON, each is an object on a line of its own. The exit code is 0 if the run completed, and
    1 if it ended otherwise.
    """
    show = output.write_json_line if format == "json" else None
    with app.client() as client:
        ended = following.follow(client, find(client, run), show=show)
    click.get_current_context().exit(following.exit_code(ended))


flow_run.add_command(retrying.retry)
flow_run.add_command(retrying.execute)
flow_run.add_command(pausing.pause)
flow_run.add_command(pausing.suspend)
flow_run.add_command(pausing.resume)


def find(client: SyncHeadgateClient, text: str) -> runs.FlowRun:
    """Find a flow run by id or by name.

    Raises:
        NotFound: There is none.
        InvalidArgument: There are several of this name.
    """
    if ids.is_id(text.lower()):
        return client.read_flow_run(text.lower())
    found = [run for run in client.read_flow_runs(name_contains=text) if run.name == text]
    match found:
        case []:
            raise errors.NotFound("flow run", text)
        case [run]:
            return run
        case _:
            newest = ", ".join(run.id for run in found[:3])
            raise errors.InvalidArgument.of(
                "flow run", f"{text!r} is the name of several; give the id of one: {newest}."
            )


def _with_subflows(client: SyncHeadgateClient, flow_run_id: str) -> list[str]:
    found = [flow_run_id]
    for parent in found:  # grows while it is read
        if len(found) < SUBFLOWS_MAX:
            found += [run.id for run in client.read_flow_runs(parent_flow_run_id=parent)]
    return found


class _Names:
    """The names of the runs that logged, each asked for once."""

    def __init__(self, client: SyncHeadgateClient, run: runs.FlowRun) -> None:
        self._client = client
        self._names = {run.id: f"Flow run {run.name!r}"}

    def learn(self, records: Sequence[runs.LogRecord]) -> None:
        """Ask for the task runs of many lines, some hundred at a time."""
        wanted = sorted({record.task_run_id for record in records if record.task_run_id})
        for start in range(0, len(wanted), NAMES_AT_ONCE):
            for run in self._client.read_task_runs(ids=wanted[start : start + NAMES_AT_ONCE]):
                self._names[run.id] = f"Task run {run.name!r}"

    def of(self, record: runs.LogRecord) -> str:
        """Say who logged a line."""
        run_id = record.task_run_id or record.flow_run_id
        if run_id not in self._names:
            self._names[run_id] = self._ask(record)
        return self._names[run_id]

    def _ask(self, record: runs.LogRecord) -> str:
        try:
            if record.task_run_id is not None:
                return f"Task run {self._client.read_task_run(record.task_run_id).name!r}"
            return f"Flow run {self._client.read_flow_run(record.flow_run_id).name!r}"
        except errors.NotFound:
            # A line of a task may be stored before the task is.
            return record.task_run_id or record.flow_run_id


def _write_logs(records: Iterable[runs.LogRecord], names: _Names, format: Format) -> None:
    for record in records:
        if format == "json":
            output.write_json_line(record)
        else:
            click.echo(_log_line(record, names))


def _log_line(record: runs.LogRecord, names: _Names) -> str:
    time = record.timestamp.astimezone().strftime("%H:%M:%S.%f")[:-3]
    level = logging.getLevelName(record.level)
    return f"{time} | {level:<7} | {names.of(record)} - {record.message}"


def _when(run: runs.FlowRun, now: Any) -> str:
    if run.state.type is StateType.SCHEDULED:
        return output.ago(run.expected_start_time or run.state.timestamp, now)
    return output.ago(run.state.timestamp, now)


def _took(run: runs.FlowRun) -> str | None:
    if run.start_time is None or run.end_time is None:
        return None
    return output.duration((run.end_time - run.start_time).total_seconds())
