from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from headgate.core import runs, states
from headgate.core.states import StateType as S
from headgate_server.domain import lease_effects, transforms
from headgate_server.domain.lease_effects import KEEP, LeaseEffect
from tests.unit.server.domain.builders import NOW, context, flow_run, state

LATER = NOW + dt.timedelta(minutes=1)


@pytest.mark.parametrize(
    ("current", "counts"),
    [
        (state(S.SCHEDULED), True),
        (state(S.SCHEDULED, "AwaitingRetry"), True),
        (state(S.PENDING), True),
        (state(S.SCHEDULED, "Resuming"), False),
        (state(S.PAUSED), False),
        (state(S.RUNNING), False),
    ],
)
def test_entering_running_counts_as_an_attempt_unless_one_goes_on(
    current: states.State, counts: bool
):
    after = transforms.apply(flow_run(current, run_count=1), state(S.RUNNING), NOW)
    assert after.run_count == (2 if counts else 1)


def test_the_first_running_sets_the_start_and_the_next_does_not():
    first = transforms.apply(flow_run(S.PENDING), state(S.RUNNING), NOW)
    assert first.start_time == NOW
    again = states.new_state(S.RUNNING, id="again", now=LATER)
    assert transforms.apply(first, again, LATER).start_time == NOW


def test_an_end_sets_the_end_and_a_manual_retry_takes_it_back():
    failed = transforms.apply(flow_run(S.RUNNING), state(S.FAILED), NOW)
    assert failed.end_time == NOW
    assert transforms.apply(failed, state(S.SCHEDULED), LATER).end_time is None


def test_scheduled_without_a_time_is_scheduled_for_now():
    after = transforms.apply(flow_run(S.FAILED), state(S.SCHEDULED), LATER)
    assert after.state.details.scheduled_time == LATER
    assert after.expected_start_time == LATER


def test_pending_keeps_the_time_it_was_scheduled_for():
    run = flow_run(state(S.SCHEDULED, scheduled_time=LATER), expected_start_time=LATER)
    after = transforms.apply(run, state(S.PENDING), NOW)
    assert after.state.details.scheduled_time == LATER
    assert after.expected_start_time == LATER


def test_a_run_by_hand_is_expected_when_it_starts():
    assert transforms.apply(flow_run(S.PENDING), state(S.RUNNING), NOW).expected_start_time == NOW


def test_a_task_run_is_counted_and_timed_like_a_flow_run():
    task_run = runs.TaskRun(
        id="task",
        name="parse-0",
        flow_run_id="run",
        task_key="parse",
        dynamic_key="0",
        state=state(S.PENDING),
        create_time=NOW,
    )
    running = transforms.apply_to_task_run(task_run, state(S.RUNNING))
    assert (running.run_count, running.start_time, running.end_time) == (1, NOW, None)
    ended = transforms.apply_to_task_run(running, state(S.COMPLETED))
    assert (ended.run_count, ended.end_time) == (1, NOW)


def test_a_task_run_that_is_tried_again_at_once_has_another_attempt():
    task_run = runs.TaskRun(
        id="task",
        name="parse-0",
        flow_run_id="run",
        task_key="parse",
        dynamic_key="0",
        state=state(S.RUNNING),
        create_time=NOW,
        run_count=1,
    )
    assert transforms.apply_to_task_run(task_run, state(S.RUNNING, "Retrying")).run_count == 2
    assert transforms.apply_to_task_run(task_run, state(S.RUNNING, "Working")).run_count == 1


TAKEN = LeaseEffect(release=True, fence=True)
GIVEN_BACK = LeaseEffect(release=True, fence=False)


@pytest.mark.parametrize(
    ("current", "entered", "by_holder", "expected"),
    [
        (state(S.RUNNING), state(S.COMPLETED), True, GIVEN_BACK),
        (state(S.RUNNING), state(S.CRASHED), False, TAKEN),
        (state(S.CANCELLING), state(S.CANCELLED), False, TAKEN),
        (state(S.SCHEDULED), state(S.CANCELLED), False, TAKEN),
        (state(S.RUNNING), state(S.SCHEDULED, "AwaitingRetry"), True, KEEP),
        (state(S.RUNNING), state(S.SCHEDULED, "AwaitingRetry"), False, TAKEN),
        (state(S.SCHEDULED), state(S.SCHEDULED, "Late"), False, KEEP),
        (state(S.PAUSED), state(S.SCHEDULED, "Resuming"), False, KEEP),
        (state(S.PAUSED, pause_reschedule=True), state(S.SCHEDULED, "Resuming"), False, TAKEN),
        (state(S.RUNNING), state(S.CANCELLING), False, KEEP),
        (state(S.RUNNING), state(S.PAUSED), False, KEEP),
    ],
)
def test_what_a_state_does_to_the_lease(
    current: states.State, entered: states.State, by_holder: bool, expected: LeaseEffect
):
    given: dict[str, Any] = {"by_holder": by_holder}
    effect = lease_effects.decide(context(current, entered, **given), entered, leased=True)
    assert effect == expected


def test_a_run_without_a_lease_has_none_to_lose():
    given = context(S.RUNNING, S.CRASHED)
    assert lease_effects.decide(given, given.proposed, leased=False) == KEEP
