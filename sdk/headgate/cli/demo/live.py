"""Shows a flow run live: its transitions as they are committed, and how far it is."""

from __future__ import annotations

import sys
from collections import deque
from typing import TYPE_CHECKING, Any, Protocol

import click

from headgate.cli import following
from headgate.core import runs
from headgate.core.states import StateType

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.text import Text

TAIL_LINES = 8
TELL_EVERY = 50
_WORTH_A_LINE = {"AwaitingRetry", "Retrying"}


class Tally:
    """Counts what the transitions of a flow run tell."""

    def __init__(self) -> None:
        """Start at nothing."""
        self.transitions = 0
        self.retries = 0
        self._tasks: set[str] = set()
        self._ended: set[str] = set()

    def add(self, record: runs.TransitionRecord) -> None:
        """Count one transition."""
        self.transitions += 1
        self.retries += record.state.name == "Retrying"
        if record.kind is runs.RunKind.TASK_RUN:
            self._tasks.add(record.run_id)
            if record.state.is_terminal:
                self._ended.add(record.run_id)

    @property
    def tasks(self) -> int:
        """How many task runs there are."""
        return len(self._tasks)

    @property
    def ended(self) -> int:
        """How many of them have ended."""
        return len(self._ended)


class Display(Protocol):
    """Where transitions are shown."""

    def __enter__(self) -> Display:
        """Begin."""
        ...

    def __exit__(self, *error: Any) -> None:
        """End."""
        ...

    def show(self, record: runs.TransitionRecord, tally: Tally) -> None:
        """Show a transition, which is counted already."""
        ...


def display() -> Display:
    """Choose how to show: moving on a terminal, line by line elsewhere."""
    return TerminalDisplay() if sys.stdout.isatty() else PlainDisplay()


def is_worth_a_line(record: runs.TransitionRecord) -> bool:
    """Say whether a transition is one of the few that tell the story of a run."""
    return (
        record.kind is runs.RunKind.FLOW_RUN
        or record.state.name in _WORTH_A_LINE
        or record.state.type in {StateType.FAILED, StateType.CRASHED}
    )


class PlainDisplay:
    """Lines that stay: the story, and from time to time how far it is."""

    def __enter__(self) -> PlainDisplay:
        """Begin."""
        return self

    def __exit__(self, *error: Any) -> None:
        """End."""

    def show(self, record: runs.TransitionRecord, tally: Tally) -> None:
        """Write a line if the transition is worth one."""
        if is_worth_a_line(record):
            click.echo(following.line(record))
        elif record.state.is_terminal and tally.ended % TELL_EVERY == 0:
            click.echo(f"{'':12}  {tally.ended} of {tally.tasks} task runs have ended")


class TerminalDisplay:
    """The story above, the last transitions below it, and a progress bar at the foot."""

    def __init__(self) -> None:
        """Prepare; nothing is drawn yet."""
        from rich import live, progress  # only for terminals

        self._tail: deque[Text] = deque(maxlen=TAIL_LINES)
        self._bar = progress.Progress(
            progress.TextColumn("task runs"),
            progress.BarColumn(bar_width=None),
            progress.MofNCompleteColumn(),
            progress.TimeElapsedColumn(),
            expand=True,
        )
        self._task = self._bar.add_task("", total=None)
        self._live = live.Live(get_renderable=self._render, refresh_per_second=20)

    def __enter__(self) -> TerminalDisplay:
        """Begin to draw."""
        self._live.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        """Draw for the last time: the bar stays, the last transitions go."""
        self._tail.clear()
        self._live.__exit__(*error)

    def show(self, record: runs.TransitionRecord, tally: Tally) -> None:
        """Draw a transition."""
        from rich.text import Text

        text = Text.from_ansi(following.line(record))
        if is_worth_a_line(record):
            self._live.console.print(text, soft_wrap=True)
        else:
            text.stylize("dim")
            self._tail.append(text)
        self._bar.update(self._task, completed=tally.ended, total=max(tally.tasks, 1))

    def _render(self) -> RenderableType:
        from rich.console import Group

        return Group(*self._tail, self._bar)
