"""What a lock manager does."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

__all__ = ["LockManager"]


@runtime_checkable
class LockManager(Protocol):
    """Lets one holder at a time have the lock of a key.

    A holder is any text; whoever names the same one is the same holder, and may lock again.
    """

    def acquire_lock(
        self,
        key: str,
        holder: str,
        acquire_timeout: float | None = None,
        hold_timeout: float | None = None,
    ) -> bool:
        """Lock a key, waiting for whoever holds it.

        Args:
            key: The key.
            holder: Who wants it.
            acquire_timeout: How many seconds to wait. Default: for ever.
            hold_timeout: After how many seconds the lock is released by itself. Default: never.

        Returns:
            Whether the holder has the lock now.
        """
        ...

    async def aacquire_lock(
        self,
        key: str,
        holder: str,
        acquire_timeout: float | None = None,
        hold_timeout: float | None = None,
    ) -> bool:
        """Do what ``acquire_lock`` does, in a coroutine."""
        ...

    def release_lock(self, key: str, holder: str) -> None:
        """Unlock a key.

        Raises:
            LockError: The holder does not hold it.
        """
        ...

    def is_locked(self, key: str) -> bool:
        """Say whether somebody holds the lock of a key."""
        ...

    def is_lock_holder(self, key: str, holder: str) -> bool:
        """Say whether this holder has the lock of a key."""
        ...

    def wait_for_lock(self, key: str, timeout: float | None = None) -> bool:
        """Wait until nobody holds the lock of a key.

        Args:
            key: The key.
            timeout: How many seconds to wait. Default: for ever.

        Returns:
            Whether the lock was released in time.
        """
        ...

    async def await_for_lock(self, key: str, timeout: float | None = None) -> bool:
        """Do what ``wait_for_lock`` does, in a coroutine."""
        ...
