"""``headgate work-pool``."""

from __future__ import annotations

import click

from headgate.cli import output
from headgate.cli.app import App, pass_app
from headgate.cli.output import Cell, Format
from headgate.core import deployments

STYLES = {
    deployments.WorkPoolState.READY: "green",
    deployments.WorkPoolState.NOT_READY: "red",
    deployments.WorkPoolState.PAUSED: "yellow",
}


@click.group("work-pool")
def work_pool() -> None:
    """List, make, pause and resume work pools."""


@work_pool.command()
@output.format_option
@pass_app
def ls(app: App, format: Format) -> None:
    """List the work pools, and who serves them."""
    with app.client() as client:
        pools = client.read_work_pools()
        runners = client.read_runners(online_only=True)
    if format == "json":
        output.write_json(pools)
        return
    rows = [
        [
            pool.name,
            pool.type,
            Cell.of(pool.state.value.replace("_", " ").lower(), STYLES[pool.state]),
            str(sum(pool.name in runner.work_pool_names for runner in runners)),
            "" if pool.concurrency_limit is None else str(pool.concurrency_limit),
            pool.description,
        ]
        for pool in pools
    ]
    columns = ["name", "type", "state", "runners", "limit", "description"]
    output.write_table(columns, rows, empty="There are no work pools.")


@work_pool.command()
@click.argument("name")
@click.option("-t", "--type", "kind", default="process", show_default=True, help="How it executes.")
@click.option("--limit", type=click.IntRange(1), help="How many of its runs may run at once.")
@click.option("--description", default="", help="For people.")
@click.option("--paused", is_flag=True, help="No run of it starts until it is resumed.")
@pass_app
def create(
    app: App, name: str, kind: str, limit: int | None, description: str, paused: bool
) -> None:
    """Make a work pool."""
    with app.client() as client:
        pool = client.create_work_pool(
            name, type=kind, concurrency_limit=limit, description=description, paused=paused
        )
    click.echo(f"Made the work pool {pool.name!r}. Serve it: runner --pool {pool.name}")


@work_pool.command()
@click.argument("name")
@pass_app
def pause(app: App, name: str) -> None:
    """Let no further run of a pool start. Runs under way go on."""
    with app.client() as client:
        client.update_work_pool(name, paused=True)
    click.echo(f"Paused the work pool {name!r}. Resume it: headgate work-pool resume {name}")


@work_pool.command()
@click.argument("name")
@pass_app
def resume(app: App, name: str) -> None:
    """Let runs of a paused pool start again."""
    with app.client() as client:
        client.update_work_pool(name, paused=False)
    click.echo(f"Resumed the work pool {name!r}.")
