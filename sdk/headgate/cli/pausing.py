"""``headgate flow-run pause``, ``suspend`` and ``resume``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from headgate.cli import inputs
from headgate.cli.app import App, pass_app
from headgate.core import errors, runs, states
from headgate.core.ids import new_id

if TYPE_CHECKING:
    from headgate.client.orchestration import SyncHeadgateClient


@click.command()
@click.argument("run", metavar="ID|NAME")
@pass_app
def pause(app: App, run: str) -> None:
    """Let a flow run begin no further task until it is resumed; its process waits."""
    with app.client() as client:
        found = _find(client, run)
        state = states.new_state(states.StateType.PAUSED, id=new_id(), now=app.clock.now())
        _tell(client.set_flow_run_state(found.id, state))


@click.command()
@click.argument("run", metavar="ID|NAME")
@pass_app
def suspend(app: App, run: str) -> None:
    """Let the process of a flow run end before its next task; resuming starts it anew."""
    with app.client() as client:
        found = _find(client, run)
        state = states.new_state(
            states.StateType.PAUSED,
            id=new_id(),
            now=app.clock.now(),
            name="Suspended",
            details=states.StateDetails(pause_reschedule=True),
        )
        _tell(client.set_flow_run_state(found.id, state))


@click.command()
@click.argument("run", metavar="ID|NAME")
@click.option(
    "--input",
    "run_input",
    metavar="NAME=VALUE",
    multiple=True,
    help="A field of the input that its pause waits for; the value is JSON, or a text.",
)
@pass_app
def resume(app: App, run: str, run_input: tuple[str, ...]) -> None:
    """Let a paused or suspended flow run go on."""
    given = _fields(run_input)
    with app.client() as client:
        found = _find(client, run)
        _tell(client.resume_flow_run(found.id, given or None))


def _fields(texts: tuple[str, ...]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not name or not equals:
            raise click.BadParameter(f"{text!r} is not NAME=VALUE.", param_hint="--input")
        found[name] = inputs.json_or_text(value)
    return found


def _find(client: SyncHeadgateClient, run: str) -> runs.FlowRun:
    from headgate.cli import flow_run  # which has these commands in its group

    return flow_run.find(client, run)


def _tell(result: Any) -> None:
    after: runs.FlowRun = result.flow_run
    if result.verdict.kind is not states.VerdictKind.ACCEPT:
        reason = result.verdict.reason or f"It is {after.state.name}."
        raise errors.FlowPauseError(f"Flow run {after.name!r} stays as it is: {reason}")
    click.echo(f"Flow run {after.name!r} is {after.state.name}.")
