"""``headgate concurrency-limit``: of the tasks with a tag."""

from __future__ import annotations

import click

from headgate.cli import global_concurrency_limit, output
from headgate.cli.app import App, pass_app
from headgate.cli.output import Format
from headgate.core.concurrency import TAG_PREFIX


@click.group("concurrency-limit")
def concurrency_limit() -> None:
    """Limit how many task runs with a tag run at once."""


@concurrency_limit.command()
@click.argument("tag")
@click.argument("limit", type=click.IntRange(0), metavar="CONCURRENCY_LIMIT")
@pass_app
def create(app: App, tag: str, limit: int) -> None:
    """Limit the task runs with a tag; changes the limit if there is one. 0: they fail."""
    with app.client() as client:
        client.create_concurrency_limit(tag, limit)
    click.echo(f"At most {limit} task runs with the tag {tag!r} run at once from now on.")


@concurrency_limit.command()
@click.option("--limit", type=click.IntRange(1), help="How many at most.  [default: all]")
@output.format_option
@pass_app
def ls(app: App, limit: int | None, format: Format) -> None:
    """List the limits of tags, and how many of their task runs run."""
    with app.client() as client:
        limits = client.read_concurrency_limits(limit=limit)
    if format == "json":
        output.write_json(limits)
        return
    rows = [
        [one.name.removeprefix(TAG_PREFIX), str(one.limit), str(one.active_slots), str(one.waiting)]
        for one in limits
    ]
    columns = ["tag", "limit", "running", "waiting"]
    empty = "No tag has a concurrency limit."
    output.write_table(columns, rows, empty=empty, numbers=columns[1:])


@concurrency_limit.command()
@click.argument("tag")
@output.format_option
@pass_app
def inspect(app: App, tag: str, format: Format) -> None:
    """Show the limit of a tag, and the task runs that hold its slots or wait for them."""
    with app.client() as client:
        limit = client.read_concurrency_limit_by_tag(tag)
        leases = client.read_slot_leases(limit.name, include_waiting=True)
    global_concurrency_limit.write(app, limit, leases, format)


@concurrency_limit.command()
@click.argument("tag")
@pass_app
def reset(app: App, tag: str) -> None:
    """Free all slots of a tag's limit, for when their task runs are known to be gone."""
    with app.client() as client:
        client.reset_concurrency_limit_by_tag(tag)
    click.echo(f"Freed all slots of the tag {tag!r}.")


@concurrency_limit.command()
@click.argument("tag")
@pass_app
def delete(app: App, tag: str) -> None:
    """Delete the limit of a tag."""
    with app.client() as client:
        client.delete_concurrency_limit_by_tag(tag)
    click.echo(f"Deleted the concurrency limit of the tag {tag!r}.")
