"""BlockService over the wire: what is kept, what is masked, what is refused."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from headgate.client import orchestration
from headgate.codec.times import EPOCH
from headgate.core import blocks, errors, ids
from headgate_server.app import App
from headgate_server.services import block_references
from headgate_server.settings import Settings

FIELDS = {"type": "object", "secret_fields": ["password", "headers.*"]}
SECRET = "correct horse battery staple"


@pytest.fixture
async def client(app: App) -> AsyncIterator[orchestration.HeadgateClient]:
    async with orchestration.get_client(api_url=app.target) as opened:
        yield opened


def a_type(slug: str = "database", **facts: str) -> blocks.BlockType:
    return blocks.BlockType(
        slug=slug, name=slug.title(), create_time=EPOCH, update_time=EPOCH, **facts
    )


def a_schema(slug: str = "database", digit: str = "0", fields: Any = FIELDS) -> blocks.BlockSchema:
    return blocks.BlockSchema(
        checksum=f"sha256:{digit * 64}",
        block_type_slug=slug,
        fields=json.dumps(fields),
        capabilities=("write-path", "read-path"),
        create_time=EPOCH,
    )


async def register(client: orchestration.HeadgateClient, slug: str = "database") -> str:
    _, schemas = await client.register_block_type(a_type(slug), [a_schema(slug)])
    return schemas[0].id


def data(**values: Any) -> dict[str, str]:
    return {name: json.dumps(value) for name, value in values.items()}


async def test_a_type_that_is_registered_twice_is_the_same_and_a_changed_one_is_brought_up_to_date(
    client: orchestration.HeadgateClient,
):
    first, schemas = await client.register_block_type(a_type(), [a_schema()])
    assert schemas[0].capabilities == ("read-path", "write-path")
    assert schemas[0].version == blocks.NO_VERSION
    again = await client.register_block_type(a_type(), [a_schema()])
    assert again == (first, schemas)

    changed, more = await client.register_block_type(
        a_type(description="New."), [a_schema(), a_schema(digit="1")]
    )
    assert (changed.id, changed.description) == (first.id, "New.")
    assert more[0] == schemas[0]
    assert await client.read_block_schemas("database") == more
    assert await client.read_block_schema(more[1].id) == more[1]
    assert await client.read_block_schema_by_checksum(more[1].checksum) == more[1]
    assert await client.read_block_type_by_slug("database") == changed
    assert await client.read_block_types(name_contains="DATA") == [changed]


async def test_secrets_are_masked_unless_they_are_asked_for(client: orchestration.HeadgateClient):
    schema_id = await register(client)
    given = data(url="u", password=SECRET, headers={"a": "b"})
    created = await client.create_block_document("main", schema_id, given)
    masked = data(url="u", password=blocks.MASK, headers={"a": blocks.MASK})
    assert loads(created.data) == loads(masked)
    assert created.full_name == "database/main"

    shown = await client.read_block_document(created.id, include_secrets=False)
    assert loads(shown.document.data) == loads(masked)
    listed = await client.read_block_documents()
    assert listed == [shown.document]
    full = await client.read_block_document_by_name("main", "database")
    assert loads(full.document.data) == loads(given)
    assert full.schemas[schema_id].checksum == a_schema().checksum


def loads(texts: Any) -> dict[str, Any]:
    return {name: json.loads(text) for name, text in texts.items()}


async def test_an_update_keeps_the_secrets_that_it_sends_masked(
    client: orchestration.HeadgateClient,
):
    schema_id = await register(client)
    created = await client.create_block_document("main", schema_id, data(url="u", password=SECRET))
    await client.update_block_document(created.id, data=data(url="v", password=blocks.MASK))
    found = (await client.read_block_document(created.id)).document
    assert loads(found.data) == {"url": "v", "password": SECRET}

    await client.update_block_document(created.id, data=data(port=1), merge=True)
    found = (await client.read_block_document(created.id)).document
    assert loads(found.data) == {"url": "v", "password": SECRET, "port": 1}

    await client.update_block_document(created.id, data=data(port=2))
    found = (await client.read_block_document(created.id)).document
    assert loads(found.data) == {"port": 2}


async def test_a_block_moves_to_another_schema_of_its_type_only(
    client: orchestration.HeadgateClient,
):
    schema_id, foreign = await register(client), await register(client, "webhook")
    _, newer = await client.register_block_type(a_type(), [a_schema(digit="1")])
    created = await client.create_block_document("main", schema_id, {})
    moved = await client.update_block_document(created.id, schema_id=newer[0].id)
    assert moved.block_schema_id == newer[0].id
    with pytest.raises(errors.InvalidArgument, match="of the type 'webhook'"):
        await client.update_block_document(created.id, schema_id=foreign)


async def test_blocks_that_refer_to_others_come_with_all_of_them(
    client: orchestration.HeadgateClient,
):
    schema_id = await register(client)
    inner = await client.create_block_document("inner", schema_id, data(password=SECRET))
    middle = await client.create_block_document(
        "middle", schema_id, data(within=[blocks.reference(inner.id)])
    )
    outer = await client.create_block_document(
        "outer", schema_id, data(one=blocks.reference(middle.id), two=blocks.reference(inner.id))
    )
    loaded = await client.read_block_document(outer.id)
    assert set(loaded.references) == {inner.id, middle.id}
    assert loads(loaded.references[inner.id].data) == {"password": SECRET}
    shown = await client.read_block_document(outer.id, include_secrets=False)
    assert loads(shown.references[inner.id].data) == {"password": blocks.MASK}


async def test_a_block_that_others_refer_to_is_not_deleted(client: orchestration.HeadgateClient):
    schema_id, other_id = await register(client), await register(client, "job")
    inner = await client.create_block_document("inner", schema_id, {})
    outer = await client.create_block_document(
        "outer", other_id, data(database=blocks.reference(inner.id))
    )
    for deleting in (client.delete_block_document(inner.id), client.delete_block_type("database")):
        with pytest.raises(errors.FailedPrecondition, match="'job/outer' refers to block"):
            await deleting
    await client.delete_block_document(outer.id)
    await client.delete_block_type("database")
    with pytest.raises(errors.NotFound, match="no block type 'database'"):
        await client.read_block_type_by_slug("database")
    with pytest.raises(errors.NotFound):
        await client.read_block_document(inner.id)


async def test_no_block_refers_to_itself_or_to_nothing(client: orchestration.HeadgateClient):
    schema_id = await register(client)
    with pytest.raises(errors.InvalidArgument, match="There is no block"):
        await client.create_block_document("x", schema_id, data(a=blocks.reference(ids.new_id())))
    with pytest.raises(errors.InvalidArgument, match="is not an id"):
        await client.create_block_document("x", schema_id, data(a=blocks.reference("7")))
    one = await client.create_block_document("one", schema_id, {})
    two = await client.create_block_document("two", schema_id, data(a=blocks.reference(one.id)))
    for target in (one, two):
        with pytest.raises(errors.InvalidArgument, match="refer to itself"):
            await client.update_block_document(one.id, data=data(b=blocks.reference(target.id)))


async def test_anonymous_blocks_get_a_name_and_are_listed_apart(
    client: orchestration.HeadgateClient,
):
    schema_id = await register(client)
    made = await client.create_block_document("", schema_id, data(a=1), is_anonymous=True)
    assert made.name == f"anonymous-{made.id}"
    assert await client.read_block_documents() == []
    assert await client.read_block_documents(anonymous=True) == [made]


async def test_what_becomes_of_a_block_is_told_as_events_without_its_data(
    client: orchestration.HeadgateClient,
):
    schema_id = await register(client)
    made = await client.create_block_document("main", schema_id, data(password=SECRET))
    await client.update_block_document(made.id, data=data(password="x"))
    await client.delete_block_document(made.id)
    told = await client.read_events(ascending=True)
    resource_id = f"headgate.block-document.{made.id}"
    assert [each.name for each in told if each.resource["headgate.resource.id"] == resource_id] == [
        "headgate.block-document.created",
        "headgate.block-document.updated",
        "headgate.block-document.deleted",
    ]
    assert SECRET not in repr(told)


async def test_bad_input_is_refused_by_the_name_of_the_field(
    client: orchestration.HeadgateClient,
):
    schema_id = await register(client)
    with pytest.raises(errors.InvalidArgument) as caught:
        await client.create_block_document("Not A Name", "7", {"a": "{"})
    assert [violation.field for violation in caught.value.violations] == [
        "block_document.name",
        "block_document.block_schema_id",
        "block_document.data['a']",
    ]
    with pytest.raises(errors.NotFound, match="block schema"):
        await client.create_block_document("x", ids.new_id(), {})
    await client.create_block_document("x", schema_id, {})
    with pytest.raises(errors.AlreadyExists, match="block 'database/x'"):
        await client.create_block_document("x", schema_id, {})
    with pytest.raises(errors.InvalidArgument) as caught:
        await client.register_block_type(
            a_type("Bad Slug"),
            [blocks.BlockSchema(checksum="x", block_type_slug="b", fields="[]", create_time=EPOCH)],
        )
    assert [violation.field for violation in caught.value.violations] == [
        "block_type.slug",
        "block_schemas[0].checksum",
        "block_schemas[0].fields",
        "block_schemas[0].block_type_slug",
    ]
    with pytest.raises(errors.NotFound, match="no block 'database/y'"):
        await client.read_block_document_by_name("y", "database")


async def test_the_database_holds_no_secret_and_another_key_reads_none(tmp_path: Path):
    settings = Settings(
        database_url=f"sqlite:///{tmp_path / 'x.db'}",
        unix_socket=tmp_path / "s",
        shutdown_grace_seconds=0,
    )
    async with (
        App(settings).running() as app,
        orchestration.get_client(api_url=app.target) as client,
    ):
        schema_id = await register(client)
        await client.create_block_document("main", schema_id, data(password=SECRET, url="u"))
    key = (tmp_path / "x.db.key").read_bytes()
    for file in tmp_path.glob("x.db*"):  # noqa: ASYNC240 - nothing else runs here
        content = file.read_bytes()
        assert SECRET.encode() not in content
        assert key.strip() not in content or file.suffix == ".key"

    (tmp_path / "x.db.key").unlink()
    async with (
        App(settings).running() as app,
        orchestration.get_client(api_url=app.target) as client,
    ):
        [shown] = await client.read_block_documents()
        assert shown.data_unreadable
        assert shown.data == {}
        with pytest.raises(errors.FailedPrecondition, match="HEADGATE_SERVER_ENCRYPTION_KEY"):
            await client.read_block_document(shown.id)
        with pytest.raises(errors.FailedPrecondition, match="with a key that this server"):
            await client.update_block_document(shown.id, data=data(url="v"), merge=True)
        # Saved again as a whole, it is readable again, under a new key.
        await client.update_block_document(shown.id, data=data(password="new"))
        assert loads((await client.read_block_document(shown.id)).document.data) == {
            "password": "new"
        }


async def test_a_block_on_which_too_many_others_hang_is_refused(
    client: orchestration.HeadgateClient, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(block_references, "REFERENCED_MAX", 3)
    schema_id = await register(client)
    inner = [await client.create_block_document(f"n-{n}", schema_id, {}) for n in range(4)]
    refer = [blocks.reference(one.id) for one in inner]
    with pytest.raises(errors.InvalidArgument, match="more than 3 blocks"):
        await client.create_block_document("x", schema_id, data(within=refer))
    middle = await client.create_block_document("middle", schema_id, {})
    outer = await client.create_block_document(
        "outer", schema_id, data(a=blocks.reference(middle.id))
    )
    # Those that the one in the middle is given later count for the outer one, too.
    await client.update_block_document(middle.id, data=data(within=refer[:3]))
    with pytest.raises(errors.FailedPrecondition, match="more than 3 others"):
        await client.read_block_document(outer.id)
