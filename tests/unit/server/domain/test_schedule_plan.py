from __future__ import annotations

import dataclasses
import datetime as dt

import pytest

from headgate.core import deployments
from headgate_server.domain import schedule_plan

NOW = dt.datetime(2026, 3, 1, 12, tzinfo=dt.UTC)


def schedule(rule: deployments.ScheduleRule, id: str = "s", maximum: int = 100):
    return deployments.Schedule(id=id, slug=id, rule=rule, max_scheduled_runs=maximum)


def interval(seconds: float) -> deployments.IntervalRule:
    return deployments.IntervalRule(interval_seconds=seconds, anchor_time=NOW)


@pytest.mark.parametrize(
    ("rule", "maximum", "expected"),
    [
        (interval(86_400), 100, 3),  # a few at least
        (interval(600), 100, 6),  # the next hour
        (interval(1), 100, 100),  # not more than the most
        (interval(600), 2, 2),
        (interval(40 * 86_400), 100, 2),  # not farther than 100 days
        (deployments.CronRule(expression="@yearly"), 100, 0),
    ],
)
def test_how_many_runs_are_made_ahead(rule: deployments.ScheduleRule, maximum: int, expected: int):
    times = schedule_plan.times_ahead(schedule(rule, maximum=maximum), NOW)
    assert len(times) == expected
    assert all(time > NOW for time in times)


def test_the_runs_of_all_schedules_come_by_time_with_keys_of_their_own():
    deployment = deployments.Deployment(
        id="d",
        name="nightly",
        flow_id="f",
        flow_name="etl",
        schedules=(
            schedule(interval(86_400), "a"),
            schedule(interval(86_400), "b"),
            dataclasses.replace(schedule(interval(600), "c"), paused=True),
        ),
        create_time=NOW,
        update_time=NOW,
        etag="1",
    )
    planned = schedule_plan.plan(deployment, NOW)
    assert [run.time for run in planned] == sorted(run.time for run in planned)
    assert len({run.idempotency_key for run in planned}) == len(planned) == 6
    assert schedule_plan.plan(dataclasses.replace(deployment, paused=True), NOW) == []
