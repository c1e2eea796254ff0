"""How the records of the core are made: frozen to type checkers, quick at run time."""

from __future__ import annotations

import dataclasses
from typing import TypeVar, dataclass_transform

T = TypeVar("T")


@dataclass_transform(frozen_default=True, kw_only_default=True)
def record(cls: type[T]) -> type[T]:
    """Make a class a keyword-only, slotted, hashable dataclass that nobody may change.

    That nobody changes one is checked where all of our code is checked, by the type checker. The
    check at run time is left out: a frozen dataclass sets each field through
    ``object.__setattr__``, which makes a state cost three times, and a task run four times, of
    what they cost so, and of both several are made for each call of a task.
    """
    hashed = "__hash__" not in cls.__dict__  # or it has one of its own
    return dataclasses.dataclass(slots=True, kw_only=True, unsafe_hash=hashed)(cls)


__all__ = ["record"]
