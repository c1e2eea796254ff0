"""PostgreSQL's driver, for the committer: as few round trips as there can be.

Statements that do not depend on each other's answers are sent together (libpq's pipeline
mode). A commit that stores task runs takes two round trips: one to get the turn and what guards
the appends, one for all the rest. Where it is of one run alone and stores a few, one statement
does everything, in one round trip and half the time.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, cast

import psycopg
import sqlalchemy as sa
from psycopg import sql

from headgate.core.clock import Clock
from headgate_server.storage.records import Commit
from headgate_server.storage.sql import one_statement, tables
from headgate_server.storage.sql.announcements import CHANNEL, Presence, encode
from headgate_server.storage.sql.driver import Cursors, Guard, Heads, RawRow, Rows, Turn
from headgate_server.storage.sql.one_statement import NOW
from headgate_server.storage.sql.types import from_micros, to_micros
from headgate_server.storage.sql.updates import UPDATED_COLUMNS, update_values

#: From so many rows on COPY is faster than INSERT. It cannot be part of a pipeline.
_COPY_ROWS_MIN = 20

#: What is stored by one statement has at most so many rows: each number of them is a statement of
#: its own, to be prepared.
_ALONE_ROWS_MAX = 8

# To lock this row is to wait for one's turn. What is read after it is what the last one left.
_TAKE_TURN = f"SELECT journal, logs, {NOW} FROM heads FOR UPDATE"
_CURSORS = (
    "SELECT id::text, fencing_token, committed_seq, committed_log_seq FROM flow_runs"
    " WHERE id = ANY(%s::uuid[])"
)
_SET_CURSORS = "UPDATE flow_runs SET committed_seq=%s, committed_log_seq=%s WHERE id=%s"
_UPDATE_TASK_RUNS = (
    sql.SQL("UPDATE task_runs SET {} WHERE id = %s")
    .format(
        sql.SQL(", ").join(
            sql.SQL("{} = %s").format(sql.Identifier(name)) for name in UPDATED_COLUMNS
        )
    )
    .as_bytes(None)
)
_SET_HEADS = "UPDATE heads SET journal=%s, logs=%s"
_NOTIFY = "SELECT pg_notify(%s, %s)"

_Connection = psycopg.Connection[Any]


class PostgresqlDriver:
    """See :class:`headgate_server.storage.sql.driver.Driver`.

    Args:
        clock: What time it is; None to ask the database.
        replica_id: Who announces commits.
        presence: Whether there is somebody to announce the smallest ones to.
    """

    commits_alone = True

    def __init__(self, clock: Clock | None, replica_id: str, presence: Presence) -> None:
        self._clock = clock
        self._presence = presence
        self._replica_id = replica_id
        self._inserts = {name: _insert(table) for name, table in tables.METADATA.tables.items()}
        self._copies = {name: _copy(table) for name, table in tables.METADATA.tables.items()}

    def begin(self, connection: sa.Connection, run_ids: Collection[str]) -> Turn:
        driver = _driver(connection)
        with driver.pipeline():
            driver.execute("BEGIN")
            turn = driver.execute(_TAKE_TURN)
            found = driver.execute(_CURSORS, (list(run_ids),)) if run_ids else None
            journal, logs, now = cast(tuple[int, int, int], turn.fetchone())
            cursors = [Cursors(*row) for row in found] if found else []
        time = from_micros(now) if self._clock is None else self._clock.now()
        return Turn(Heads(journal, logs), time, cursors)

    def insert(self, connection: sa.Connection, table: sa.Table, rows: Sequence[RawRow]) -> None:
        driver = _driver(connection)
        if len(rows) >= _COPY_ROWS_MIN:
            self._copy(driver, table, rows)
        else:
            with driver.pipeline():
                self._send(driver, table, rows)

    def update_task_runs(self, connection: sa.Connection, rows: Sequence[RawRow]) -> None:
        driver = _driver(connection)
        with driver.pipeline():
            _send_updates(driver, rows)

    def write(self, connection: sa.Connection, rows: Rows) -> None:
        driver = _driver(connection)
        few = self._copy_many(driver, rows)
        with driver.pipeline():
            self._send_few(driver, rows, few)

    def commit(
        self, connection: sa.Connection, rows: Rows | None, heads: Heads | None, commit: Commit
    ) -> None:
        driver = _driver(connection)
        few = [] if rows is None else self._copy_many(driver, rows)
        with driver.pipeline():
            if rows is not None:
                self._send_few(driver, rows, few)
            if heads is not None:
                driver.execute(_SET_HEADS, (heads.journal, heads.logs))
            if commit != Commit():
                driver.execute(_NOTIFY, (CHANNEL, encode(commit, self._replica_id)))
            driver.execute("COMMIT")

    def commit_alone(self, connection: sa.Connection, guard: Guard, rows: Rows) -> int | None:
        statement = self.alone_statement(guard, rows)
        if statement is None:
            return None
        answer = psycopg.RawCursor(_driver(connection)).execute(*statement).fetchone()
        return None if answer is None else cast(int, answer[0])

    def alone_statement(self, guard: Guard, rows: Rows) -> tuple[bytes, list[Any]] | None:
        counts = (len(rows.new_task_runs), len(rows.changed_task_runs), len(rows.journal))
        if not rows.journal or sum(counts) > _ALONE_ROWS_MAX:
            return None
        teller = self._replica_id if self._presence.is_likely else None
        now = None if self._clock is None else to_micros(self._clock.now())
        text = one_statement.text(*counts, announced=teller is not None)
        return text, one_statement.values(guard, rows, now, teller)

    def rollback(self, connection: sa.Connection) -> None:
        driver = _driver(connection)
        if driver.info.transaction_status != psycopg.pq.TransactionStatus.IDLE:
            driver.execute("ROLLBACK")

    def _copy_many(self, driver: _Connection, rows: Rows) -> list[tuple[sa.Table, list[RawRow]]]:
        """Store what is many; return the few that can go into a pipeline."""
        few: list[tuple[sa.Table, list[RawRow]]] = []
        for table, found in (
            (tables.task_runs, list(rows.new_task_runs.values())),
            (tables.journal, rows.journal),
            (tables.logs, rows.logs),
        ):
            if len(found) >= _COPY_ROWS_MIN:
                self._copy(driver, table, found)
            elif found:
                few.append((table, found))
        return few

    def _send_few(
        self, driver: _Connection, rows: Rows, few: list[tuple[sa.Table, list[RawRow]]]
    ) -> None:
        for table, found in few:
            self._send(driver, table, found)
        if rows.changed_task_runs:
            _send_updates(driver, rows.changed_task_runs.values())
        for cursors in rows.cursors:
            driver.execute(_SET_CURSORS, cursors)

    def _send(self, driver: _Connection, table: sa.Table, rows: Sequence[RawRow]) -> None:
        for row in rows:
            driver.execute(self._inserts[table.name], row)

    def _copy(self, driver: _Connection, table: sa.Table, rows: Sequence[RawRow]) -> None:
        with driver.cursor() as cursor, cursor.copy(self._copies[table.name]) as target:
            for row in rows:
                target.write_row(row)


def _send_updates(driver: _Connection, rows: Collection[RawRow]) -> None:
    with driver.cursor() as cursor:
        cursor.executemany(_UPDATE_TASK_RUNS, [update_values(row) for row in rows])


def _into(table: sa.Table) -> sql.Composed:
    names = sql.SQL(", ").join(map(sql.Identifier, table.columns.keys()))
    return sql.SQL("{} ({})").format(sql.Identifier(table.name), names)


# As bytes, because what is composed is put together anew with each execution.


def _insert(table: sa.Table) -> bytes:
    marks = sql.SQL(", ").join([sql.Placeholder()] * len(table.columns))
    return sql.SQL("INSERT INTO {} VALUES ({})").format(_into(table), marks).as_bytes(None)


def _copy(table: sa.Table) -> bytes:
    return sql.SQL("COPY {} FROM STDIN").format(_into(table)).as_bytes(None)


def _driver(connection: sa.Connection) -> _Connection:
    driver: Any = connection.connection.driver_connection
    return cast(_Connection, driver)
