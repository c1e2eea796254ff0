"""The statements that every commit needs, straight on the database's driver.

SQLAlchemy adds some 60 microseconds to a statement. That is nothing beside a query that
somebody asked for, and most of the time of a commit that stores one task run. So the frame
of a commit, and the rows that engines' streams bring, go past it; everything else is
SQLAlchemy Core.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any, NamedTuple, Protocol

import sqlalchemy as sa

from headgate_server.storage.records import Commit

#: A row as a tuple, values as the driver takes them, in the order of the table's columns.
RawRow = tuple[Any, ...]


@dataclasses.dataclass(slots=True)
class Heads:
    """The last numbers given."""

    journal: int
    logs: int


class Cursors(NamedTuple):
    """How far the streams of a flow run have come."""

    run_id: str
    fencing_token: int
    seq: int
    log_seq: int


class Guard(NamedTuple):
    """What must hold of a flow run, that a batch of its stream may be stored."""

    run_id: str
    fencing_token: int
    seq_before: int
    seq_after: int


class Turn(NamedTuple):
    """What is known when it is one's turn to write."""

    heads: Heads
    now: datetime
    cursors: Sequence[Cursors]


@dataclasses.dataclass(slots=True)
class Rows:
    """What streams have brought, as rows.

    Attributes:
        new_task_runs: By id.
        changed_task_runs: By id.
        journal: Lines, in order.
        logs: Lines, in order.
        cursors: Of the flow runs whose streams have come further: seq, log_seq, id.
    """

    new_task_runs: dict[str, RawRow] = dataclasses.field(default_factory=dict[str, RawRow])
    changed_task_runs: dict[str, RawRow] = dataclasses.field(default_factory=dict[str, RawRow])
    journal: list[RawRow] = dataclasses.field(default_factory=list[RawRow])
    logs: list[RawRow] = dataclasses.field(default_factory=list[RawRow])
    cursors: list[RawRow] = dataclasses.field(default_factory=list[RawRow])


@dataclasses.dataclass(frozen=True, slots=True)
class Lost:
    """The connection broke before the answer: the statement may be committed, or not."""


#: To a statement that was sent: its first value as text; None for no row, and for a refusal.
Answer = bytes | None | Lost


class Driver(Protocol):
    """A kind of database, as the committer speaks to it.

    Attributes:
        commits_alone: Whether ``commit_alone`` may do something.
    """

    commits_alone: bool

    def begin(self, connection: sa.Connection, run_ids: Collection[str]) -> Turn:
        """Begin a transaction, wait for one's turn, and read what appends are guarded by."""
        ...

    def insert(self, connection: sa.Connection, table: sa.Table, rows: Sequence[RawRow]) -> None:
        """Insert rows."""
        ...

    def update_task_runs(self, connection: sa.Connection, rows: Sequence[RawRow]) -> None:
        """Store of these task runs what a transition changes."""
        ...

    def write(self, connection: sa.Connection, rows: Rows) -> None:
        """Store what streams have brought."""
        ...

    def commit(
        self, connection: sa.Connection, rows: Rows | None, heads: Heads | None, commit: Commit
    ) -> None:
        """Store rows, if any, and the last numbers, if they moved; commit and announce it."""
        ...

    def commit_alone(self, connection: sa.Connection, guard: Guard, rows: Rows) -> int | None:
        """Do all of a transaction at once, where the database gains by that.

        Args:
            connection: The connection, in no transaction.
            guard: What must hold, and how far the run has come then.
            rows: New and changed task runs and journal lines, at least one; their revisions
                count from 1, and their commit time is left open.

        Returns:
            The revision before the first line; None where nothing was done, because the guard
            does not hold, or because the rows are too many for that.
        """
        ...

    def alone_statement(self, guard: Guard, rows: Rows) -> tuple[bytes, list[Any]] | None:
        """Return the statement and the values of ``commit_alone``; None where that does nothing."""
        ...

    def rollback(self, connection: sa.Connection) -> None:
        """Undo the transaction, if there is one."""
        ...
