"""Blocks that are saved and loaded through a real server."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import uuid
from typing import Any

import pydantic
import pytest
from pydantic import SecretStr

from headgate import flow, parameters, task
from headgate.blocks.core import Block
from headgate.blocks.system import Secret
from headgate.client.orchestration import SyncHeadgateClient
from headgate.core import errors
from headgate.events import emitting
from headgate.filesystems import LocalFileSystem, ReadableFileSystem, WritableFileSystem
from headgate.types import SecretDict

pytestmark = pytest.mark.usefixtures("server")


class Warehouse(Block):
    """Where the data are."""

    url: str
    password: SecretStr


class Report(Block):
    warehouse: Warehouse
    storage: WritableFileSystem | None = None
    inline: Warehouse | None = None
    headers: SecretDict = SecretDict({})
    sources: dict[str, Warehouse] = pydantic.Field(default_factory=dict)


def a_name() -> str:
    return f"test-{uuid.uuid4().hex}"


@pytest.fixture
def warehouse() -> Warehouse:
    return Warehouse(url="db://x", password=SecretStr("s3cr3t"))


def test_a_block_is_loaded_as_it_was_saved(warehouse: Warehouse):
    name = a_name()
    document_id = warehouse.save(name)
    loaded = Warehouse.load(name)
    assert (loaded.url, loaded.password.get_secret_value()) == ("db://x", "s3cr3t")
    assert loaded._block_document_id == warehouse._block_document_id == document_id
    assert loaded._block_document_name == name
    assert loaded.get_block_placeholder() == f"headgate.blocks.warehouse.{name}"


async def test_a_block_is_saved_and_loaded_by_awaiting(warehouse: Warehouse):
    name = a_name()
    document_id = await warehouse.asave(name)
    assert (await Warehouse.aload(name)).url == "db://x"
    assert (await Warehouse.aload_from_ref(document_id)).url == "db://x"
    # As async flows of the incumbent have it.
    assert (await Warehouse.load(name)).url == "db://x"
    assert await warehouse.save(name, overwrite=True) == document_id
    await Warehouse.aregister_type_and_schema()
    await Warehouse.adelete(name)
    with pytest.raises(errors.BlockNotFoundError):
        await Warehouse.aload(name)


@pytest.mark.parametrize("form", ["id", "uuid", "slug", "id dict", "slug dict"])
def test_a_reference_is_an_id_or_a_name_alone_or_in_a_dictionary(form: str, warehouse: Warehouse):
    name = a_name()
    document_id = str(warehouse.save(name))
    references: dict[str, Any] = {
        "id": document_id,
        "uuid": uuid.UUID(document_id),
        "slug": f"warehouse/{name}",
        "id dict": {"block_document_id": document_id},
        "slug dict": {"block_document_slug": f"warehouse/{name}"},
    }
    assert Block.load_from_ref(references[form]).get_block_type_slug() == "warehouse"
    assert Warehouse.load_from_ref(references[form]).url == "db://x"


def test_a_reference_that_is_none_or_leads_to_nothing_is_named():
    with pytest.raises(errors.BlockError, match="'x' is no reference"):
        Block.load_from_ref("x")
    with pytest.raises(errors.BlockNotFoundError, match="warehouse/nothing"):
        Block.load_from_ref("warehouse/nothing")


def test_the_base_class_loads_and_deletes_by_type_and_name(warehouse: Warehouse):
    name = a_name()
    warehouse.save(name)
    assert type(Block.load(f"warehouse/{name}")) is Warehouse
    with pytest.raises(errors.BlockError, match="write type/name"):
        Block.load(name)
    Block.delete(f"warehouse/{name}")
    with pytest.raises(ValueError, match=f"no block '{name}' of the type 'warehouse'"):
        Warehouse.load(name)
    with pytest.raises(errors.BlockNotFoundError):
        Warehouse.delete(name)


def test_a_block_of_another_type_is_not_taken_for_one(warehouse: Warehouse):
    with pytest.raises(errors.BlockError, match="is a Warehouse, not a Secret"):
        Secret.load_from_ref(warehouse.save(a_name()))


def test_a_name_that_is_taken_is_replaced_only_on_demand(warehouse: Warehouse):
    name = a_name()
    first = warehouse.save(name)
    other = Warehouse(url="db://y", password=SecretStr("x"))
    with pytest.raises(errors.BlockExistsError, match="overwrite=True"):
        other.save(name)
    assert other.save(name, overwrite=True) == first
    assert Warehouse.load(name).url == "db://y"

    loaded = Warehouse.load(name)
    loaded.url = "db://z"
    loaded.save(overwrite=True)
    assert Warehouse.load(name).url == "db://z"
    with pytest.raises(errors.BlockError, match="without a name"):
        Warehouse(url="", password=SecretStr("")).save()
    with pytest.raises(errors.InvalidArgument, match="is no name here"):
        other.save("Not A Name")


def test_nested_blocks_are_saved_by_reference_and_others_within(
    warehouse: Warehouse, tmp_path: Any
):
    inner, name = a_name(), a_name()
    warehouse.save(inner)
    storage = LocalFileSystem(basepath=str(tmp_path))
    storage.save(a_name())
    other = Warehouse(url="db://inline", password=SecretStr("p"))
    Report(
        warehouse=warehouse,
        storage=storage,
        inline=other,
        headers=SecretDict({"k": "v"}),
        sources={"a": warehouse, "b": other},
    ).save(name)

    warehouse.url = "db://moved"
    warehouse.save(overwrite=True)
    loaded = Report.load(name)
    assert loaded.warehouse.url == loaded.sources["a"].url == "db://moved"
    assert loaded.warehouse._block_document_name == inner
    assert type(loaded.storage) is LocalFileSystem
    assert loaded.inline is not None
    assert loaded.inline.password.get_secret_value() == "p"
    assert loaded.inline._block_document_id is None
    assert loaded.sources["b"].url == "db://inline"
    assert loaded.headers.get_secret_value() == {"k": "v"}
    with pytest.raises(errors.FailedPrecondition, match=f"'report/{name}' refers to block"):
        Warehouse.delete(inner)


def test_the_server_is_told_of_nested_classes_too(server: SyncHeadgateClient):
    class Inner(Block):
        x: int = 0

    class Outer(Block):
        inner: Inner | None = None

    Outer.register_type_and_schema()
    assert server.read_block_type_by_slug("inner").name == "Inner"
    [schema] = server.read_block_schemas("outer")
    Outer.register_type_and_schema(client=server)
    assert server.read_block_schemas("outer") == [schema]
    assert Outer._block_schema_id == schema.id


@pytest.mark.parametrize("kind", [Block, ReadableFileSystem, WritableFileSystem])
def test_what_is_no_block_is_not_registered(kind: type[Block]):
    with pytest.raises(errors.InvalidBlockRegistration, match=kind.__name__):
        kind.register_type_and_schema()


def test_a_class_that_has_changed_is_loaded_without_validation_and_mended():
    name = a_name()

    class Changing(Block):
        old: str

    Changing(old="x").save(name)

    class Changed(Block):
        _block_type_slug = "changing"
        new: int
        password: SecretStr = SecretStr("")

    with pytest.raises(errors.BlockError, match=r"new: Field required.*validate=False"):
        Changed.load(name)
    block = Changed.load(name, validate=False)
    assert block.new is None
    block.new = 1
    block.save(overwrite=True)
    assert Changed.load(name).new == 1


def test_an_error_about_a_block_does_not_tell_its_secrets():
    name = a_name()

    class Loose(Block):
        password: SecretStr

    Loose(password=SecretStr("s3cr3t")).save(name)

    class Strict(Block):
        _block_type_slug = "loose"
        password: int

    with pytest.raises(errors.BlockError) as caught:
        Strict.load(name)
    assert "s3cr3t" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_flow_takes_a_block_or_a_reference_to_one(
    warehouse: Warehouse, server: SyncHeadgateClient
):
    document_id = str(warehouse.save(a_name()))

    @task
    def url_of(block: Warehouse) -> str:
        return block.url

    @flow
    def report(block: Warehouse, anything=None) -> tuple[str, Any]:
        return url_of(block), anything

    by_id: Any = {"$ref": {"block_document_id": document_id}}
    assert report(warehouse) == ("db://x", None)
    found, anything = report(by_id, {"$ref": document_id})
    assert found == "db://x"
    assert type(anything) is Warehouse
    schema = {"$ref": "#/definitions/x"}
    assert report(warehouse, schema) == ("db://x", schema)
    with pytest.raises(errors.ParameterTypeError, match="There is no block"):
        report({"$ref": {"block_document_id": str(uuid.uuid4())}})  # pyright: ignore[reportArgumentType]  # what is tested


def test_a_run_records_which_block_it_was_given_not_what_is_in_it(
    warehouse: Warehouse, server: SyncHeadgateClient
):
    document_id = warehouse.save(a_name())

    class Settings(pydantic.BaseModel):
        warehouse: Warehouse

    @flow
    def nested(settings: Settings) -> str:
        return settings.warehouse.url

    state = nested(Settings(warehouse=warehouse), return_state=True)
    assert state.is_completed()
    [run] = [run for run in server.read_flow_runs(limit=5) if run.flow_name == "nested"]
    assert document_id in str(run.parameters["settings"])
    assert "db://x" not in str(run.parameters["settings"])


def test_a_schema_of_parameters_takes_fields_or_a_reference(warehouse: Warehouse):
    import jsonschema

    def report(block: Warehouse) -> None: ...

    schema = parameters.Signature(report).schema()
    assert schema["definitions"]["Warehouse"]["block_type_slug"] == "warehouse"
    for fitting in (
        {"$ref": {"block_document_id": "7"}},
        {"url": "x", "password": "y"},
    ):
        jsonschema.validate({"block": fitting}, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"block": {"url": "x"}}, schema)


def test_loading_a_block_is_an_event(warehouse: Warehouse):
    document_id = warehouse.save(a_name())
    received: list[Any] = []
    before = emitting.receive_with(received.append)
    try:
        Warehouse.load_from_ref(document_id)
    finally:
        emitting.receive_with(before)
    [event] = received
    assert event.event == "headgate.block.warehouse.loaded"
    assert event.resource.id == f"headgate.block-document.{document_id}"
    assert [each.id for each in event.related][:1] == ["headgate.block-type.warehouse"]


@pytest.mark.slow
def test_another_process_loads_what_this_one_saved(api_url: str):
    name = a_name()
    Secret(value={"user": "me"}).save(name)  # pyright: ignore[reportArgumentType]  # anything goes
    code = f"""
        from headgate.blocks.core import Block
        print(Block.load("secret/{name}").get())
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        env={"HEADGATE_API_URL": api_url, "PATH": ""},
        check=True,
        capture_output=True,
        text=True,
    )
    assert done.stdout == "{'user': 'me'}\n"
