"""``headgate task``."""

from __future__ import annotations

from types import ModuleType
from typing import TYPE_CHECKING, Any, cast

import click

from headgate.core import errors

if TYPE_CHECKING:
    from headgate.tasks import Task


@click.group()
def task() -> None:
    """Serve background tasks."""


@task.command()
@click.argument("entrypoints", metavar="FILE[:TASK]...", nargs=-1, required=True)
@click.option(
    "-l",
    "--limit",
    type=click.IntRange(1),
    default=10,
    show_default=True,
    help="How many at most at once.",
)
@click.option(
    "--status-server-port",
    type=click.IntRange(0, 65_535),
    help="Answer on this port of this machine how the worker stands: GET /status.",
)
def serve(entrypoints: tuple[str, ...], limit: int, status_server_port: int | None) -> None:
    """Execute the runs of tasks that were asked for by `.delay()`, until it is told to stop.

    FILE:TASK names one task, as in tasks.py:add; FILE alone all tasks of a file or module.
    """
    from headgate import task_worker

    found: dict[str, Task[..., Any]] = {}
    for entrypoint in entrypoints:
        for one in _tasks(entrypoint):
            found[one.task_key] = one
    task_worker.serve(*found.values(), limit=limit, status_server_port=status_server_port)


def _tasks(entrypoint: str) -> list[Task[..., Any]]:
    from headgate import entrypoints
    from headgate.tasks import Task

    if ":" not in entrypoint:
        module = entrypoints.load_module(entrypoint)
        found = [cast("Any", one) for one in vars(module).values() if isinstance(one, Task)]
        if not found:
            msg = f"There is no task in {entrypoint!r}; decorate a function with @task."
            raise errors.MissingFlowError(msg)
        return found
    one = entrypoints.load(entrypoint)
    if not isinstance(one, Task):
        kind = "a module" if isinstance(one, ModuleType) else type(one).__name__
        msg = f"{entrypoint!r} is no task but {kind}; decorate the function with @task."
        raise errors.MissingFlowError(msg)
    return [cast("Any", one)]
