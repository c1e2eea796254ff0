"""Records and schedules are found where users of the incumbent look for them."""

import datetime

from headgate import schedules, states
from headgate.client import schemas
from headgate.client.schemas import objects
from headgate.client.schemas.schedules import CronSchedule, IntervalSchedule, RRuleSchedule


def test_the_objects_are_those_that_clients_return():
    assert objects.FlowRun is schemas.FlowRun
    assert objects.State is states.State
    assert objects.StateType.COMPLETED is states.StateType.COMPLETED


def test_schedules_have_their_older_names():
    assert CronSchedule(cron="0 0 * * *") == schedules.Cron("0 0 * * *")
    hour = datetime.timedelta(hours=1)
    anchor = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    assert IntervalSchedule(interval=hour, anchor_date=anchor) == schedules.Interval(
        hour, anchor_date=anchor
    )
    assert RRuleSchedule(rrule="FREQ=DAILY") == schedules.RRule("FREQ=DAILY")
