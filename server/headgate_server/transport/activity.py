"""Whether anybody uses the server: what an embedded server asks before it ends itself."""

from __future__ import annotations

from headgate.core.clock import Clock


class Activity:
    """Counts the calls that are under way and remembers when the last one ended."""

    def __init__(self, clock: Clock) -> None:
        """Make it; the time of no use starts now."""
        self._clock = clock
        self._calls = 0
        self._last_use = clock.monotonic()

    def begin(self) -> None:
        """A call begins."""
        self._calls += 1

    def end(self) -> None:
        """A call has ended."""
        self._calls -= 1
        self._last_use = self._clock.monotonic()

    @property
    def idle_seconds(self) -> float:
        """For how long no call has been under way."""
        return 0.0 if self._calls else self._clock.monotonic() - self._last_use
