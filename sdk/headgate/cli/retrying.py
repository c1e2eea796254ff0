"""``headgate flow-run retry`` and ``headgate flow-run execute``: a run goes on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from headgate.cli.app import App, pass_app
from headgate.core import errors, runs
from headgate.core.states import StateType, VerdictKind

if TYPE_CHECKING:
    from headgate.client.orchestration import SyncHeadgateClient
    from headgate.flows import Flow

_entrypoint = click.option(
    "--entrypoint", metavar="FILE:FLOW", help="Where the flow is, e.g. flows.py:etl."
)


@click.command()
@click.argument("run", metavar="ID|NAME")
@_entrypoint
@click.option("--force", is_flag=True, help="Even if it is still said to run: its process is gone.")
@pass_app
def retry(app: App, run: str, entrypoint: str | None, force: bool) -> None:
    """Run a flow run again that failed, crashed or was cancelled; durable flows go on.

    A run of a deployment goes to a runner. Any other is executed here, from the file that its flow
    was in, or from --entrypoint; then the exit code is 0 if it completed, and 1 otherwise.
    """
    from headgate.engine import claimed, entry

    with app.client() as client:
        found = _find(client, run)
        if found.deployment_id is not None and entrypoint is not None:
            msg = "a runner executes the runs of a deployment, from where the deployment says"
            raise click.BadParameter(f"{msg}; leave it away.", param_hint="--entrypoint")
        place = entrypoint or entry.place_of(found)
        here = found.deployment_id is None and place is not None
        flow = None
        if here:
            # What cannot be loaded, or cannot go on, stays as it is.
            claimed.check(found)
            flow = _load(found, entrypoint, place or "")
        after = _retry(client, found, force=force)
    if flow is None:
        _tell(after)
        return
    click.get_current_context().exit(_exit_code(claimed.execute(flow, found.id)))


@click.command()
@click.argument("run", metavar="ID|NAME")
@_entrypoint
@pass_app
def execute(app: App, run: str, entrypoint: str | None) -> None:
    """Execute a flow run that waits, here and now.

    The exit code is 0 if it completed, and 1 otherwise.
    """
    from headgate.engine import claimed, entry

    with app.client() as client:
        found = _find(client, run)
        path, pull_steps = None, ()
        place = entrypoint or entry.place_of(found)
        if place is None and found.deployment_id is not None:
            deployment = client.read_deployment(found.deployment_id)
            place, path = deployment.entrypoint, deployment.path or None
            pull_steps = deployment.pull_steps
    if place is None:
        msg = f"Nobody knows where flow {found.flow_name!r} is; say it by --entrypoint FILE:FLOW."
        raise errors.MissingFlowError(msg)
    if pull_steps:
        from headgate.deployments import steps  # most deployments have none

        path = steps.run_steps(pull_steps, directory=path)
    state = claimed.execute(_load(found, entrypoint, place, path), found.id)
    click.get_current_context().exit(_exit_code(state))


def _find(client: SyncHeadgateClient, run: str) -> runs.FlowRun:
    from headgate.cli import flow_run  # which has this module's commands

    return flow_run.find(client, run)


def _load(
    run: runs.FlowRun, entrypoint: str | None, place: str, path: str | None = None
) -> Flow[..., Any]:
    """Load the flow of a run.

    Raises:
        MissingFlowError: It is not there.
        ScriptError: Its file raised something.
    """
    from headgate.engine import claimed

    try:
        return claimed.load_flow(place, path)
    except errors.MissingFlowError as problem:
        if entrypoint is not None or run.deployment_id is not None:
            raise
        # A run by hand says where its flow was: on another machine, or before the file was moved.
        msg = (
            f"Flow {run.flow_name!r} was at {place}, and cannot be loaded from there: {problem} "
            "If it is elsewhere now, say so by --entrypoint FILE:FLOW."
        )
        raise errors.MissingFlowError(msg) from problem


def _retry(client: SyncHeadgateClient, run: runs.FlowRun, *, force: bool) -> runs.FlowRun:
    """Have a run scheduled again.

    Raises:
        FailedPrecondition: The server refused it.
    """
    result = client.retry_flow_run(run.id, force=force)
    if result.verdict.kind is VerdictKind.ABORT:
        raise errors.FailedPrecondition(result.verdict.reason, "flow run", run.id)
    return result.flow_run


def _tell(run: runs.FlowRun) -> None:
    click.echo(f"Flow run {run.name!r} is {run.state.name}.")
    if run.deployment_id is not None:
        click.echo(f"Watch it: headgate flow-run watch {run.id}")
    else:
        click.echo(
            "Execute it where its code is: "
            f"headgate flow-run execute {run.id} --entrypoint FILE:FLOW"
        )


def _exit_code(state: object) -> int:
    return 0 if getattr(state, "type", None) is StateType.COMPLETED else 1
