"""Which values are results of which runs: the edges between tasks that pass plain values on.

A value is known by its identity. To be sure that it is still the same value, it must be watched
or kept alive. Keeping all results of a long flow would fill the memory, so values that can be
watched are, and of the others those that nobody else holds any more are soon forgotten.
"""

from __future__ import annotations

import sys
import weakref
from typing import Any

__all__ = ["Lineage"]

#: Values of these types are shared by the interpreter, so their identity says nothing.
_SHARED: frozenset[type] = frozenset(
    {bool, int, float, complex, type(None), type(...), type(NotImplemented)}
)
#: How many of those known longest are looked at with each that comes: more than come, so that
#: what nobody holds is not kept for long, and few, so that no call of a task takes long.
_LOOKED_AT = 2
#: References to a value that only the registry holds: its tuple, and the argument of getrefcount.
_OWN_REFERENCES = 2


class Lineage:
    """The results of the runs in one flow run. Used from all of its threads."""

    __slots__ = ("_known",)

    def __init__(self) -> None:
        """Know nothing."""
        #: By identity: the value, or a weak reference to it; whether it is that; the run.
        self._known: dict[int, tuple[Any, bool, str]] = {}

    def add(self, value: Any, run_id: str) -> None:
        """Note that a value is the result of a run."""
        kind: type[Any] = type(value)  # pyright: ignore[reportUnknownVariableType]  # of any type
        if kind in _SHARED or (kind is str and len(value) < 2):
            return
        known = self._known
        # Anew, at the end of the line.
        known.pop(id(value), None)
        if kind.__weakrefoffset__:
            known[id(value)] = (weakref.ref(value), True, run_id)
        else:
            known[id(value)] = (value, False, run_id)
        for _ in range(_LOOKED_AT):
            self._look_at_the_oldest()

    def find(self, value: Any) -> str | None:
        """Return the run whose result a value is."""
        found = self._known.get(id(value))
        if found is None:
            return None
        held, is_weak, run_id = found
        return run_id if not is_weak or held() is value else None

    def _look_at_the_oldest(self) -> None:
        """Forget it if nobody else holds it, for then it cannot be passed on; else keep it."""
        known = self._known
        try:
            key = next(iter(known))
        except (StopIteration, RuntimeError):
            return  # none, or another thread is at it
        entry = known.pop(key, None)
        if entry is None:
            return
        if entry[1]:
            if entry[0]() is not None:
                known.setdefault(key, entry)
        # `entry` is one tuple, so the value has one reference from it.
        elif sys.getrefcount(entry[0]) > _OWN_REFERENCES:
            known.setdefault(key, entry)
