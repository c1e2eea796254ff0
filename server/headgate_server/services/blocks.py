"""Blocks: types and schemas that SDKs register, documents that people save."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Sequence

from headgate.core import blocks, errors
from headgate_server.domain import block_checks, block_data
from headgate_server.domain import events as domain_events
from headgate_server.domain.checks import Checks
from headgate_server.services.encryption import Encryption, Unreadable
from headgate_server.services.lifecycle import Lifecycle
from headgate_server.storage.interface import Storage, Transaction
from headgate_server.storage.kinds.blocks import BlockDocumentFilter, StoredBlockDocument
from headgate_server.storage.records import Page, PageRequest

#: How many blocks may hang on one.
_REFERENCED_MAX = 200


class BlockService:
    """Use-cases of blocks.

    Args:
        storage: Where they are kept.
        encryption: Seals their data.
        new_id: Makes ids.
    """

    def __init__(
        self, storage: Storage, *, encryption: Encryption, new_id: Callable[[], str]
    ) -> None:
        """Make it for a storage."""
        self._storage = storage
        self._encryption = encryption
        self._new_id = new_id
        self._lifecycle = Lifecycle(new_id)

    async def register(
        self, block_type: blocks.BlockType, schemas: Sequence[blocks.BlockSchema]
    ) -> tuple[blocks.BlockType, Sequence[blocks.BlockSchema]]:
        """Make a type with schemas, or bring it up to date; what is there already stays.

        Raises:
            InvalidArgument: Fields are wrong.
        """
        checks = Checks()
        block_checks.check_registration(checks, block_type, schemas)
        checks.raise_any()
        # Most of the time all is there already, and only reading is called for.
        known = await self._storage.read(lambda tx: _registered(tx, block_type, schemas))
        if known is not None:
            return known

        def change(
            tx: Transaction,
        ) -> tuple[blocks.BlockType, Sequence[blocks.BlockSchema]]:
            _put_type(tx, block_type, self._new_id())
            return _type(tx, block_type.slug), [
                _ensure_schema(tx, schema, self._new_id()) for schema in schemas
            ]

        return await self._storage.write(change)

    async def get_type(self, slug: str) -> blocks.BlockType:
        """Return a type.

        Raises:
            NotFound: There is none.
        """
        return await self._storage.read(lambda tx: _type(tx, slug))

    async def list_types(self, name_contains: str, page: PageRequest) -> Page[blocks.BlockType]:
        """List types by slug."""
        return await self._storage.read(lambda tx: tx.blocks.list_types(name_contains, page))

    async def delete_type(self, slug: str) -> None:
        """Delete a type with its schemas and its blocks.

        Raises:
            NotFound: There is no such type.
            FailedPrecondition: Blocks of other types refer to one of its blocks.
        """

        def change(tx: Transaction) -> None:
            _type(tx, slug)
            _refuse_referred(tx.blocks.find_referrer(block_type_slug=slug), "block type", slug)
            tx.blocks.delete_type(slug)
            self._lifecycle.tell(tx, "block-type", "deleted", slug, slug)

        await self._storage.write(change)

    async def get_schema(self, schema_id: str) -> blocks.BlockSchema:
        """Return a schema by id.

        Raises:
            NotFound: There is none.
        """
        checks = Checks()
        checks.id("id", schema_id)
        checks.raise_any()
        return await self._storage.read(lambda tx: _schema(tx, schema_id))

    async def get_schema_by_checksum(self, checksum: str) -> blocks.BlockSchema:
        """Return the newest schema of a checksum.

        Raises:
            NotFound: There is none.
        """
        found = await self._storage.read(lambda tx: tx.blocks.get_schema_by_checksum(checksum))
        if found is None:
            raise errors.NotFound("block schema", checksum)
        return found

    async def list_schemas(
        self, block_type_slug: str, page: PageRequest
    ) -> Page[blocks.BlockSchema]:
        """List schemas, the oldest first."""
        return await self._storage.read(lambda tx: tx.blocks.list_schemas(block_type_slug, page))

    async def create(self, document: blocks.BlockDocument) -> blocks.BlockDocument:
        """Save a new block.

        Raises:
            InvalidArgument: Fields are wrong, or it refers to a block that is not there.
            NotFound: There is no such schema.
            AlreadyExists: There is one of this type and name.
        """
        checks = Checks()
        block_checks.check_document(checks, document)
        checks.raise_any()

        def change(tx: Transaction) -> blocks.BlockDocument:
            schema = _schema(tx, document.block_schema_id)
            new_id, now = self._new_id(), tx.now()
            made = dataclasses.replace(
                document,
                id=new_id,
                name=f"anonymous-{new_id}" if document.is_anonymous else document.name,
                block_type_slug=schema.block_type_slug,
                create_time=now,
                update_time=now,
            )
            tx.blocks.insert_document(self._sealed(tx, made))
            self._tell(tx, "created", made)
            return _masked(made, schema)

        return await self._storage.write(change)

    async def get(self, document_id: str, *, include_secrets: bool) -> blocks.LoadedBlock:
        """Return a block by id, with all that it refers to.

        Raises:
            NotFound: There is none.
            FailedPrecondition: Secrets are asked for, and no key reads them.
        """
        checks = Checks()
        checks.id("id", document_id)
        checks.raise_any()
        return await self._storage.read(
            lambda tx: self._load(tx, _document(tx, document_id), include_secrets)
        )

    async def get_by_name(
        self, block_type_slug: str, name: str, *, include_secrets: bool
    ) -> blocks.LoadedBlock:
        """Return a block by type and name, with all that it refers to.

        Raises:
            NotFound: There is none.
            FailedPrecondition: Secrets are asked for, and no key reads them.
        """

        def query(tx: Transaction) -> blocks.LoadedBlock:
            found = tx.blocks.get_document_by_name(block_type_slug, name)
            if found is None:
                raise errors.NotFound("block", f"{block_type_slug}/{name}")
            return self._load(tx, found, include_secrets)

        return await self._storage.read(query)

    async def list(
        self, where: BlockDocumentFilter, page: PageRequest
    ) -> Page[blocks.BlockDocument]:
        """List blocks by type and name, with their secrets masked."""

        def query(tx: Transaction) -> Page[blocks.BlockDocument]:
            found = tx.blocks.list_documents(where, page)
            schemas = _schemas(tx, found.items)
            items = [
                _masked(self._open(tx, stored), schemas[stored.block_schema_id])
                for stored in found.items
            ]
            return Page(items=items, next=found.next)

        return await self._storage.read(query)

    async def update(
        self, document: blocks.BlockDocument, mask: Sequence[str]
    ) -> blocks.BlockDocument:
        """Change the data of a block, or its schema.

        Raises:
            InvalidArgument: The mask or a field is wrong.
            NotFound: There is no such block or schema.
            FailedPrecondition: What stays of the data cannot be read.
        """
        checks = Checks()
        checks.id("block_document.id", document.id)
        block_checks.check_mask(checks, mask)
        if "block_schema_id" in mask:
            checks.id("block_document.block_schema_id", document.block_schema_id)
        block_checks.check_data(checks, document.data)
        checks.raise_any()

        def change(tx: Transaction) -> blocks.BlockDocument:
            stored = _document(tx, document.id)
            schema_id = document.block_schema_id if "block_schema_id" in mask else None
            schema = _schema(tx, schema_id or stored.block_schema_id)
            _check_same_type(stored, schema)
            before = self._open(tx, stored)
            secret_fields = blocks.secret_fields(schema.fields)
            if before.data_unreadable and not block_checks.replaces_all(
                document.data, mask, secret_fields
            ):
                raise _unreadable(before)
            after = dataclasses.replace(
                before,
                block_schema_id=schema.id,
                data=block_data.unmask(
                    block_checks.merge(document.data, before.data, mask), before.data, secret_fields
                ),
                data_unreadable=False,
                update_time=tx.now(),
            )
            tx.blocks.replace_document(self._sealed(tx, after))
            self._tell(tx, "updated", after)
            return _masked(after, schema)

        return await self._storage.write(change)

    async def delete(self, document_id: str) -> None:
        """Delete a block.

        Raises:
            NotFound: There is no such block.
            FailedPrecondition: Other blocks refer to it.
        """
        checks = Checks()
        checks.id("id", document_id)
        checks.raise_any()

        def change(tx: Transaction) -> None:
            stored = _document(tx, document_id)
            referrer = tx.blocks.find_referrer(document_id=document_id)
            _refuse_referred(referrer, "block", stored.full_name)
            tx.blocks.delete_document(document_id)
            self._tell(tx, "deleted", stored)

        await self._storage.write(change)

    def _tell(
        self, tx: Transaction, verb: str, document: blocks.BlockDocument | StoredBlockDocument
    ) -> None:
        # Named as in the events of SDKs that load one, so that all about it is found together.
        slug = document.block_type_slug
        kind = domain_events.resource(f"headgate.block-type.{slug}", slug, "block-type")
        self._lifecycle.tell(
            tx, "block-document", verb, document.id, document.name, related=(kind,)
        )

    def _sealed(self, tx: Transaction, document: blocks.BlockDocument) -> StoredBlockDocument:
        referenced = block_data.referenced_ids(document.data)
        _check_references(tx, document, referenced)
        return StoredBlockDocument(
            id=document.id,
            name=document.name,
            block_type_slug=document.block_type_slug,
            block_schema_id=document.block_schema_id,
            sealed_data=self._encryption.seal(tx, json.dumps(dict(document.data))),
            referenced_ids=tuple(referenced),
            is_anonymous=document.is_anonymous,
            create_time=document.create_time,
            update_time=document.update_time,
        )

    def _open(self, tx: Transaction, stored: StoredBlockDocument) -> blocks.BlockDocument:
        data: dict[str, str] | None
        try:
            data = json.loads(self._encryption.open(tx, stored.sealed_data))
        except Unreadable:
            data = None
        return blocks.BlockDocument(
            id=stored.id,
            name=stored.name,
            block_type_slug=stored.block_type_slug,
            block_schema_id=stored.block_schema_id,
            data=data or {},
            is_anonymous=stored.is_anonymous,
            data_unreadable=data is None,
            create_time=stored.create_time,
            update_time=stored.update_time,
        )

    def _load(
        self, tx: Transaction, stored: StoredBlockDocument, include_secrets: bool
    ) -> blocks.LoadedBlock:
        all_stored = [stored, *_referenced(tx, stored.referenced_ids)]
        schemas = _schemas(tx, all_stored)
        documents = [self._open(tx, one) for one in all_stored]
        if include_secrets:
            for document in documents:
                if document.data_unreadable:
                    raise _unreadable(document)
        else:
            documents = [_masked(one, schemas[one.block_schema_id]) for one in documents]
        first, *others = documents
        return blocks.LoadedBlock(
            document=first, references={other.id: other for other in others}, schemas=schemas
        )


def _registered(
    tx: Transaction, block_type: blocks.BlockType, schemas: Sequence[blocks.BlockSchema]
) -> tuple[blocks.BlockType, Sequence[blocks.BlockSchema]] | None:
    stored = tx.blocks.get_type(block_type.slug)
    if stored is None or stored != _as_stored(block_type, stored):
        return None
    found = [_stored_schema(tx, schema) for schema in schemas]
    known = [schema for schema in found if schema is not None]
    return (stored, known) if len(known) == len(found) else None


def _as_stored(block_type: blocks.BlockType, stored: blocks.BlockType) -> blocks.BlockType:
    """Return a type that is registered again, with what the server chose the first time."""
    return dataclasses.replace(
        block_type,
        id=stored.id,
        create_time=stored.create_time,
        update_time=stored.update_time,
    )


def _put_type(tx: Transaction, block_type: blocks.BlockType, new_id: str) -> None:
    stored, now = tx.blocks.get_type(block_type.slug), tx.now()
    if stored is None:
        tx.blocks.put_type(
            dataclasses.replace(block_type, id=new_id, create_time=now, update_time=now)
        )
        return
    after = _as_stored(block_type, stored)
    if after != stored:
        tx.blocks.put_type(dataclasses.replace(after, update_time=now))


def _stored_schema(tx: Transaction, schema: blocks.BlockSchema) -> blocks.BlockSchema | None:
    return tx.blocks.get_schema_by_checksum(
        schema.checksum, block_type_slug=schema.block_type_slug, version=schema.version
    )


def _ensure_schema(tx: Transaction, schema: blocks.BlockSchema, new_id: str) -> blocks.BlockSchema:
    stored = _stored_schema(tx, schema)
    if stored is not None:
        return stored
    made = dataclasses.replace(
        schema,
        id=new_id,
        capabilities=tuple(sorted(set(schema.capabilities))),
        create_time=tx.now(),
    )
    tx.blocks.insert_schema(made)
    return made


def _type(tx: Transaction, slug: str) -> blocks.BlockType:
    block_type = tx.blocks.get_type(slug)
    if block_type is None:
        raise errors.NotFound("block type", slug)
    return block_type


def _schema(tx: Transaction, schema_id: str) -> blocks.BlockSchema:
    found = tx.blocks.get_schemas([schema_id])
    if not found:
        raise errors.NotFound("block schema", schema_id)
    return found[0]


def _schemas(
    tx: Transaction, documents: Sequence[StoredBlockDocument]
) -> dict[str, blocks.BlockSchema]:
    ids = {document.block_schema_id for document in documents}
    return {schema.id: schema for schema in tx.blocks.get_schemas(ids)}


def _document(tx: Transaction, document_id: str) -> StoredBlockDocument:
    found = tx.blocks.get_documents([document_id])
    if not found:
        raise errors.NotFound("block", document_id)
    return found[0]


def _referenced(tx: Transaction, ids: Sequence[str]) -> list[StoredBlockDocument]:
    """Return the documents of these ids, and those that these refer to, each once."""
    found: dict[str, StoredBlockDocument] = {}
    wanted = set(ids)
    while wanted:
        for document in tx.blocks.get_documents(wanted):
            found[document.id] = document
        known = set(found)
        wanted = {
            referenced
            for document in found.values()
            for referenced in document.referenced_ids
            if referenced not in known
        } - wanted
    return list(found.values())


def _check_references(
    tx: Transaction, document: blocks.BlockDocument, referenced: Sequence[str]
) -> None:
    field = "block_document.data"
    found = _referenced(tx, referenced)
    missing = sorted(set(referenced) - {other.id for other in found})
    if missing:
        raise errors.InvalidArgument.of(
            field, f"There is no block {missing[0]}, which it refers to; save that one first."
        )
    if any(other.id == document.id for other in found):
        raise errors.InvalidArgument.of(
            field, "The block would refer to itself, through others or not; take that out."
        )
    if len(found) > _REFERENCED_MAX:
        raise errors.InvalidArgument.of(
            field, f"It refers to {len(found)} blocks, others' included; at most 200 are loaded."
        )


def _check_same_type(stored: StoredBlockDocument, schema: blocks.BlockSchema) -> None:
    if schema.block_type_slug != stored.block_type_slug:
        raise errors.InvalidArgument.of(
            "block_document.block_schema_id",
            f"The schema is of the type {schema.block_type_slug!r}, the block is of "
            f"{stored.block_type_slug!r}; save it under the other type as a new block.",
        )


def _refuse_referred(referrer: StoredBlockDocument | None, resource: str, name: str) -> None:
    if referrer is not None:
        raise errors.FailedPrecondition(
            f"Block {referrer.full_name!r} refers to {resource} {name!r}; change or delete that "
            "one first.",
            resource,
            name,
        )


def _masked(document: blocks.BlockDocument, schema: blocks.BlockSchema) -> blocks.BlockDocument:
    data = block_data.mask(document.data, blocks.secret_fields(schema.fields))
    return dataclasses.replace(document, data=data)


def _unreadable(document: blocks.BlockDocument) -> errors.FailedPrecondition:
    return errors.FailedPrecondition(
        f"Block {document.full_name!r} was encrypted with a key that this server does not have; "
        "give it that key in HEADGATE_SERVER_ENCRYPTION_KEY, or save the block again.",
        "block",
        document.full_name,
    )
