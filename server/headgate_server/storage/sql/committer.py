"""Group commit: one thread writes what all callers bring, one COMMIT for all that waits.

There is no timer. While a group is written the next one gathers; a caller who is alone
waits for nobody.
"""

from __future__ import annotations

import asyncio
import dataclasses
import queue
import threading
from collections.abc import Callable, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy import exc

from headgate.core import errors
from headgate_server.storage.interface import Transaction
from headgate_server.storage.records import Commit, RunAppend
from headgate_server.storage.sql import append
from headgate_server.storage.sql.database import Database
from headgate_server.storage.sql.transaction import SqlTransaction
from headgate_server.storage.sql.work import Work

#: How much one group takes at most, so that acknowledgements flow while much waits.
_GROUP_COMMANDS_MAX = 256
_GROUP_ROWS_MAX = 5_000


@dataclasses.dataclass(slots=True, eq=False)
class Command:
    """Something to be written, and whoever waits for it. Either a change or a batch."""

    future: asyncio.Future[Any]
    change: Callable[[Transaction], Any] | None = None
    batch: append.Batch | None = None

    @property
    def rows(self) -> int:
        """About how many rows it writes."""
        if self.batch is None:
            return 1
        if isinstance(self.batch, RunAppend):
            return 1 + len(self.batch.entries) + len(self.batch.new_task_runs)
        return 1 + len(self.batch.records)


@dataclasses.dataclass(slots=True)
class Settled:
    """What became of a command."""

    command: Command
    value: Any = None
    error: BaseException | None = None


@dataclasses.dataclass(slots=True)
class _Retry:
    """Whether a group may be tried once more; it may, until its COMMIT was sent."""

    left: bool = True


class Committer:
    """The thread that writes.

    Args:
        database: Where to.
        deliver: Called in the thread, after each group, with what became of its commands and
            with its commits.
    """

    def __init__(
        self,
        database: Database,
        deliver: Callable[[Sequence[Settled], Sequence[Commit]], None],
    ) -> None:
        self._database = database
        self._deliver = deliver
        self._waiting: queue.SimpleQueue[Command | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="headgate-committer", daemon=True)
        self._connection: sa.Connection | None = None

    def start(self) -> None:
        """Begin to write."""
        self._thread.start()

    def submit(self, command: Command) -> None:
        """Bring something to be written."""
        self._waiting.put(command)

    def close(self) -> None:
        """Write what was brought, then end. Blocks."""
        self._waiting.put(None)
        self._thread.join()

    def _run(self) -> None:
        try:
            while (group := self._next_group()) is not None:
                settled, commits = self._settle(group, _Retry())
                self._deliver(settled, commits)
        finally:
            self._disconnect()

    def _next_group(self) -> list[Command] | None:
        first = self._waiting.get()
        if first is None:
            return None
        group = [first]
        rows = first.rows
        while len(group) < _GROUP_COMMANDS_MAX and rows < _GROUP_ROWS_MAX:
            try:
                command = self._waiting.get_nowait()
            except queue.Empty:
                break
            if command is None:
                self._waiting.put(None)  # the end comes after this group
                break
            group.append(command)
            rows += command.rows
        return group

    def _settle(
        self, group: Sequence[Command], retry: _Retry
    ) -> tuple[list[Settled], list[Commit]]:
        """Write a group; where that cannot be, find out what of it can be written."""
        try:
            settled, commit = self._write(group, retry)
        except Exception as error:  # whatever it is, those who wait are told
            unavailable = self._database.unavailable(error)
            if unavailable is not None:
                self._disconnect()
                if retry.left:
                    # Most often a connection that broke while nothing was to be written.
                    retry.left = False
                    return self._settle(group, retry)
            if unavailable is not None or len(group) == 1:
                told = unavailable or error
                told.__cause__ = None if told is error else error
                return [Settled(command, error=told) for command in group], []
            middle = len(group) // 2
            first, first_commits = self._settle(group[:middle], retry)
            second, second_commits = self._settle(group[middle:], retry)
            return first + second, first_commits + second_commits
        return settled, [commit]

    def _write(self, group: Sequence[Command], retry: _Retry) -> tuple[list[Settled], Commit]:
        if self._connection is None:
            self._connection = self._database.connect_writer()
        connection, driver = self._connection, self._database.driver
        try:
            appends = [command for command in group if command.batch]
            batches = [command.batch for command in appends if command.batch]
            turn = driver.begin(connection, {batch.flow_run_id for batch in batches})
            work = Work(connection, now=lambda: turn.now, driver=driver, heads=turn.heads)
            rows, outcomes = append.fold(work, batches, turn.cursors)
            settled = [
                Settled(command, value=outcome)
                for command, outcome in zip(appends, outcomes, strict=True)
            ]
            changes = [command for command in group if command.change]
            if changes:
                driver.write(connection, rows)
                settled += self._change_all(work, changes, alone=len(group) == 1)
            commit = work.commit_summary()
            retry.left = False  # If the connection breaks now it may be committed, or not.
            driver.commit(connection, None if changes else rows, work.moved_heads, commit)
        except BaseException:
            driver.rollback(connection)
            raise
        return settled, commit

    def _change_all(self, work: Work, commands: Sequence[Command], *, alone: bool) -> list[Settled]:
        if alone:
            # It needs no savepoint: what it raises undoes the transaction.
            return [Settled(commands[0], value=_apply(commands[0], work))]
        return [self._change(work, command) for command in commands]

    def _change(self, work: Work, command: Command) -> Settled:
        try:
            with work.savepoint():
                return Settled(command, value=_apply(command, work))
        except Exception as error:  # it is the caller's: its change alone is undone
            if self._database.unavailable(error) is not None:
                raise
            return Settled(command, error=error)

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            try:
                connection.invalidate()
                connection.close()
            except exc.SQLAlchemyError:
                pass  # it was broken anyway


def _apply(command: Command, work: Work) -> Any:
    assert command.change is not None
    return command.change(SqlTransaction(work))


def closed_error() -> errors.Unavailable:
    """Return what those are told who come after the end."""
    return errors.Unavailable("The server is stopping; try again in a moment.")
