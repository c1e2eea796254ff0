"""What storage keeps of the settings that are made while the server runs, for all replicas."""

from __future__ import annotations

from typing import Protocol


class Configuration(Protocol):
    """Short texts, by unique name."""

    def get(self, name: str) -> str | None:
        """Return the value, or None."""
        ...

    def set(self, name: str, value: str) -> None:
        """Store a value; over the one there is."""
        ...

    def delete(self, name: str) -> bool:
        """Delete a value; say whether there was one."""
        ...


__all__ = ["Configuration"]
