"""``headgate variable``."""

from __future__ import annotations

import json
from typing import Any

import click

from headgate.cli import inputs, output
from headgate.cli.app import App, pass_app
from headgate.cli.output import Format
from headgate.core import errors
from headgate.core.variables import Variable

_CHARACTERS_SHOWN = 60


@click.group()
def variable() -> None:
    """List, read, set and unset variables."""


@variable.command()
@click.option("--limit", type=click.IntRange(1), default=100, show_default=True, help="How many.")
@click.option("--tag", "tags", multiple=True, help="Only those with this tag; repeat for more.")
@output.format_option
@pass_app
def ls(app: App, limit: int, tags: tuple[str, ...], format: Format) -> None:
    """List variables by name."""
    with app.client() as client:
        found = client.read_variables(tags=tags, limit=limit)
    if format == "json":
        output.write_json([_facts(one) for one in found])
        return
    now = app.clock.now()
    rows = [
        [one.name, _short(one), ", ".join(one.tags), output.ago(one.update_time, now)]
        for one in found
    ]
    output.write_table(["name", "value", "tags", "updated"], rows, empty="There are no variables.")


@variable.command()
@click.argument("name")
@output.format_option
@pass_app
def inspect(app: App, name: str, format: Format) -> None:
    """Show all there is to know of a variable."""
    output.write_record(_facts(_read(app, name)), format)


@variable.command()
@click.argument("name")
@pass_app
def get(app: App, name: str) -> None:
    """Write the value of a variable: a text as it is, anything else as JSON."""
    value = _read(app, name).value
    click.echo(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))


@variable.command(name="set")
@click.argument("name")
@click.argument("value")
@click.option("--overwrite", is_flag=True, help="Change the value of the one there is.")
@click.option("--tag", "tags", multiple=True, help="A tag; repeat it for more.")
@pass_app
def set_(app: App, name: str, value: str, overwrite: bool, tags: tuple[str, ...]) -> None:
    """Set a variable. VALUE is JSON, or else a text."""
    parsed = inputs.json_or_text(value)
    with app.client() as client:
        if overwrite:
            client.set_variable(name, parsed, tags=tags or None)
        else:
            try:
                client.create_variable(name, parsed, tags=tags)
            except errors.AlreadyExists:
                msg = f"There is a variable {name!r} already; add --overwrite to change it."
                raise click.ClickException(msg) from None
    click.echo(f"Set the variable {name!r}.")


@variable.command()
@click.argument("name")
@pass_app
def unset(app: App, name: str) -> None:
    """Delete a variable."""
    with app.client() as client:
        client.delete_variable_by_name(name)
    click.echo(f"Unset the variable {name!r}.")


def _read(app: App, name: str) -> Variable:
    with app.client() as client:
        found = client.read_variable_by_name(name)
    if found is None:
        raise errors.NotFound("variable", name)
    return found


def _facts(found: Variable) -> dict[str, Any]:
    return {
        "id": found.id,
        "name": found.name,
        "value": found.value,
        "tags": found.tags,
        "create_time": found.create_time,
        "update_time": found.update_time,
    }


def _short(found: Variable) -> str:
    text = " ".join(found.value_json.split())
    return text if len(text) <= _CHARACTERS_SHOWN else f"{text[: _CHARACTERS_SHOWN - 1]}…"
