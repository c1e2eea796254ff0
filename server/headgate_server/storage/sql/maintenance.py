"""What people do to a database by hand; ``headgate server database`` calls it.

Every function takes a database URL, holds the database while it works (SQLite: no server
may), and raises InvalidArgument, DatabaseInUse or Unavailable.
"""

from __future__ import annotations

import contextlib
from collections.abc import Generator
from typing import Any

import sqlalchemy as sa

from headgate.core.clock import SystemClock
from headgate_server.storage import holding
from headgate_server.storage.sql import schema
from headgate_server.storage.sql.opening import open_database


def current(database_url: str) -> str | None:
    """Return the revision of the schema; None if the database is empty."""
    with _held(database_url) as connection:
        return schema.current(connection)


def upgrade(database_url: str, revision: str = "head") -> str | None:
    """Bring the schema up to a revision; return the one it is at then."""
    with _held(database_url) as connection:
        schema.upgrade(connection, revision)
        return schema.current(connection)


def downgrade(database_url: str, revision: str) -> str | None:
    """Take the schema back to a revision; return the one it is at then.

    ``base`` removes all tables with all they hold.
    """
    with _held(database_url) as connection:
        schema.downgrade(connection, revision)
        return schema.current(connection)


def reset(database_url: str) -> str | None:
    """Remove all tables with all they hold, and make them anew; return the revision."""
    with _held(database_url) as connection:
        schema.downgrade(connection, "base")
        schema.upgrade(connection)
        return schema.current(connection)


def differences(database_url: str) -> list[Any]:
    """Return how the tables the code knows differ from those of the database."""
    with _held(database_url) as connection:
        return schema.differences(connection)


def new_revision(database_url: str, message: str) -> None:
    """Write a revision file with what the code's tables have and the database's have not."""
    with _held(database_url) as connection:
        schema.new_revision(connection, message, f"{int(schema.HEAD) + 1:04}")


@contextlib.contextmanager
def _held(database_url: str) -> Generator[sa.Connection]:
    file = holding.database_file(database_url)
    hold = file and holding.Hold(file, kind=holding.HolderKind.MAINTENANCE)
    database = open_database(database_url, clock=SystemClock(), hold=hold)
    database.open()
    try:
        with database.connect_writer() as connection, schema.transaction(connection):
            yield connection
    except Exception as error:
        raise database.unavailable(error) or error from error
    finally:
        database.close()
