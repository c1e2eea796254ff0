"""How commands write: tables for people, JSON for programs.

On a terminal rich draws; elsewhere lines are plain and never cut, for grep and awk.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Literal, TypeVar

import click

from headgate.cli import plain
from headgate.core.states import State, StateType

Function = TypeVar("Function", bound=Callable[..., Any])
Format = Literal["table", "json"]

#: Colours of states on a terminal.
STYLES = {
    StateType.SCHEDULED: "yellow",
    StateType.PENDING: "cyan",
    StateType.RUNNING: "blue",
    StateType.COMPLETED: "green",
    StateType.FAILED: "red",
    StateType.CRASHED: "bold red",
    StateType.CANCELLED: "magenta",
    StateType.CANCELLING: "magenta",
    StateType.PAUSED: "yellow",
}


class Cell(str):
    """A text with a style for terminals."""

    style: str = ""

    @classmethod
    def of(cls, text: str, style: str) -> Cell:
        """Make a text in a style of rich's."""
        cell = cls(text)
        cell.style = style
        return cell


def format_option(function: Function) -> Function:
    """Give a command the option ``-o``; it arrives as ``format``."""
    return click.option(
        "-o",
        "--output",
        "format",
        type=click.Choice(["table", "json"]),
        default="table",
        show_default=True,
        help="For people, or for programs.",
    )(function)


def state_cell(state: State) -> Cell:
    """Show a state by its name, in the colour of its type."""
    return Cell.of(state.name, STYLES[state.type])


def write_json(value: Any) -> None:
    """Write a value, records included, as indented JSON."""
    click.echo(json.dumps(plain.of(value), indent=2, ensure_ascii=False))


def write_json_line(value: Any) -> None:
    """Write a value as JSON on a line of its own: one of many that are read as they come."""
    click.echo(json.dumps(plain.of(value), ensure_ascii=False))


def write_table(
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    empty: str = "",
    numbers: Collection[str] = (),
) -> None:
    """Write rows under column names.

    Args:
        columns: Their names.
        rows: A text, or a ``Cell``, for each column.
        empty: The sentence that is written where there are no rows.
        numbers: The columns that are aligned to the right.
    """
    if not rows:
        click.echo(empty, err=True)
    elif sys.stdout.isatty():
        _draw(columns, rows, numbers)
    else:
        for line in _aligned(columns, rows, numbers):
            click.echo(line)


def write_record(facts: Mapping[str, Any], format: Format) -> None:
    """Write named facts: one per line, without the empty ones; or as JSON with all of them."""
    if format == "json":
        write_json(facts)
        return
    shown = {name.replace("_", " "): _text(value) for name, value in facts.items()}
    width = max(len(name) for name in shown)
    for name, text in shown.items():
        if text:
            first, *rest = text.splitlines()
            click.echo(f"{name.ljust(width)}  {first}")
            for line in rest:
                click.echo(f"{' ' * width}  {line}")


def moment(time: datetime | None) -> str:
    """Show a time to the second, in the time zone of this machine."""
    return time.astimezone().strftime("%Y-%m-%d %H:%M:%S") if time is not None else ""


def ago(time: datetime | None, now: datetime) -> str:
    """Show a time by its distance: ``3 min ago``, ``in 2 h``."""
    if time is None:
        return ""
    seconds = (now - time).total_seconds()
    distance = duration(abs(seconds))
    return f"{distance} ago" if seconds >= 0 else f"in {distance}"


def duration(seconds: float) -> str:
    """Show a length of time in its largest fitting unit: ``0.4 s``, ``12 min``, ``3 d``."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    for unit, length, limit in (("s", 1, 100), ("min", 60, 6_000), ("h", 3_600, 172_800)):
        if seconds < limit:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds / 86_400:.0f} d"


def _text(value: Any) -> str:
    match value:
        case None:
            return ""
        case datetime():
            return moment(value)
        case State():
            return f"{value.name}: {value.message}" if value.message else value.name
        case bool():
            return "yes" if value else "no"
        case str():
            return value
        case Mapping() | tuple() | list():
            return "\n".join(plain.lines(plain.of(value)))
        case _:
            return str(value)


def _aligned(
    columns: Sequence[str], rows: Sequence[Sequence[str]], numbers: Collection[str]
) -> Iterator[str]:
    lines = [[column.upper() for column in columns], *rows]
    widths = [max(len(line[n]) for line in lines) for n in range(len(columns))]
    for line in lines:
        cells = [
            text.rjust(width) if column in numbers else text.ljust(width)
            for column, text, width in zip(columns, line, widths, strict=True)
        ]
        yield "  ".join(cells).rstrip()


def _draw(columns: Sequence[str], rows: Sequence[Sequence[str]], numbers: Collection[str]) -> None:
    from rich.console import Console  # 30 ms, and only for terminals
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        justify = "right" if column in numbers else "left"
        table.add_column(column.upper(), overflow="fold", justify=justify)
    for row in rows:
        table.add_row(*[Text(text, style=getattr(text, "style", "")) for text in row])
    Console().print(table)
