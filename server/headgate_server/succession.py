"""How a server follows another one on a database file.

While ``headgate server start`` takes over from an embedded server, runs that lose their
connection would start the next embedded one. It keeps them from that by the lock that they take
to start a server: they wait for it, and find this server listening where they look. Whoever is
killed on the way lets go of all locks, and the next one begins at the beginning.
"""

from __future__ import annotations

import contextlib
import enum
import fcntl
import os
import signal
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

import anyio

from headgate.core import errors
from headgate.core.clock import Clock
from headgate_server.storage import holding
from headgate_server.storage.holding import Holder, HolderKind
from headgate_server.storage.interface import Storage
from headgate_server.transport import server as transport

#: How long a server waits for another one to let go of the database.
PATIENCE_SECONDS = 15.0
_LOOK_EVERY_SECONDS = 0.02


class Move(enum.Enum):
    """What a server does about another one that has its database."""

    WAIT = enum.auto()
    ASK_TO_END = enum.auto()
    GIVE_UP = enum.auto()


def decide(holder: Holder | None, *, embedded: bool, address: str | None) -> Move:
    """Say what to do about the holder of the database.

    Args:
        holder: Who has the database; None: somebody who is just beginning or ending.
        embedded: Whether the server that wants it is an embedded one.
        address: Where it will listen for the processes of its user, if it will.
    """
    if holder is None:
        return Move.WAIT
    is_here = address in holder.addresses
    if embedded:
        # It was started because nobody listened: the holder is about to, or is about to end.
        will_pass = not holder.addresses or is_here
        return Move.WAIT if will_pass else Move.GIVE_UP
    if holder.kind is not HolderKind.EMBEDDED or address is None:
        return Move.GIVE_UP
    if not holder.addresses:
        return Move.WAIT  # it may be migrating: not to be disturbed
    # One of another home has runs that would not find this server.
    return Move.ASK_TO_END if is_here else Move.GIVE_UP


class StartLock:
    """The right to start a server for a home folder; gone with the process.

    Args:
        path: The file that is locked.
        clock: Where time comes from.
    """

    def __init__(self, path: Path, *, clock: Clock) -> None:
        """Make it; nothing is locked yet."""
        self._path = path
        self._clock = clock
        self._file: int | None = None

    async def acquire(self, stopping: anyio.Event) -> None:
        """Wait for the lock, but no longer than whoever has it may take to start a server.

        Without it the server may have to take over twice. Nothing worse: it goes on.
        """
        deadline = self._clock.monotonic() + PATIENCE_SECONDS
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError:
            return  # nobody else can start a server there, either
        while True:
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            if self._clock.monotonic() > deadline or not await _pause(stopping):
                return

    def release(self) -> None:
        """Let others start servers."""
        if self._file is not None:
            os.close(self._file)
            self._file = None


class Succession:
    """The way of one server to its database file.

    Args:
        database: The file; None for a database that servers share.
        embedded: Whether the server is an embedded one.
        socket: Where it will listen for the processes of its user, if it will.
        start_lock: What it takes against others who start servers for that socket.
        clock: Where time comes from.
        stopping: Set when the server shall end.
        tell: Called with a line for people.
    """

    def __init__(
        self,
        database: Path | None,
        *,
        embedded: bool,
        socket: Path | None,
        start_lock: Path | None,
        clock: Clock,
        stopping: anyio.Event,
        tell: Callable[[str], object],
    ) -> None:
        """Make it; nothing happens yet."""
        self._database = database
        self._embedded = embedded
        self._socket = socket
        self._start_lock = StartLock(start_lock, clock=clock) if start_lock is not None else None
        self._clock = clock
        self._stopping = stopping
        self._tell = tell
        #: The embedded server that was asked to end.
        self._asked: int | None = None

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End, however far it came."""
        self.end()

    async def open(self, storage: Storage) -> bool:
        """Start the storage; wait for its holder, or take over from it, where that is right.

        Returns:
            Whether it was started; not so if the server is to end.

        Raises:
            DatabaseInUse: Another process has the database and keeps it.
            ListenError: There is no need: another server listens already.
        """
        if self._start_lock is not None:
            await self._start_lock.acquire(self._stopping)
        deadline = self._clock.monotonic() + PATIENCE_SECONDS
        while not self._stopping.is_set():
            try:
                await storage.start()
            except errors.DatabaseInUse as refusal:
                self._react(refusal, is_late=self._clock.monotonic() > deadline)
            else:
                if self._asked is not None:
                    self._tell(f"Took over from the embedded server (process {self._asked}).")
                return True
            await _pause(self._stopping)
        return False

    def end(self) -> None:
        """Let others start servers: this one listens, or has given up."""
        if self._start_lock is not None:
            self._start_lock.release()

    def _react(self, refusal: errors.DatabaseInUse, *, is_late: bool) -> None:
        """Do what is to be done while another process has the database, or raise."""
        if self._embedded and self._socket is not None and transport.is_listening(self._socket):
            raise transport.ListenError(f"Another server listens on {self._socket} already.")
        if self._database is None:
            raise refusal
        holder = holding.find_holder(self._database)
        address = f"unix://{self._socket}" if self._socket is not None else None
        match decide(holder, embedded=self._embedded, address=address):
            case Move.GIVE_UP:
                raise refusal
            case _ if is_late:
                raise self._lateness() or refusal
            case Move.ASK_TO_END if holder is not None and holder.pid != self._asked:
                self._ask_to_end(holder.pid, refusal)
            case _:
                return

    def _ask_to_end(self, pid: int, refusal: errors.DatabaseInUse) -> None:
        try:
            os.kill(pid, signal.SIGTERM)
        except ProcessLookupError:
            return  # it has just ended
        except PermissionError:
            raise refusal from None  # of another user's
        self._asked = pid

    def _lateness(self) -> errors.DatabaseInUse | None:
        if self._asked is None:
            return None
        return errors.DatabaseInUse(
            str(self._database),
            self._asked,
            f"The embedded server (process id {self._asked}) has the database {self._database}, "
            f"and has not ended in the {PATIENCE_SECONDS:g} s since it was asked to; end it "
            f"(kill -9 {self._asked}) and try again.",
        )


async def _pause(stopping: anyio.Event) -> bool:
    """Wait a moment; False if the server is to end."""
    with anyio.move_on_after(_LOOK_EVERY_SECONDS):
        await stopping.wait()
    return not stopping.is_set()


__all__ = ["PATIENCE_SECONDS", "Move", "StartLock", "Succession", "decide"]
