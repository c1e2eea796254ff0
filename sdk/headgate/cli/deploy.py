"""``headgate deploy``."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import click

from headgate.cli.app import App, pass_app
from headgate.cli.inputs import (
    LengthOfTime,
    LossPolicy,
    job_variable_option,
    parameter_option,
)
from headgate.core import deployments


@click.command()
@click.argument("entrypoint", metavar="FILE:FLOW")
@click.option("-n", "--name", required=True, help="The deployment's name.")
@click.option("-p", "--pool", default="default", show_default=True, help="Where its runs wait.")
@click.option("-q", "--work-queue", default="default", show_default=True, help="The queue there.")
@click.option("--cron", multiple=True, metavar="TEXT", help="When it runs: '0 6 * * mon-fri'.")
@click.option("--interval", multiple=True, type=LengthOfTime(), help="How often: 90s, 15m, 2h.")
@click.option("--rrule", multiple=True, metavar="TEXT", help="When it runs, by RFC 5545.")
@click.option("--timezone", metavar="NAME", help="Of the schedules, e.g. Europe/Berlin.")
@parameter_option
@job_variable_option
@click.option("-t", "--tag", "tags", multiple=True, help="Each run has it.")
@click.option("--description", help="Default: the flow's.")
@click.option("--version", help="Default: the flow's.")
@click.option("--paused/--not-paused", default=None, help="Whether its schedules rest.")
@click.option("--concurrency-limit", type=click.IntRange(1), help="How many runs at once.")
@click.option(
    "--on-infrastructure-loss",
    type=LossPolicy(),
    metavar="crash|reschedule[:N]",
    help="What happens to a run whose runner, or process, is lost. Default: reschedule:3 where "
    "the flow is durable, else crash.",
)
@pass_app
def deploy(app: App, entrypoint: str, name: str, pool: str, **options: Any) -> None:
    """Tell the server about the flow FLOW in the file FILE.

    The file is loaded here, and again by the runner that executes a run, from the same path. A
    deployment of this name is changed; its schedules stay unless new ones are given.
    """
    stored = apply(app, entrypoint, name, pool, **options)
    click.echo(f"Deployed {stored.full_name} to the work pool {stored.work_pool_name!r}.")
    for schedule in stored.schedules:
        click.echo(f"  schedule {schedule.slug}: {describe(schedule.rule)}")
    click.echo(f"Run it:     headgate deployment run '{stored.full_name}' --watch")
    click.echo(f"Execute it: runner --pool {stored.work_pool_name}")


def apply(
    app: App,
    entrypoint: str,
    name: str,
    pool: str = "default",
    *,
    path: str | None = None,
    work_queue: str = "default",
    cron: Sequence[str] = (),
    interval: Sequence[timedelta] = (),
    rrule: Sequence[str] = (),
    timezone: str | None = None,
    **options: Any,
) -> deployments.Deployment:
    """Load a flow and store its deployment.

    Args:
        app: The outside world.
        entrypoint: ``file.py:function``.
        name: The deployment's name.
        pool: The work pool.
        path: The folder that the file is relative to. Default: the working folder.
        work_queue: The queue in the pool.
        cron: Cron expressions.
        interval: Lengths of time.
        rrule: Recurrence rules.
        timezone: Of the schedules.
        **options: As for ``RunnerDeployment.from_flow``.

    Returns:
        The deployment as stored.

    Raises:
        HeadgateError: The flow cannot be loaded, or the server refuses the deployment.
    """
    from headgate import schedules  # these load the flow engine: only when deploying
    from headgate.deployments import RunnerDeployment

    described = RunnerDeployment.from_entrypoint(
        entrypoint,
        name,
        path=path,
        work_pool_name=pool,
        work_queue_name=work_queue,
        schedules=schedules.construct(
            cron=list(cron) or None,
            interval=list(interval) or None,
            rrule=list(rrule) or None,
            timezone=timezone,
        ),
        **options,
    )
    with app.client() as client:
        return client.apply_deployment(described.record(), update_mask=described.update_mask())


def describe(rule: deployments.ScheduleRule) -> str:
    """Say in words when a rule fires."""
    match rule:
        case deployments.CronRule():
            return f"cron {rule.expression!r} ({rule.time_zone})"
        case deployments.IntervalRule():
            return f"every {timedelta(seconds=rule.interval_seconds)}"
        case deployments.RecurrenceRule():
            return f"rrule {rule.rule!r} ({rule.time_zone})"
