"""The commands ``headgate`` and ``runner``."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Sequence

import click

from headgate._version import __version__
from headgate.cli.lazy import Lazy, LazyGroup, load
from headgate.core import errors

COMMANDS = {
    "demo": Lazy(
        "Run a small real pipeline through a server and a runner.", "headgate.cli.demo.command:demo"
    ),
    "server": Lazy("Start the server, look after its database.", extra="server"),
    "runner": Lazy("Execute the runs of work pools."),
    "deploy": Lazy("Tell the server about a flow in a file.", "headgate.cli.deploy:deploy"),
    "deployment": Lazy(
        "List, run, pause and resume deployments.", "headgate.cli.deployment:deployment"
    ),
    "flow-run": Lazy(
        "List, watch and cancel flow runs, read their logs.", "headgate.cli.flow_run:flow_run"
    ),
    "work-pool": Lazy(
        "List, make, pause and resume work pools.", "headgate.cli.work_pool:work_pool"
    ),
    "block": Lazy(
        "Register types of blocks, save, list and delete blocks.", "headgate.cli.block:block"
    ),
    "global-concurrency-limit": Lazy(
        "Limit how many of something are used at once.",
        "headgate.cli.global_concurrency_limit:global_concurrency_limit",
    ),
    "gcl": Lazy("Short for global-concurrency-limit.", "headgate.cli.global_concurrency_limit:gcl"),
    "concurrency-limit": Lazy(
        "Limit how many task runs with a tag run at once.",
        "headgate.cli.concurrency_limit:concurrency_limit",
    ),
    "task-run": Lazy("List task runs, and end them by hand.", "headgate.cli.task_run:task_run"),
    "result-storage": Lazy(
        "Choose where results are kept by default.", "headgate.cli.result_storage:result_storage"
    ),
    "task": Lazy("Serve background tasks.", "headgate.cli.task:task"),
    "variable": Lazy("List, read, set and unset variables.", "headgate.cli.variable:variable"),
    "artifact": Lazy("List, show and delete artifacts.", "headgate.cli.artifact:artifact"),
    "events": Lazy("Emit events, list and follow them.", "headgate.cli.events:events"),
    "config": Lazy(
        "Show and change the settings, and see where they come from.", "headgate.cli.config:config"
    ),
    "profile": Lazy(
        "Keep sets of settings, and switch between them.", "headgate.cli.profile:profile"
    ),
    "version": Lazy("Show what is installed.", "headgate.cli.version:version"),
}

EPILOG = "A first look: `headgate demo`. Without HEADGATE_API_URL the server is an embedded one."


@click.group(
    cls=LazyGroup,
    lazy=COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=EPILOG,
)
@click.version_option(__version__, message="headgate %(version)s")
@click.option("-p", "--profile", metavar="NAME", help="Use the settings of this profile.")
@click.pass_context
def cli(context: click.Context, profile: str | None) -> None:
    """Headgate: run Python flows, by hand or from deployments, and see where they stand."""
    if profile is not None:
        from headgate import settings  # `headgate --help` needs none

        context.with_resource(settings.use_profile(profile))


def main(arguments: Sequence[str] | None = None, prog_name: str = "headgate") -> int:
    """Run the ``headgate`` command; return its exit code."""
    return run(cli, arguments, prog_name)


def runner(arguments: Sequence[str] | None = None) -> int:
    """Run the ``runner`` command, which is ``headgate runner start``; return its exit code."""
    try:
        group = load("runner", COMMANDS["runner"])
    except click.ClickException as error:
        return tell(error)
    assert isinstance(group, click.Group)
    return run(group.commands["start"], arguments, "runner")


def run(command: click.Command, arguments: Sequence[str] | None, prog_name: str) -> int:
    """Run a command and tell its errors in one line.

    Args:
        command: The command.
        arguments: What follows its name. Default: the arguments of this process.
        prog_name: Its name.

    Returns:
        0 if it did what was asked; 1 if it could not; 2 if the arguments are wrong; 130 if it was
        interrupted; or what the command says.
    """
    _warn_of_misspelled_settings()
    try:
        result = command.main(
            list(arguments) if arguments is not None else None, prog_name, standalone_mode=False
        )
    except click.ClickException as error:
        return tell(error)
    except click.Abort:
        click.echo("Interrupted.", err=True)
        return 130
    except errors.HeadgateError as error:
        click.echo(f"Error: {error}", err=True)
        return 1
    return result if isinstance(result, int) else 0


def _warn_of_misspelled_settings() -> None:
    if not any(name.startswith("HEADGATE_") for name in os.environ):
        return  # `headgate --help` needs no settings
    from headgate import settings

    # What cannot be read is told of by the command, if it is of any concern to it.
    with contextlib.suppress(errors.HeadgateError):
        for said in settings.misspelled():
            click.echo(f"Warning: {said}", err=True)


def tell(error: click.ClickException) -> int:
    """Show an error as click does; return its exit code."""
    error.show(sys.stderr)
    return error.exit_code
