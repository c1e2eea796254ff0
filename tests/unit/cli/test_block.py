"""``headgate block``."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from headgate.core import blocks, errors
from tests.unit.cli.conftest import NOW, Command, FakeClient

FIELDS = {
    "type": "object",
    "required": ["url", "password"],
    "secret_fields": ["password"],
    "properties": {
        "url": {"type": "string", "title": "URL", "description": "Where it is."},
        "password": {"type": "string"},
        "port": {"type": "integer"},
    },
}


def a_document(**changes: Any) -> blocks.BlockDocument:
    made = blocks.BlockDocument(
        id="01980000-0000-7000-8000-000000000003",
        name="main",
        block_type_slug="database",
        block_schema_id="s",
        data={"url": '"u"', "password": '"********"'},
        create_time=NOW,
        update_time=NOW,
    )
    return dataclasses.replace(made, **changes)


@pytest.fixture(autouse=True)
def known(client: FakeClient) -> None:
    kind = blocks.BlockType(
        slug="database",
        name="Database",
        description="A database.\n\nMore.",
        create_time=NOW,
        update_time=NOW,
    )
    schema = blocks.BlockSchema(
        id="s",
        checksum="sha256:0",
        block_type_slug="database",
        fields=json.dumps(FIELDS),
        create_time=NOW,
    )
    client.answers = {
        "read_block_documents": [a_document()],
        "read_block_document": blocks.LoadedBlock(document=a_document()),
        "read_block_document_by_name": blocks.LoadedBlock(document=a_document()),
        "read_block_types": [kind],
        "read_block_type_by_slug": kind,
        "read_block_schemas": [schema],
        "create_block_document": a_document(),
        "update_block_document": a_document(),
        "delete_block_document": None,
        "delete_block_type": None,
    }


def test_ls_names_blocks_and_says_which_cannot_be_read(headgate: Command, client: FakeClient):
    client.answers["read_block_documents"] = [a_document(), a_document(data_unreadable=True)]
    first, second = headgate("block", "ls", "-t", "database").splitlines()[1:]
    assert first.split()[:2] == ["database/main", a_document().id]
    assert second.endswith("not readable")
    assert client.asked("read_block_documents")[1] == {"block_type_slug": "database"}
    [shown] = json.loads(headgate("block", "ls", "-o", "json"))[:1]
    assert shown["data"] == {"url": "u", "password": "********"}
    client.answers["read_block_documents"] = []
    headgate("block", "ls")
    assert headgate.remarks == "There are no blocks.\n"


@pytest.mark.parametrize("arguments", [["database/main"], ["--id", a_document().id]])
def test_inspect_shows_a_block_without_its_secrets(
    headgate: Command, client: FakeClient, arguments: list[str]
):
    shown = headgate("block", "inspect", *arguments)
    assert "password         ********" in shown
    asked = "read_block_document" if "--id" in arguments else "read_block_document_by_name"
    assert client.asked(asked)[1] == {"include_secrets": False}


def test_inspect_wants_a_name_or_an_id(headgate: Command):
    assert "either the block, TYPE/NAME, or its --id" in headgate("block", "inspect", code=2)
    assert "write TYPE/NAME" in headgate("block", "inspect", "main", code=2)


def test_create_saves_what_is_given_by_the_newest_schema(headgate: Command, client: FakeClient):
    out = headgate("block", "create", "database", "main", "url=7", "password=p", "port=7")
    assert out == "Saved the block database/main.\n"
    (name, schema_id, data), _ = client.asked("create_block_document")
    assert (name, schema_id) == ("main", "s")
    assert data == {"url": '"7"', "password": '"p"', "port": "7"}


def test_create_replaces_a_block_on_demand_only(headgate: Command, client: FakeClient):
    client.answers["create_block_document"] = errors.AlreadyExists("block", "database/main")
    arguments = ("block", "create", "database", "main", "url=u", "password=p")
    with pytest.raises(errors.AlreadyExists):
        headgate(*arguments)
    headgate(*arguments, "--overwrite")
    assert client.asked("update_block_document")[0] == (a_document().id,)


def test_create_names_fields_that_are_missing_or_unknown(headgate: Command):
    told = headgate("block", "create", "database", "main", "url=u", code=2)
    assert "The field 'password' is required; give it as password=VALUE." in told
    told = headgate("block", "create", "database", "main", "x=u", code=2)
    assert "There is no field 'x'; there are url, password, port." in told


def test_delete_asks_first(headgate: Command, client: FakeClient):
    headgate("block", "delete", "database/main", code=1)
    assert "delete_block_document" not in [name for name, _, _ in client.calls]
    assert headgate("block", "delete", "database/main", "-y") == (
        "Deleted the block database/main.\n"
    )
    assert client.asked("delete_block_document")[0] == (a_document().id,)


def test_types_are_listed_shown_and_deleted(headgate: Command, client: FakeClient):
    assert "database  Database  A database." in headgate("block", "type", "ls")
    shown = headgate("block", "type", "inspect", "database")
    assert "url: string, required, Where it is." in shown
    assert "password: string, required, secret" in shown
    full = json.loads(headgate("block", "type", "inspect", "database", "-o", "json"))
    assert full["fields"] == FIELDS
    headgate("block", "type", "delete", "database", "-y")
    assert client.asked("delete_block_type")[0] == ("database",)


def test_register_tells_the_server_of_the_blocks_of_a_file(
    headgate: Command, client: FakeClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    registered: list[str] = []

    def carry(steps: Any) -> str:
        response = next(steps)
        registered.append(response.request.block_type.slug)
        steps.close()
        return "id"

    monkeypatch.setattr(client, "carry", carry, raising=False)
    file = tmp_path / "my_blocks.py"
    file.write_text(
        "from headgate.blocks.core import Block\n"
        "from headgate.blocks.system import Secret\n"
        "class Own(Block):\n    x: int = 0\n"
        "class Other(Own):\n    pass\n"
    )
    out = headgate("block", "register", "-f", str(file))
    assert registered == ["own", "other"]
    assert out.startswith("Registered own, other.")
    headgate("block", "register", "-m", "headgate.blocks.notifications")
    assert {"slack-webhook", "custom-webhook", "twilio-sms"} <= set(registered)
    file = tmp_path / "empty.py"
    file.write_text("")
    assert "defines no block" in headgate("block", "register", "-f", str(file), code=1)
    assert "either --module or --file" in headgate("block", "register", code=2)
