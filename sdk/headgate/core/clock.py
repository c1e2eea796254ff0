"""Time, as an argument: the one place that reads the clocks of the machine."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Protocol

from headgate.core import errors


class Clock(Protocol):
    """Where time comes from."""

    def now(self) -> datetime:
        """Return the time of day, UTC-aware. It may jump when the machine's clock is set."""
        ...

    def monotonic(self) -> float:
        """Return seconds since some fixed moment. They only grow."""
        ...


class SystemClock:
    """The clocks of this machine."""

    def now(self) -> datetime:
        """Return the time of day, UTC-aware."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Return the seconds of the monotonic clock."""
        return time.monotonic()


class ProcessClock:
    """The clock that everything in this process shares: the machine's, unless a test moved it.

    Its methods are those of the clock behind it, so that asking it costs no more than that.
    """

    __slots__ = ("monotonic", "now")

    def __init__(self) -> None:
        """Make a clock that shows the machine's time."""
        self.use(SystemClock())

    def use(self, clock: Clock) -> None:
        """Show the time of another clock from now on."""
        self.now = clock.now
        self.monotonic = clock.monotonic


#: For code that users call and that cannot be given a clock: it is shared with their tests.
process_clock = ProcessClock()


class ManualClock:
    """A clock that stands still until it is told to move, for tests and simulations.

    Args:
        start: The time of day it shows first, UTC-aware.
    """

    def __init__(self, start: datetime = datetime(2026, 1, 1, tzinfo=UTC)) -> None:
        """Make a clock that shows the start."""
        if start.tzinfo is None:
            msg = f"A clock needs a UTC-aware time, not {start!r}; add tzinfo=UTC."
            raise errors.OptionValueError(msg)
        self._now = start
        self._monotonic = 0.0

    def now(self) -> datetime:
        """Return the time of day it shows."""
        return self._now

    def monotonic(self) -> float:
        """Return the seconds that it was moved by."""
        return self._monotonic

    def advance(self, seconds: float) -> None:
        """Move both clocks forward."""
        if seconds < 0:
            msg = f"A clock moves forward, not by {seconds} s; use set_time for jumps."
            raise errors.OptionValueError(msg)
        self._now += timedelta(seconds=seconds)
        self._monotonic += seconds

    def set_time(self, now: datetime) -> None:
        """Let the time of day jump, forward or back; the monotonic clock stays."""
        self._now = now


__all__ = ["Clock", "ManualClock", "ProcessClock", "SystemClock", "process_clock"]
