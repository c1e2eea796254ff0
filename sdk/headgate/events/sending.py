"""The thread that sends events: quick to give to, bounded, and patient with the server.

Whoever emits puts an event into a queue and goes on. The thread sends what has gathered while the
last batch was on its way, and again until it was stored, which is safe since an event has an id.
Where the server is away for so long that the queue is full, the oldest events are dropped; they
are counted, and the log says so.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import TypeAlias

from headgate.core import errors, events

__all__ = ["QUEUE_BYTES_MAX", "EventSender", "Write"]

_BATCH_EVENTS_MAX = 500
_BATCH_BYTES_MAX = 4_000_000
#: Events are small, as a rule; this bounds a queue of large ones.
QUEUE_BYTES_MAX = 64 * 1024 * 1024

#: Errors that trying again may mend.
_PASSING = (
    errors.DeadlineExceeded,
    errors.Internal,
    errors.ResourceExhausted,
    errors.ServerStartError,
    errors.Unavailable,
)
_DELAYS_SECONDS = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0)


#: Stores events; returns after they are committed.
Write: TypeAlias = Callable[[Sequence[events.Event]], int]


class EventSender:
    """A queue of events and the thread that empties it.

    Args:
        connect: Opens a connection.
        queue_max: How many events may wait; 0: any number.
        attempts_max: How often in a row sending may fail before it is given up; None: never.
    """

    def __init__(
        self,
        connect: Callable[[], AbstractContextManager[Write]],
        *,
        queue_max: int = 0,
        attempts_max: int | None = None,
    ) -> None:
        """Make a sender; its thread begins with the first event."""
        self._connect = connect
        self._queue_max = queue_max
        self._attempts_max = attempts_max
        self._changed = threading.Condition()
        self._queue: deque[tuple[events.Event, int]] = deque()
        self._queue_bytes = 0
        self._emitted = self._settled = 0
        self._thread: threading.Thread | None = None
        self._stopping = threading.Event()
        self._warned = False
        #: How many events were lost: dropped from a full queue, refused, or given up.
        self.dropped_count = 0
        #: Why sending was given up, if it was.
        self.failure: errors.HeadgateError | None = None

    def emit(self, event: events.Event) -> None:
        """Take an event; returns at once."""
        size = event.size_bytes
        with self._changed:
            self._emitted += 1
            if self.failure is not None or self._stopping.is_set():
                self._drop(1)
                return
            self._queue.append((event, size))
            self._queue_bytes += size
            self._bound()
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._run, name="headgate-events", daemon=True
                )
                self._thread.start()
            self._changed.notify_all()

    def flush(self, timeout_seconds: float | None = None) -> bool:
        """Wait until all events that were taken are stored, or lost.

        Returns:
            False if the timeout came first.
        """
        with self._changed:
            emitted = self._emitted
            return self._changed.wait_for(lambda: self._settled >= emitted, timeout_seconds)

    def stop(self, timeout_seconds: float) -> bool:
        """Send what is left, then end the thread.

        Returns:
            Whether all was sent in time.
        """
        self._stopping.set()
        with self._changed:
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join(timeout_seconds)
        return self._settled == self._emitted

    # --- With the lock held ---

    def _bound(self) -> None:
        """Drop the oldest events of a queue that is too long."""
        lost = 0
        while (self._queue_max and len(self._queue) > self._queue_max) or (
            self._queue_bytes > QUEUE_BYTES_MAX and len(self._queue) > 1
        ):
            self._queue_bytes -= self._queue.popleft()[1]
            lost += 1
        if lost:
            self._drop(lost)

    def _drop(self, count: int) -> None:
        self.dropped_count += count
        self._settle(count)
        if not self._warned:
            self._warned = True
            reason = self.failure or "they come faster than the server takes them"
            _logger().warning("Events are being dropped: %s.", str(reason).rstrip("."))

    def _settle(self, count: int) -> None:
        self._settled += count
        self._changed.notify_all()

    def _take(self) -> list[events.Event]:
        """Wait for events; none when the end has come."""
        self._changed.wait_for(lambda: self._queue or self._stopping.is_set())
        batch: list[events.Event] = []
        size = 0
        while self._queue and len(batch) < _BATCH_EVENTS_MAX and size < _BATCH_BYTES_MAX:
            event, event_size = self._queue.popleft()
            batch.append(event)
            size += event_size
        self._queue_bytes -= size
        return batch

    # --- The thread ---

    def _run(self) -> None:
        try:
            self._work()
        except errors.HeadgateError as error:
            self._give_up(error)
        except Exception as error:  # the thread's end: those who wait must not wait for ever
            msg = f"Sending events failed: {error!r}; please report it."
            self._give_up(errors.HeadgateError(msg))

    def _work(self) -> None:
        with contextlib.ExitStack() as stack:
            write: Write | None = None
            failures = 0
            batch = self._next_batch()
            while batch:
                try:
                    if write is None:
                        write = stack.enter_context(self._connect())
                    self._send(write, batch)
                except _PASSING as error:
                    failures += 1
                    self._wait_or_raise(failures, error)
                else:
                    failures = 0
                    batch = self._next_batch()

    def _next_batch(self) -> list[events.Event]:
        with self._changed:
            return self._take()

    def _send(self, write: Write, batch: list[events.Event]) -> None:
        """Send a batch, from which what is settled is taken out; one that is refused, in halves."""
        while batch:
            some = list(batch)
            while not self._is_stored(write, some):
                some = some[: len(some) // 2]
            del batch[: len(some)]

    def _is_stored(self, write: Write, some: list[events.Event]) -> bool:
        """Send events; False if the server refuses one of several."""
        lost = 0
        try:
            write(some)
        except errors.InvalidArgument as error:
            if len(some) > 1:
                return False
            _logger().warning("The server refused the event %r: %s", some[0].name, error)
            lost = 1
        with self._changed:
            self._warned = False
            self.dropped_count += lost
            self._settle(len(some))
        return True

    def _wait_or_raise(self, failures: int, error: errors.HeadgateError) -> None:
        """Wait before it is tried again; raise where it is not worth it."""
        if self._attempts_max is not None and failures > self._attempts_max:
            raise error
        # A server that cannot be started keeps nobody from ending.
        if self._stopping.is_set() and isinstance(error, errors.ServerStartError):
            raise error
        delay_seconds = _DELAYS_SECONDS[min(failures, len(_DELAYS_SECONDS)) - 1]
        if self._stopping.wait(delay_seconds):
            # There is little time: it is tried in quick succession. Never set, so a pause.
            threading.Event().wait(_DELAYS_SECONDS[0])

    def _give_up(self, error: errors.HeadgateError) -> None:
        with self._changed:
            self.failure = error
            self._queue.clear()
            self._queue_bytes = 0
            if lost := self._emitted - self._settled:
                self._drop(lost)


def _logger() -> logging.Logger:
    from headgate.logging import get_logger  # sets handlers up, which only a line needs

    return get_logger("headgate.events")
