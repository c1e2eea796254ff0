"""Hashes of source code, to tell versions of flows and tasks apart."""

from __future__ import annotations

import functools
import hashlib
import inspect
import sys
from collections.abc import Callable
from typing import Any

__all__ = ["digest", "file_digest", "is_found_by_name"]


def digest(fn: Callable[..., Any]) -> str:
    """Return a hash of the source of a function; of its code where there is no source."""
    inner: Any = inspect.unwrap(fn)
    inner = getattr(inner, "__func__", inner)
    try:
        text = inspect.getsource(inner)
    except (OSError, TypeError):
        code = getattr(inner, "__code__", None)
        text = repr((code.co_code, code.co_consts) if code is not None else inner.__class__)
    return hashlib.sha256(text.encode()).hexdigest()


def is_found_by_name(thing: Any) -> bool:
    """Say whether another process finds this very flow or task by its module and name.

    Not so in ``__main__``, which is another file there.
    """
    if thing.__module__ == "__main__":
        return False
    found: Any = sys.modules.get(thing.__module__)
    for name in thing.__qualname__.split("."):
        found = getattr(found, name, None)
    return found is thing


def file_digest(fn: Callable[..., Any]) -> str | None:
    """Return a hash of the file in which a function is; None where there is no file."""
    inner: Any = inspect.unwrap(fn)
    try:
        path = inspect.getsourcefile(getattr(inner, "__func__", inner))
    except TypeError:
        return None
    return _hash_of(path) if path is not None else None


@functools.lru_cache(maxsize=1024)
def _hash_of(path: str) -> str | None:
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()[:32]
    except OSError:
        return None
