"""``headgate block``."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

import click

from headgate.cli import inputs, output
from headgate.cli.app import App, pass_app
from headgate.cli.output import Format
from headgate.core import blocks, errors

if TYPE_CHECKING:
    from headgate.blocks.core import Block
    from headgate.client.orchestration import SyncHeadgateClient


@click.group("block")
def block() -> None:
    """Register types of blocks, save, list and delete blocks."""


@block.command()
@click.option("-m", "--module", help="A module that defines blocks, e.g. my_package.blocks.")
@click.option(
    "-f", "--file", type=click.Path(dir_okay=False), help="A Python file that defines blocks."
)
@pass_app
def register(app: App, module: str | None, file: str | None) -> None:
    """Tell the server about the blocks that a module or a file defines."""
    if (module is None) == (file is None):
        msg = "Give either --module or --file."
        raise click.UsageError(msg)
    found = _classes_of(module, file)
    if not found:
        msg = f"{module or file} defines no block; a block is a class that inherits from Block."
        raise click.ClickException(msg)
    with app.client() as client:
        for kind in found:
            kind.register_type_and_schema(client=client)
    slugs = ", ".join(kind.get_block_type_slug() for kind in found)
    click.echo(f"Registered {slugs}. Save one: headgate block create TYPE NAME FIELD=VALUE ...")


@block.command()
@click.option("-t", "--type", "slug", default="", help="Those of this type.")
@output.format_option
@pass_app
def ls(app: App, slug: str, format: Format) -> None:
    """List the saved blocks."""
    with app.client() as client:
        found = client.read_block_documents(block_type_slug=slug)
    if format == "json":
        output.write_json([_shown(document) for document in found])
        return
    rows = [
        [
            document.full_name,
            document.id,
            output.ago(document.update_time, app.clock.now()),
            "not readable" if document.data_unreadable else "",
        ]
        for document in found
    ]
    output.write_table(["block", "id", "saved", ""], rows, empty="There are no blocks.")


@block.command()
@click.argument("name", required=False)
@click.option("--id", "document_id", help="The id of the block, instead of its name.")
@output.format_option
@pass_app
def inspect(app: App, name: str | None, document_id: str | None, format: Format) -> None:
    """Show a block, TYPE/NAME, its secrets masked."""
    with app.client() as client:
        found = _find(client, name, document_id)
    shown = _shown(found)
    if format != "json":
        shown |= shown.pop("data")
    output.write_record(shown, format)


@block.command()
@click.argument("slug", metavar="TYPE")
@click.argument("name")
@click.argument("fields", metavar="FIELD=VALUE", nargs=-1)
@click.option("--overwrite", is_flag=True, help="Replace a block of this name.")
@pass_app
def create(app: App, slug: str, name: str, fields: tuple[str, ...], overwrite: bool) -> None:
    """Save a block.

    A value is JSON, or else a text. On a terminal, required fields that are not given are asked
    for; secrets are not shown while they are typed.
    """
    with app.client() as client:
        schema = _newest_schema(client, slug)
        data = _data(json.loads(schema.fields), inputs.pairs(fields))
        try:
            client.create_block_document(name, schema.id, data)
        except errors.AlreadyExists:
            if not overwrite:
                raise
            loaded = client.read_block_document_by_name(name, slug, include_secrets=False)
            client.update_block_document(loaded.document.id, data=data, schema_id=schema.id)
    click.echo(f"Saved the block {slug}/{name}.")


@block.command()
@click.argument("name", required=False)
@click.option("--id", "document_id", help="The id of the block, instead of its name.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@pass_app
def delete(app: App, name: str | None, document_id: str | None, yes: bool) -> None:
    """Delete a block, TYPE/NAME."""
    with app.client() as client:
        found = _find(client, name, document_id)
        if not yes:
            click.confirm(f"Delete the block {found.full_name}?", abort=True)
        client.delete_block_document(found.id)
    click.echo(f"Deleted the block {found.full_name}.")


@block.group("type")
def block_type() -> None:
    """List, show and delete types of blocks."""


@block_type.command("ls")
@output.format_option
@pass_app
def ls_types(app: App, format: Format) -> None:
    """List the types of blocks."""
    with app.client() as client:
        found = client.read_block_types()
    if format == "json":
        output.write_json(found)
        return
    rows = [[kind.slug, kind.name, _first_line(kind.description)] for kind in found]
    empty = (
        "There are no types of blocks yet; register those that come with Headgate: headgate block "
        "register -m headgate.blocks.system"
    )
    output.write_table(["type", "name", "description"], rows, empty=empty)


@block_type.command("inspect")
@click.argument("slug")
@output.format_option
@pass_app
def inspect_type(app: App, slug: str, format: Format) -> None:
    """Show a type of blocks, and the fields of its newest schema."""
    with app.client() as client:
        found = client.read_block_type_by_slug(slug)
        schemas = client.read_block_schemas(slug)
    fields: dict[str, Any] = json.loads(schemas[-1].fields) if schemas else {}
    shown = {
        "slug": found.slug,
        "name": found.name,
        "id": found.id,
        "description": found.description,
        "documentation_url": found.documentation_url,
        "logo_url": found.logo_url,
        "code_example": found.code_example,
        "version": schemas[-1].version if schemas else "",
        "checksum": schemas[-1].checksum if schemas else "",
        "fields": fields if format == "json" else _described(fields),
    }
    output.write_record(shown, format)


@block_type.command("delete")
@click.argument("slug")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@pass_app
def delete_type(app: App, slug: str, yes: bool) -> None:
    """Delete a type with all of its blocks."""
    with app.client() as client:
        found = client.read_block_type_by_slug(slug)
        if not yes:
            count = len(client.read_block_documents(block_type_slug=slug))
            click.confirm(f"Delete the type {found.slug} and its {count} block(s)?", abort=True)
        client.delete_block_type(slug)
    click.echo(f"Deleted the type {slug}.")


def _classes_of(module: str | None, file: str | None) -> list[type[Block]]:
    from headgate import entrypoints  # user code, and pydantic: only for those who register
    from headgate.blocks import _registry, core

    loaded = entrypoints.load_module(module or file or "")
    # What it imports for its own use is not of it, unless it says so.
    offered = cast("set[str]", set(getattr(loaded, "__all__", ())))
    return [
        value
        for name, value in vars(loaded).items()
        if core.Block.is_block_class(value)
        and (value.__module__ == loaded.__name__ or name in offered)
        and not _registry.is_interface(value)
    ]


def _find(
    client: SyncHeadgateClient, name: str | None, document_id: str | None
) -> blocks.BlockDocument:
    if (name is None) == (document_id is None):
        msg = "Give either the block, TYPE/NAME, or its --id."
        raise click.UsageError(msg)
    if document_id is not None:
        return client.read_block_document(document_id, include_secrets=False).document
    slug, slash, rest = (name or "").partition("/")
    if not (slash and slug and rest):
        msg = f"{name!r} does not say which type of block is meant; write TYPE/NAME."
        raise click.UsageError(msg)
    return client.read_block_document_by_name(rest, slug, include_secrets=False).document


def _newest_schema(client: SyncHeadgateClient, slug: str) -> blocks.BlockSchema:
    found = client.read_block_schemas(slug)
    if not found:
        from headgate.blocks import core  # loads pydantic; those that come with Headgate are known

        core.Block.get_block_class_from_key(slug).register_type_and_schema(client=client)
        found = client.read_block_schemas(slug)
    return found[-1]


def _data(schema: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, str]:
    """Return the data of a new block; asks for what is missing, or refuses."""
    properties: dict[str, Any] = schema.get("properties", {})
    unknown = sorted(set(given) - set(properties))
    if unknown:
        msg = f"There is no field {unknown[0]!r}; there are {', '.join(properties)}."
        raise click.UsageError(msg)
    values = dict(given)
    missing = [name for name in schema.get("required", []) if name not in values]
    if missing and not sys.stdin.isatty():
        msg = f"The field {missing[0]!r} is required; give it as {missing[0]}=VALUE."
        raise click.UsageError(msg)
    secret = set(schema.get("secret_fields", []))
    for name in missing:
        values[name] = _ask(name, properties.get(name, {}), is_secret=name in secret)
    return {name: json.dumps(_fitting(value, properties[name])) for name, value in values.items()}


def _ask(name: str, field: Mapping[str, Any], *, is_secret: bool) -> Any:
    text: str = click.prompt(field.get("title", name), hide_input=is_secret)
    return inputs.pairs([f"{name}={text}"])[name]


def _fitting(value: Any, field: Mapping[str, Any]) -> Any:
    """Return a value for a field: what looks like a number may be meant as a text."""
    if field.get("type") == "string" and not isinstance(value, str):
        return json.dumps(value)
    return value


def _shown(document: blocks.BlockDocument) -> dict[str, Any]:
    return {
        "block": document.full_name,
        "id": document.id,
        "create_time": document.create_time,
        "update_time": document.update_time,
        "data_unreadable": document.data_unreadable,
        "data": {name: json.loads(text) for name, text in sorted(document.data.items())},
    }


def _described(fields: Mapping[str, Any]) -> dict[str, str]:
    properties = cast("dict[str, dict[str, Any]]", fields.get("properties", {}))
    required = fields.get("required", [])
    return {
        name: ", ".join(
            part
            for part in (
                str(field.get("type", "")),
                "required" if name in required else "",
                "secret" if name in fields.get("secret_fields", []) else "",
                str(field.get("description", "")),
            )
            if part
        )
        for name, field in properties.items()
    }


def _first_line(text: str) -> str:
    return text.strip().splitlines()[0] if text.strip() else ""
