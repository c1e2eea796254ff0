"""Storage in an SQL database: asynchronous outside, threads inside."""

from __future__ import annotations

import asyncio
import concurrent.futures
import functools
import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from headgate.core.deployments import WorkPool, WorkQueue
from headgate_server.storage.interface import Transaction
from headgate_server.storage.records import (
    Appended,
    AppendOutcome,
    AppendRefused,
    Commit,
    Failed,
    LogAppend,
    RunAppend,
)
from headgate_server.storage.sql import append, schema
from headgate_server.storage.sql.committer import (
    Command,
    Committer,
    Settled,
    closed_error,
    guard_of,
)
from headgate_server.storage.sql.database import Database
from headgate_server.storage.sql.driver import Answer, Lost
from headgate_server.storage.sql.transaction import SqlTransaction
from headgate_server.storage.sql.work import Work

if TYPE_CHECKING:
    from headgate_server.storage.sql.lane import Lane

_log = logging.getLogger("headgate.server.storage")

T = TypeVar("T")

_READERS = 4


class SqlStorage:
    """See :class:`headgate_server.storage.interface.Storage`.

    A caller who is cancelled while a write is under way may find it committed.

    Args:
        database: Which database.
        ids: Makes new ids.
        migrate: Whether to bring the schema up to date at the start.
    """

    def __init__(self, database: Database, *, ids: Callable[[], str], migrate: bool) -> None:
        self._database = database
        self._ids = ids
        self._migrate = migrate
        self._committer = Committer(database, self._deliver)
        self._readers = _make_readers()
        self._listeners: list[Callable[[Commit], None]] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._lane: Lane | None = None
        self._unfollow: Callable[[], None] = lambda: None
        self._closed = False

    @property
    def database(self) -> str:
        return self._database.name

    async def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        try:
            await self._loop.run_in_executor(self._readers, self._open)
        except BaseException:
            # As before the start, which may be tried again: the database may be free by then.
            self._loop = None
            self._readers.shutdown(wait=False)
            self._readers = _make_readers()
            raise
        self._committer.start()
        self._lane = self._database.open_lane()
        self._unfollow = self._database.follow(self._announce_from_thread)
        await self.write(functools.partial(_ensure_default_pool, ids=self._ids))

    async def close(self) -> None:
        if self._closed or self._loop is None:
            return
        self._closed = True
        if self._lane is not None:
            self._lane.close()
        await self._loop.run_in_executor(None, self._close)

    async def read(self, query: Callable[[Transaction], T]) -> T:
        loop = self._running_loop()
        return await loop.run_in_executor(self._readers, self._read, query)

    async def write(self, change: Callable[[Transaction], T]) -> T:
        future: asyncio.Future[T] = self._running_loop().create_future()
        self._committer.submit(Command(functools.partial(_resolve, future), change=change))
        return await future

    async def append(self, batch: RunAppend) -> Appended | AppendRefused:
        return await self._append(batch)

    def append_then(
        self, batch: RunAppend, then: Callable[[AppendOutcome], None]
    ) -> AppendOutcome | None:
        loop = self._running_loop()
        if self._committer.is_alone(batch):
            if self._lane is not None:
                if self._send(self._lane, batch, then):
                    return None
            elif (done := self._committer.write_at_once(batch)) is not None:
                outcome, commit = done
                loop.call_soon(self._announce, commit)
                return outcome
        self._committer.submit(Command(then, batch=batch))
        return None

    def _send(self, lane: Lane, batch: RunAppend, then: Callable[[AppendOutcome], None]) -> bool:
        """Send a batch on the connection of this loop; returns whether that could be."""
        statement = self._database.driver.alone_statement(guard_of(batch), append.fold_alone(batch))
        if statement is None:
            return False

        def tell(answer: Answer) -> None:
            if isinstance(answer, bytes):
                revision = int(answer) + len(batch.entries)
                settled = Settled(command, Appended(revision=revision))
                self._tell([settled], [Commit(revision=revision)])
                return
            # The thread finds out what it is: a guard that does not hold, an id that is taken,
            # an answer that was lost.
            command.is_sent = isinstance(answer, Lost)
            self._committer.submit(command)

        command = Command(then, batch=batch)
        return lane.send(*statement, tell)

    async def append_logs(self, batch: LogAppend) -> Appended | AppendRefused:
        return await self._append(batch)

    async def _append(self, batch: RunAppend | LogAppend) -> Appended | AppendRefused:
        future: asyncio.Future[Appended | AppendRefused] = self._running_loop().create_future()
        self._committer.submit(Command(functools.partial(_resolve, future), batch=batch))
        return await future

    def listen(self, on_commit: Callable[[Commit], None]) -> Callable[[], None]:
        self._listeners.append(on_commit)
        return lambda: self._listeners.remove(on_commit)

    def _running_loop(self) -> asyncio.AbstractEventLoop:
        if self._closed or self._loop is None:
            raise closed_error()
        return self._loop

    def _open(self) -> None:
        self._database.open()
        try:
            with self._database.connect_writer() as connection:
                schema.prepare(connection, migrate=self._migrate)
        except Exception as error:
            self._database.close()
            raise self._database.unavailable(error) or error from error

    def _close(self) -> None:
        self._unfollow()
        self._committer.close()
        self._readers.shutdown()
        self._database.close()

    def _read(self, query: Callable[[Transaction], T]) -> T:
        try:
            return self._read_once(query)
        except Exception as error:
            if self._database.unavailable(error) is None:
                raise
        # A connection may have broken while nobody used it; now there is a new one.
        try:
            return self._read_once(query)
        except Exception as error:
            raise self._database.unavailable(error) or error from error

    def _read_once(self, query: Callable[[Transaction], T]) -> T:
        with self._database.connect_reader() as connection, connection.begin():
            work = Work(
                connection,
                now=functools.partial(self._database.now, connection),
                driver=self._database.driver,
            )
            return query(SqlTransaction(work))

    def _deliver(self, settled: Sequence[Settled], commits: Sequence[Commit]) -> None:
        assert self._loop is not None
        self._loop.call_soon_threadsafe(self._tell, settled, commits)

    def _tell(self, settled: Sequence[Settled], commits: Sequence[Commit]) -> None:
        for command, outcome in settled:
            try:
                command.then(outcome)
            except Exception:  # a mistake of one must not keep the others waiting
                _log.exception("Somebody failed over what became of a write")
        for commit in commits:
            self._announce(commit)

    def _announce_from_thread(self, commit: Commit) -> None:
        assert self._loop is not None
        self._loop.call_soon_threadsafe(self._announce, commit)

    def _announce(self, commit: Commit) -> None:
        if commit == _NOTHING:
            return
        for on_commit in tuple(self._listeners):
            on_commit(commit)


_NOTHING = Commit()


def _resolve(future: asyncio.Future[Any], outcome: Any) -> None:
    if future.done():
        return  # its caller was cancelled
    if isinstance(outcome, Failed):
        future.set_exception(outcome.error)
    else:
        future.set_result(outcome)


def _make_readers() -> concurrent.futures.ThreadPoolExecutor:
    return concurrent.futures.ThreadPoolExecutor(_READERS, thread_name_prefix="headgate-reader")


def _ensure_default_pool(transaction: Transaction, *, ids: Callable[[], str]) -> None:
    if transaction.work_pools.get("default") is not None:
        return
    now = transaction.now()
    transaction.work_pools.insert(
        WorkPool(id=ids(), name="default", create_time=now, update_time=now),
        WorkQueue(id=ids(), name="default", work_pool_name="default", priority=1, create_time=now),
    )
