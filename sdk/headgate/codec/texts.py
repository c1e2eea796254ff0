"""Texts that no wire takes as they are: those with half of a surrogate pair.

Python makes them of file names and output that are no UTF-8. They are rare, so they are looked for
only when a message could not be made.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, TypeVar, cast

T = TypeVar("T")


def clean(value: T) -> T:
    """Return a record, or a text, with U+FFFD in the place of each half of a surrogate pair."""
    return _clean(value)


def _clean(value: Any) -> Any:
    if isinstance(value, str):
        return _clean_text(value) if type(value) is str else value  # members of enums are fine
    if isinstance(value, tuple):
        return _clean_tuple(cast("Any", value))
    if isinstance(value, Mapping):
        pairs = cast("Mapping[Any, Any]", value).items()
        return {_clean(key): _clean(part) for key, part in pairs}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        record = cast("Any", value)
        parts = {f.name: _clean(getattr(record, f.name)) for f in dataclasses.fields(record)}
        return dataclasses.replace(record, **parts)
    return value


def _clean_tuple(value: Any) -> Any:
    make: Any = getattr(value, "_make", tuple)  # of named tuples
    return make([_clean(part) for part in value])


def _clean_text(text: str) -> str:
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


__all__ = ["clean"]
