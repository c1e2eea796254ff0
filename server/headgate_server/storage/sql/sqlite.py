"""SQLite: one writer with a connection of its own, readers beside it, one server per file."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy import event, exc, pool

from headgate.core import errors
from headgate.core.clock import Clock
from headgate_server.storage.holding import Hold
from headgate_server.storage.records import Commit
from headgate_server.storage.sql.driver import Driver
from headgate_server.storage.sql.sqlite_driver import SqliteDriver

#: How long to wait for a lock that somebody else holds, e.g. a backup. No server does.
_BUSY_TIMEOUT_SECONDS = 30.0

#: Both more than SQLite's defaults, which are made for phones: 16 MiB, and a checkpoint
#: every 16 MiB of log rather than every 4.
_CACHE_KIB = 16_384
_CHECKPOINT_PAGES = 4_000

#: What stops progress but is nobody's mistake in SQL.
_UNAVAILABLE = {
    sqlite3.SQLITE_BUSY: "is locked by another program; end that one",
    sqlite3.SQLITE_LOCKED: "is locked by another program; end that one",
    sqlite3.SQLITE_FULL: "cannot grow: the disk is full; make room there",
    sqlite3.SQLITE_IOERR: "cannot be read or written: the disk fails; look after it",
    sqlite3.SQLITE_READONLY: "cannot be written: it is read-only; make it writable",
    sqlite3.SQLITE_CANTOPEN: "cannot be opened; see to who may read and write it and its folder",
    sqlite3.SQLITE_NOTADB: "is no database of SQLite; name another file, or move that one away",
    sqlite3.SQLITE_CORRUPT: "is damaged; put a backup in its place, or name another file",
}


class SqliteDatabase:
    """A database file, held by one server at a time.

    Args:
        path: The file. Its folder is made if need be.
        clock: What time it is.
        full_sync: Whether a commit waits for the disk, so that it survives a power cut and
            not only the death of the process.
        hold: Keeps other processes off the file. Default: one of a server.
    """

    name = "sqlite"

    def __init__(
        self, path: Path, *, clock: Clock, full_sync: bool = False, hold: Hold | None = None
    ) -> None:
        self._path = path
        self._clock = clock
        self._full_sync = full_sync
        self._hold = hold or Hold(path)
        self._writers = self._engine(read_only=False)
        self._readers = self._engine(read_only=True)
        self.driver: Driver = SqliteDriver(clock)

    def open(self) -> None:
        if self._path.is_dir():
            raise errors.InvalidArgument.of(
                "database_url",
                f"{self._path} is a folder; name a file in it: sqlite:///{self._path}/headgate.db.",
            )
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._hold.acquire()
        except OSError as problem:
            raise errors.InvalidArgument.of(
                "database_url",
                f"{self._path} cannot be used ({problem.strerror}); see to its folder, or name a "
                "file elsewhere.",
            ) from problem

    def close(self) -> None:
        self._readers.dispose()
        self._writers.dispose()
        self._hold.release()

    def connect_writer(self) -> sa.Connection:
        return self._writers.connect()

    def be_patient(self, connection: sa.Connection, *, patient: bool) -> bool:
        if self._full_sync:
            return patient
        seconds, pages = (_BUSY_TIMEOUT_SECONDS, _CHECKPOINT_PAGES) if patient else (0.0, 0)
        connection.exec_driver_sql(f"PRAGMA busy_timeout={int(seconds * 1000)}")
        connection.exec_driver_sql(f"PRAGMA wal_autocheckpoint={pages}")
        return True

    def open_lane(self) -> None:
        return None  # small commits are made at once

    def connect_reader(self) -> sa.Connection:
        return self._readers.connect()

    def now(self, connection: sa.Connection) -> datetime:
        return self._clock.now()

    def follow(self, on_commit: Callable[[Commit], None]) -> Callable[[], None]:
        return lambda: None

    def unavailable(self, error: Exception) -> errors.Unavailable | None:
        cause = error.orig if isinstance(error, exc.DBAPIError) else error
        if not isinstance(cause, sqlite3.Error):
            return None
        # The low byte is the primary code; SQLite's errors know more than we tell apart.
        code = getattr(cause, "sqlite_errorcode", None)
        fact = None if code is None else _UNAVAILABLE.get(code & 0xFF)
        return None if fact is None else errors.Unavailable(f"The database {self._path} {fact}.")

    def _engine(self, *, read_only: bool) -> sa.Engine:
        engine = sa.create_engine(
            sa.URL.create("sqlite", database=str(self._path)),
            connect_args={"check_same_thread": False, "timeout": _BUSY_TIMEOUT_SECONDS},
            # The committer begins and commits by itself, see driver.py.
            isolation_level=None if read_only else "AUTOCOMMIT",
            poolclass=pool.QueuePool,
            pool_size=4,
            max_overflow=0,
        )

        def prepare(connection: sqlite3.Connection, _: object) -> None:
            # Transactions begin where we say so, not where the driver guesses.
            connection.isolation_level = None
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute(f"PRAGMA synchronous={'FULL' if self._full_sync else 'NORMAL'}")
            connection.execute(f"PRAGMA cache_size=-{_CACHE_KIB}")
            connection.execute(f"PRAGMA wal_autocheckpoint={_CHECKPOINT_PAGES}")
            connection.execute(f"PRAGMA query_only={'ON' if read_only else 'OFF'}")

        event.listen(engine, "connect", prepare)
        if read_only:
            event.listen(engine, "begin", _begin_snapshot)
        return engine


def _begin_snapshot(connection: sa.Connection) -> None:
    connection.exec_driver_sql("BEGIN")
