"""PostgreSQL: what a run brings that is alone, in one statement.

The statement is the whole transaction: it waits for its turn, looks at the guard, gives the
revisions, stores the rows, and announces them. So there is one round trip, where a transaction of
several statements needs two and sends eight. Its text depends on the number of rows only, and is
written for the driver as it is: psycopg would take it apart at each execution.
"""

from __future__ import annotations

import functools
import itertools
import re
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from headgate_server.storage.sql import tables
from headgate_server.storage.sql.announcements import CHANNEL
from headgate_server.storage.sql.driver import Guard, Rows
from headgate_server.storage.sql.updates import UPDATED_COLUMNS, update_values

#: The time by the database's clock, in microseconds.
NOW = "(extract(epoch from clock_timestamp()) * 1000000)::bigint"

_DIALECT = postgresql.dialect()


@functools.cache
def text(new: int, changed: int, lines: int, *, announced: bool) -> bytes:
    """Return the statement for so many new and changed task runs and journal lines.

    Whoever writes takes the row of ``heads`` first; all else is fed by it, so it comes after. The
    guard is looked at twice: before, so that no number is taken for nothing, and then in the row
    as it is when it is one's turn.

    It returns the revision before the first line; no row where the guard does not hold.
    """
    guard = "id = ? AND fencing_token = ? AND committed_seq = ?"
    parts = [
        f"turn AS (UPDATE heads SET journal = journal + {lines}"
        f" WHERE EXISTS (SELECT FROM flow_runs WHERE {guard})"
        f" RETURNING journal - {lines} AS before, coalesce(?::bigint, {NOW}) AS time)",
        f"guard AS (UPDATE flow_runs SET committed_seq = ? FROM turn WHERE {guard}"
        " RETURNING before, time)",
    ]
    if new:
        parts.append(f"new AS ({_insert(tables.task_runs, new)})")
    setting = ", ".join(
        f"{name} = before + ?::bigint" if name == "revision" else f"{name} = ?"
        for name in UPDATED_COLUMNS
    )
    update = f"UPDATE task_runs SET {setting} FROM guard WHERE id = ?"
    parts += [f"changed_{place} AS ({update})" for place in range(changed)]
    parts.append(f"lines AS ({_insert(tables.journal, lines)})")
    answer = "before"
    if announced:  # as announcements.encode has it
        answer += f", pg_notify(?, ? || (before + {lines})::text || ' 0 0')"
    statement = f"WITH {', '.join(parts)} SELECT {answer} FROM guard"
    number = itertools.count(1)
    return re.sub(r"\?", lambda _: f"${next(number)}", statement).encode()


def values(guard: Guard, rows: Rows, now: int | None, teller: str | None) -> list[Any]:
    """Return what the statement takes.

    Args:
        guard: What must hold, and how far the run has come then.
        rows: Revisions in them count from 1.
        now: Microseconds since 1970; None: by the database's clock.
        teller: The replica that announces it; None where nobody does.
    """
    run_id, token, before, after = guard
    found: list[Any] = [run_id, token, before, now, after, run_id, token, before]
    for row in rows.new_task_runs.values():
        found += row
    for row in rows.changed_task_runs.values():
        found += update_values(row)
    for row in rows.journal:
        found += row[:-1]  # the last one is the time
    if teller is not None:
        found += [CHANNEL, f"{teller} "]
    return found


def _insert(table: sa.Table, count: int) -> str:
    names = table.columns.keys()
    given = [name for name in names if name != "commit_time"]
    row = ", ".join(f"?::{_type(table.columns[name])}" for name in given)
    chosen = ", ".join(
        {"revision": "before + v.revision", "commit_time": "time"}.get(name, f"v.{name}")
        for name in names
    )
    return (
        f"INSERT INTO {table.name} ({', '.join(names)}) SELECT {chosen} FROM guard,"
        f" (VALUES {', '.join([f'({row})'] * count)}) AS v ({', '.join(given)})"
    )


def _type(column: sa.Column[Any]) -> str:
    return column.type.compile(dialect=_DIALECT).partition(" COLLATE")[0]


__all__ = ["NOW", "text", "values"]
