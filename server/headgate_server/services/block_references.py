"""Which blocks refer to which."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from headgate.core import blocks, errors
from headgate_server.storage.interface import Transaction
from headgate_server.storage.kinds.blocks import StoredBlockDocument

#: How many blocks may hang on one.
REFERENCED_MAX = 200


def load(tx: Transaction, stored: StoredBlockDocument) -> list[StoredBlockDocument]:
    """Return the documents that one refers to, and those that these refer to, each once.

    Raises:
        FailedPrecondition: They are too many; one of them was given more after it was referred to.
    """
    found = _follow(tx, stored.referenced_ids)
    if len(found) > REFERENCED_MAX:
        raise errors.FailedPrecondition(
            f"Block {stored.full_name!r} refers to more than {REFERENCED_MAX} others, those that "
            "these refer to included; save it, or one of them, with fewer.",
            "block",
            stored.full_name,
        )
    return found


def check(tx: Transaction, document: blocks.BlockDocument, referenced: Sequence[str]) -> None:
    """Refuse references of a document that lead nowhere, to itself, or to too many.

    Raises:
        InvalidArgument: They do.
    """
    field = "block_document.data"
    found = _follow(tx, referenced)
    missing = sorted(set(referenced) - {other.id for other in found})
    if missing and len(found) <= REFERENCED_MAX:
        raise errors.InvalidArgument.of(
            field, f"There is no block {missing[0]}, which it refers to; save that one first."
        )
    if any(other.id == document.id for other in found):
        raise errors.InvalidArgument.of(
            field, "The block would refer to itself, through others or not; take that out."
        )
    if len(found) > REFERENCED_MAX:
        raise errors.InvalidArgument.of(
            field,
            f"It refers to more than {REFERENCED_MAX} blocks, others' included; that many are "
            "loaded at most.",
        )


def refuse_referred(referrer: StoredBlockDocument | None, resource: str, name: str) -> None:
    """Refuse to delete what a block refers to.

    Raises:
        FailedPrecondition: One does.
    """
    if referrer is not None:
        raise errors.FailedPrecondition(
            f"Block {referrer.full_name!r} refers to {resource} {name!r}; change or delete that "
            "one first.",
            resource,
            name,
        )


def _follow(tx: Transaction, ids: Iterable[str]) -> list[StoredBlockDocument]:
    """Return documents and those that they refer to; stops a little behind the greatest number."""
    found: list[StoredBlockDocument] = []
    asked: set[str] = set()
    wanted = set(ids)
    while wanted and len(found) <= REFERENCED_MAX:
        some = sorted(wanted)[: REFERENCED_MAX + 1]
        asked.update(some)
        documents = tx.blocks.get_documents(some)
        found.extend(documents)
        wanted.update(id for document in documents for id in document.referenced_ids)
        wanted -= asked
    return found


__all__ = ["REFERENCED_MAX", "check", "load", "refuse_referred"]
