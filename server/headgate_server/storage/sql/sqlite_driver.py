"""SQLite's driver, for the committer."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterable, Sequence
from itertools import chain

import sqlalchemy as sa

from headgate.core.clock import Clock
from headgate_server.storage.records import Commit
from headgate_server.storage.sql import tables
from headgate_server.storage.sql.driver import Cursors, Guard, Heads, RawRow, Rows, Turn
from headgate_server.storage.sql.updates import UPDATED_COLUMNS, update_values

_UPDATE_TASK_RUN = (
    f"UPDATE task_runs SET {','.join(f'{name}=?' for name in UPDATED_COLUMNS)} WHERE id=?"
)
_HEADS = "SELECT journal, logs FROM heads"
_CURSORS = "SELECT id, fencing_token, committed_seq, committed_log_seq FROM flow_runs WHERE id"
#: Both at once, where one run writes alone: each statement takes as long as its work.
_HEADS_AND_CURSORS = (
    "SELECT journal, logs, f.id, fencing_token, committed_seq, committed_log_seq"
    " FROM heads LEFT JOIN flow_runs AS f ON f.id=?"
)
#: Few sizes, so that the driver keeps the statements prepared; the largest stays far below the
#: 32,766 values that a statement may have.
_ROWS_PER_STATEMENT = (512, 64, 8, 2, 1)
_SET_CURSORS = "UPDATE flow_runs SET committed_seq=?, committed_log_seq=? WHERE id=?"


class SqliteDriver:
    """See :class:`headgate_server.storage.sql.driver.Driver`."""

    commits_alone = False  # each statement is answered at once

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._inserts: dict[tuple[str, int], str] = {}

    def begin(self, connection: sa.Connection, run_ids: Collection[str]) -> Turn:
        execute = _driver(connection).execute
        execute("BEGIN IMMEDIATE")
        if len(run_ids) == 1:  # most often
            journal, logs, *cursors = execute(_HEADS_AND_CURSORS, tuple(run_ids)).fetchone()
            known = [Cursors(*cursors)] if cursors[0] is not None else []
            return Turn(Heads(journal, logs), self._clock.now(), known)
        heads = Heads(*execute(_HEADS).fetchone())
        found: Iterable[Sequence[object]] = ()
        if run_ids:
            marks = ",".join("?" * len(run_ids))
            found = execute(f"{_CURSORS} IN ({marks})", tuple(run_ids))
        return Turn(heads, self._clock.now(), [Cursors(*row) for row in found])

    def insert(self, connection: sa.Connection, table: sa.Table, rows: Sequence[RawRow]) -> None:
        # Not executemany: the driver lets go of the GIL for every single row, and while the event
        # loop is busy it gets it back only after a switch interval each time.
        execute, place = _driver(connection).execute, 0
        for count in _ROWS_PER_STATEMENT:
            while len(rows) - place >= count:
                some = rows[place : place + count]
                execute(self._insert_text(table, count), list(chain.from_iterable(some)))
                place += count

    def update_task_runs(self, connection: sa.Connection, rows: Sequence[RawRow]) -> None:
        _driver(connection).executemany(_UPDATE_TASK_RUN, [update_values(row) for row in rows])

    def write(self, connection: sa.Connection, rows: Rows) -> None:
        if rows.new_task_runs:
            self.insert(connection, tables.task_runs, list(rows.new_task_runs.values()))
        if rows.changed_task_runs:
            self.update_task_runs(connection, list(rows.changed_task_runs.values()))
        if rows.journal:
            self.insert(connection, tables.journal, rows.journal)
        if rows.logs:
            self.insert(connection, tables.logs, rows.logs)
        if len(rows.cursors) == 1:
            _driver(connection).execute(_SET_CURSORS, rows.cursors[0])
        elif rows.cursors:
            _driver(connection).executemany(_SET_CURSORS, rows.cursors)

    def commit(
        self, connection: sa.Connection, rows: Rows | None, heads: Heads | None, commit: Commit
    ) -> None:
        if rows is not None:
            self.write(connection, rows)
        execute = _driver(connection).execute
        if heads is not None:
            execute("UPDATE heads SET journal=?, logs=?", (heads.journal, heads.logs))
        execute("COMMIT")

    def commit_alone(self, connection: sa.Connection, guard: Guard, rows: Rows) -> int | None:
        return None

    def alone_statement(self, guard: Guard, rows: Rows) -> None:
        return None

    def rollback(self, connection: sa.Connection) -> None:
        driver = _driver(connection)
        if driver.in_transaction:
            driver.execute("ROLLBACK")

    def _insert_text(self, table: sa.Table, count: int) -> str:
        text = self._inserts.get((table.name, count))
        if text is None:
            names = table.columns.keys()
            row = f"({','.join('?' * len(names))})"
            text = f"INSERT INTO {table.name} ({','.join(names)}) VALUES {','.join([row] * count)}"
            self._inserts[table.name, count] = text
        return text


def _driver(connection: sa.Connection) -> sqlite3.Connection:
    driver = connection.connection.driver_connection
    assert isinstance(driver, sqlite3.Connection)
    return driver
