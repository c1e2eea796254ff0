"""Group commit: one thread writes what all callers bring, one COMMIT for all that waits.

There is no timer. While a group is written the next one gathers; a caller who is alone
waits for nobody. One who is alone and brings little, as a durable flow does step by step, may
even write at once, without the thread: to wake it and to be woken by it takes longer than such
a COMMIT. That is for databases whose COMMIT waits neither for the disk nor for others.
"""

from __future__ import annotations

import dataclasses
import queue
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy import exc

from headgate.core import errors
from headgate_server.storage.interface import Transaction
from headgate_server.storage.records import Appended, AppendRefused, Commit, Failed, RunAppend
from headgate_server.storage.sql import append
from headgate_server.storage.sql.append import Outcome
from headgate_server.storage.sql.database import Database
from headgate_server.storage.sql.driver import Guard
from headgate_server.storage.sql.transaction import SqlTransaction
from headgate_server.storage.sql.work import Work

#: How much one group takes at most, so that acknowledgements flow while much waits.
_GROUP_COMMANDS_MAX = 256
_GROUP_ROWS_MAX = 5_000

#: What is written at once has at most so many rows.
_AT_ONCE_ROWS_MAX = 8
#: After so many commits at once it is the thread's turn, for two: the first writes SQLite's log
#: back into the file, the second begins the log anew, and both wait for the disk.
_AT_ONCE_TURNS = 400
_THREAD_TURNS = 2
#: A commit at once that took longer than this was on a slow disk: the event loop must not wait for
#: such, so the thread takes the next ones.
_QUICK_SECONDS = 0.01
_SLOW_THREAD_TURNS = 1_000


@dataclasses.dataclass(slots=True, eq=False)
class Command:
    """Something to be written, and whoever waits for it. Either a change or a batch.

    Attributes:
        then: To be called with what the change returned, or with what became of the batch; or
            with ``Failed``.
        change: The change.
        batch: The batch.
        is_sent: Whether it was sent before, together with its COMMIT, and the answer was lost.
    """

    then: Callable[[Any], None]
    change: Callable[[Transaction], Any] | None = None
    batch: append.Batch | None = None
    is_sent: bool = False

    @property
    def rows(self) -> int:
        """About how many rows it writes."""
        return 1 if self.batch is None else _rows_of(self.batch)


