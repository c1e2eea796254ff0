"""What the processes of runs print: echoed by the runner, and stored as the run's logs."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence

import anyio

from headgate.core import clock, errors, runs

LINE_LENGTH_MAX = 16 * 1024
#: How many lines wait for the server at most. Beyond that the oldest are dropped, and counted.
WAITING_MAX = 20_000
BATCH_MAX = 1_000
_RETRY_SECONDS = 1.0

Store = Callable[[Sequence[runs.LogRecord]], Awaitable[None]]


class LogBuffer:
    """Lines on their way to the server: never in the way of a run, bounded.

    Args:
        store: Stores lines; may fail for a while.
        time: Where time comes from.
    """

    def __init__(self, store: Store, time: clock.Clock) -> None:
        self._store = store
        self._time = time
        self._waiting: deque[runs.LogRecord] = deque()
        self._dropped = 0
        self._some = anyio.Event()
        self._none = anyio.Event()
        self._none.set()

    def add(self, flow_run_id: str, level: int, logger: str, message: str) -> None:
        """Take a line."""
        if len(self._waiting) >= WAITING_MAX:
            self._waiting.popleft()
            self._dropped += 1
        self._waiting.append(
            runs.LogRecord(
                flow_run_id=flow_run_id,
                timestamp=self._time.now(),
                level=level,
                logger=logger,
                message=message,
            )
        )
        self._none = anyio.Event() if self._none.is_set() else self._none
        self._some.set()

    async def pump(self) -> None:
        """Store what is added, for ever; tries again while the server cannot."""
        while True:
            await self._some.wait()
            self._some = anyio.Event()
            while self._waiting:
                await self._store_some()
            self._none.set()

    async def _store_some(self) -> None:
        batch = [self._waiting.popleft() for _ in range(min(BATCH_MAX, len(self._waiting)))]
        if self._dropped:
            batch.append(self._confession(batch[-1]))
            self._dropped = 0
        try:
            await self._store(batch)
        except (errors.Unavailable, errors.ResourceExhausted, errors.DeadlineExceeded):
            self._waiting.extendleft(reversed(batch))
            await anyio.sleep(_RETRY_SECONDS)
        except errors.HeadgateError:
            # Refused for good, e.g. of a run that was deleted: they hold up the others no more.
            return

    def _confession(self, last: runs.LogRecord) -> runs.LogRecord:
        return runs.LogRecord(
            flow_run_id=last.flow_run_id,
            timestamp=self._time.now(),
            level=logging.WARNING,
            logger="headgate.runner",
            message=f"{self._dropped} lines of output were dropped: they came faster than the "
            "server stored them.",
        )

    async def drained(self, timeout_seconds: float) -> None:
        """Wait until all lines are stored, for a while."""
        with anyio.move_on_after(timeout_seconds):
            await self._none.wait()


class Lines:
    """Reads the lines of one stream of a process.

    Args:
        reader: The stream.
        take: Called with each line, without its end.
    """

    def __init__(self, reader: asyncio.StreamReader, take: Callable[[str], None]) -> None:
        self._reader = reader
        self._take = take

    async def read(self) -> None:
        """Read until the end; a line without an end is cut into pieces."""
        rest = b""
        while data := await self._reader.read(64 * 1024):
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                self._give(line)
            while len(rest) > LINE_LENGTH_MAX:
                self._give(rest[:LINE_LENGTH_MAX])
                rest = rest[LINE_LENGTH_MAX:]
        if rest:
            self._give(rest)

    def _give(self, line: bytes) -> None:
        # What a progress bar overwrote is not worth keeping.
        text = line.decode("utf-8", "replace").rstrip("\r").rpartition("\r")[2]
        self._take(text.replace("\x00", ""))
