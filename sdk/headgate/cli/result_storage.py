"""``headgate result-storage``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from headgate.cli import output
from headgate.cli.app import App, pass_app
from headgate.cli.output import Format
from headgate.core import errors, ids

if TYPE_CHECKING:
    from headgate.client.orchestration import SyncHeadgateClient


@click.group("result-storage")
def result_storage() -> None:
    """Choose where results are kept that neither flow, task nor settings name a storage for."""


@result_storage.command()
@output.format_option
@pass_app
def inspect(app: App, format: Format) -> None:
    """Show which block it is."""
    with app.client() as client:
        found = client.read_server_default_result_storage()
    if found.default_result_storage_block_id is None and format != "json":
        click.echo("No block was chosen; each machine keeps results in a folder of its own.")
        return
    facts = {
        "default_result_storage_block_id": found.default_result_storage_block_id,
        "block": found.block,
    }
    output.write_record(facts, format)


@result_storage.command(name="set")
@click.argument("block", metavar="TYPE/NAME", required=False)
@click.option("--id", "block_id", metavar="ID", help="The block by its id.")
@pass_app
def set_(app: App, block: str | None, block_id: str | None) -> None:
    """Choose a saved block, such as local-file-system/results. Processes ask for it once."""
    if (block is None) == (block_id is None):
        msg = "give a block as TYPE/NAME, or by --id."
        raise click.UsageError(msg)
    with app.client() as client:
        chosen = block_id or _find(client, block or "")
        found = client.update_server_default_result_storage(chosen)
    click.echo(f"Results are kept in {found.block!r} by default, by processes that begin now.")


@result_storage.command()
@pass_app
def clear(app: App) -> None:
    """Choose no block; each machine keeps results in a folder of its own."""
    with app.client() as client:
        client.clear_server_default_result_storage()
    click.echo("No block is chosen; each machine keeps results in a folder of its own.")


def _find(client: SyncHeadgateClient, block: str) -> str:
    """Return the id of a block.

    Raises:
        NotFound: There is none.
        InvalidArgument: This is no name of one.
    """
    if ids.is_id(block.lower()):
        return block.lower()
    slug, slash, name = block.partition("/")
    if not (slug and slash and name):
        msg = f"{block!r} is no name of a block; write e.g. local-file-system/results."
        raise errors.InvalidArgument.of("block", msg)
    return client.read_block_document_by_name(name, slug, include_secrets=False).document.id
