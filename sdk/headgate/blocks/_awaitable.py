"""Results that may be awaited, though they are there already.

In async flows of the incumbent, methods of blocks return coroutines. Here they just do their work,
and what they return can be awaited all the same, so such flows run as they are.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

__all__ = ["DONE", "Bytes", "Done", "Text"]


class Done:
    """Nothing; returned by what has been done when it returns."""

    __slots__ = ()

    def __await__(self) -> Generator[Any, Any, None]:
        """Return None."""
        yield from ()

    def __bool__(self) -> bool:
        """Be as false as None."""
        return False

    def __repr__(self) -> str:
        """Look like None."""
        return "None"


DONE = Done()


class Bytes(bytes):
    """Bytes."""

    __slots__ = ()

    def __await__(self) -> Generator[Any, Any, bytes]:
        """Return the bytes."""
        yield from ()
        return bytes(self)


class Text(str):
    """A text."""

    __slots__ = ()

    def __await__(self) -> Generator[Any, Any, str]:
        """Return the text."""
        yield from ()
        return str(self)
