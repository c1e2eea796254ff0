"""``headgate artifact``."""

from __future__ import annotations

from typing import Any

import click

from headgate.cli import output
from headgate.cli.app import App, pass_app
from headgate.cli.output import Format
from headgate.core.artifacts import Artifact


@click.group()
def artifact() -> None:
    """List, show and delete artifacts."""


@artifact.command()
@click.option("--limit", type=click.IntRange(1), default=100, show_default=True, help="How many.")
@click.option(
    "--all", "-a", "all_", is_flag=True, help="All versions of each key, and those without a key."
)
@output.format_option
@pass_app
def ls(app: App, limit: int, all_: bool, format: Format) -> None:
    """List the latest artifact of each key, the newest first."""
    with app.client() as client:
        read = client.read_artifacts if all_ else client.read_latest_artifacts
        found = read(limit=limit)
    if format == "json":
        output.write_json([_facts(one) for one in found])
        return
    now = app.clock.now()
    rows = [[one.id, one.key or "", one.type, output.ago(one.update_time, now)] for one in found]
    empty = "There are no artifacts." if all_ else "There are no artifacts with a key; add --all."
    output.write_table(["id", "key", "type", "updated"], rows, empty=empty)


@artifact.command()
@click.argument("key")
@click.option("--limit", type=click.IntRange(1), default=10, show_default=True, help="How many.")
@output.format_option
@pass_app
def inspect(app: App, key: str, limit: int, format: Format) -> None:
    """Show the versions of a key, the newest first."""
    with app.client() as client:
        found = client.read_artifacts(keys=[key], limit=limit)
    if not found:
        msg = f"There is no artifact with the key {key!r}; list them: headgate artifact ls"
        raise click.ClickException(msg)
    if format == "json":
        output.write_json([_facts(one) for one in found])
        return
    for place, one in enumerate(found):
        if place:
            click.echo()
        output.write_record(_facts(one), format)


@artifact.command()
@click.argument("key", required=False)
@click.option("--id", "artifact_id", metavar="ID", help="Only the one with this id.")
@pass_app
def delete(app: App, key: str | None, artifact_id: str | None) -> None:
    """Delete all artifacts of KEY, or the one with --id."""
    if (key is None) == (artifact_id is None):
        msg = "Name either a key or an --id."
        raise click.UsageError(msg)
    with app.client() as client:
        if artifact_id is not None:
            client.delete_artifact(artifact_id)
            click.echo(f"Deleted the artifact {artifact_id}.")
        elif key is not None:
            client.delete_artifacts_of_key(key)
            click.echo(f"Deleted all artifacts with the key {key!r}.")


def _facts(found: Artifact) -> dict[str, Any]:
    return {
        "id": found.id,
        "key": found.key,
        "type": found.type,
        "description": found.description,
        "data": found.data,
        "metadata": found.metadata,
        "flow_run_id": found.flow_run_id,
        "task_run_id": found.task_run_id,
        "latest": found.latest,
        "create_time": found.create_time,
        "update_time": found.update_time,
    }
