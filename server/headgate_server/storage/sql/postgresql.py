"""PostgreSQL, through psycopg: any number of equal servers on one database."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import datetime
from typing import Any

import psycopg
import sqlalchemy as sa
from sqlalchemy import event, exc

from headgate.core import errors
from headgate.core.clock import Clock, SystemClock
from headgate_server.storage.records import Commit
from headgate_server.storage.sql.announcements import IMPATIENCE, Announcements, Presence
from headgate_server.storage.sql.driver import Driver
from headgate_server.storage.sql.lane import Lane
from headgate_server.storage.sql.one_statement import NOW
from headgate_server.storage.sql.postgresql_driver import PostgresqlDriver
from headgate_server.storage.sql.types import from_micros

_CONNECT_TIMEOUT_SECONDS = 5

#: A replica whose machine vanished must not keep its turn to write for longer than this.
_WRITER_OPTIONS = "-c idle_in_transaction_session_timeout=15s -c tcp_user_timeout=15s"
_READER_OPTIONS = "-c statement_timeout=60s"

#: Statements of the writer are prepared when they are first executed. With psycopg's default, the
#: fifth time, a statement that was to be prepared in a pipeline that failed before it counts as
#: prepared from then on, and fails for ever: psycopg looks at what became of new ones only.
_PREPARE_THRESHOLD = 0
_PREPARED_MAX = 300


class PostgresqlDatabase:
    """A database that replicas share.

    Args:
        url: Where it is.
        clock: What time it is; None to ask the database, as replicas must.
    """

    name = "postgresql"

    def __init__(self, url: sa.URL, *, clock: Clock | None) -> None:
        self._url = url.set(drivername="postgresql+psycopg")
        self._clock = clock
        self._replica_id = uuid.uuid4().hex
        self._writers = sa.create_engine(
            self._url,
            pool_size=1,
            # The committer begins and commits by itself, see driver.py.
            isolation_level="AUTOCOMMIT",
            connect_args={
                **_connect_args(_WRITER_OPTIONS),
                "prepare_threshold": _PREPARE_THRESHOLD,
            },
        )
        event.listen(self._writers, "connect", _keep_prepared)
        self._readers = sa.create_engine(
            self._url,
            pool_size=4,
            max_overflow=0,
            isolation_level="REPEATABLE READ",
            connect_args=_connect_args(_READER_OPTIONS),
        )
        event.listen(self._readers, "connect", _set_read_only)
        self._presence = Presence((clock or SystemClock()).monotonic)
        self.driver: Driver = PostgresqlDriver(clock, self._replica_id, self._presence)

    def open(self) -> None:
        """Nothing to take hold of: replicas share it."""

    def close(self) -> None:
        self._readers.dispose()
        self._writers.dispose()

    def connect_writer(self) -> sa.Connection:
        return self._writers.connect()

    def be_patient(self, connection: sa.Connection, *, patient: bool) -> bool:
        return patient  # each answer of it comes over a socket

    def open_lane(self) -> Lane:
        return Lane(self._connect_lane)

    def _connect_lane(self) -> psycopg.Connection[Any]:
        conninfo = self._url.set(drivername="postgresql").render_as_string(hide_password=False)
        return psycopg.connect(conninfo, autocommit=True, **_connect_args(_WRITER_OPTIONS))

    def connect_reader(self) -> sa.Connection:
        return self._readers.connect()

    def now(self, connection: sa.Connection) -> datetime:
        if self._clock is not None:
            return self._clock.now()
        return from_micros(connection.exec_driver_sql(f"SELECT {NOW}").scalar_one())

    def follow(self, on_commit: Callable[[Commit], None]) -> Callable[[], None]:
        conninfo = self._url.set(drivername="postgresql").render_as_string(hide_password=False)
        announcements = Announcements(conninfo, self._replica_id, self._presence, on_commit)
        announcements.start()
        return announcements.stop

    def unavailable(self, error: Exception) -> errors.Unavailable | None:
        cause = error.orig if isinstance(error, exc.DBAPIError) else error
        if not isinstance(cause, psycopg.OperationalError | psycopg.InterfaceError):
            return None
        where = self._url.render_as_string(hide_password=True)
        fact = str(cause).strip().splitlines()
        return errors.Unavailable(
            f"The database {where} cannot be used now: "
            f"{fact[0].rstrip('.') if fact else 'no answer'}; check that it runs, and that "
            "--database-url is its address."
        )


def _connect_args(options: str) -> dict[str, Any]:
    return {
        "connect_timeout": _CONNECT_TIMEOUT_SECONDS,
        "application_name": "headgate",
        "options": options,
        **IMPATIENCE,
    }


def _keep_prepared(connection: psycopg.Connection[Any], _: object) -> None:
    connection.prepared_max = _PREPARED_MAX


def _set_read_only(connection: psycopg.Connection[Any], _: object) -> None:
    connection.read_only = True
