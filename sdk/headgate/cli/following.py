"""Follows a flow run and shows its transitions as they are committed."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import TYPE_CHECKING

import click

from headgate.cli import output
from headgate.core import runs
from headgate.core.states import StateType

if TYPE_CHECKING:
    from headgate.client.orchestration import SyncHeadgateClient

#: Click's colours for rich's styles.
_COLORS = {"bold red": "red"}


def transitions(
    client: SyncHeadgateClient, run: runs.FlowRun
) -> Generator[runs.TransitionRecord, None, None]:
    """Give the transitions of a run, its subflows and tasks, until the run has ended.

    Starts with the state that the run is in, so that nothing is missed between asking for the
    run and following it.

    Args:
        client: An open client.
        run: The run, as it was read last.
    """
    is_root = run.root_flow_run_id == run.id
    records = client.watch(
        after_revision=run.revision - 1,
        root_flow_run_ids=[run.id] if is_root else [],
        flow_run_ids=[] if is_root else [run.id],
    )
    for record in records:
        yield record
        if record.run_id == run.id and record.state.is_terminal:
            return


def follow(
    client: SyncHeadgateClient,
    run: runs.FlowRun,
    *,
    show: Callable[[runs.TransitionRecord], object] | None = None,
) -> runs.FlowRun:
    """Follow a run until it has ended; return it after its end.

    Args:
        client: An open client.
        run: The run, as it was read last.
        show: Shows one transition. Default: as a line for people.
    """
    for record in transitions(client, run):
        if show is None:
            click.echo(line(record))
        else:
            show(record)
    return client.read_flow_run(run.id)


def show_nothing(record: runs.TransitionRecord) -> None:
    """Show nothing of a transition: only the end is wanted."""


def line(record: runs.TransitionRecord) -> str:
    """Show a transition: when, which run, where it stands now."""
    style = output.STYLES[record.state.type]
    kind = "flow" if record.kind is runs.RunKind.FLOW_RUN else "task"
    name = f"{record.state.name:<14}" if record.state.message else record.state.name
    state = click.style(name, fg=_COLORS.get(style, style))
    time = record.state.timestamp.astimezone().strftime("%H:%M:%S.%f")[:-3]
    return f"{time}  {kind}  {record.run_name:<24}  {state} {record.state.message}".rstrip()


def exit_code(run: runs.FlowRun) -> int:
    """Return 0 for a run that completed, 1 for any other."""
    return 0 if run.state.type is StateType.COMPLETED else 1
