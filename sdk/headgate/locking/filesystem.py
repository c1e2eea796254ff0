"""Locks between processes, by files in a folder that all of them see."""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import hashlib
import json
import os
import socket
from collections.abc import Generator
from pathlib import Path

from headgate import _options
from headgate.core import errors
from headgate.core.clock import process_clock as _clock
from headgate.engine import blocking, sleeping

__all__ = ["FileSystemLockManager"]

_GUARD = ".guard"
#: How often a lock that somebody else holds is looked at: at first, and at most.
_LOOK_EVERY_SECONDS = 0.01
_LOOK_EVERY_SECONDS_MAX = 0.25


@dataclasses.dataclass(frozen=True, slots=True)
class _Held:
    """What the file of a lock says."""

    holder: str
    #: By the time of day, for processes share no other.
    until: float | None
    host: str
    pid: int
    #: When the process began, in ticks of its machine: process ids come again.
    begun: str


class FileSystemLockManager:
    """Locks keys between processes.

    A lock whose process has died on this machine is free again at once; on another machine, when
    its ``hold_timeout`` is over.

    Args:
        lock_files_directory: The folder; made when it is not there.
    """

    def __init__(self, lock_files_directory: Path | str) -> None:
        """Use a folder."""
        _options.checked_path(lock_files_directory, "lock_files_directory")
        self.lock_files_directory = Path(lock_files_directory).expanduser().absolute()

    def acquire_lock(
        self,
        key: str,
        holder: str,
        acquire_timeout: float | None = None,
        hold_timeout: float | None = None,
    ) -> bool:
        """Lock a key, waiting for whoever holds it; see ``LockManager.acquire_lock``."""
        for seconds in _patience(acquire_timeout):
            if self._try(key, holder, hold_timeout):
                return True
            with blocking.released():
                sleeping.sleep(seconds)
        return self._try(key, holder, hold_timeout)

    async def aacquire_lock(
        self,
        key: str,
        holder: str,
        acquire_timeout: float | None = None,
        hold_timeout: float | None = None,
    ) -> bool:
        """Do what ``acquire_lock`` does, in a coroutine."""
        for seconds in _patience(acquire_timeout):
            if self._try(key, holder, hold_timeout):
                return True
            await sleeping.sleep_async(seconds)
        return self._try(key, holder, hold_timeout)

    def release_lock(self, key: str, holder: str) -> None:
        """Unlock a key.

        Raises:
            LockError: The holder does not hold it.
        """
        with self._guarded():
            held = self._held(key)
            if held is None or held.holder != holder:
                msg = f"{holder!r} does not hold the lock of {key!r}; it may have been released."
                raise errors.LockError(msg, key)
            self._file(key).unlink(missing_ok=True)

    def is_locked(self, key: str) -> bool:
        """Say whether somebody holds the lock of a key."""
        return self._held(key) is not None

    def is_lock_holder(self, key: str, holder: str) -> bool:
        """Say whether this holder has the lock of a key."""
        held = self._held(key)
        return held is not None and held.holder == holder

    def wait_for_lock(self, key: str, timeout: float | None = None) -> bool:
        """Wait until nobody holds the lock of a key; says whether that came in time."""
        for seconds in _patience(timeout):
            if not self.is_locked(key):
                return True
            with blocking.released():
                sleeping.sleep(seconds)
        return not self.is_locked(key)

    async def await_for_lock(self, key: str, timeout: float | None = None) -> bool:
        """Do what ``wait_for_lock`` does, in a coroutine."""
        for seconds in _patience(timeout):
            if not self.is_locked(key):
                return True
            await sleeping.sleep_async(seconds)
        return not self.is_locked(key)

    def _try(self, key: str, holder: str, hold_timeout: float | None) -> bool:
        with self._guarded():
            held = self._held(key)
            if held is not None and held.holder != holder:
                return False
            until = None if hold_timeout is None else _clock.now().timestamp() + hold_timeout
            pid = os.getpid()
            mine = _Held(holder, until, socket.gethostname(), pid, _begun(pid))
            file = self._file(key)
            # Replaced, not written over: those who only look do so without the guard.
            new = file.with_suffix(".new")
            new.write_text(json.dumps(dataclasses.asdict(mine)), encoding="utf-8")
            new.replace(file)
            return True

    def _held(self, key: str) -> _Held | None:
        """Return who holds a lock; None also where they can hold it no more."""
        try:
            held = _Held(**json.loads(self._file(key).read_text(encoding="utf-8")))
        except FileNotFoundError:
            return None
        except (ValueError, TypeError):
            # Not a file of ours, or one that a full disk cut: nobody would ever release it.
            return None
        except OSError as error:
            raise self._failed(error) from error
        if held.until is not None and held.until <= _clock.now().timestamp():
            return None
        if held.host == socket.gethostname() and _begun(held.pid) != held.begun:
            return None
        return held

    @contextlib.contextmanager
    def _guarded(self) -> Generator[None]:
        """Let nobody else change a lock; for moments only."""
        try:
            self.lock_files_directory.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self.lock_files_directory / _GUARD, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError as error:
            raise self._failed(error) from error
        try:
            # A lock of the kernel's, which goes with its process.
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def _file(self, key: str) -> Path:
        _options.required_text(key, "key")
        return self.lock_files_directory / f"{hashlib.sha256(key.encode()).hexdigest()}.lock"

    def _failed(self, error: OSError) -> errors.LockError:
        msg = (
            f"The locks in {self.lock_files_directory} cannot be used: {error}; see to the folder."
        )
        return errors.LockError(msg)


def _patience(seconds: float | None) -> Generator[float]:
    """Yield for how long to wait before looking again, until the time is over."""
    _options.checked_seconds(seconds, "timeout")
    deadline = None if seconds is None else _clock.monotonic() + seconds
    pause = _LOOK_EVERY_SECONDS
    while True:
        left = pause if deadline is None else deadline - _clock.monotonic()
        if left <= 0:
            return
        yield min(pause, left)
        pause = min(2 * pause, _LOOK_EVERY_SECONDS_MAX)


def _begun(pid: int) -> str:
    """Return when a process of this machine began; empty if there is none."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            # After the name, which may have anything in it.
            fields = file.read().rpartition(")")[2].split()
        # One that has died and that nobody has waited for yet runs no code any more.
        return "" if fields[0] in "ZX" else fields[19]
    except (OSError, IndexError):
        pass
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return ""
    except PermissionError:
        return "alive"
    return "alive"
