"""Marks on arguments that say how a task takes them."""

from __future__ import annotations

from typing import Generic, Self, TypeVar

from headgate._explaining import explained

__all__ = [
    "Annotation",
    "NotSet",
    "Quote",
    "allow_failure",
    "freeze",
    "opaque",
    "quote",
    "unmapped",
]

T = TypeVar("T")


class Annotation(Generic[T]):
    """An argument with a mark on it.

    Args:
        value: The argument itself.
    """

    __slots__ = ("value",)

    @explained
    def __init__(self, value: T) -> None:
        """Mark a value."""
        self.value = value

    def unwrap(self) -> T:
        """Return the argument without the mark."""
        return self.value

    def rewrap(self, value: T) -> Self:
        """Return another argument with the same mark."""
        return type(self)(value)

    def __eq__(self, other: object) -> bool:
        """Two marks are equal when they are of one kind and so are their values."""
        return type(other) is type(self) and bool(self.value == other.value)

    def __hash__(self) -> int:
        """Hash by the value."""
        return hash((type(self), self.value))

    def __repr__(self) -> str:
        """``unmapped([1, 2])``."""
        return f"{type(self).__name__}({self.value!r})"


class NotSet:
    """In the place of an argument that was not given, where None means something."""


class unmapped(Annotation[T]):  # noqa: N801  # reads as a function in a call
    """In ``Task.map``: pass this iterable whole to every call."""

    __slots__ = ()


class allow_failure(Annotation[T]):  # noqa: N801  # reads as a function in a call
    """Run even if this upstream run failed; its exception is passed in the place of its result."""

    __slots__ = ()


class quote(Annotation[T]):  # noqa: N801  # reads as a function in a call
    """Pass this value as it is: no future within it is looked for. Saves time with big values."""

    __slots__ = ()

    def unquote(self) -> T:
        """Return the argument without the mark."""
        return self.value


#: The same, as older code writes it.
Quote = quote


class opaque(Annotation[T]):  # noqa: N801  # reads as a function in a call
    """Resolve this value if it is a future, but do not look inside of it."""

    __slots__ = ()


class freeze(Annotation[T]):  # noqa: N801  # reads as a function in a call
    """In the parameters of a deployment: its runs have this value, and cannot be given another."""

    __slots__ = ()

    def unfreeze(self) -> T:
        """Return the value without the mark."""
        return self.value
