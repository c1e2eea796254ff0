"""A command group that imports a command when it is called, and none to list them."""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Mapping
from typing import Any

import click

#: Entry points of this group are command groups that live in other packages.
ENTRY_POINTS = "headgate.commands"


@dataclasses.dataclass(frozen=True, slots=True)
class Lazy:
    """A command that is not loaded yet.

    Attributes:
        summary: The line that the list of commands shows.
        place: ``module:attribute``. Empty: the entry point of the command's name.
        extra: The extra of the distribution that brings what it needs.
    """

    summary: str
    place: str = ""
    extra: str = ""


class LazyGroup(click.Group):
    """A group of commands by name, of which each is loaded when it is called."""

    def __init__(self, *arguments: Any, lazy: Mapping[str, Lazy], **options: Any) -> None:
        """Make a group; ``lazy`` gives its commands in the order in which they are listed."""
        super().__init__(*arguments, **options)
        self._lazy = lazy

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Name the commands."""
        return list(self._lazy)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Load a command; None if there is none of this name."""
        lazy = self._lazy.get(cmd_name)
        return load(cmd_name, lazy) if lazy is not None else None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands with their summaries, without loading them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, lazy.summary) for name, lazy in self._lazy.items()])


def load(name: str, lazy: Lazy) -> click.Command:
    """Import a command.

    Raises:
        click.ClickException: The part of Headgate that it is in is not installed.
    """
    try:
        command = _load_place(lazy.place) if lazy.place else _load_entry_point(name)
    except ModuleNotFoundError as problem:
        if problem.name is None or problem.name.startswith("headgate.") or not lazy.extra:
            raise
        msg = (
            f"`headgate {name}` needs the package {problem.name!r}, which is not installed; "
            f"run pip install 'headgate[{lazy.extra}]'."
        )
        raise click.ClickException(msg) from None
    if not isinstance(command, click.Command):
        msg = f"What is registered as the command {name!r} is no click command: {command!r}"
        raise TypeError(msg)
    return command


def _load_place(place: str) -> object:
    module, _, attribute = place.partition(":")
    return getattr(importlib.import_module(module), attribute)


def _load_entry_point(name: str) -> object:
    from importlib import metadata  # takes 20 ms, which the list of commands does not need

    found = list(metadata.entry_points(group=ENTRY_POINTS, name=name))
    if not found:
        msg = (
            f"The command {name!r} is not registered with this Python; install Headgate again: "
            "pip install headgate."
        )
        raise click.ClickException(msg)
    return found[0].load()
