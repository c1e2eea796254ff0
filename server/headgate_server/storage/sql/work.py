"""What the code of one database transaction works with.

Whoever writes holds the row of ``heads``: in PostgreSQL because it locks that row first, in
SQLite because there is one writer. So replicas take turns, from their first write to their
COMMIT, and three things follow that the queries rely on: revisions and log ids grow in the
order of commits, what was read is still true when it is written (check, then insert), and
two writers never wait for each other crosswise.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Generator, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from headgate.core.runs import FlowRun
from headgate.core.states import State
from headgate_server.storage import records
from headgate_server.storage.sql import json_text, tables
from headgate_server.storage.sql.driver import Driver, Heads, RawRow
from headgate_server.storage.sql.types import to_micros

Result = sa.CursorResult[*tuple[Any, ...]]


@dataclasses.dataclass(slots=True)
class Changes:
    """What a transaction changed, for those who wait."""

    ready: bool = False
    #: See ``records.Commit``.
    topics: set[str] = dataclasses.field(default_factory=set[str])
    #: Flow runs as they are now.
    flow_runs: dict[str, FlowRun] = dataclasses.field(default_factory=dict[str, FlowRun])


class Work:
    """One transaction: its connection, its time, its numbers, and what it changed.

    Args:
        connection: The connection, in a transaction.
        now: Tells the time; asked once.
        driver: Writes many rows at once.
        heads: The last numbers given; None in a transaction that only reads.
    """

    def __init__(
        self,
        connection: sa.Connection,
        *,
        now: Callable[[], datetime],
        driver: Driver,
        heads: Heads | None = None,
    ) -> None:
        self.connection = connection
        self.dialect = connection.dialect.name
        self._driver = driver
        self.changes = Changes()
        self._now_source = now
        self._now: datetime | None = None
        self._heads = heads
        self._heads_before = None if heads is None else dataclasses.replace(heads)

    def now(self) -> datetime:
        """Return the time of the transaction."""
        if self._now is None:
            self._now = self._now_source()
        return self._now

    @property
    def heads(self) -> Heads:
        """The last numbers given. Not for transactions that only read."""
        if self._heads is None:
            msg = "This transaction only reads; use Storage.write to change something."
            raise RuntimeError(msg)
        return self._heads

    def execute(self, statement: sa.Executable, values: Any = None) -> Result:
        """Run a statement."""
        return self.connection.execute(statement, values)

    def insert(self, table: sa.Table, rows: Sequence[RawRow]) -> None:
        """Insert many rows."""
        self._driver.insert(self.connection, table, rows)

    def update_task_runs(self, rows: Sequence[RawRow]) -> None:
        """Store of these task runs what a transition changes."""
        self._driver.update_task_runs(self.connection, rows)

    @property
    def next_revision(self) -> int:
        """The number that the next journal line will have."""
        return self.heads.journal + 1

    def take_revisions(self, count: int) -> int:
        """Take numbers for this many journal lines; return the first."""
        first = self.heads.journal + 1
        self.heads.journal += count
        return first

    def take_log_ids(self, count: int) -> int:
        """Take numbers for this many log lines; return the first."""
        first = self.heads.logs + 1
        self.heads.logs += count
        return first

    def record(self, lines: Sequence[tuple[str, str, str, State]]) -> int:
        """Write transitions (flow run id, run id, run name, state); return the first revision."""
        first = self.take_revisions(len(lines))
        commit_time = to_micros(self.now())
        self.insert(
            tables.journal,
            [
                journal_row(first + place, *line, commit_time=commit_time)
                for place, line in enumerate(lines)
            ],
        )
        return first

    @contextlib.contextmanager
    def savepoint(self) -> Generator[None]:
        """Undo what the block did, in the database and here, if it raises."""
        heads = dataclasses.replace(self.heads)
        changes = self.changes
        before = dataclasses.replace(
            changes, topics=set(changes.topics), flow_runs=dict(changes.flow_runs)
        )
        self.connection.exec_driver_sql("SAVEPOINT one_change")
        try:
            yield
        except BaseException:
            self.connection.exec_driver_sql("ROLLBACK TO SAVEPOINT one_change")
            self.connection.exec_driver_sql("RELEASE SAVEPOINT one_change")
            self._heads = heads
            self.changes = before
            raise
        self.connection.exec_driver_sql("RELEASE SAVEPOINT one_change")

    @property
    def moved_heads(self) -> Heads | None:
        """The last numbers given, if any were."""
        return None if self.heads == self._heads_before else self.heads

    def commit_summary(self) -> records.Commit:
        """Return what changed, for those who wait."""
        before = self._heads_before
        assert before is not None
        return records.Commit(
            revision=self.heads.journal if self.heads.journal != before.journal else 0,
            ready=self.changes.ready,
            flow_run_ids=frozenset(self.changes.flow_runs),
            flow_runs=self.changes.flow_runs,
            logs=self.heads.logs != before.logs,
            topics=frozenset(self.changes.topics),
        )


def journal_row(
    revision: int,
    flow_run_id: str,
    run_id: str,
    run_name: str,
    state: State,
    *,
    commit_time: int,
) -> RawRow:
    """Return a line of the journal, in the order of its columns."""
    data = state.data
    return (
        revision,
        flow_run_id,
        run_id,
        storable(run_name),
        state.id,
        STATE_TYPE_TEXT[state.type],
        storable(state.name),
        to_micros(state.timestamp),
        storable(state.message),
        json_text.dump_details(state.details),
        None if data is None else storable(data.serializer),
        None if data is None else data.inline,
        None if data is None or data.storage_key is None else storable(data.storage_key),
        commit_time,
    )


#: Plain texts: drivers take the members of an enum slowly.
STATE_TYPE_TEXT = {type: str(type.value) for type in records.StateType}


def storable(text: str) -> str:
    """Return text that a user's program wrote, without the one character databases refuse."""
    return text.replace("\x00", "\N{REPLACEMENT CHARACTER}") if "\x00" in text else text
