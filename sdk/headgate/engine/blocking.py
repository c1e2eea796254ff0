"""Lets a thread of a task runner give its place to another task while it waits."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Generator
from contextlib import AbstractContextManager
from typing import Protocol

__all__ = ["Place", "has_place", "occupy", "released"]


class Place(Protocol):
    """A place in a pool of limited size."""

    def released(self) -> AbstractContextManager[None]:
        """Give the place away for the length of a ``with`` block."""
        ...


class _Local(threading.local):
    place: Place | None = None


_local = _Local()


@contextlib.contextmanager
def occupy(place: Place | None) -> Generator[None]:
    """Say which place this thread has."""
    before = _local.place
    _local.place = place
    try:
        yield
    finally:
        _local.place = before


def has_place() -> bool:
    """Say whether this thread has a place to give away."""
    return _local.place is not None


@contextlib.contextmanager
def released() -> Generator[None]:
    """Give this thread's place away, if it has one, for the length of a ``with`` block.

    A task that waits for another one must not keep it from running: without this, nested
    ``submit`` calls in a small pool wait for each other for ever.
    """
    place = _local.place
    if place is None:
        yield
        return
    _local.place = None
    try:
        with place.released():
            yield
    finally:
        _local.place = place
