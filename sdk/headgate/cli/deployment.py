"""``headgate deployment``."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import click

from headgate.cli import following, output
from headgate.cli.app import App, pass_app
from headgate.cli.deploy import describe
from headgate.cli.inputs import (
    LengthOfTime,
    Time,
    job_variable_option,
    parameter_option,
)
from headgate.cli.output import Cell, Format
from headgate.core import deployments, ids

if TYPE_CHECKING:
    from headgate.client.orchestration import SyncHeadgateClient


@click.group()
def deployment() -> None:
    """List, run, pause and resume deployments."""


@deployment.command()
@click.option("-p", "--pool", default="", help="Only those of this work pool.")
@click.option("-n", "--limit", type=click.IntRange(1), default=200, show_default=True)
@output.format_option
@pass_app
def ls(app: App, pool: str, limit: int, format: Format) -> None:
    """List the deployments."""
    with app.client() as client:
        found = client.read_deployments(work_pool_name=pool, limit=limit)
    if format == "json":
        output.write_json(found)
        return
    rows = [
        [
            item.full_name,
            item.work_pool_name,
            Cell.of("paused", "yellow") if item.paused else Cell.of("active", "green"),
            ", ".join(describe(schedule.rule) for schedule in item.schedules),
            ", ".join(item.tags),
        ]
        for item in found
    ]
    where = f" in the work pool {pool!r}" if pool else ""
    output.write_table(
        ["name", "pool", "state", "schedules", "tags"],
        rows,
        empty=f"There are no deployments{where}. Make one: headgate deploy FILE:FLOW --name NAME",
    )


@deployment.command()
@click.argument("name", metavar="FLOW/NAME")
@output.format_option
@pass_app
def inspect(app: App, name: str, format: Format) -> None:
    """Show everything about one deployment; by name, or by id."""
    with app.client() as client:
        found = find(client, name)
    if format == "json":
        output.write_json(found)
        return
    facts: dict[str, Any] = {
        "name": found.full_name,
        "id": found.id,
        "description": found.description,
        "entrypoint": found.entrypoint,
        "path": found.path,
        "pull_steps": [step.name for step in found.pull_steps],
        "version": found.version,
        "work_pool": found.work_pool_name,
        "work_queue": found.work_queue_name,
        "paused": found.paused,
        "schedules": [
            f"{schedule.slug}: {describe(schedule.rule)}{', paused' if schedule.paused else ''}"
            for schedule in found.schedules
        ],
        "parameters": found.parameters,
        "job_variables": found.job_variables,
        "tags": ", ".join(found.tags),
        "concurrency_limit": found.concurrency_limit,
        "on_infrastructure_loss": _at_a_loss(found.on_infrastructure_loss),
        "created": found.create_time,
        "changed": found.update_time,
    }
    output.write_record(facts, format)


@deployment.command()
@click.argument("name", metavar="FLOW/NAME")
@parameter_option
@job_variable_option
@click.option("--watch", is_flag=True, help="Show its transitions until it has ended.")
@click.option("--start-in", type=LengthOfTime(), help="Start later: 90s, 15m, 2h, 1d.")
@click.option("--start-at", type=Time(), help="Start at this time, ISO 8601.")
@click.option("--flow-run-name", default="", help="Default: an adjective and an animal.")
@click.option("-t", "--tag", "tags", multiple=True, help="Beside those of the deployment.")
@click.option("--priority", type=int, default=0, help="The higher goes first in its queue.")
@output.format_option
@pass_app
def run(
    app: App,
    name: str,
    parameters: dict[str, Any],
    job_variables: dict[str, Any],
    watch: bool,
    start_in: timedelta | None,
    start_at: datetime | None,
    flow_run_name: str,
    tags: Sequence[str],
    priority: int,
    format: Format,
) -> None:
    """Ask for a run of a deployment; by name, or by id.

    With --watch the exit code is 0 if the run completed, and 1 if it ended otherwise.
    """
    if start_in is not None and start_at is not None:
        msg = "--start-in and --start-at say the same thing; give one of them."
        raise click.UsageError(msg)
    with app.client() as client:
        made = client.create_flow_run_from_deployment(
            name,
            parameters=parameters,
            job_variables=job_variables,
            scheduled_time=app.clock.now() + start_in if start_in is not None else start_at,
            name=flow_run_name,
            tags=tags,
            priority=priority,
        )
        if format == "json" and not watch:
            output.write_json(made)
            return
        if format == "table":
            click.echo(f"Asked for flow run {made.name!r} ({made.id}).")
        if not watch:
            click.echo(f"Watch it: headgate flow-run watch {made.id}")
            return
        show = following.show_nothing if format == "json" else None
        ended = following.follow(client, made, show=show)
    if format == "json":
        output.write_json(ended)
    click.get_current_context().exit(following.exit_code(ended))


@deployment.command()
@click.argument("name", metavar="FLOW/NAME")
@pass_app
def pause(app: App, name: str) -> None:
    """Let the schedules of a deployment rest; by name, or by id. Its future runs are removed."""
    with app.client() as client:
        found = find(client, name)
        client.pause_deployment(found.id)
    click.echo(
        f"Paused {found.full_name}. Resume it: headgate deployment resume '{found.full_name}'"
    )


@deployment.command()
@click.argument("name", metavar="FLOW/NAME")
@pass_app
def resume(app: App, name: str) -> None:
    """Let the schedules of a paused deployment go on; by name, or by id."""
    with app.client() as client:
        found = find(client, name)
        client.resume_deployment(found.id)
    click.echo(f"Resumed {found.full_name}.")


def _at_a_loss(policy: deployments.InfrastructureLossPolicy) -> str:
    """Say what happens to a run whose runner is lost, as ``--on-infrastructure-loss`` has it."""
    if policy.action is deployments.InfrastructureLossAction.RESCHEDULE:
        return f"reschedule:{policy.max_reschedules}"
    return policy.action.value.lower()


def find(client: SyncHeadgateClient, text: str) -> deployments.Deployment:
    """Find a deployment by id or by ``flow name/deployment name``.

    Raises:
        NotFound: There is none.
    """
    if ids.is_id(text.lower()):
        return client.read_deployment(text.lower())
    return client.read_deployment_by_name(text)
