"""Which class belongs to which type of block: those that this process has defined."""

from __future__ import annotations

import importlib
import inspect
from typing import TYPE_CHECKING, cast

from headgate.core import errors

if TYPE_CHECKING:
    from headgate.blocks.core import Block

__all__ = ["add", "find", "is_interface"]

#: Where the blocks are that come with Headgate; looked into when a type is not known.
_OURS = (
    "headgate.blocks.system",
    "headgate.blocks.webhook",
    "headgate.blocks.notifications",
    "headgate.filesystems",
)
#: Entry points of this group are modules that define blocks.
_COLLECTIONS = "headgate.collections"

_classes: dict[str, type[Block]] = {}
_is_complete = False


def add(kind: type[Block]) -> None:
    """Remember a class; the last of a slug counts, as when a file is loaded again."""
    # A generic class with its parameter filled in is the same block.
    generic = cast("dict[str, object]", getattr(kind, "__pydantic_generic_metadata__", {}))
    if not generic.get("origin"):
        _classes[kind.get_block_type_slug()] = kind


def find(slug: str) -> type[Block]:
    """Return the class of a type.

    Raises:
        UnknownBlockType: There is none.
    """
    if slug not in _classes:
        _complete()
    try:
        return _classes[slug]
    except KeyError:
        msg = (
            f"No class is known for the block type {slug!r}; import the module that defines it "
            "before the block is loaded."
        )
        raise errors.UnknownBlockType(msg) from None


def is_interface(kind: type[Block]) -> bool:
    """Say whether a class only describes what other blocks do."""
    return kind.__name__ == "Block" or inspect.isabstract(kind) or "ABC" in _bases(kind)


def _bases(kind: type) -> list[str]:
    return [base.__name__ for base in kind.__bases__]


def _complete() -> None:
    global _is_complete
    if _is_complete:
        return
    _is_complete = True
    for module in _OURS:
        importlib.import_module(module)
    from importlib import metadata  # takes 20 ms, which processes without such types do not need

    for entry in metadata.entry_points(group=_COLLECTIONS):
        entry.load()
