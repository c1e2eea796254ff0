"""Blocks: their types, their schemas, their sealed data, and who refers to whom."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Protocol

from headgate.core.blocks import BlockSchema, BlockType
from headgate_server.storage.records import Page, PageRequest


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class StoredBlockDocument:
    """A block as it is kept.

    Attributes:
        sealed_data: Its data, encrypted; storage cannot read them.
        referenced_ids: The blocks that the data refer to.
    """

    id: str
    name: str
    block_type_slug: str
    block_schema_id: str
    sealed_data: str
    referenced_ids: tuple[str, ...] = ()
    is_anonymous: bool = False
    create_time: datetime
    update_time: datetime

    @property
    def full_name(self) -> str:
        """``type/name``, as people write it."""
        return f"{self.block_type_slug}/{self.name}"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class BlockDocumentFilter:
    """Which blocks; empty fields do not filter."""

    block_type_slug: str = ""
    name_contains: str = ""
    anonymous: bool = False


class Blocks(Protocol):
    """Blocks."""

    def get_type(self, slug: str) -> BlockType | None:
        """Return the type, or None."""
        ...

    def put_type(self, block_type: BlockType) -> None:
        """Store a type under its slug, in the place of the one that is there."""
        ...

    def delete_type(self, slug: str) -> None:
        """Delete the type with its schemas and its documents."""
        ...

    def list_types(self, name_contains: str, page: PageRequest) -> Page[BlockType]:
        """List types by slug."""
        ...

    def get_schemas(self, ids: Collection[str]) -> Sequence[BlockSchema]:
        """Return those of the schemas that there are, in any order."""
        ...

    def get_schema_by_checksum(
        self, checksum: str, *, block_type_slug: str = "", version: str = ""
    ) -> BlockSchema | None:
        """Return the newest schema of a checksum, and of type and version if given, or None."""
        ...

    def insert_schema(self, schema: BlockSchema) -> None:
        """Store a new schema."""
        ...

    def list_schemas(self, block_type_slug: str, page: PageRequest) -> Page[BlockSchema]:
        """List schemas by id, the oldest first; of one type, or of all."""
        ...

    def get_documents(self, ids: Collection[str]) -> Sequence[StoredBlockDocument]:
        """Return those of the documents that there are, in any order."""
        ...

    def get_document_by_name(self, block_type_slug: str, name: str) -> StoredBlockDocument | None:
        """Return the document of this name, or None."""
        ...

    def insert_document(self, document: StoredBlockDocument) -> None:
        """Store a new document.

        Raises:
            AlreadyExists: The type has one of this name.
        """
        ...

    def replace_document(self, document: StoredBlockDocument) -> None:
        """Store schema, data, references and update_time of a document that is there."""
        ...

    def delete_document(self, document_id: str) -> None:
        """Delete the document."""
        ...

    def list_documents(
        self, where: BlockDocumentFilter, page: PageRequest
    ) -> Page[StoredBlockDocument]:
        """List documents by type and name."""
        ...

    def find_referrer(
        self, *, document_id: str = "", block_type_slug: str = ""
    ) -> StoredBlockDocument | None:
        """Return a document that refers to this one, or from outside of this type into it."""
        ...

    def encryption_key(self) -> str | None:
        """Return the key that is kept here, or None."""
        ...

    def keep_encryption_key(self, key: str) -> None:
        """Keep a key here."""
        ...


__all__ = ["BlockDocumentFilter", "Blocks", "StoredBlockDocument"]
