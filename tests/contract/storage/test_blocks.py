"""Blocks are kept alike by every storage."""

import dataclasses
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from headgate.core import blocks, errors, ids
from headgate_server.storage.interface import Storage, Transaction
from headgate_server.storage.kinds.blocks import BlockDocumentFilter, StoredBlockDocument
from headgate_server.storage.records import Page, PageRequest

NOW = datetime(2026, 7, 1, 12, tzinfo=UTC)


def a_type(slug: str = "secret", **changes: Any) -> blocks.BlockType:
    made = blocks.BlockType(
        id=ids.new_id(), slug=slug, name=slug.title(), create_time=NOW, update_time=NOW
    )
    return dataclasses.replace(made, **changes)


def a_schema(slug: str = "secret", **changes: Any) -> blocks.BlockSchema:
    made = blocks.BlockSchema(
        id=ids.new_id(),
        checksum="sha256:" + "0" * 64,
        block_type_slug=slug,
        fields='{"type":"object"}',
        capabilities=("read-path", "write-path"),
        version="1.0",
        create_time=NOW,
    )
    return dataclasses.replace(made, **changes)


def a_document(name: str = "key", **changes: Any) -> StoredBlockDocument:
    made = StoredBlockDocument(
        id=ids.new_id(),
        name=name,
        block_type_slug="secret",
        block_schema_id=ids.new_id(),
        sealed_data="sealed",
        create_time=NOW,
        update_time=NOW,
    )
    return dataclasses.replace(made, **changes)


async def insert(storage: Storage, *documents: StoredBlockDocument) -> None:
    def change(tx: Transaction) -> None:
        for document in documents:
            tx.blocks.insert_document(document)

    await storage.write(change)


async def all_of(storage: Storage, read: Callable[[Transaction, PageRequest], Page[Any]]) -> list:
    """Read all pages of a list, two items at a time."""
    found: list[Any] = []
    page = PageRequest(size=2)
    while True:
        got = await storage.read(lambda tx, page=page: read(tx, page))
        found.extend(got.items)
        if got.next is None:
            return found
        page = PageRequest(size=2, after=got.next)


async def test_a_type_is_returned_as_it_was_stored_and_replaced_under_its_slug(storage: Storage):
    first = a_type(description="Old.", logo_url="https://x/logo.png", code_example="Secret()")
    await storage.write(lambda tx: tx.blocks.put_type(first))
    assert await storage.read(lambda tx: tx.blocks.get_type("secret")) == first

    second = dataclasses.replace(first, description="New.")
    await storage.write(lambda tx: tx.blocks.put_type(second))
    assert await all_of(storage, lambda tx, page: tx.blocks.list_types("", page)) == [second]
    assert await storage.read(lambda tx: tx.blocks.get_type("other")) is None


async def test_types_are_listed_by_slug_page_by_page_and_found_by_a_part_of_the_name(
    storage: Storage,
):
    def change(tx: Transaction) -> None:
        for slug in ("webhook", "secret", "slack-webhook", "smb", "b"):
            tx.blocks.put_type(a_type(slug))

    await storage.write(change)
    found = await all_of(storage, lambda tx, page: tx.blocks.list_types("", page))
    assert [one.slug for one in found] == ["b", "secret", "slack-webhook", "smb", "webhook"]
    found = await all_of(storage, lambda tx, page: tx.blocks.list_types("HOOK", page))
    assert [one.slug for one in found] == ["slack-webhook", "webhook"]


async def test_the_newest_schema_of_a_checksum_is_found_and_each_of_its_versions(storage: Storage):
    old, new, other = a_schema(), a_schema(version="2.0"), a_schema("webhook")

    def change(tx: Transaction) -> None:
        for schema in (old, new, other):
            tx.blocks.insert_schema(schema)

    await storage.write(change)
    checksum = old.checksum

    def query(tx: Transaction) -> list[blocks.BlockSchema | None]:
        find = tx.blocks.get_schema_by_checksum
        return [
            find(checksum),
            find(checksum, block_type_slug="secret"),
            find(checksum, block_type_slug="secret", version="1.0"),
            find("sha256:1"),
        ]

    assert await storage.read(query) == [other, new, old, None]
    got = await storage.read(lambda tx: tx.blocks.get_schemas([old.id, other.id, ids.new_id()]))
    assert sorted(got, key=lambda schema: schema.id) == [old, other]


async def test_schemas_are_listed_the_oldest_first_of_one_type_or_of_all(storage: Storage):
    schemas = [a_schema(version=str(n)) for n in range(3)] + [a_schema("webhook")]

    def change(tx: Transaction) -> None:
        for schema in schemas:
            tx.blocks.insert_schema(schema)

    await storage.write(change)
    assert await all_of(storage, lambda tx, page: tx.blocks.list_schemas("", page)) == schemas
    of_one = await all_of(storage, lambda tx, page: tx.blocks.list_schemas("secret", page))
    assert of_one == schemas[:3]


