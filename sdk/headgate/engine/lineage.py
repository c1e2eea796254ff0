"""Which values are results of which runs: the edges between tasks that pass plain values on.

A value is known by its identity. To be sure that it is still the same value, it must be kept
alive or watched; keeping all results of a long flow alive would fill the memory, so values that
nobody else holds any more are forgotten from time to time.
"""

from __future__ import annotations

import sys
from typing import Any

__all__ = ["Lineage"]

#: Values of these types are shared by the interpreter, so their identity says nothing.
_SHARED: frozenset[type] = frozenset(
    {bool, int, float, complex, type(None), type(...), type(NotImplemented)}
)
#: Results that are looked through at once are never more than this many times those in use.
_SWEEP_FROM = 64
#: References to a value that only the registry holds: its tuple, and the argument of getrefcount.
_OWN_REFERENCES = 2


class Lineage:
    """The results of the runs in one flow run. Used from all of its threads."""

    __slots__ = ("_known", "_sweep_at")

    def __init__(self) -> None:
        """Know nothing."""
        self._known: dict[int, tuple[Any, str]] = {}
        self._sweep_at = _SWEEP_FROM

    def add(self, value: Any, run_id: str) -> None:
        """Note that a value is the result of a run."""
        if type(value) in _SHARED or (type(value) is str and len(value) < 2):
            return
        known = self._known
        known[id(value)] = (value, run_id)
        if len(known) >= self._sweep_at:
            self._sweep()

    def find(self, value: Any) -> str | None:
        """Return the run whose result a value is."""
        found = self._known.get(id(value))
        return found[1] if found is not None else None

    def _sweep(self) -> None:
        """Forget values that nobody else holds: they cannot be passed on any more."""
        for key, entry in list(self._known.items()):
            # `entry` is one tuple, so the value has one reference from it.
            if sys.getrefcount(entry[0]) <= _OWN_REFERENCES:
                self._known.pop(key, None)
            del entry
        self._sweep_at = max(_SWEEP_FROM, 2 * len(self._known))
