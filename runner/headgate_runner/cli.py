"""The commands of the group ``headgate runner``, and ``runner``, which is ``runner start``."""

from __future__ import annotations

import functools

import anyio
import click

from headgate.core import errors
from headgate_runner import defaults


@click.group("runner")
def runner() -> None:
    """Execute the runs of work pools."""


@runner.command("start")
@click.option(
    "-p",
    "--pool",
    "pools",
    multiple=True,
    default=("default",),
    show_default="default",
    help="A work pool to serve. May be given more than once.",
)
@click.option(
    "-q",
    "--queue",
    "queues",
    multiple=True,
    show_default="all",
    help="A queue to be limited to. May be given more than once.",
)
@click.option("-n", "--name", show_default="made up", help="A name for people.")
@click.option(
    "-l",
    "--limit",
    type=click.IntRange(min=1),
    default=defaults.LIMIT,
    show_default=True,
    help="How many runs at most at once.",
)
@click.option(
    "--grace",
    type=click.FloatRange(min=0),
    default=defaults.GRACE_SECONDS,
    show_default=True,
    help="How many seconds runs may go on when the runner is stopped; then they are handed back.",
)
@click.option("--api-url", show_default="the one configured", help="The server.")
@click.option(
    "--output/--no-output",
    default=True,
    show_default=True,
    help="Whether to show what the runs print. It is kept as their logs in any case.",
)
def start(
    *,
    pools: tuple[str, ...],
    queues: tuple[str, ...],
    name: str | None,
    limit: int,
    grace: float,
    api_url: str | None,
    output: bool,
) -> None:
    """Lease runs from work pools and execute each in a process of its own.

    Runs until it is stopped: at SIGTERM or Ctrl-C it takes no more runs and lets those under way
    finish; a second time hands them back at once. When the server is away it goes on trying.
    """
    # Loads grpc, which `--help` need not wait for.
    from headgate_runner.runner import Runner

    url = api_url or _configured_server()
    made = Runner(
        url,
        pools=pools,
        queues=queues,
        name=name,
        limit=limit,
        grace_seconds=grace,
        write=functools.partial(click.echo, color=None),
        echo_output=output,
    )
    try:
        anyio.run(made.run)
    except errors.NotFound as error:
        raise click.ClickException(_what_to_do(error, url)) from error


def _configured_server() -> str:
    from headgate import settings
    from headgate.client import embedded

    return settings.current().api_url or embedded.ensure_server()


def _what_to_do(error: errors.NotFound, url: str) -> str:
    if error.resource.replace("_", " ") == "work pool":
        return (
            f"There is no work pool {error.name!r} at {url}; "
            f"make it: headgate work-pool create {error.name}"
        )
    return str(error)
