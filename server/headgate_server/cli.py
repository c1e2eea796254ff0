"""``headgate server``: start it, and look after its database."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

# The parts of the server are imported where they are used: `headgate --help` loads this file.
if TYPE_CHECKING:
    from headgate_server.app import App
    from headgate_server.settings import Settings

T = TypeVar("T")

_DATABASE_URL = click.option(
    "--database-url", help="sqlite:///PATH, or postgresql://...  [default: the user's own file]"
)


@click.group()
def server() -> None:
    """Run the control plane, and look after its database."""


@server.command()
@click.option("--host", help="Address to listen on.  [default: 127.0.0.1]")
@click.option("--port", type=int, help="Port to listen on; 0: any that is free.  [default: 4200]")
@click.option(
    "--unix-socket",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Listen on this path; on host and port only if they are given, too.",
)
@_DATABASE_URL
@click.option("--log-level", help="debug, info, warning or error.  [default: info]")
@click.option(
    "--idle-timeout", type=float, metavar="SECONDS", help="End when unused for this long."
)
@click.option("--no-migrate", is_flag=True, help="Refuse a database that is not up to date.")
@click.option("--no-dashboard", is_flag=True, help="Start without the dashboard.")
def start(idle_timeout: float | None, no_migrate: bool, no_dashboard: bool, **given: Any) -> None:
    """Start the server; Ctrl-C stops it.

    Every option can be set by an environment variable, too: HEADGATE_SERVER_PORT and so on.
    """
    settings = _settings(
        **given,
        idle_timeout_seconds=idle_timeout,
        migrate_on_start=False if no_migrate else None,
    )
    _configure_logging(settings.log_level)
    if no_dashboard:
        click.echo("This version has no dashboard; --no-dashboard changes nothing.", err=True)
    _or_fail(lambda: asyncio.run(_serve(settings)))


async def _serve(settings: Settings) -> None:
    from headgate_server.app import App

    app = App(settings)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, app.stop)
    await app.run(on_ready=lambda: click.echo(_greeting(app)))
    click.echo("Headgate server stopped.")


def _greeting(app: App) -> str:
    from headgate_server.settings import mask_password

    return (
        f"Headgate server ready at {' and '.join(app.addresses)} "
        f"(database {mask_password(app.settings.database)}). Ctrl-C stops it."
    )


@server.group()
def database() -> None:
    """Bring the database to another version of its schema."""


@database.command()
@_DATABASE_URL
@click.option("--revision", default="head", show_default=True, help="How far.")
def upgrade(database_url: str | None, revision: str) -> None:
    """Bring the schema up to date."""
    from headgate_server import app

    settings = _settings(database_url=database_url)
    now_at = _or_fail(lambda: app.upgrade_database(settings, revision))
    click.echo(f"The database is at revision {now_at}.")


@database.command()
@_DATABASE_URL
@click.option("--revision", required=True, help="How far; 'base' removes all tables.")
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
def downgrade(database_url: str | None, revision: str, yes: bool) -> None:
    """Take the schema back to an older version."""
    from headgate_server import app

    settings = _settings(database_url=database_url)
    if not yes:
        click.confirm("What the older version does not know is lost. Go on?", abort=True)
    now_at = _or_fail(lambda: app.downgrade_database(settings, revision))
    click.echo(f"The database is at revision {now_at or 'base: it is empty'}.")


@database.command()
@_DATABASE_URL
@click.option("--message", "-m", required=True, help="What the revision is for.")
def revision(database_url: str | None, message: str) -> None:
    """Write a new revision file, for those who develop Headgate."""
    from headgate_server import app

    settings = _settings(database_url=database_url)
    _or_fail(lambda: app.write_database_revision(settings, message))
    click.echo("The revision file was written; look it over.")


@database.command()
@_DATABASE_URL
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
def reset(database_url: str | None, yes: bool) -> None:
    """Delete everything in the database, and make it anew."""
    from headgate_server import app
    from headgate_server.settings import mask_password

    settings = _settings(database_url=database_url)
    if not yes:
        place = mask_password(settings.database)
        click.confirm(f"Everything in {place} is deleted. Go on?", abort=True)
    now_at = _or_fail(lambda: app.reset_database(settings))
    click.echo(f"The database is empty, at revision {now_at}.")


def _settings(**given: Any) -> Settings:
    """Make the settings of what was given; the rest comes from the environment."""
    import pydantic

    from headgate_server.settings import PREFIX, Settings

    try:
        return Settings(**{name: value for name, value in given.items() if value is not None})
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0])
        option = name.removesuffix("_seconds").replace("_", "-")
        raise click.UsageError(
            f"--{option} (or {PREFIX}{name.upper()}): {first['msg']}, not {first['input']!r}."
        ) from None


def _configure_logging(level: str) -> None:
    logging.basicConfig(
        level=logging.WARNING,
        format="%(asctime)s.%(msecs)03d | %(levelname)-7s | %(message)s",
        datefmt="%H:%M:%S",
    )
    logging.getLogger("headgate").setLevel(level.upper())


def _or_fail(work: Callable[[], T]) -> T:
    """Do it; an error that people can do something about becomes one sentence and exit code 1."""
    from headgate.core import errors

    try:
        return work()
    except errors.HeadgateError as error:
        raise click.ClickException(error.message) from error
