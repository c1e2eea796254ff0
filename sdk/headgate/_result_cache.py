"""Results that a store keeps at hand: the last used ones, as long as they are small."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Any

__all__ = ["ResultCache"]

RECORDS_MAX = 1_000
#: Of all records together, and of one of them, as they are stored.
BYTES_MAX = 64 * 1024 * 1024
RECORD_BYTES_MAX = 4 * 1024 * 1024


class ResultCache:
    """The records used last, by key; from any thread.

    Bounded in bytes, too: results of a flow must be let go once nobody holds them.
    """

    def __init__(self) -> None:
        """Keep nothing yet."""
        self._records: OrderedDict[tuple[str, str], tuple[Any, int]] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[Any, ...]:
        """Travel empty."""
        return ResultCache, ()

    def get(self, place: str, key: str) -> Any | None:
        """Return the record of a key, if it is at hand."""
        with self._lock:
            found = self._records.get((place, key))
            if found is None:
                return None
            self._records.move_to_end((place, key))
            return found[0]

    def put(self, place: str, key: str, record: Any, size: int) -> None:
        """Keep a record for which so many bytes are stored."""
        with self._lock:
            self._pop(place, key)
            if size > RECORD_BYTES_MAX:
                return
            self._records[place, key] = record, size
            self._bytes += size
            while len(self._records) > RECORDS_MAX or self._bytes > BYTES_MAX:
                _key, (_record, size) = self._records.popitem(last=False)
                self._bytes -= size

    def pop(self, place: str, key: str) -> None:
        """Forget a record."""
        with self._lock:
            self._pop(place, key)

    def _pop(self, place: str, key: str) -> None:
        found = self._records.pop((place, key), None)
        if found is not None:
            self._bytes -= found[1]
