"""Blocks in memory."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Sequence

from headgate.core import errors
from headgate.core.blocks import BlockSchema, BlockType
from headgate_server.storage.kinds.blocks import BlockDocumentFilter, StoredBlockDocument
from headgate_server.storage.memory import paging
from headgate_server.storage.memory.tables import Tables
from headgate_server.storage.records import Page, PageRequest

_KEY = "key"


class MemoryBlocks:
    """See :class:`headgate_server.storage.kinds.blocks.Blocks`."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables

    def get_type(self, slug: str) -> BlockType | None:
        return self._tables.block_types.get(slug)

    def put_type(self, block_type: BlockType) -> None:
        self._tables.block_types[block_type.slug] = block_type

    def delete_type(self, slug: str) -> None:
        for document in self._tables.block_documents:
            if document.block_type_slug == slug:
                self._tables.block_documents.remove(document.id)
        for schema in self._tables.block_schemas:
            if schema.block_type_slug == slug:
                self._tables.block_schemas.remove(schema.id)
        self._tables.block_types.remove(slug)

    def list_types(self, name_contains: str, page: PageRequest) -> Page[BlockType]:
        fitting = [
            block_type
            for block_type in self._tables.block_types
            if paging.contains(block_type.name, name_contains)
        ]
        return paging.cut_page(fitting, lambda found: (found.slug,), page)

    def get_schemas(self, ids: Collection[str]) -> Sequence[BlockSchema]:
        return [schema for schema in self._tables.block_schemas if schema.id in ids]

    def get_schema_by_checksum(
        self, checksum: str, *, block_type_slug: str = "", version: str = ""
    ) -> BlockSchema | None:
        fitting = [
            schema
            for schema in self._tables.block_schemas
            if schema.checksum == checksum
            and block_type_slug in ("", schema.block_type_slug)
            and version in ("", schema.version)
        ]
        return max(fitting, key=lambda schema: schema.id, default=None)

    def insert_schema(self, schema: BlockSchema) -> None:
        self._tables.block_schemas[schema.id] = schema

    def list_schemas(self, block_type_slug: str, page: PageRequest) -> Page[BlockSchema]:
        fitting = [
            schema
            for schema in self._tables.block_schemas
            if block_type_slug in ("", schema.block_type_slug)
        ]
        return paging.cut_page(fitting, lambda schema: (schema.id,), page)

    def get_documents(self, ids: Collection[str]) -> Sequence[StoredBlockDocument]:
        found = (self._tables.block_documents.get(document_id) for document_id in set(ids))
        return [document for document in found if document is not None]

    def get_document_by_name(self, block_type_slug: str, name: str) -> StoredBlockDocument | None:
        return next(
            (
                document
                for document in self._tables.block_documents
                if (document.block_type_slug, document.name) == (block_type_slug, name)
            ),
            None,
        )

    def insert_document(self, document: StoredBlockDocument) -> None:
        if self.get_document_by_name(document.block_type_slug, document.name) is not None:
            raise errors.AlreadyExists("block", document.full_name)
        self._tables.block_documents[document.id] = document

    def replace_document(self, document: StoredBlockDocument) -> None:
        stored = self._tables.block_documents.get(document.id)
        if stored is None:
            return
        self._tables.block_documents[document.id] = dataclasses.replace(
            stored,
            block_schema_id=document.block_schema_id,
            sealed_data=document.sealed_data,
            referenced_ids=document.referenced_ids,
            update_time=document.update_time,
        )

    def delete_document(self, document_id: str) -> None:
        self._tables.block_documents.remove(document_id)

    def list_documents(
        self, where: BlockDocumentFilter, page: PageRequest
    ) -> Page[StoredBlockDocument]:
        fitting = [
            document
            for document in self._tables.block_documents
            if document.is_anonymous == where.anonymous
            and where.block_type_slug in ("", document.block_type_slug)
            and paging.contains(document.name, where.name_contains)
        ]
        return paging.cut_page(fitting, lambda found: (found.block_type_slug, found.name), page)

    def find_referrer(
        self, *, document_id: str = "", block_type_slug: str = ""
    ) -> StoredBlockDocument | None:
        targets = {
            document.id
            for document in self._tables.block_documents
            if document.id == document_id
            or (block_type_slug and document.block_type_slug == block_type_slug)
        }
        return next(
            (
                document
                for document in self._tables.block_documents
                if targets & set(document.referenced_ids)
                and (not block_type_slug or document.block_type_slug != block_type_slug)
            ),
            None,
        )

    def encryption_key(self) -> str | None:
        return self._tables.encryption_keys.get(_KEY)

    def keep_encryption_key(self, key: str) -> None:
        self._tables.encryption_keys[_KEY] = key
