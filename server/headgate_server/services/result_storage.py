"""Where results are kept that neither flow, task nor settings name a storage for."""

from __future__ import annotations

from headgate.core import errors
from headgate_server.domain.checks import Checks
from headgate_server.storage.interface import Storage, Transaction
from headgate_server.storage.kinds.blocks import StoredBlockDocument

_NAME = "result_storage.block_document_id"


class ResultStorageService:
    """Use-cases of the default storage of results.

    Args:
        storage: Where the choice is kept.
    """

    def __init__(self, storage: Storage) -> None:
        """Make it for a storage."""
        self._storage = storage

    async def get(self) -> StoredBlockDocument | None:
        """Return the block; None: each machine keeps results in a folder of its own."""
        return await self._storage.read(_chosen)

    async def set(self, block_document_id: str) -> StoredBlockDocument | None:
        """Choose a block; an empty id: none.

        Raises:
            InvalidArgument: The id is none, or it is a part of another block.
            NotFound: There is no such block.
        """
        checks = Checks()
        checks.optional_id("block_document_id", block_document_id)
        checks.raise_any()

        def change(tx: Transaction) -> StoredBlockDocument | None:
            if not block_document_id:
                tx.configuration.delete(_NAME)
                return None
            found = tx.blocks.get_documents([block_document_id])
            if not found:
                raise errors.NotFound("block", block_document_id)
            if found[0].is_anonymous:
                raise errors.InvalidArgument.of(
                    "block_document_id", "It is a block without a name; choose one that was saved."
                )
            tx.configuration.set(_NAME, block_document_id)
            return found[0]

        return await self._storage.write(change)


def refuse_chosen(tx: Transaction, document: StoredBlockDocument) -> None:
    """Refuse to delete the block that results are kept in.

    Raises:
        FailedPrecondition: It is this one.
    """
    if tx.configuration.get(_NAME) == document.id:
        raise errors.FailedPrecondition(
            f"Results are kept in block {document.full_name!r} by default; choose another one, or "
            "none (`headgate result-storage clear`).",
            "block",
            document.full_name,
        )


def _chosen(tx: Transaction) -> StoredBlockDocument | None:
    document_id = tx.configuration.get(_NAME)
    found = tx.blocks.get_documents([document_id]) if document_id else ()
    return found[0] if found else None


__all__ = ["ResultStorageService", "refuse_chosen"]