async def test_a_document_is_found_by_id_and_by_name_with_what_it_refers_to(storage: Storage):
    target = a_document("target")
    document = a_document(referenced_ids=(target.id,))
    await insert(storage, target, document)
    by_id = await storage.read(lambda tx: tx.blocks.get_documents([document.id, ids.new_id()]))
    assert by_id == [document]
    found = await storage.read(lambda tx: tx.blocks.get_document_by_name("secret", "key"))
    assert found == document
    assert await storage.read(lambda tx: tx.blocks.get_document_by_name("webhook", "key")) is None


async def test_a_name_is_taken_within_its_type_only(storage: Storage):
    await insert(storage, a_document(), a_document(block_type_slug="webhook"))
    with pytest.raises(errors.AlreadyExists, match="secret/key"):
        await insert(storage, a_document())


async def test_replacing_changes_data_schema_and_references_and_nothing_else(storage: Storage):
    target, document = a_document("target"), a_document()
    await insert(storage, target, document)
    changed = dataclasses.replace(
        document,
        block_schema_id=ids.new_id(),
        sealed_data="other",
        referenced_ids=(target.id,),
        update_time=NOW.replace(hour=13),
    )
    await storage.write(
        lambda tx: tx.blocks.replace_document(dataclasses.replace(changed, name="not-this"))
    )
    assert await storage.read(lambda tx: tx.blocks.get_documents([document.id])) == [changed]


async def test_documents_are_listed_by_type_and_name_without_the_anonymous_ones(storage: Storage):
    await insert(
        storage,
        a_document("b"),
        a_document("a", block_type_slug="webhook"),
        a_document("a"),
        a_document("nobody", is_anonymous=True),
        a_document("ab", block_type_slug="webhook"),
    )

    async def names(**where: Any) -> list[str]:
        wanted = BlockDocumentFilter(**where)
        found = await all_of(storage, lambda tx, page: tx.blocks.list_documents(wanted, page))
        return [document.full_name for document in found]

    assert await names() == ["secret/a", "secret/b", "webhook/a", "webhook/ab"]
    assert await names(block_type_slug="webhook") == ["webhook/a", "webhook/ab"]
    assert await names(name_contains="B") == ["secret/b", "webhook/ab"]
    assert await names(anonymous=True) == ["secret/nobody"]


async def test_who_refers_to_a_document_or_into_a_type_is_found(storage: Storage):
    inner = a_document("inner", block_type_slug="database")
    sibling = a_document("sibling", block_type_slug="database", referenced_ids=(inner.id,))
    await insert(storage, inner, sibling)

    async def referrer(**where: str) -> str | None:
        found = await storage.read(lambda tx: tx.blocks.find_referrer(**where))
        return None if found is None else found.full_name

    assert await referrer(document_id=inner.id) == "database/sibling"
    assert await referrer(document_id=sibling.id) is None
    # Those of the type itself go with it.
    assert await referrer(block_type_slug="database") is None

    outer = a_document("outer", block_type_slug="job", referenced_ids=(inner.id,))
    await insert(storage, outer)
    assert await referrer(block_type_slug="database") == "job/outer"
    await storage.write(lambda tx: tx.blocks.delete_document(outer.id))
    assert await referrer(block_type_slug="database") is None


async def test_a_type_goes_with_its_schemas_and_documents_alone(storage: Storage):
    kept, schema = a_document("kept", block_type_slug="webhook"), a_schema("webhook")

    def change(tx: Transaction) -> None:
        tx.blocks.put_type(a_type())
        tx.blocks.put_type(a_type("webhook"))
        tx.blocks.insert_schema(a_schema())
        tx.blocks.insert_schema(schema)
        for document in (a_document(), kept):
            tx.blocks.insert_document(document)

    await storage.write(change)
    await storage.write(lambda tx: tx.blocks.delete_type("secret"))
    types = await all_of(storage, lambda tx, page: tx.blocks.list_types("", page))
    assert [one.slug for one in types] == ["webhook"]
    assert await all_of(storage, lambda tx, page: tx.blocks.list_schemas("", page)) == [schema]
    where = BlockDocumentFilter()
    found = await all_of(storage, lambda tx, page: tx.blocks.list_documents(where, page))
    assert found == [kept]


async def test_a_key_is_kept_and_forgotten_again_where_the_change_fails(storage: Storage):
    def fail(tx: Transaction) -> None:
        tx.blocks.keep_encryption_key("first")
        raise RuntimeError("No.")

    with pytest.raises(RuntimeError):
        await storage.write(fail)
    assert await storage.read(lambda tx: tx.blocks.encryption_key()) is None
    await storage.write(lambda tx: tx.blocks.keep_encryption_key("second"))
    assert await storage.read(lambda tx: tx.blocks.encryption_key()) == "second"