class Settled(NamedTuple):
    """What became of a command: what its ``then`` is told."""

    command: Command
    outcome: Any


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
        stopwatch: Seconds; only differences count.
    """

    def __init__(
        self,
        database: Database,
        deliver: Callable[[Sequence[Settled], Sequence[Commit]], None],
        *,
        stopwatch: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._database = database
        self._deliver = deliver
        self._waiting: queue.SimpleQueue[Command | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="headgate-committer", daemon=True)
        self._connection: sa.Connection | None = None
        self._stopwatch = stopwatch
        #: Who has it may use the connection: the thread, or who writes at once.
        self._turn = threading.Lock()
        #: Whether transactions of the connection may wait, for locks and for the disk.
        self._is_patient: bool | None = True
        self._turns_at_once = _AT_ONCE_TURNS
        self._turns_of_thread = 0
        self._last_run_id = ""

    def start(self) -> None:
        """Begin to write."""
        self._thread.start()

    def submit(self, command: Command) -> None:
        """Bring something to be written."""
        self._waiting.put(command)

    def is_alone(self, batch: RunAppend) -> bool:
        """Say whether a batch is small, and the next one of the one run that writes.

        Where others write, too, it is quicker to wait for the thread together.
        """
        is_alone = batch.flow_run_id == self._last_run_id and self._waiting.empty()
        self._last_run_id = batch.flow_run_id
        return is_alone and bool(batch.entries) and _rows_of(batch) <= _AT_ONCE_ROWS_MAX

    def write_at_once(self, batch: RunAppend) -> tuple[Outcome, Commit] | None:
        """Write a batch here and now, on the caller's thread, if that takes no waiting.

        Args:
            batch: One that ``is_alone``.

        Returns:
            What became of the batch, and the commit; None where it is to be submitted.
        """
        if self._turns_of_thread or not self._turn.acquire(blocking=False):
            return None
        try:
            return self._write_impatiently(batch)
        finally:
            self._turn.release()

    def _write_impatiently(self, batch: RunAppend) -> tuple[Outcome, Commit] | None:
        if self._connection is None:
            return None
        started = self._stopwatch()
        try:
            if not self._be_patient(self._connection, patient=False):
                return None
            settled, commit = self._write([Command(_nobody, batch=batch)], _Retry())
        except Exception:  # it is undone; the thread finds out what it is, and what can be done
            return None
        self._turns_at_once -= 1
        if not self._turns_at_once:
            self._turns_at_once, self._turns_of_thread = _AT_ONCE_TURNS, _THREAD_TURNS
        if self._stopwatch() - started > _QUICK_SECONDS:
            self._turns_of_thread = _SLOW_THREAD_TURNS
        return settled[0].outcome, commit

    def _be_patient(self, connection: sa.Connection, *, patient: bool) -> bool:
        if self._is_patient is patient:
            return True
        before, self._is_patient = self._is_patient, None  # nobody knows, if this fails half-way
        changed = self._database.be_patient(connection, patient=patient)
        self._is_patient = patient if changed else before
        return changed

    def close(self) -> None:
        """Write what was brought, then end. Blocks."""
        self._waiting.put(None)
        self._thread.join()

    def _run(self) -> None:
        try:
            while (group := self._next_group()) is not None:
                with self._turn:
                    settled, commits = self._settle(group, _Retry())
                    self._turns_of_thread = max(0, self._turns_of_thread - 1)
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
            if self._waiting.empty():  # nobody else takes from it
                break
            command = self._waiting.get_nowait()
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
            if self._connection is not None:
                self._be_patient(self._connection, patient=True)
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
                return [Settled(command, Failed(told)) for command in group], []
            middle = len(group) // 2
            first, first_commits = self._settle(group[:middle], retry)
            second, second_commits = self._settle(group[middle:], retry)
            return first + second, first_commits + second_commits
        return settled, [commit]

    def _write(self, group: Sequence[Command], retry: _Retry) -> tuple[list[Settled], Commit]:
        if self._connection is None:
            self._connection = self._database.connect_writer()
            self._is_patient = True
        connection, driver = self._connection, self._database.driver
        if driver.commits_alone and (alone := self._write_alone(connection, group)) is not None:
            return alone
        try:
            appends = [command for command in group if command.batch]
            batches = [command.batch for command in appends if command.batch]
            turn = driver.begin(connection, {batch.flow_run_id for batch in batches})
            work = Work(connection, now=lambda: turn.now, driver=driver, heads=turn.heads)
            newest = turn.heads.journal
            rows, outcomes = append.fold(work, batches, turn.cursors)
            settled = [
                Settled(command, Appended(revision=newest))
                if command.is_sent and _is_stored(command.batch, outcome)
                else Settled(command, outcome)
                for command, outcome in zip(appends, outcomes, strict=True)
            ]
            changes = [command for command in group if command.change]
            if changes:
                driver.write(connection, rows)
                settled += self._change_all(work, changes, alone=len(group) == 1)
            commit = work.commit_summary()
            if not commit.revision and any(command.is_sent for command in appends):
                # Nobody has heard of it yet.
                commit = dataclasses.replace(commit, revision=newest)
            retry.left = False  # If the connection breaks now it may be committed, or not.
            driver.commit(connection, None if changes else rows, work.moved_heads, commit)
        except BaseException:
            driver.rollback(connection)
            raise
        return settled, commit

    def _write_alone(
        self, connection: sa.Connection, group: Sequence[Command]
    ) -> tuple[list[Settled], Commit] | None:
        """Write a group of one small batch the quickest way; None where that did nothing."""
        batch = group[0].batch
        if len(group) > 1 or not isinstance(batch, RunAppend) or not batch.entries:
            return None
        lines = len(batch.entries)
        if lines > _AT_ONCE_ROWS_MAX:
            return None
        driver = self._database.driver
        try:
            before = driver.commit_alone(connection, guard_of(batch), append.fold_alone(batch))
        except Exception:
            # If the connection broke it may be committed; tried again, the guard tells.
            group[0].is_sent = True
            raise
        if before is None:
            return None
        revision = before + lines
        return [Settled(group[0], Appended(revision=revision))], Commit(revision=revision)

    def _change_all(self, work: Work, commands: Sequence[Command], *, alone: bool) -> list[Settled]:
        if alone:
            # It needs no savepoint: what it raises undoes the transaction.
            return [Settled(commands[0], _apply(commands[0], work))]
        return [self._change(work, command) for command in commands]

    def _change(self, work: Work, command: Command) -> Settled:
        try:
            with work.savepoint():
                return Settled(command, _apply(command, work))
        except Exception as error:  # it is the caller's: its change alone is undone
            if self._database.unavailable(error) is not None:
                raise
            return Settled(command, Failed(error))

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            try:
                connection.invalidate()
                connection.close()
            except exc.SQLAlchemyError:
                pass  # it was broken anyway


def _rows_of(batch: append.Batch) -> int:
    if isinstance(batch, RunAppend):
        return 1 + len(batch.entries) + len(batch.new_task_runs)
    return 1 + len(batch.records)


def guard_of(batch: RunAppend) -> Guard:
    """Return what must hold of a flow run that a batch may be stored."""
    return Guard(batch.flow_run_id, batch.fencing_token, batch.seq_before, batch.seq_after)


def _is_stored(batch: append.Batch | None, outcome: Outcome) -> bool:
    """Say whether a batch was committed by the attempt whose answer was lost.

    The numbers of one lease's items tell: nothing else can have brought the run just there. To
    refuse it would lose the verdicts in it, and nobody would hear of the commit.
    """
    return batch is not None and outcome == AppendRefused(
        known=True, fencing_token=batch.fencing_token, committed_seq=batch.seq_after
    )


def _nobody(_: Any) -> None:
    """Tell nobody: who asked has the answer."""


def _apply(command: Command, work: Work) -> Any:
    assert command.change is not None
    return command.change(SqlTransaction(work))


def closed_error() -> errors.Unavailable:
    """Return what those are told who come after the end."""
    return errors.Unavailable("The server is stopping; try again in a moment.")
