"""The schema: which revision a database is at, and how it gets to another one."""

from __future__ import annotations

import contextlib
from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from headgate._version import __version__
from headgate.core import errors

if TYPE_CHECKING:
    from alembic.config import Config

#: The newest revision. Known without loading Alembic, which a server whose database is up
#: to date need not wait for.
HEAD = "0006"

#: PostgreSQL: the advisory lock that lets one replica migrate at a time.
_MIGRATION_LOCK = 0x68656164676174


@contextlib.contextmanager
def transaction(connection: sa.Connection) -> Generator[None]:
    """Run the block in a transaction, on a connection of the committer's kind."""
    connection.exec_driver_sql("BEGIN")
    try:
        if connection.dialect.name == "postgresql":
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_MIGRATION_LOCK)))
        yield
    except BaseException:
        connection.exec_driver_sql("ROLLBACK")
        raise
    connection.exec_driver_sql("COMMIT")


def current(connection: sa.Connection) -> str | None:
    """Return the revision a database is at; None if it is empty."""
    if not sa.inspect(connection).has_table("alembic_version"):
        return None
    return connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()


def upgrade(connection: sa.Connection, revision: str = "head") -> None:
    """Bring the schema up to a revision, all of it or nothing.

    Raises:
        FailedPrecondition: A newer version of Headgate has made it.
    """
    _refuse_newer(current(connection))
    from alembic import command  # it takes long to load

    command.upgrade(_config(connection), revision)


def downgrade(connection: sa.Connection, revision: str) -> None:
    """Take the schema back to a revision; ``base`` removes all tables.

    Raises:
        FailedPrecondition: A newer version of Headgate has made it.
    """
    _refuse_newer(current(connection))
    from alembic import command  # it takes long to load

    command.downgrade(_config(connection), revision)


def new_revision(connection: sa.Connection, message: str, revision_id: str) -> None:
    """Write a revision file with what the tables have and the database has not."""
    from alembic import command  # it takes long to load

    command.revision(_config(connection), message, autogenerate=True, rev_id=revision_id)


def differences(connection: sa.Connection) -> list[Any]:
    """Return how the tables that the code knows differ from those the database has."""
    from alembic import autogenerate, migration  # they take long to load

    from headgate_server.storage.sql.tables import METADATA

    return autogenerate.compare_metadata(migration.MigrationContext.configure(connection), METADATA)


def prepare(connection: sa.Connection, *, migrate: bool) -> None:
    """Make sure that the schema is the newest.

    Raises:
        FailedPrecondition: It is not, and ``migrate`` is false; or it is newer.
    """
    with transaction(connection):
        found = current(connection)
        if found == HEAD:
            return
        _refuse_newer(found)
        if not migrate:
            raise errors.FailedPrecondition(
                f"The database schema is at revision {found or 'none'}, this server needs "
                f"{HEAD}; run `headgate server database upgrade`.",
                "database",
            )
        upgrade(connection)


def _refuse_newer(found: str | None) -> None:
    if found is not None and found > HEAD:  # revisions are numbers of four digits
        raise errors.FailedPrecondition(
            f"The database schema is at revision {found}, of a newer version of Headgate: this "
            f"one ({__version__}) knows them up to {HEAD}. Install the newer version, or name "
            "another database with --database-url or HEADGATE_SERVER_DATABASE_URL.",
            "database",
        )


def _config(connection: sa.Connection) -> Config:
    from alembic.config import Config  # it takes long to load

    config = Config()
    # `%` would be read as an interpolation.
    location = str(Path(__file__).with_name("migrations")).replace("%", "%%")
    config.set_main_option("script_location", location)
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config
