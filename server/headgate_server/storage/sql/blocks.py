"""Blocks in SQL."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import sqlalchemy as sa

from headgate.core import errors
from headgate.core.blocks import BlockSchema, BlockType
from headgate_server.storage.kinds.blocks import BlockDocumentFilter, StoredBlockDocument
from headgate_server.storage.records import Page, PageRequest
from headgate_server.storage.sql import json_text, paging
from headgate_server.storage.sql.rows import Row, Values
from headgate_server.storage.sql.tables import METADATA
from headgate_server.storage.sql.types import SERIAL, TEXT, UID, Instant
from headgate_server.storage.sql.work import Work

block_types = sa.Table(
    "block_types",
    METADATA,
    sa.Column("id", UID, primary_key=True),
    sa.Column("slug", TEXT, nullable=False),
    sa.Column("name", TEXT, nullable=False),
    sa.Column("logo_url", TEXT, nullable=False),
    sa.Column("documentation_url", TEXT, nullable=False),
    sa.Column("description", TEXT, nullable=False),
    sa.Column("code_example", TEXT, nullable=False),
    sa.Column("create_time", Instant, nullable=False),
    sa.Column("update_time", Instant, nullable=False),
    sa.UniqueConstraint("slug"),
)

block_schemas = sa.Table(
    "block_schemas",
    METADATA,
    sa.Column("id", UID, primary_key=True),
    sa.Column("checksum", TEXT, nullable=False),
    sa.Column("block_type_slug", TEXT, nullable=False),
    sa.Column("fields", TEXT, nullable=False),
    sa.Column("capabilities", TEXT, nullable=False),
    sa.Column("version", TEXT, nullable=False),
    sa.Column("create_time", Instant, nullable=False),
    sa.UniqueConstraint("checksum", "block_type_slug", "version"),
    sa.Index(None, "block_type_slug", "id"),
)

block_documents = sa.Table(
    "block_documents",
    METADATA,
    sa.Column("id", UID, primary_key=True),
    sa.Column("name", TEXT, nullable=False),
    sa.Column("block_type_slug", TEXT, nullable=False),
    sa.Column("block_schema_id", UID, nullable=False),
    sa.Column("sealed_data", TEXT, nullable=False),
    sa.Column("is_anonymous", sa.Boolean, nullable=False),
    sa.Column("create_time", Instant, nullable=False),
    sa.Column("update_time", Instant, nullable=False),
    sa.UniqueConstraint("block_type_slug", "name"),
    sa.Index(None, "is_anonymous", "block_type_slug", "name"),
)

#: Which block refers to which.
block_references = sa.Table(
    "block_references",
    METADATA,
    sa.Column("document_id", UID, primary_key=True),
    sa.Column("referenced_id", UID, primary_key=True),
    sa.Index(None, "referenced_id"),
)

#: At most one row: the key, where replicas can share it nowhere else.
encryption_keys = sa.Table(
    "encryption_keys",
    METADATA,
    sa.Column("id", SERIAL, primary_key=True, autoincrement=False),
    sa.Column("key", TEXT, nullable=False),
)

_TYPES, _SCHEMAS, _DOCUMENTS = block_types, block_schemas, block_documents
_REFERENCES, _KEYS = block_references, encryption_keys
_KEY_ID = 1


class SqlBlocks:
    """See :class:`headgate_server.storage.kinds.blocks.Blocks`."""

    def __init__(self, work: Work) -> None:
        self._work = work

    def get_type(self, slug: str) -> BlockType | None:
        row = self._work.execute(sa.select(_TYPES).where(_TYPES.c.slug == slug)).first()
        return None if row is None else _type(row)

    def put_type(self, block_type: BlockType) -> None:
        self._work.execute(sa.delete(_TYPES).where(_TYPES.c.slug == block_type.slug))
        self._work.execute(sa.insert(_TYPES), _type_values(block_type))

    def delete_type(self, slug: str) -> None:
        ids = sa.select(_DOCUMENTS.c.id).where(_DOCUMENTS.c.block_type_slug == slug)
        self._work.execute(sa.delete(_REFERENCES).where(_REFERENCES.c.document_id.in_(ids)))
        for table in (_DOCUMENTS, _SCHEMAS):
            self._work.execute(sa.delete(table).where(table.c.block_type_slug == slug))
        self._work.execute(sa.delete(_TYPES).where(_TYPES.c.slug == slug))

    def list_types(self, name_contains: str, page: PageRequest) -> Page[BlockType]:
        query = sa.select(_TYPES)
        if name_contains:
            query = query.where(paging.name_contains(_TYPES.c.name, name_contains))
        return paging.fetch_page(self._work, query, [_TYPES.c.slug], page, _type, heavy=True)

    def get_schemas(self, ids: Collection[str]) -> Sequence[BlockSchema]:
        rows = self._work.execute(sa.select(_SCHEMAS).where(_SCHEMAS.c.id.in_(set(ids))))
        return [_schema(row) for row in rows]

    def get_schema_by_checksum(
        self, checksum: str, *, block_type_slug: str = "", version: str = ""
    ) -> BlockSchema | None:
        query = sa.select(_SCHEMAS).where(_SCHEMAS.c.checksum == checksum)
        if block_type_slug:
            query = query.where(_SCHEMAS.c.block_type_slug == block_type_slug)
        if version:
            query = query.where(_SCHEMAS.c.version == version)
        row = self._work.execute(query.order_by(_SCHEMAS.c.id.desc()).limit(1)).first()
        return None if row is None else _schema(row)

    def insert_schema(self, schema: BlockSchema) -> None:
        self._work.execute(sa.insert(_SCHEMAS), _schema_values(schema))

    def list_schemas(self, block_type_slug: str, page: PageRequest) -> Page[BlockSchema]:
        query = sa.select(_SCHEMAS)
        if block_type_slug:
            query = query.where(_SCHEMAS.c.block_type_slug == block_type_slug)
        return paging.fetch_page(self._work, query, [_SCHEMAS.c.id], page, _schema, heavy=True)

    def get_documents(self, ids: Collection[str]) -> Sequence[StoredBlockDocument]:
        rows = self._work.execute(sa.select(_DOCUMENTS).where(_DOCUMENTS.c.id.in_(set(ids))))
        return self._with_references(list(rows))

    def get_document_by_name(self, block_type_slug: str, name: str) -> StoredBlockDocument | None:
        return self._one(
            sa.select(_DOCUMENTS).where(
                _DOCUMENTS.c.block_type_slug == block_type_slug, _DOCUMENTS.c.name == name
            )
        )

    def insert_document(self, document: StoredBlockDocument) -> None:
        if self.get_document_by_name(document.block_type_slug, document.name) is not None:
            raise errors.AlreadyExists("block", document.full_name)
        self._work.execute(sa.insert(_DOCUMENTS), _document_values(document))
        self._insert_references(document)

    def replace_document(self, document: StoredBlockDocument) -> None:
        values = _document_values(document)
        changed = {name: values[name] for name in ("block_schema_id", "sealed_data", "update_time")}
        self._work.execute(sa.update(_DOCUMENTS).where(_DOCUMENTS.c.id == document.id), changed)
        self._delete_references(document.id)
        self._insert_references(document)

    def delete_document(self, document_id: str) -> None:
        self._delete_references(document_id)
        self._work.execute(sa.delete(_DOCUMENTS).where(_DOCUMENTS.c.id == document_id))

    def list_documents(
        self, where: BlockDocumentFilter, page: PageRequest
    ) -> Page[StoredBlockDocument]:
        query = sa.select(_DOCUMENTS).where(_DOCUMENTS.c.is_anonymous == where.anonymous)
        if where.block_type_slug:
            query = query.where(_DOCUMENTS.c.block_type_slug == where.block_type_slug)
        if where.name_contains:
            query = query.where(paging.name_contains(_DOCUMENTS.c.name, where.name_contains))
        key = [_DOCUMENTS.c.block_type_slug, _DOCUMENTS.c.name]
        return paging.fetch_page(self._work, query, key, page, _document, heavy=True)

    def find_referrer(
        self, *, document_id: str = "", block_type_slug: str = ""
    ) -> StoredBlockDocument | None:
        query = sa.select(_DOCUMENTS).join(
            _REFERENCES, _REFERENCES.c.document_id == _DOCUMENTS.c.id
        )
        if document_id:
            query = query.where(_REFERENCES.c.referenced_id == document_id)
        if block_type_slug:
            within = sa.select(_DOCUMENTS.c.id).where(
                _DOCUMENTS.c.block_type_slug == block_type_slug
            )
            query = query.where(
                _REFERENCES.c.referenced_id.in_(within),
                _DOCUMENTS.c.block_type_slug != block_type_slug,
            )
        return self._one(query.limit(1))

    def encryption_key(self) -> str | None:
        return self._work.execute(sa.select(_KEYS.c.key).where(_KEYS.c.id == _KEY_ID)).scalar()

    def keep_encryption_key(self, key: str) -> None:
        self._work.execute(sa.insert(_KEYS), {"id": _KEY_ID, "key": key})

    def _one(self, query: sa.Select[Any]) -> StoredBlockDocument | None:
        row = self._work.execute(query).first()
        return None if row is None else self._with_references([row])[0]

    def _with_references(self, rows: Sequence[Row]) -> Sequence[StoredBlockDocument]:
        ids = [row.id for row in rows]
        query = sa.select(_REFERENCES).where(_REFERENCES.c.document_id.in_(ids))
        referenced: dict[str, list[str]] = {}
        for found in self._work.execute(query) if ids else ():
            referenced.setdefault(found.document_id, []).append(found.referenced_id)
        return [_document(row, referenced.get(row.id, ())) for row in rows]

    def _insert_references(self, document: StoredBlockDocument) -> None:
        rows = [
            {"document_id": document.id, "referenced_id": referenced_id}
            for referenced_id in sorted(set(document.referenced_ids))
        ]
        if rows:
            self._work.execute(sa.insert(_REFERENCES), rows)

    def _delete_references(self, document_id: str) -> None:
        self._work.execute(sa.delete(_REFERENCES).where(_REFERENCES.c.document_id == document_id))


def _type_values(block_type: BlockType) -> Values:
    return {
        "id": block_type.id,
        "slug": block_type.slug,
        "name": block_type.name,
        "logo_url": block_type.logo_url,
        "documentation_url": block_type.documentation_url,
        "description": block_type.description,
        "code_example": block_type.code_example,
        "create_time": block_type.create_time,
        "update_time": block_type.update_time,
    }


def _type(row: Row) -> BlockType:
    return BlockType(
        id=row.id,
        slug=row.slug,
        name=row.name,
        logo_url=row.logo_url,
        documentation_url=row.documentation_url,
        description=row.description,
        code_example=row.code_example,
        create_time=row.create_time,
        update_time=row.update_time,
    )


def _schema_values(schema: BlockSchema) -> Values:
    return {
        "id": schema.id,
        "checksum": schema.checksum,
        "block_type_slug": schema.block_type_slug,
        "fields": schema.fields,
        "capabilities": json_text.dump_texts(schema.capabilities),
        "version": schema.version,
        "create_time": schema.create_time,
    }


def _schema(row: Row) -> BlockSchema:
    return BlockSchema(
        id=row.id,
        checksum=row.checksum,
        block_type_slug=row.block_type_slug,
        # Not an attribute of a row: the name is one of its methods.
        fields=row._mapping["fields"],  # pyright: ignore[reportPrivateUsage]  # its public name
        capabilities=json_text.load_texts(row.capabilities),
        version=row.version,
        create_time=row.create_time,
    )


def _document_values(document: StoredBlockDocument) -> Values:
    return {
        "id": document.id,
        "name": document.name,
        "block_type_slug": document.block_type_slug,
        "block_schema_id": document.block_schema_id,
        "sealed_data": document.sealed_data,
        "is_anonymous": document.is_anonymous,
        "create_time": document.create_time,
        "update_time": document.update_time,
    }


def _document(row: Row, referenced_ids: Sequence[str] = ()) -> StoredBlockDocument:
    return StoredBlockDocument(
        id=row.id,
        name=row.name,
        block_type_slug=row.block_type_slug,
        block_schema_id=row.block_schema_id,
        sealed_data=row.sealed_data,
        referenced_ids=tuple(sorted(referenced_ids)),
        is_anonymous=row.is_anonymous,
        create_time=row.create_time,
        update_time=row.update_time,
    )
