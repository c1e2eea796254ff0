"""``headgate profile``."""

from __future__ import annotations

import click

from headgate import settings
from headgate.cli import output
from headgate.cli.output import Format
from headgate.core import configuration, profiles


@click.group()
def profile() -> None:
    """Keep sets of settings, and switch between them."""


@profile.command()
@output.format_option
def ls(format: Format) -> None:
    """List the profiles; a star marks the one in use."""
    known, active = settings.load_profiles(), settings.chosen_profile()
    if format == "json":
        output.write_json([{"name": name, "active": name == active} for name in known.names])
        return
    rows = [["*" if name == active else "", name] for name in known.names]
    output.write_table(["", "name"], rows)


@profile.command()
@click.argument("name")
@click.option("--from", "source", metavar="NAME", help="Begin with the settings of this one.")
def create(name: str, source: str | None) -> None:
    """Make a profile."""
    known = settings.load_profiles()
    if name in known.names:
        msg = f"There is a profile {name!r} already; choose another name, or delete that one."
        raise click.ClickException(msg)
    _save(known.with_profile(name, known.get(source) if source else {}))
    click.echo(f"Made profile {name!r}. `headgate profile use {name}` switches to it.")


@profile.command()
@click.argument("name")
def use(name: str) -> None:
    """Make a profile the one in use."""
    _save(settings.load_profiles().using(name))
    click.echo(f"Profile {name!r} is in use.")
    chosen = settings.chosen_profile()
    if chosen != name:
        click.echo(f"Here it is {chosen!r} all the same: HEADGATE_PROFILE says so.", err=True)


@profile.command()
@click.argument("name", required=False)
@click.option("--show-secrets", is_flag=True, help="Show tokens and passwords, too.")
@output.format_option
def inspect(name: str | None, show_secrets: bool, format: Format) -> None:
    """Show the settings of a profile; by default, of the one in use."""
    name = name or settings.chosen_profile()
    values = dict(settings.load_profiles().get(name))
    if not show_secrets:
        values = {key: _masked(key, value) for key, value in values.items()}
    if format == "json":
        output.write_json({"name": name, "settings": values})
        return
    rows = [[variable, value] for variable, value in sorted(values.items())]
    output.write_table(["setting", "value"], rows, empty=f"Profile {name!r} sets nothing.")


@profile.command()
@click.argument("name")
@click.argument("new_name")
def rename(name: str, new_name: str) -> None:
    """Give a profile another name."""
    known = settings.load_profiles()
    values = known.get(name)
    if name not in known.saved:
        msg = f"Profile {name!r} is built in and keeps its name; create one from it: --from {name}."
        raise click.ClickException(msg)
    if new_name in known.names:
        msg = f"There is a profile {new_name!r} already; choose another name."
        raise click.ClickException(msg)
    changed = known.without(name).with_profile(new_name, values)
    _save(changed.using(new_name) if known.active == name else changed)
    click.echo(f"Renamed profile {name!r} to {new_name!r}.")


@profile.command()
@click.argument("name")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
def delete(name: str, yes: bool) -> None:
    """Delete a profile; one that is built in is as it was at first then."""
    known = settings.load_profiles()
    known.get(name)
    if name not in known.saved:
        msg = f"Profile {name!r} is built in and as it was at first: there is nothing to delete."
        raise click.ClickException(msg)
    if name == settings.chosen_profile() and name not in profiles.BUILT_IN:
        msg = f"Profile {name!r} is in use; switch to another one first: `headgate profile use`."
        raise click.ClickException(msg)
    if not yes:
        click.confirm(f"Delete profile {name!r}?", abort=True)
    _save(known.without(name))
    click.echo(f"Deleted profile {name!r}.")


@profile.command("populate-defaults")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
def populate_defaults(yes: bool) -> None:
    """Write the profiles that are built in into the file, to be edited there.

    Those that the file has already stay as they are.
    """
    known = settings.load_profiles()
    missing = [name for name in profiles.BUILT_IN if name not in known.saved]
    path = configuration.profiles_path()
    if not missing:
        click.echo(f"{path} has them all.")
        return
    if not yes:
        click.confirm(f"Write {', '.join(missing)} to {path}?", abort=True)
    for name in missing:
        known = known.with_profile(name, profiles.BUILT_IN[name])
    _save(known)
    click.echo(f"Wrote {', '.join(missing)} to {path}.")


def _masked(variable: str, value: str) -> str:
    name = variable.upper().removeprefix(configuration.PREFIX).lower()
    return "********" if name in settings.SECRETS or name == "server_encryption_key" else value


def _save(changed: profiles.Profiles) -> None:
    path = configuration.profiles_path()
    try:
        profiles.save(path, changed)
    except OSError as problem:
        msg = f"{path} cannot be written: {problem.strerror}."
        raise click.ClickException(msg) from problem
