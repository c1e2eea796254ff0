"""Which runs the schedules of a deployment shall have ahead of time."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Sequence
from datetime import datetime

from headgate.core import deployments, runs, schedules, states
from headgate.core.states import StateType

_RUNS_MIN = 3
_AHEAD_MIN = dt.timedelta(hours=1)
_AHEAD_MAX = dt.timedelta(days=100)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class PlannedRun:
    """A run that a schedule wants.

    Attributes:
        schedule: The schedule.
        time: When it shall start.
        idempotency_key: The same for the same deployment, schedule and time.
    """

    schedule: deployments.Schedule
    time: datetime
    idempotency_key: str


def plan(deployment: deployments.Deployment, now: datetime) -> list[PlannedRun]:
    """Return the runs that shall be there, by time.

    Each schedule has at least 3 runs ahead and all of the next hour, at most
    ``max_scheduled_runs`` of them and 100 days ahead. Nothing for what rests.
    """
    if deployment.paused:
        return []
    planned = [
        PlannedRun(
            schedule=schedule,
            time=time,
            idempotency_key=f"scheduled {deployment.id} {schedule.id} {time.isoformat()}",
        )
        for schedule in deployment.schedules
        if not schedule.paused
        for time in times_ahead(schedule, now)
    ]
    return sorted(planned, key=lambda run: run.time)


def times_ahead(schedule: deployments.Schedule, now: datetime) -> Sequence[datetime]:
    """Return the times of a schedule that are near enough to make runs for."""
    count = min(schedule.max_scheduled_runs, deployments.MAX_SCHEDULED_RUNS)
    # Most schedules are hourly or slower: their first few times settle it, and computing a
    # hundred for each, every minute, would be most of what an idle server does.
    first = schedules.next_times(schedule.rule, now, min(count, _RUNS_MIN))
    if len(first) < min(count, _RUNS_MIN) or first[-1] > now + _AHEAD_MIN:
        return [time for time in first if time <= now + _AHEAD_MAX]
    times: list[datetime] = []
    for time in schedules.next_times(schedule.rule, now, count):
        if time > now + _AHEAD_MAX:
            break
        if len(times) >= _RUNS_MIN and time > now + _AHEAD_MIN:
            break
        times.append(time)
    return times


def make_run(
    deployment: deployments.Deployment,
    planned: PlannedRun,
    *,
    id: str,
    state_id: str,
    name: str,
    now: datetime,
) -> runs.FlowRun:
    """Make the record of a planned run."""
    return runs.FlowRun(
        id=id,
        name=name,
        flow_id=deployment.flow_id,
        flow_name=deployment.flow_name,
        deployment_id=deployment.id,
        deployment_name=deployment.full_name,
        parameters={**deployment.parameters, **planned.schedule.parameters},
        tags=deployment.tags,
        labels=deployment.labels,
        state=states.new_state(
            StateType.SCHEDULED,
            id=state_id,
            now=now,
            details=states.StateDetails(scheduled_time=planned.time),
        ),
        expected_start_time=planned.time,
        root_flow_run_id=id,
        work_pool_name=deployment.work_pool_name,
        work_queue_name=deployment.work_queue_name,
        job_variables=deployment.job_variables,
        auto_scheduled=True,
        idempotency_key=planned.idempotency_key,
        create_time=now,
    )
