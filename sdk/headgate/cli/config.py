"""``headgate config``."""

from __future__ import annotations

from typing import Any, cast

import click

from headgate import settings
from headgate._setting_values import Pairs
from headgate.cli import output
from headgate.cli.output import Format
from headgate.core import configuration, errors, profiles

_MASK = "********"


@click.group()
def config() -> None:
    """Show the settings and where they come from, change those of the profile in use."""


@config.command()
@click.option(
    "--show-defaults/--hide-defaults", default=True, help="Also what was not set.  [default: show]"
)
@click.option(
    "--show-sources/--hide-sources", default=True, help="Where values come from.  [default: show]"
)
@click.option("--show-secrets", is_flag=True, help="Show tokens and passwords, too.")
@output.format_option
def view(show_defaults: bool, show_sources: bool, show_secrets: bool, format: Format) -> None:
    """Show every setting of the SDK, its value and where that comes from.

    A setting is taken from the environment variable of its name; else from .env, headgate.toml or
    pyproject.toml in the working folder; else from the profile in use; else from headgate.toml in
    the home folder; else it has its default. Those of a server are shown by `headgate server start
    --help`.
    """
    found = [item for item in settings.sources() if show_defaults or item.source != "default"]
    if format == "json":
        rows = [
            {"name": item.variable, "value": _shown(item, show_secrets), "source": item.source}
            for item in found
        ]
        output.write_json(rows)
        return
    columns = ["setting", "value", "source"] if show_sources else ["setting", "value"]
    lines = [[item.variable, _text(item, show_secrets), item.source] for item in found]
    output.write_table(
        columns,
        [line[: len(columns)] for line in lines],
        empty="Nothing is set; every setting has its default.",
    )


def _shown(item: settings.Sourced, show_secrets: bool) -> Any:
    if item.value and item.name in settings.SECRETS and not show_secrets:
        return _MASK
    return dict(cast("Pairs", item.value)) if isinstance(item.value, tuple) else item.value


def _text(item: settings.Sourced, show_secrets: bool) -> str:
    value = _shown(item, show_secrets)
    return "" if value is None or value == {} else str(value)


@config.command("set")
@click.argument("assignments", nargs=-1, required=True, metavar="NAME=VALUE...")
def set_(assignments: tuple[str, ...]) -> None:
    """Set settings in the profile in use: HEADGATE_API_URL=http://127.0.0.1:4200."""
    changed: dict[str, str] = {}
    for assignment in assignments:
        name, equals, value = assignment.partition("=")
        if not equals:
            msg = f"{assignment!r} sets nothing; write NAME=VALUE."
            raise click.UsageError(msg)
        variable = settings.check(name.strip(), value)
        if variable in ("HEADGATE_HOME", "HEADGATE_PROFILES_PATH", "HEADGATE_PROFILE"):
            msg = f"{variable} says where profiles are; set it in the environment."
            raise click.UsageError(msg)
        changed[variable] = value
    active, known = _active()
    _save(known.with_profile(active, {**known.get(active), **changed}))
    for variable in changed:
        click.echo(f"Set {variable} in profile {active!r}.")
        _warn_if_overruled(variable, active)


@config.command()
@click.argument("names", nargs=-1, required=True)
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
def unset(names: tuple[str, ...], yes: bool) -> None:
    """Remove settings from the profile in use."""
    active, known = _active()
    values = dict(known.get(active))
    variables = [_variable(name) for name in names]
    for variable in variables:
        if variable not in values:
            msg = f"{variable} is not set in profile {active!r}."
            raise click.ClickException(msg)
    if not yes:
        click.confirm(f"Unset {', '.join(variables)} in profile {active!r}?", abort=True)
    for variable in variables:
        del values[variable]
    _save(known.with_profile(active, values))
    for variable in variables:
        click.echo(f"Unset {variable} in profile {active!r}.")
        _warn_if_overruled(variable, active)


@config.command()
def validate() -> None:
    """Check every value that is set, wherever; exit with 1 if one does not fit."""
    found = settings.problems()
    for problem in found:
        click.echo(problem, err=True)
    if found:
        raise click.exceptions.Exit(1)
    click.echo("The configuration is valid.")


def _variable(name: str) -> str:
    upper = name.upper()
    return upper if upper.startswith(configuration.PREFIX) else configuration.PREFIX + upper


def _active() -> tuple[str, profiles.Profiles]:
    """Return the profile that this command changes, and all of them."""
    chosen = settings.chosen_profile()
    known = settings.load_profiles()
    known.get(chosen)
    return chosen, known


def _save(changed: profiles.Profiles) -> None:
    try:
        profiles.save(configuration.profiles_path(), changed)
    except OSError as problem:
        msg = f"{configuration.profiles_path()} cannot be written: {problem.strerror}."
        raise errors.HeadgateError(msg) from problem


def _warn_if_overruled(variable: str, profile: str) -> None:
    """Say where a setting is taken from instead, so that nobody looks for the reason in vain."""
    for item in settings.sources():
        if item.variable == variable and item.source not in ("default", f"profile {profile!r}"):
            click.echo(
                f"{variable} is {_text(item, False)} all the same: {item.source} says so.", err=True
            )
