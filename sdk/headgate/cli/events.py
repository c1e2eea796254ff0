"""``headgate events``."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Generator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, TextIO

import click

from headgate.cli import inputs, output, plain
from headgate.cli.app import App, pass_app
from headgate.cli.output import Format
from headgate.core import events as core_events


@click.group()
def events() -> None:
    """Emit events, list them, and follow them as they happen."""


def _filter_options(function: Any) -> Any:
    for option in (
        click.option("--prefix", "prefixes", multiple=True, help="With a name that starts so."),
        click.option("--name", "names", multiple=True, help="With this name."),
        click.option(
            "--resource", "resources", multiple=True, help="That involve the resource of this id."
        ),
        click.option(
            "--since", type=inputs.LengthOfTime(), help="Of the last while: 90s, 15m, 2h, 1d."
        ),
    ):
        function = option(function)
    return function


def _filter(
    app: App,
    prefixes: Sequence[str],
    names: Sequence[str],
    resources: Sequence[str],
    since: timedelta | None,
) -> core_events.EventFilter:
    return core_events.EventFilter(
        name_prefixes=tuple(prefixes),
        names=tuple(names),
        any_resource_ids=tuple(resources),
        since=app.clock.now() - since if since is not None else None,
    )


@events.command()
@click.option(
    "--format",
    "format",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="A line for people, or a line of JSON.",
)
@click.option(
    "-o",
    "--output-file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Append to this file instead.",
)
@click.option("--run-once", is_flag=True, help="End after the first event.")
@_filter_options
@pass_app
def stream(
    app: App,
    format: str,
    output_file: Path | None,
    run_once: bool,
    prefixes: Sequence[str],
    names: Sequence[str],
    resources: Sequence[str],
    since: timedelta | None,
) -> None:
    """Show events as they happen, until interrupted."""
    where = _filter(app, prefixes, names, resources, since)
    with app.client() as client, _opened(output_file) as file:
        for event in client.subscribe_events(where):
            text = json.dumps(plain.of(event), ensure_ascii=False) if format == "json" else ""
            click.echo(text or line(event), file=file)
            if file is not None:
                file.flush()
            if run_once:
                return


@contextlib.contextmanager
def _opened(path: Path | None) -> Generator[TextIO | None]:
    if path is None:
        yield None
        return
    try:
        file = path.open("a", encoding="utf-8")
    except OSError as problem:
        msg = f"{path} cannot be written: {problem.strerror}."
        raise click.ClickException(msg) from problem
    with file:
        yield file


def line(event: core_events.Event) -> str:
    """Show an event: when, what, to what."""
    time = event.occurred.astimezone().strftime("%H:%M:%S.%f")[:-3]
    name = event.resource.get(core_events.RESOURCE_NAME, "")
    return f"{time}  {event.name:<36}  {name or event.resource_id}".rstrip()


@events.command()
@click.option("--limit", type=click.IntRange(1), default=20, show_default=True, help="How many.")
@_filter_options
@output.format_option
@pass_app
def ls(
    app: App,
    limit: int,
    prefixes: Sequence[str],
    names: Sequence[str],
    resources: Sequence[str],
    since: timedelta | None,
    format: Format,
) -> None:
    """List events, the newest first."""
    with app.client() as client:
        found = client.read_events(_filter(app, prefixes, names, resources, since), limit=limit)
    if format == "json":
        output.write_json(found)
        return
    rows = [
        [
            output.ago(event.occurred, app.clock.now()),
            event.name,
            event.resource.get(core_events.RESOURCE_NAME, ""),
            event.resource_id,
        ]
        for event in found
    ]
    output.write_table(["occurred", "event", "name", "resource"], rows, empty="There are none.")


@events.command()
@click.argument("event")
@click.option("--resource-id", help="The id of what it happened to.")
@click.option(
    "--resource",
    "resource",
    metavar="JSON|KEY=VALUE",
    multiple=True,
    help="Labels of what it happened to. Repeat it for more.",
)
@click.option(
    "--related",
    metavar="JSON",
    help="What else it has to do with: a list of labels, each with an id and a role.",
)
@click.option("--payload", metavar="JSON", help="More about it: an object.")
@pass_app
def emit(
    app: App,
    event: str,
    resource_id: str | None,
    resource: Sequence[str],
    related: str | None,
    payload: str | None,
) -> None:
    """Emit an event; it is stored when this returns."""
    from headgate.events.schemas import Event, Resource

    labels = _labels(resource)
    if resource_id:
        labels[core_events.RESOURCE_ID] = resource_id
    others = _parsed("--related", related, list)
    if any(not isinstance(each, dict) for each in others):
        raise click.BadParameter("every item must be an object of labels.", param_hint="--related")
    made = Event(
        event=event,
        resource=Resource(labels),
        related=others,
        payload=_parsed("--payload", payload, dict),
        occurred=app.clock.now(),
    )
    with app.client() as client:
        client.write_events([made.record()])
    click.echo(f"Emitted {event!r} with id {made.id}.")


def _labels(texts: Sequence[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for text in texts:
        if text.lstrip().startswith("{"):
            found.update(_parsed("--resource", text, dict))
        else:
            key, equals, value = text.partition("=")
            if not equals:
                msg = f"{text!r} is neither JSON nor KEY=VALUE."
                raise click.BadParameter(msg, param_hint="--resource")
            found[key.strip()] = value
    return found


def _parsed(option: str, text: str | None, kind: type[Any]) -> Any:
    if text is None:
        return kind()
    try:
        value: Any = json.loads(text)
    except ValueError as problem:
        raise click.BadParameter(f"is no JSON: {problem}.", param_hint=option) from None
    if not isinstance(value, kind):
        wanted = "an object" if kind is dict else "a list"
        raise click.BadParameter(f"must be {wanted}, not {value!r}.", param_hint=option)
    return value
