"""How the engine lets time pass, for real or on the clock of a test."""

from __future__ import annotations

import threading
from typing import Protocol

__all__ = ["Sleeper", "sleep", "sleep_async", "use"]


class Sleeper(Protocol):
    """Lets time pass."""

    def sleep(self, seconds: float) -> None:
        """Block for a while."""
        ...

    async def sleep_async(self, seconds: float) -> None:
        """Await for a while."""
        ...


class _Really:
    """Lets time pass by waiting."""

    def sleep(self, seconds: float) -> None:
        # An event that nobody sets: interruptible by signals, as time.sleep is.
        threading.Event().wait(seconds)

    async def sleep_async(self, seconds: float) -> None:
        import asyncio

        await asyncio.sleep(seconds)


_current: Sleeper = _Really()


def use(sleeper: Sleeper | None) -> Sleeper:
    """Let time pass by this means from now on; None: for real.

    Returns:
        The means before.
    """
    global _current
    before, _current = _current, sleeper or _Really()
    return before


def sleep(seconds: float) -> None:
    """Block for a while."""
    _current.sleep(seconds)


async def sleep_async(seconds: float) -> None:
    """Await for a while."""
    await _current.sleep_async(seconds)
