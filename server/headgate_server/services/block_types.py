"""Types and schemas of blocks, which SDKs register."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

from headgate.core import blocks, errors
from headgate_server.domain import block_checks
from headgate_server.domain.checks import Checks
from headgate_server.services import block_references
from headgate_server.services.lifecycle import Lifecycle
from headgate_server.storage.interface import Storage, Transaction
from headgate_server.storage.records import Page, PageRequest


class BlockTypeService:
    """Use-cases of block types and their schemas.

    Args:
        storage: Where they are kept.
        new_id: Makes ids.
    """

    def __init__(self, storage: Storage, *, new_id: Callable[[], str]) -> None:
        """Make it for a storage."""
        self._storage = storage
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

    async def get(self, slug: str) -> blocks.BlockType:
        """Return a type.

        Raises:
            NotFound: There is none.
        """
        return await self._storage.read(lambda tx: _type(tx, slug))

    async def list(self, name_contains: str, page: PageRequest) -> Page[blocks.BlockType]:
        """List types by slug."""
        return await self._storage.read(lambda tx: tx.blocks.list_types(name_contains, page))

    async def delete(self, slug: str) -> None:
        """Delete a type with its schemas and its blocks.

        Raises:
            NotFound: There is no such type.
            FailedPrecondition: Blocks of other types refer to one of its blocks.
        """

        def change(tx: Transaction) -> None:
            _type(tx, slug)
            block_references.refuse_referred(
                tx.blocks.find_referrer(block_type_slug=slug), "block type", slug
            )
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
        return await self._storage.read(lambda tx: find_schema(tx, schema_id))

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


def find_schema(tx: Transaction, schema_id: str) -> blocks.BlockSchema:
    """Return a schema. Raises NotFound if there is none."""
    found = tx.blocks.get_schemas([schema_id])
    if not found:
        raise errors.NotFound("block schema", schema_id)
    return found[0]


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


__all__ = ["BlockTypeService", "find_schema"]
