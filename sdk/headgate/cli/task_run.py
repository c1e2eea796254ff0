"""``headgate task-run``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from headgate.cli import inputs, output
from headgate.cli.app import App, pass_app
from headgate.cli.output import Format
from headgate.core import errors, ids, runs
from headgate.core.states import StateType, VerdictKind

if TYPE_CHECKING:
    from headgate.client.orchestration import SyncHeadgateClient

#: What a task run can be made by hand: an end.
ENDS = {kind.default_name: kind for kind in StateType if kind.is_terminal}


@click.group("task-run")
def task_run() -> None:
    """List task runs, and end them by hand."""


@task_run.command()
@click.option("--flow-run", metavar="ID|NAME", help="Only those of this flow run.")
@click.option("-n", "--limit", type=click.IntRange(1), default=20, show_default=True)
@click.option("--state", "state_names", multiple=True, help="Only in a state of this name.")
@click.option(
    "--state-type",
    "state_types",
    multiple=True,
    type=click.Choice([kind.value for kind in StateType], case_sensitive=False),
    help="Only in a state of this type.",
)
@output.format_option
@pass_app
def ls(
    app: App,
    flow_run: str | None,
    limit: int,
    state_names: Sequence[str],
    state_types: Sequence[str],
    format: Format,
) -> None:
    """List task runs, the newest first."""
    with app.client() as client:
        found = client.read_task_runs(
            flow_run_ids=[_flow_run_id(client, flow_run)] if flow_run else (),
            state_names=state_names,
            state_types=[StateType(kind) for kind in state_types],
            descending=True,
            limit=limit,
        )
    if format == "json":
        output.write_json(found)
        return
    now = app.clock.now()
    rows = [
        [run.id, run.name, output.state_cell(run.state), output.ago(run.state.timestamp, now)]
        for run in found
    ]
    output.write_table(
        ["id", "name", "state", "when"], rows, empty="There are no task runs like that."
    )


@task_run.command()
@click.argument("id")
@output.format_option
@pass_app
def inspect(app: App, id: str, format: Format) -> None:
    """Show everything about one task run."""
    with app.client() as client:
        found = client.read_task_run(_checked_id(id))
    if format == "json":
        output.write_json(found)
        return
    facts: dict[str, Any] = {
        "name": found.name,
        "id": found.id,
        "flow_run": found.flow_run_id,
        "task_key": found.task_key,
        "state": found.state,
        "message": found.state.message,
        "tags": ", ".join(found.tags),
        "attempts": found.run_count,
        "start": found.start_time,
        "end": found.end_time,
        "parent": found.parent_task_run_id,
        "created": found.create_time,
    }
    output.write_record(facts, format)


@task_run.command("set-state")
@click.argument("id")
@click.argument("state", type=click.Choice(list(ENDS), case_sensitive=False))
@click.option("--result", metavar="JSON", help="What a Completed one returned; JSON, or a text.")
@click.option("--message", default="", help="Why, for people.")
@pass_app
def set_state(app: App, id: str, state: str, result: str | None, message: str) -> None:
    """End a task run by hand, e.g. as Completed, because its work was done by other means.

    The flow run must not be executed meanwhile. Where it is durable, `headgate flow-run retry`
    then goes on with the result that was given, rather than calling the task again.
    """
    kind = ENDS[state]
    if result is not None and kind is not StateType.COMPLETED:
        msg = "only a Completed run has a result; leave it away."
        raise click.BadParameter(msg, param_hint="--result")
    with app.client() as client:
        done = client.set_task_run_state(
            _checked_id(id), _state(kind, result, message or "It was set by hand.")
        )
    if done.verdict.kind is VerdictKind.ABORT:
        raise errors.FailedPrecondition(done.verdict.reason, "task run", done.task_run.id)
    click.echo(f"Task run {done.task_run.name!r} is {done.task_run.state.name}.")
    if kind is StateType.COMPLETED:
        click.echo(_outlook(done.task_run))


def _state(kind: StateType, result: str | None, message: str) -> Any:
    from headgate import payloads, serializers, states

    if kind is not StateType.COMPLETED:
        return states.new(kind, message=message)
    value = None if result is None else inputs.json_or_text(result)
    payload = payloads.inline(value, serializers.JSONSerializer())
    if payload is None:
        msg = f"the result is bigger than {payloads.INLINE_BYTES_MAX} bytes."
        raise click.BadParameter(msg, param_hint="--result")
    return states.new(kind, message=message, data=value, payload=payload)


def _outlook(run: runs.TaskRun) -> str:
    if run.state.details.call_key:
        return f"Go on behind it: headgate flow-run retry {run.flow_run_id}"
    return (
        "Another attempt of its flow run calls the task again all the same: the flow is not "
        "durable, or its process was killed before it could say which call it was."
    )


def _flow_run_id(client: SyncHeadgateClient, text: str) -> str:
    from headgate.cli import flow_run

    return flow_run.find(client, text).id


def _checked_id(text: str) -> str:
    """Return the id of a task run as the server wants it.

    Raises:
        InvalidArgument: This is none.
    """
    if not ids.is_id(text.lower()):
        msg = f"{text!r} is no id; `headgate task-run ls` lists them."
        raise errors.InvalidArgument.of("task run", msg)
    return text.lower()
