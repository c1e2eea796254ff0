"""Texts that no wire takes as they are: those with half of a surrogate pair.

Python makes them of file names and output that are no UTF-8. They are rare, so they are looked for
only when a message could not be made.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, TypeVar

T = TypeVar("T")


def clean(value: T) -> T:
    """Return a record, or a text, with U+FFFD in the place of each half of a surrogate pair."""
    return _clean(value)


def _clean(value: Any) -> Any:
    kind: Any = type(value)
    if kind is str:  # members of enums are fine
        return _clean_text(value)
    if issubclass(kind, tuple):
        parts: list[Any] = [_clean(part) for part in value]
        return kind._make(parts) if hasattr(kind, "_make") else tuple(parts)
    if issubclass(kind, Mapping):
        return {_clean(key): _clean(part) for key, part in value.items()}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        record = cast("Any", value)
        parts_by_name = {
            f.name: _clean(getattr(record, f.name)) for f in dataclasses.fields(record)
        }
        return dataclasses.replace(record, **parts_by_name)
    return value


def _clean_text(text: str) -> str:
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


__all__ = ["clean"]
