"""``headgate version``."""

from __future__ import annotations

import platform
from importlib import metadata

import click

from headgate._version import __version__
from headgate.cli import output
from headgate.cli.output import Format

API_VERSION = "headgate.api.v1"
PACKAGES = ("grpcio", "protobuf", "pydantic", "sqlalchemy")


@click.command()
@output.format_option
def version(format: Format) -> None:
    """Show what is installed."""
    facts = {
        "headgate": __version__,
        "api": API_VERSION,
        "python": platform.python_version(),
        "platform": platform.platform(),
        **{name: _installed(name) for name in PACKAGES},
    }
    output.write_record(facts, format)


def _installed(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
