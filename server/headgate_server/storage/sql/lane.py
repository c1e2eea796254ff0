"""PostgreSQL: a connection of the event loop's own, for a run that is alone.

Its small batches are one statement each (see ``one_statement``), so the loop can send it and go on,
and look at the answer when it has come. To hand the batch to the committer's thread, and to be
handed the answer, takes as long as the commit. To the database it is one more replica: turns are
taken by the row of ``heads``.

libpq is spoken to directly. psycopg's cursors would need a task that waits, and take the statement
apart each time.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Any

import psycopg
from psycopg import pq

from headgate_server.storage.sql.driver import Answer, Lost

__all__ = ["Lane"]

_log = logging.getLogger("headgate.server.storage")

#: After a connection that broke, or could not be made, so long nothing is sent.
_PAUSE_SECONDS = 1.0


class Lane:
    """The connection. All but its making happens on the event loop.

    Args:
        connect: Makes a connection; called in a thread.
    """

    def __init__(self, connect: Callable[[], psycopg.Connection[Any]]) -> None:
        self._connect = connect
        self._loop = asyncio.get_running_loop()
        self._connection: psycopg.Connection[Any] | None = None
        self._pgconn: pq.abc.PGconn | None = None
        self._watched: int | None = None
        self._is_sending = False
        self._names: dict[bytes, bytes] = {}
        self._told: Callable[[Answer], None] | None = None
        self._answer: bytes | None = None
        self._is_preparing = self._is_closed = False
        self._rests_until = 0.0

    def send(self, text: bytes, values: Sequence[Any], tell: Callable[[Answer], None]) -> bool:
        """Send a statement.

        Args:
            text: The statement; one that is new here is prepared first, for the next time.
            values: Texts, numbers, bytes and None.
            tell: Called on the loop, later, with the answer.

        Returns:
            Whether it was sent; if not, nothing is told.
        """
        if self._told is not None or self._is_preparing or self._is_closed:
            return False
        name = self._names.get(text)
        if self._pgconn is None or name is None:
            self._begin_to_prepare(text)
            return False
        given, formats = _encoded(values)
        try:
            self._pgconn.send_query_prepared(name, given, formats)
            self._flush()
        except psycopg.Error:
            self._drop()
            return False  # what was not sent whole is not carried out
        self._told, self._answer = tell, None
        return True

    def close(self) -> None:
        """End it; who waits is told that the answer is lost."""
        self._is_closed = True
        self._drop()

    # --- The connection ---------------------------------------------------------------------

    def _begin_to_prepare(self, text: bytes) -> None:
        if self._loop.time() < self._rests_until:
            return
        self._is_preparing = True
        self._unwatch()
        preparing = self._loop.run_in_executor(None, self._prepare, text)
        preparing.add_done_callback(self._on_prepared)

    def _prepare(self, text: bytes) -> None:
        """Connect if need be, and prepare the statement. In a thread; blocks."""
        connection = self._connection
        if connection is None:
            connection = self._connection = self._connect()
        name = f"headgate_{len(self._names)}".encode()
        result = connection.pgconn.prepare(name, text)
        if result.status != pq.ExecStatus.COMMAND_OK:
            raise psycopg.OperationalError(connection.pgconn.get_error_message())
        connection.pgconn.nonblocking = 1
        self._names[text] = name

    def _on_prepared(self, preparing: asyncio.Future[None]) -> None:
        self._is_preparing = False
        problem = preparing.exception()
        if problem is not None or self._is_closed or self._connection is None:
            _log.debug("The connection of the event loop cannot be used now: %r", problem)
            self._drop()
            return
        self._pgconn = self._connection.pgconn
        self._watched = self._pgconn.socket
        self._loop.add_reader(self._watched, self._on_readable)

    def _drop(self) -> None:
        """Let the connection go; whoever waits for an answer does not get it."""
        if self._is_preparing:
            return  # done when that is
        self._unwatch()
        connection, self._connection, self._pgconn = self._connection, None, None
        if connection is not None:
            connection.close()
        self._names.clear()
        self._rests_until = self._loop.time() + _PAUSE_SECONDS
        told, self._told = self._told, None
        if told is not None:
            told(Lost())

    def _unwatch(self) -> None:
        watched, self._watched = self._watched, None
        if watched is not None:
            self._loop.remove_reader(watched)
            self._loop.remove_writer(watched)
        self._is_sending = False

    # --- The loop ---------------------------------------------------------------------------

    def _flush(self) -> None:
        pgconn, watched = self._pgconn, self._watched
        assert pgconn is not None
        assert watched is not None
        is_left = bool(pgconn.flush())
        if is_left and not self._is_sending:
            self._loop.add_writer(watched, self._on_writable)
        elif self._is_sending and not is_left:
            self._loop.remove_writer(watched)
        self._is_sending = is_left

    def _on_writable(self) -> None:
        try:
            self._flush()
        except psycopg.Error:
            self._drop()

    def _on_readable(self) -> None:
        pgconn = self._pgconn
        if pgconn is None:
            return
        try:
            pgconn.consume_input()
            while not pgconn.is_busy():
                result = pgconn.get_result()
                if result is None:
                    break
                self._take(result)
            else:
                return
        except psycopg.Error:
            self._drop()
            return
        if pgconn.status != pq.ConnStatus.OK:
            self._drop()
            return
        told, self._told = self._told, None
        if told is not None:
            told(self._answer)

    def _take(self, result: pq.abc.PGresult) -> None:
        if result.status == pq.ExecStatus.TUPLES_OK:
            self._answer = result.get_value(0, 0) if result.ntuples else None
        else:
            # The thread finds out what it is: nothing is stored.
            self._answer = None


def _encoded(values: Sequence[Any]) -> tuple[list[bytes | None], list[int]]:
    given: list[bytes | None] = []
    formats: list[int] = []
    for value in values:
        if value is None or type(value) is bytes:
            given.append(value)
            formats.append(1)
        else:
            given.append(str(value).encode())
            formats.append(0)
    return given, formats
