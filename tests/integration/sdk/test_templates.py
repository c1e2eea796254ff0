"""Templates that are filled in with what the server has."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from pydantic import SecretStr

from headgate import templates
from headgate.blocks.core import Block
from headgate.blocks.system import Secret
from headgate.client.orchestration import SyncHeadgateClient
from headgate.core import errors


class Login(Block):
    user: str
    password: SecretStr
    options: dict[str, Any] = {}  # noqa: RUF012 - a field, which pydantic copies
    next: Login | None = None


@pytest.fixture
def name(server: SyncHeadgateClient) -> str:
    name = f"test-{uuid.uuid4().hex}"
    Secret(value=SecretStr("s3cr3t")).save(name)
    login = Login(user="me", password=SecretStr("p"), options={"ports": [1, 2]})
    login.save(f"{name}-inner")
    Login(user="you", password=SecretStr("q"), next=login).save(name)
    server.set_variable(name, {"region": "eu"})
    return name


def test_blocks_and_variables_take_the_places_of_their_placeholders(
    name: str, server: SyncHeadgateClient
):
    template = {
        "secret": f"{{{{ headgate.blocks.secret.{name} }}}}",
        "url": f"https://{{{{ headgate.blocks.secret.{name} }}}}@host",
        "user": f"{{{{ headgate.blocks.login.{name}.user }}}}",
        "port": f"{{{{ headgate.blocks.login.{name}-inner.options.ports[1] }}}}",
        "inner": f"{{{{ headgate.blocks.login.{name}.next.password }}}}",
        "all": [f"{{{{ headgate.blocks.login.{name}-inner }}}}"],
        "variable": f"{{{{ headgate.variables.{name} }}}}",
        "nothing": "{{ headgate.variables.not_there }}",
        "other": "{{ x }}",
    }
    assert templates.resolve(template, client=server) == {
        "secret": "s3cr3t",
        "url": "https://s3cr3t@host",
        "user": "you",
        "port": 2,
        "inner": "p",
        "all": [{"user": "me", "password": "p", "options": {"ports": [1, 2]}, "next": None}],
        "variable": {"region": "eu"},
        "nothing": "",
        "other": "{{ x }}",
    }


async def test_each_kind_is_resolved_by_itself_and_by_awaiting(name: str):
    template = [
        f"{{{{ headgate.blocks.secret.{name} }}}}",
        f"{{{{ headgate.variables.{name} }}}}",
    ]
    assert templates.resolve_block_document_references(template) == ["s3cr3t", template[1]]
    assert templates.resolve_variables(template) == [template[0], {"region": "eu"}]
    assert await templates.aresolve_block_document_references(template) == ["s3cr3t", template[1]]
    assert await templates.aresolve_variables(template) == [template[0], {"region": "eu"}]
    assert await templates.aresolve(template) == ["s3cr3t", {"region": "eu"}]


def test_a_reference_becomes_the_data_of_its_block(name: str, server: SyncHeadgateClient):
    found = server.read_block_document_by_name(name, "secret")
    template = {"a": [{"$ref": {"block_document_id": found.document.id}}]}
    assert templates.resolve(template) == {"a": [{"value": "s3cr3t"}]}
    with pytest.raises(errors.BlockNotFoundError, match="which the template refers to"):
        templates.resolve({"$ref": {"block_document_id": str(uuid.uuid4())}})


def test_what_leads_to_nothing_is_named(name: str):
    with pytest.raises(errors.BlockNotFoundError, match="no block 'x' of the type 'secret'"):
        templates.resolve("{{ headgate.blocks.secret.x }}")
    with pytest.raises(errors.TemplateError, match="has no 'nothing'"):
        templates.resolve(f"{{{{ headgate.blocks.secret.{name}.nothing }}}}")
    for text in ("{{ headgate.blocks.secret }}", "{{ headgate.blocks.secret.x. }}"):
        with pytest.raises(errors.TemplateError, match="does not name a block"):
            templates.resolve(text)
