"""``headgate server``: start it, and look after its database."""

from __future__ import annotations

import asyncio
import dataclasses
import gc
import ipaddress
import json
import logging
import os
import signal
import threading
import urllib.parse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

# The parts of the server are imported where they are used: `headgate --help` loads this file.
if TYPE_CHECKING:
    from headgate_server.app import App
    from headgate_server.settings import Settings
    from headgate_server.storage.holding import Holder

T = TypeVar("T")

#: How long a server may take to end: its streams, its calls, its database.
STOP_SECONDS = 30.0
_LOOK_EVERY_SECONDS = 0.02

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
@click.option("--embedded", is_flag=True, hidden=True)
@click.option("--no-migrate", is_flag=True, help="Refuse a database that is not up to date.")
@click.option("--no-dashboard", is_flag=True, help="Start without the dashboard.")
def start(
    idle_timeout: float | None,
    embedded: bool,
    no_migrate: bool,
    no_dashboard: bool,
    **given: Any,
) -> None:
    """Start the server; Ctrl-C stops it.

    On the default database it also listens where runs and runners look that are told of no
    server; it takes over from the embedded one that they may have started there.

    Every option can be set by an environment variable, too: HEADGATE_SERVER_PORT and so on.
    """
    settings = _settings(
        **given,
        embedded=True if embedded else None,
        idle_timeout_seconds=idle_timeout,
        migrate_on_start=False if no_migrate else None,
    )
    _configure_logging(settings.log_level)
    _warn_of_misspelled_settings()
    if no_dashboard:
        click.echo("This version has no dashboard; --no-dashboard changes nothing.", err=True)
    _or_fail(lambda: asyncio.run(_serve(settings)))


async def _serve(settings: Settings) -> None:
    from headgate_server.app import App

    _collect_seldom()
    app = App(settings)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, app.stop)
    await app.run(on_ready=lambda: click.echo(_greeting(app)), tell=click.echo)
    click.echo("Headgate server stopped.")


def _collect_seldom() -> None:
    """Search for garbage in cycles less often than Python does by default.

    What streams bring becomes many objects that live for a moment and form no cycles; to search
    them at the default rate takes up to a fifth of the server's time under load.
    """
    gc.freeze()  # What is imported stays.
    gc.set_threshold(50_000, 20, 50)


def _greeting(app: App) -> str:
    from headgate_server.settings import mask_password

    greeting = (
        f"Headgate server ready at {' and '.join(app.addresses)} "
        f"(database {mask_password(app.settings.database)}). Ctrl-C stops it."
    )
    if not all(map(_is_local, app.addresses)):
        greeting += (
            "\nWhoever reaches this address may do everything: there is neither TLS nor a token "
            "yet. Listen on 127.0.0.1 and use an SSH tunnel, or put a proxy in front."
        )
    return greeting


def _is_local(address: str) -> bool:
    parts = urllib.parse.urlsplit(address)
    if parts.scheme == "unix" or parts.hostname == "localhost":
        return True
    try:
        return ipaddress.ip_address(parts.hostname or "").is_loopback
    except ValueError:
        return False


@server.command()
@_DATABASE_URL
def stop(database_url: str | None) -> None:
    """Stop the server of a database on this machine, also an embedded one."""
    from headgate_server.storage.holding import HolderKind, find_holder

    file = _database_file(database_url)
    holder = find_holder(file)
    if holder is None:
        click.echo(f"No server has the database {file}; there is none to stop.")
        return
    if holder.kind is HolderKind.MAINTENANCE:
        msg = f"`headgate server database` (process {holder.pid}) has {file}; let it finish."
        raise click.ClickException(msg)
    try:
        os.kill(holder.pid, signal.SIGTERM)
    except ProcessLookupError:
        pass  # it has just ended
    except PermissionError:
        msg = f"The server (process {holder.pid}) is another user's; ask them to stop it."
        raise click.ClickException(msg) from None

    def has_ended() -> bool:
        now = find_holder(file)
        return now is None or now.pid != holder.pid

    if not _wait_until(has_ended, STOP_SECONDS):
        msg = (
            f"The server (process {holder.pid}) has not ended within {STOP_SECONDS:g} s; see what "
            f"its log says, or end it (kill -9 {holder.pid}): nothing that it acknowledged is lost."
        )
        raise click.ClickException(msg)
    click.echo(f"{_called(holder)} stopped.")


@server.command("status")
@_DATABASE_URL
@click.option("--wait", is_flag=True, help="Wait until a server answers.")
@click.option(
    "--timeout", default=60.0, show_default=True, metavar="SECONDS", help="How long to wait."
)
@click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table")
def show(database_url: str | None, wait: bool, timeout: float, output: str) -> None:
    """Show which server serves a database on this machine, and where.

    The exit code is 1 if there is none.
    """
    from headgate_server.storage.holding import find_holder

    file = _database_file(database_url)

    def answers() -> bool:
        found = find_holder(file)
        return found is not None and bool(found.addresses)

    if wait:
        _wait_until(answers, timeout)
    holder = find_holder(file)
    if holder is None:
        msg = f"No server has the database {file}; start one: headgate server start"
        raise click.ClickException(msg)
    if not holder.addresses:
        raise click.ClickException(f"{_called(holder)} has {file}, but does not answer calls yet.")
    if output == "json":
        described = {**dataclasses.asdict(holder), "database": str(file)}
        click.echo(json.dumps(described, indent=2))
        return
    click.echo(f"{_called(holder)} answers at {' and '.join(holder.addresses)} (database {file}).")


def _called(holder: Holder) -> str:
    from headgate_server.storage.holding import HolderKind

    match holder.kind:
        case HolderKind.SERVER:
            name = "Headgate server"
        case HolderKind.EMBEDDED:
            name = "Embedded server"
        case HolderKind.MAINTENANCE:
            name = "`headgate server database`"
    return f"{name} (process {holder.pid})"


def _wait_until(fits: Callable[[], bool], timeout_seconds: float) -> bool:
    """Wait until something is so; False when it takes too long."""
    from headgate.core.clock import SystemClock

    clock = SystemClock()
    deadline = clock.monotonic() + timeout_seconds
    pause = threading.Event()  # never set: its timed wait is the pause between two looks
    while not fits():
        if clock.monotonic() > deadline:
            return False
        pause.wait(_LOOK_EVERY_SECONDS)
    return True


def _database_file(database_url: str | None) -> Path:
    """Return the file of the database; its servers can be told by it."""
    from headgate_server.settings import mask_password

    settings = _settings(database_url=database_url)
    if settings.database_file is None:
        msg = (
            f"{mask_password(settings.database)} is no file on this machine by which its servers "
            "could be told; look for them where they were started."
        )
        raise click.ClickException(msg)
    return settings.database_file


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
    """Make the settings of what was given; the rest comes from the environment and files."""
    import pydantic

    from headgate_server.settings import PREFIX, Settings

    try:
        return Settings.read(**{n: value for n, value in given.items() if value is not None})
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


def _warn_of_misspelled_settings() -> None:
    from headgate_server.settings import misspelled

    for said in misspelled():
        logging.getLogger("headgate.server.settings").warning(said)


def _or_fail(work: Callable[[], T]) -> T:
    """Do it; an error that people can do something about becomes one sentence and exit code 1."""
    from headgate.core import errors

    try:
        return work()
    except errors.HeadgateError as error:
        raise click.ClickException(error.message) from error
