"""A clock for tests: it goes on by itself, and jumps over the times in which nothing happens."""

from __future__ import annotations

import contextlib
import dataclasses
import heapq
import itertools
import threading
from collections.abc import Callable, Generator
from datetime import datetime, timedelta

from headgate.core import errors
from headgate.core.clock import SystemClock, process_clock

__all__ = ["AdvancingClock"]

#: How long the clock waits, in real time, before it jumps: others may be about to sleep until an
#: earlier time.
_SETTLE_SECONDS = 0.002


@dataclasses.dataclass(slots=True, order=True)
class _Sleeper:
    """Somebody who waits for a time."""

    due: float
    number: int
    wake: Callable[[], None] = dataclasses.field(compare=False)


class AdvancingClock:
    """A clock that runs as the machine's does, and can be moved forward.

    While it is installed (``headgate_test_harness(clock=...)`` does that), runs of this process
    and the server of the harness read it, and the waiting of the engine - delays of retries,
    scheduled times, what the server asks a run to wait for - happens on it. Code of the user's
    is left alone: its ``time.sleep(60)`` takes a minute, and a timeout of 60 seconds means
    seconds in which the code may really run.

    Args:
        start: The time of day that it shows first, UTC-aware. Default: the machine's.
        auto: Whether it jumps by itself: as soon as somebody sleeps, to the time that the first
            of all sleepers waits for. Otherwise it is moved by ``advance`` alone.
    """

    def __init__(self, start: datetime | None = None, *, auto: bool = True) -> None:
        """Make a clock that shows the start."""
        self._real = SystemClock()
        self._start = start or self._real.now()
        if self._start.tzinfo is None:
            msg = f"A clock needs a UTC-aware time, not {start!r}; add tzinfo=UTC."
            raise errors.OptionValueError(msg)
        self._started = self._real.monotonic()
        self._skipped = 0.0
        self._auto = auto
        self._numbers = itertools.count()
        self._sleepers: list[_Sleeper] = []
        self._changed = threading.Condition()
        self._listeners: list[Callable[[], object]] = []
        self._watching = False

    # --- Reading it ---

    def now(self) -> datetime:
        """Return the time of day, UTC-aware."""
        return self._start + timedelta(seconds=self._elapsed())

    def monotonic(self) -> float:
        """Return the seconds since it was made, those that it jumped over included."""
        return self._elapsed()

    def _elapsed(self) -> float:
        return self._real.monotonic() - self._started + self._skipped

    @property
    def sleeping(self) -> int:
        """How many wait for a time now."""
        with self._changed:
            return len(self._sleepers)

    # --- Moving it ---

    def advance(self, seconds: float | timedelta) -> None:
        """Move it forward and wake whose time has come.

        Args:
            seconds: By how much.

        Raises:
            OptionTypeError: It is no time.
            OptionValueError: That is backward.
        """
        if isinstance(seconds, timedelta):
            seconds = seconds.total_seconds()
        given: object = seconds
        if isinstance(given, bool) or not isinstance(given, int | float):
            msg = f"A clock cannot move by {given!r}; use seconds, or e.g. timedelta(hours=1)."
            raise errors.OptionTypeError(msg)
        if not seconds >= 0:
            msg = f"A clock moves forward, not by {seconds} s."
            raise errors.OptionValueError(msg)
        with self._changed:
            self._skipped += seconds
            self._wake_due()
            self._changed.notify_all()
        self._tell()

    def advance_to(self, moment: datetime) -> None:
        """Move it to a time of day; nothing happens if that has passed."""
        self.advance(max(0.0, (moment - self.now()).total_seconds()))

    def on_advance(self, listener: Callable[[], object]) -> Callable[[], None]:
        """Have something called after each jump, from any thread; returns what stops it."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def _tell(self) -> None:
        for listener in tuple(self._listeners):
            listener()

    # --- Sleeping on it ---

    def sleep(self, seconds: float) -> None:
        """Block until it shows a later time."""
        woken = threading.Event()
        with self._asleep(seconds, woken.set):
            woken.wait()

    async def sleep_async(self, seconds: float) -> None:
        """Await until it shows a later time."""
        import asyncio

        loop = asyncio.get_running_loop()
        woken = asyncio.Event()

        def wake() -> None:
            # The loop may have been closed, with who slept on it, a moment ago.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(woken.set)

        with self._asleep(seconds, wake):
            await woken.wait()

    @contextlib.contextmanager
    def _asleep(self, seconds: float, wake: Callable[[], None]) -> Generator[None]:
        with self._changed:
            sleeper = _Sleeper(self._elapsed() + seconds, next(self._numbers), wake)
            heapq.heappush(self._sleepers, sleeper)
            self._watch()
            self._changed.notify_all()
        try:
            yield
        finally:
            with self._changed:
                # Woken in time, it is gone; torn away from its sleep, it is still there.
                if sleeper in self._sleepers:
                    self._sleepers.remove(sleeper)
                    heapq.heapify(self._sleepers)

    def _wake_due(self) -> None:
        now = self._elapsed()
        while self._sleepers and self._sleepers[0].due <= now:
            heapq.heappop(self._sleepers).wake()

    def _watch(self) -> None:
        """See to it that sleepers are woken, by a thread that ends when nobody sleeps."""
        if not self._watching:
            self._watching = True
            threading.Thread(target=self._wake_sleepers, name="headgate-clock", daemon=True).start()

    def _wake_sleepers(self) -> None:
        while True:
            with self._changed:
                if not self._sleepers:
                    self._watching = False
                    return
                left = self._sleepers[0].due - self._elapsed()
                if left > 0 and (not self._auto or left <= _SETTLE_SECONDS):
                    self._changed.wait(left)
                    left = 0.0  # whoever's time has come by now is woken, nobody else
                elif left > 0 and self._changed.wait(_SETTLE_SECONDS):
                    continue  # somebody came, or the clock was moved: look again
                jumps = left > 0 and bool(self._sleepers)
                if jumps:
                    self._skipped += max(0.0, self._sleepers[0].due - self._elapsed())
                self._wake_due()
            if jumps:
                self._tell()

    # --- Installing it ---

    @contextlib.contextmanager
    def installed(self) -> Generator[None]:
        """Let all of Headgate in this process live by it for the length of a ``with`` block."""
        from headgate.engine import sleeping

        before = sleeping.use(self)
        process_clock.use(self)
        try:
            yield
        finally:
            sleeping.use(before)
            process_clock.use(before if isinstance(before, AdvancingClock) else SystemClock())
