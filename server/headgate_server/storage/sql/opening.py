"""From a database URL to a storage."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy import exc

from headgate.core import errors
from headgate.core.clock import Clock
from headgate_server.storage.holding import Hold
from headgate_server.storage.sql.database import Database
from headgate_server.storage.sql.storage import SqlStorage


def open_storage(
    database_url: str,
    *,
    clock: Clock,
    ids: Callable[[], str],
    migrate: bool = True,
    full_sync: bool = False,
    use_database_clock: bool = True,
    hold: Hold | None = None,
) -> SqlStorage:
    """Make the storage of a database URL; ``start`` opens it.

    Args:
        database_url: ``sqlite:///path`` or ``postgresql://user@host/name``.
        clock: What time it is, where the database has no clock of its own.
        ids: Makes new ids.
        migrate: Whether to bring the schema up to date at the start.
        full_sync: SQLite: whether a commit also survives a power cut.
        use_database_clock: PostgreSQL: whether its clock tells the time, which all replicas
            share. Tests that move a clock by hand say no.
        hold: SQLite: keeps other processes off the file. Default: one of a server.

    Raises:
        InvalidArgument: The URL names no database that can be used.
    """
    database = open_database(
        database_url,
        clock=clock,
        full_sync=full_sync,
        use_database_clock=use_database_clock,
        hold=hold,
    )
    return SqlStorage(database, ids=ids, migrate=migrate)


def open_database(
    database_url: str,
    *,
    clock: Clock,
    full_sync: bool = False,
    use_database_clock: bool = True,
    hold: Hold | None = None,
) -> Database:
    """Make the database of a URL."""
    try:
        url = sa.make_url(database_url)
    except exc.ArgumentError:
        raise _refusal("it is not a URL") from None
    match url.get_backend_name():
        case "sqlite":
            from headgate_server.storage.sql.sqlite import SqliteDatabase

            if not url.database or url.database == ":memory:":
                raise _refusal("it names no file")
            path = Path(url.database).expanduser().absolute()
            return SqliteDatabase(path, clock=clock, full_sync=full_sync, hold=hold)
        case "postgresql" | "postgres":
            from headgate_server.storage.sql.postgresql import PostgresqlDatabase

            return PostgresqlDatabase(url, clock=None if use_database_clock else clock)
        case other:
            raise _refusal(f"{other} is not supported")


def _refusal(fact: str) -> errors.InvalidArgument:
    return errors.InvalidArgument.of(
        "database_url", f"{fact}; use sqlite:///path/to/file.db or postgresql://user@host/name."
    )
