"""Blocks: documents that people save. Their types and schemas are in ``block_types``."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Sequence

from headgate.core import blocks, errors
from headgate_server.domain import block_checks, block_data
from headgate_server.domain import events as domain_events
from headgate_server.domain.checks import Checks
from headgate_server.services import block_references, result_storage
from headgate_server.services.block_types import find_schema
from headgate_server.services.encryption import Encryption, Unreadable
from headgate_server.services.lifecycle import Lifecycle
from headgate_server.storage.interface import Storage, Transaction
from headgate_server.storage.kinds.blocks import BlockDocumentFilter, StoredBlockDocument
from headgate_server.storage.records import Page, PageRequest


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

    async def create(
        self, document: blocks.BlockDocument, *, request_id: str = ""
    ) -> blocks.BlockDocument:
        """Save a new block.

        Raises:
            InvalidArgument: Fields are wrong, or it refers to a block that is not there.
            NotFound: There is no such schema.
            AlreadyExists: There is one of this type and name, and not by this request.
        """
        checks = Checks()
        block_checks.check_document(checks, document)
        checks.optional_id("request_id", request_id)
        checks.raise_any()

        def change(tx: Transaction) -> blocks.BlockDocument:
            schema = find_schema(tx, document.block_schema_id)
            if request_id and (known := tx.blocks.get_documents([request_id])):
                return self._masked(tx, known[0])
            new_id, now = request_id or self._new_id(), tx.now()
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
            schema = find_schema(tx, schema_id or stored.block_schema_id)
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
            FailedPrecondition: Other blocks refer to it, or results are kept in it by default.
        """
        checks = Checks()
        checks.id("id", document_id)
        checks.raise_any()

        def change(tx: Transaction) -> None:
            stored = _document(tx, document_id)
            referrer = tx.blocks.find_referrer(document_id=document_id)
            block_references.refuse_referred(referrer, "block", stored.full_name)
            result_storage.refuse_chosen(tx, stored)
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
        block_references.check(tx, document, referenced)
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

    def _masked(self, tx: Transaction, stored: StoredBlockDocument) -> blocks.BlockDocument:
        return _masked(self._open(tx, stored), find_schema(tx, stored.block_schema_id))

    def _load(
        self, tx: Transaction, stored: StoredBlockDocument, include_secrets: bool
    ) -> blocks.LoadedBlock:
        all_stored = [stored, *block_references.load(tx, stored)]
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


def _check_same_type(stored: StoredBlockDocument, schema: blocks.BlockSchema) -> None:
    if schema.block_type_slug != stored.block_type_slug:
        raise errors.InvalidArgument.of(
            "block_document.block_schema_id",
            f"The schema is of the type {schema.block_type_slug!r}, the block is of "
            f"{stored.block_type_slug!r}; save it under the other type as a new block.",
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
