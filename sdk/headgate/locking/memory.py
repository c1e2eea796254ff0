"""Locks between the threads and coroutines of one process."""

from __future__ import annotations

import asyncio
import concurrent.futures
import dataclasses
import threading
from typing import Any, ClassVar

from headgate import _options
from headgate.core import errors
from headgate.core.clock import process_clock as _clock
from headgate.engine import blocking

__all__ = ["MemoryLockManager"]


@dataclasses.dataclass(slots=True)
class _Lock:
    """A lock that is held, and who waits for it."""

    holder: str
    until: float | None
    waiting: list[concurrent.futures.Future[None]] = dataclasses.field(
        default_factory=list[concurrent.futures.Future[None]]
    )


class MemoryLockManager:
    """Locks keys within this process. There is one for all who make one."""

    _shared: ClassVar[MemoryLockManager | None] = None
    _locks: dict[str, _Lock]
    _guard: threading.Lock

    def __new__(cls) -> MemoryLockManager:
        """Return the one of this process."""
        if MemoryLockManager._shared is None:
            made = super().__new__(cls)
            made._locks = {}
            made._guard = threading.Lock()
            MemoryLockManager._shared = made
        return MemoryLockManager._shared

    def __reduce__(self) -> tuple[Any, ...]:
        """Become the one of the process that it comes to."""
        return MemoryLockManager, ()

    def acquire_lock(
        self,
        key: str,
        holder: str,
        acquire_timeout: float | None = None,
        hold_timeout: float | None = None,
    ) -> bool:
        """Lock a key, waiting for whoever holds it; see ``LockManager.acquire_lock``."""
        deadline = _deadline(acquire_timeout)
        while (waiting := self._try(key, holder, hold_timeout)) is not None:
            if not _wait(waiting, self._patience(key, deadline)) and _is_over(deadline):
                return False
        return True

    async def aacquire_lock(
        self,
        key: str,
        holder: str,
        acquire_timeout: float | None = None,
        hold_timeout: float | None = None,
    ) -> bool:
        """Do what ``acquire_lock`` does, in a coroutine."""
        deadline = _deadline(acquire_timeout)
        while (waiting := self._try(key, holder, hold_timeout)) is not None:
            if not await _wait_async(waiting, self._patience(key, deadline)) and _is_over(deadline):
                return False
        return True

    def release_lock(self, key: str, holder: str) -> None:
        """Unlock a key.

        Raises:
            LockError: The holder does not hold it.
        """
        with self._guard:
            lock = self._held(key)
            if lock is None or lock.holder != holder:
                msg = f"{holder!r} does not hold the lock of {key!r}; it may have been released."
                raise errors.LockError(msg, key)
            self._drop(key)

    def is_locked(self, key: str) -> bool:
        """Say whether somebody holds the lock of a key."""
        with self._guard:
            return self._held(key) is not None

    def is_lock_holder(self, key: str, holder: str) -> bool:
        """Say whether this holder has the lock of a key."""
        with self._guard:
            lock = self._held(key)
            return lock is not None and lock.holder == holder

    def wait_for_lock(self, key: str, timeout: float | None = None) -> bool:
        """Wait until nobody holds the lock of a key; says whether that came in time."""
        deadline = _deadline(timeout)
        while (waiting := self._queue(key)) is not None:
            if not _wait(waiting, self._patience(key, deadline)) and _is_over(deadline):
                return False
        return True

    async def await_for_lock(self, key: str, timeout: float | None = None) -> bool:
        """Do what ``wait_for_lock`` does, in a coroutine."""
        deadline = _deadline(timeout)
        while (waiting := self._queue(key)) is not None:
            if not await _wait_async(waiting, self._patience(key, deadline)) and _is_over(deadline):
                return False
        return True

    def _try(
        self, key: str, holder: str, hold_timeout: float | None
    ) -> concurrent.futures.Future[None] | None:
        """Lock a key; returns what to wait for before the next try where somebody has it."""
        with self._guard:
            lock = self._held(key)
            if lock is None:
                self._locks[key] = _Lock(holder, _deadline(hold_timeout))
                return None
            if lock.holder == holder:
                lock.until = _deadline(hold_timeout)
                return None
            return _queued(lock)

    def _queue(self, key: str) -> concurrent.futures.Future[None] | None:
        with self._guard:
            lock = self._held(key)
            return None if lock is None else _queued(lock)

    def _held(self, key: str) -> _Lock | None:
        _options.required_text(key, "key")
        lock = self._locks.get(key)
        if lock is not None and _is_over(lock.until):
            self._drop(key)
            return None
        return lock

    def _drop(self, key: str) -> None:
        for waiting in self._locks.pop(key).waiting:
            if waiting.set_running_or_notify_cancel():
                waiting.set_result(None)

    def _patience(self, key: str, deadline: float | None) -> float | None:
        """Return for how long to wait: no longer than the lock is held for."""
        with self._guard:
            lock = self._locks.get(key)
        ends = [moment for moment in (deadline, lock.until if lock else None) if moment is not None]
        return max(0.0, min(ends) - _clock.monotonic()) if ends else None


def _queued(lock: _Lock) -> concurrent.futures.Future[None]:
    lock.waiting = [one for one in lock.waiting if not one.cancelled()]
    waiting: concurrent.futures.Future[None] = concurrent.futures.Future()
    lock.waiting.append(waiting)
    return waiting


def _deadline(seconds: float | None) -> float | None:
    _options.checked_seconds(seconds, "timeout")
    return None if seconds is None else _clock.monotonic() + seconds


def _is_over(deadline: float | None) -> bool:
    return deadline is not None and _clock.monotonic() >= deadline


def _wait(waiting: concurrent.futures.Future[None], seconds: float | None) -> bool:
    try:
        with blocking.released():
            waiting.result(seconds)
    except concurrent.futures.TimeoutError:
        waiting.cancel()
        return False
    return True


async def _wait_async(waiting: concurrent.futures.Future[None], seconds: float | None) -> bool:
    try:
        # Cancelled with who waits: nobody is given a lock that nobody would release.
        await asyncio.wait_for(asyncio.wrap_future(waiting), seconds)
    except TimeoutError:
        return False
    return True
