"""``headgate config``."""

from __future__ import annotations

import click

from headgate import settings
from headgate.cli import output
from headgate.cli.output import Format


@click.group()
def config() -> None:
    """Show the settings and where they come from."""


@config.command()
@click.option("--hide-defaults", is_flag=True, help="Only what was set.")
@output.format_option
def view(hide_defaults: bool, format: Format) -> None:
    """Show every setting of the SDK, its value and where that comes from.

    A setting is taken from the environment variable of its name, else from headgate.toml in the
    home folder, else it has its default. Those of a server are shown by `headgate server start
    --help`.
    """
    found = [
        item for item in settings.sources() if not (hide_defaults and item.source == "default")
    ]
    if format == "json":
        rows = [
            {"name": item.variable, "value": item.value, "source": item.source} for item in found
        ]
        output.write_json(rows)
        return
    output.write_table(
        ["setting", "value", "source"],
        [
            [item.variable, "" if item.value is None else str(item.value), item.source]
            for item in found
        ],
        empty="Nothing is set; every setting has its default.",
    )
