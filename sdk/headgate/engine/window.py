"""How much may be sent ahead of its acknowledgement. Pure."""

from __future__ import annotations

from collections import deque

__all__ = ["Window"]


class Window:
    """What is on its way on one stream.

    Args:
        items: How many items may be on their way; 0: the default.
        size: How many bytes may be; 0: the default.
    """

    def __init__(self, items: int = 0, size: int = 0) -> None:
        """Start with nothing on its way."""
        self._items_max = items or 10_000
        self._bytes_max = size or 8 * 1024 * 1024
        self._items = 0
        self._bytes = 0
        self._frames: dict[str, deque[tuple[int, int, int]]] = {}

    @property
    def room(self) -> int:
        """How many items may be sent now. A frame may be bigger than the window if it is alone."""
        if self._bytes >= self._bytes_max:
            return 0
        return self._items_max - self._items

    def send(self, key: str, last: int, items: int, size: int) -> None:
        """Note a frame: its line, its last number, how many items and bytes it has."""
        self._frames.setdefault(key, deque()).append((last, items, size))
        self._items += items
        self._bytes += size

    def acknowledge(self, key: str, number: int) -> bool:
        """Forget frames that are committed; returns whether there were any."""
        line = self._frames.get(key)
        freed = False
        while line and line[0][0] <= number:
            _last, items, size = line.popleft()
            self._items -= items
            self._bytes -= size
            freed = True
        if not line:
            self._frames.pop(key, None)
        return freed
