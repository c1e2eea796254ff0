"""One table per rule: (current, proposed, surroundings) -> decision."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from headgate.core import runs, states
from headgate.core.states import StateType as S
from headgate_server.domain import orchestrator
from headgate_server.domain.decisions import Abort, Accept, Decision, Reject, Wait
from headgate_server.domain.rules import (
    cancelling,
    duplicates,
    ended,
    late,
    moves,
    pausing,
    pickup,
    rerunning,
    results,
    resuming,
    retrying,
    scheduled_time,
    unexecuted,
)
from tests.unit.server.domain.builders import NEW_ID, NOW, context, flow_run, state

SOON = NOW + dt.timedelta(seconds=7)
EARLIER = NOW - dt.timedelta(seconds=7)
PAYLOAD = states.Payload(serializer="json", inline=b"1")


def kind(decision: Decision | None) -> str:
    """Say a decision in short: its class, and the name of its state."""
    match decision:
        case None:
            return "-"
        case Accept(stands):
            return f"accept {stands.name}"
        case Reject(stands):
            return f"reject {stands.name}"
        case Wait(delay):
            return f"wait {delay:g}"
        case Abort():
            return "abort"


def test_the_same_state_proposed_twice_is_accepted_twice():
    current = state(S.RUNNING)
    decision = duplicates.decide(context(current, current), NOW)
    assert decision == Accept(current)


def test_a_proposal_that_became_another_state_is_answered_with_that_state_again():
    failed = state(S.FAILED)
    waiting = state(S.SCHEDULED, "AwaitingRetry", transition_id=failed.id, message="boom")
    assert duplicates.decide(context(waiting, failed), NOW) == Reject(waiting, "boom")


def test_another_proposal_is_no_duplicate():
    assert duplicates.decide(context(S.RUNNING, S.RUNNING), NOW) is None


@pytest.mark.parametrize(
    ("current", "proposed", "deployment_id", "expected"),
    [
        (S.RUNNING, S.COMPLETED, "d", "-"),
        (S.COMPLETED, S.RUNNING, "d", "abort"),
        (S.COMPLETED, S.COMPLETED, "d", "abort"),
        (S.COMPLETED, S.SCHEDULED, "d", "abort"),
        (S.FAILED, S.CANCELLING, "d", "abort"),
        (S.FAILED, S.PAUSED, "d", "abort"),
        (S.CRASHED, S.PENDING, "d", "abort"),
        (S.FAILED, S.COMPLETED, "d", "abort"),
        (S.FAILED, S.SCHEDULED, "d", "-"),
        (S.CRASHED, S.SCHEDULED, "d", "-"),
        (S.CANCELLED, S.SCHEDULED, "d", "-"),
        (S.FAILED, S.SCHEDULED, None, "abort"),
    ],
)
def test_a_run_that_has_ended_stays_as_it_ended(
    current: S, proposed: S, deployment_id: str | None, expected: str
):
    given = context(current, proposed, deployment_id=deployment_id)
    assert kind(ended.decide(given, NOW)) == expected


def test_another_name_of_the_same_end_keeps_the_result():
    current = state(S.COMPLETED, data=PAYLOAD)
    decision = ended.decide(context(current, state(S.COMPLETED, "RolledBack")), NOW)
    assert kind(decision) == "accept RolledBack"
    assert isinstance(decision, Accept)
    assert decision.state.data == PAYLOAD


@pytest.mark.parametrize(
    ("current", "proposed", "surroundings", "expected"),
    [
        (S.CANCELLING, S.CANCELLED, {}, "-"),
        (S.CANCELLING, S.COMPLETED, {}, "reject Cancelled"),
        (S.CANCELLING, S.FAILED, {}, "reject Cancelled"),
        (S.CANCELLING, S.CRASHED, {}, "reject Cancelled"),
        (S.CANCELLING, S.CANCELLING, {}, "reject Cancelling"),
        (S.CANCELLING, S.RUNNING, {}, "reject Cancelling"),
        (S.CANCELLING, S.PAUSED, {}, "reject Cancelling"),
        (S.CANCELLING, S.SCHEDULED, {}, "reject Cancelling"),
        (S.CANCELLING, S.CRASHED, {"forced": True, "by_holder": True}, "reject Cancelled"),
        (S.CANCELLING, S.SCHEDULED, {"forced": True}, "-"),
        (S.RUNNING, S.COMPLETED, {}, "-"),
    ],
)
def test_cancelling_ends_in_cancelled(
    current: S, proposed: S, surroundings: dict[str, Any], expected: str
):
    assert kind(cancelling.decide(context(current, proposed, **surroundings), NOW)) == expected


def test_an_end_turned_into_cancelled_remembers_the_proposal():
    given = context(S.CANCELLING, S.COMPLETED)
    decision = cancelling.decide(given, NOW)
    assert isinstance(decision, Reject)
    assert decision.state.id == NEW_ID
    assert decision.state.details.transition_id == given.proposed.id


@pytest.mark.parametrize(
    ("current", "held", "expected"),
    [
        (S.SCHEDULED, False, "reject Cancelled"),
        (S.PENDING, False, "reject Cancelled"),
        (S.PAUSED, False, "reject Cancelled"),
        (S.RUNNING, False, "reject Cancelled"),
        (S.SCHEDULED, True, "-"),
        (S.RUNNING, True, "-"),
        (S.PAUSED, True, "-"),
    ],
)
def test_cancelling_what_nobody_executes_is_cancelled_at_once(
    current: S, held: bool, expected: str
):
    assert kind(unexecuted.decide(context(current, S.CANCELLING, held=held), NOW)) == expected


@pytest.mark.parametrize(
    ("current", "proposed", "expected"),
    [
        (state(S.SCHEDULED), state(S.PENDING), "-"),
        (state(S.PENDING), state(S.PENDING), "abort"),
        (state(S.PENDING), state(S.PENDING, "Submitting"), "-"),
        (state(S.PENDING, "Submitting"), state(S.PENDING, "InfrastructurePending"), "-"),
        (state(S.PENDING, "Submitting"), state(S.PENDING, "Submitting"), "abort"),
        (state(S.RUNNING), state(S.PENDING), "abort"),
        (state(S.CANCELLING), state(S.PENDING), "abort"),
        (state(S.RUNNING), state(S.COMPLETED), "-"),
    ],
)
def test_a_run_is_picked_up_once(current: states.State, proposed: states.State, expected: str):
    assert kind(pickup.decide(context(current, proposed), NOW)) == expected


@pytest.mark.parametrize(
    ("current", "pause", "given", "expected"),
    [
        (S.RUNNING, {}, {}, "-"),
        (S.RUNNING, {"pause_key": "k"}, {}, "-"),
        (S.RUNNING, {"pause_key": "k"}, {"fired_pause_keys": frozenset({"k"})}, "reject Running"),
        (S.SCHEDULED, {}, {}, "reject Scheduled"),
        (S.PENDING, {}, {}, "reject Pending"),
        (S.PAUSED, {}, {}, "reject Paused"),
        (S.RUNNING, {"pause_reschedule": True}, {}, "-"),
        (S.RUNNING, {"pause_reschedule": True}, {"deployment_id": None}, "abort"),
        (S.RUNNING, {"pause_reschedule": True}, {"parent_task_run_id": "t"}, "abort"),
    ],
)
def test_only_a_running_run_is_paused_and_each_pause_fires_once(
    current: S, pause: dict[str, Any], given: dict[str, Any], expected: str
):
    proposal = context(current, state(S.PAUSED, **pause), **given)
    assert kind(pausing.decide(proposal, NOW)) == expected


@pytest.mark.parametrize(
    ("pause", "proposed", "expected"),
    [
        ({}, S.RUNNING, "-"),
        ({}, S.SCHEDULED, "-"),
        ({"pause_expire_time": SOON}, S.RUNNING, "-"),
        ({"pause_expire_time": EARLIER}, S.RUNNING, "reject Failed"),
        ({"pause_expire_time": NOW}, S.SCHEDULED, "reject Failed"),
        ({"pause_expire_time": EARLIER}, S.CANCELLING, "-"),
        ({"pause_expire_time": EARLIER}, S.FAILED, "-"),
        ({"pause_reschedule": True}, S.RUNNING, "reject Paused"),
        ({"pause_reschedule": True}, S.SCHEDULED, "-"),
    ],
)
def test_a_paused_run_goes_on_while_its_pause_lasts(
    pause: dict[str, Any], proposed: S, expected: str
):
    proposal = context(state(S.PAUSED, **pause), proposed)
    assert kind(resuming.decide(proposal, NOW)) == expected


def test_a_run_that_is_not_paused_is_not_resumed():
    proposal = context(S.RUNNING, state(S.SCHEDULED, "Resuming"))
    assert kind(resuming.decide(proposal, NOW)) == "reject Running"


@pytest.mark.parametrize(
    ("current", "held", "expected"),
    [
        (S.SCHEDULED, False, "-"),
        (S.SCHEDULED, True, "reject Scheduled"),
        (S.PENDING, False, "reject Pending"),
        (S.RUNNING, True, "reject Running"),
    ],
)
def test_only_a_waiting_run_is_late(current: S, held: bool, expected: str):
    proposal = context(current, state(S.SCHEDULED, "Late"), held=held)
    assert kind(late.decide(proposal, NOW)) == expected


@pytest.mark.parametrize(
    ("current", "time", "proposed", "expected"),
    [
        (S.SCHEDULED, SOON, S.PENDING, "wait 7"),
        (S.SCHEDULED, SOON, S.RUNNING, "wait 7"),
        (S.PENDING, SOON, S.RUNNING, "wait 7"),
        (S.SCHEDULED, NOW, S.RUNNING, "-"),
        (S.SCHEDULED, EARLIER, S.PENDING, "-"),
        (S.SCHEDULED, None, S.PENDING, "-"),
        (S.SCHEDULED, SOON, S.CANCELLING, "-"),
        (S.SCHEDULED, SOON, S.CRASHED, "-"),
        (S.PAUSED, SOON, S.RUNNING, "-"),
    ],
)
def test_a_run_does_not_start_before_its_time(
    current: S, time: dt.datetime | None, proposed: S, expected: str
):
    proposal = context(state(current, scheduled_time=time), proposed)
    assert kind(scheduled_time.decide(proposal, NOW)) == expected


RETRIES = runs.RetryPolicy(max_retries=2, delays_seconds=(7.0,), jitter_factor=1.0)


@pytest.mark.parametrize(
    ("current", "proposed", "given", "expected"),
    [
        (S.RUNNING, state(S.FAILED), {"run_count": 1}, "reject AwaitingRetry"),
        (S.RUNNING, state(S.FAILED), {"run_count": 2}, "reject AwaitingRetry"),
        (S.RUNNING, state(S.FAILED), {"run_count": 3}, "-"),
        (S.RUNNING, state(S.FAILED, "TimedOut"), {"run_count": 1}, "reject AwaitingRetry"),
        (S.RUNNING, state(S.FAILED, retriable=False), {"run_count": 1}, "-"),
        (S.RUNNING, state(S.FAILED), {"run_count": 1, "retry_policy": runs.NO_RETRIES}, "-"),
        (S.RUNNING, state(S.CRASHED), {"run_count": 1}, "-"),
        (S.PAUSED, state(S.FAILED), {"run_count": 1}, "-"),
        (S.RUNNING, state(S.FAILED), {"run_count": 1, "held": True}, "-"),
        (
            S.RUNNING,
            state(S.FAILED),
            {"run_count": 1, "held": True, "by_holder": True},
            "reject AwaitingRetry",
        ),
    ],
)
def test_a_failed_run_is_tried_again_as_its_policy_says(
    current: S, proposed: states.State, given: dict[str, Any], expected: str
):
    proposal = context(current, proposed, **{"retry_policy": RETRIES, **given})
    assert kind(retrying.decide(proposal, NOW)) == expected


def test_a_retry_waits_for_its_delay_and_remembers_the_failure():
    failed = state(S.FAILED, message="boom")
    given = context(S.RUNNING, failed, retry_policy=RETRIES, run_count=1, random=0.5)
    decision = retrying.decide(given, NOW)
    assert isinstance(decision, Reject)
    assert decision.state.message == "boom"
    assert decision.state.details == states.StateDetails(
        scheduled_time=NOW + dt.timedelta(seconds=10.5), transition_id=failed.id
    )


@pytest.mark.parametrize(
    ("current", "proposed", "run_count", "expected"),
    [
        (state(S.SCHEDULED, "AwaitingRetry"), state(S.RUNNING), 1, "accept Retrying"),
        (state(S.PENDING), state(S.RUNNING), 1, "accept Retrying"),
        (state(S.PENDING), state(S.RUNNING), 0, "-"),
        (state(S.PENDING), state(S.RUNNING, "Warming up"), 1, "-"),
        (state(S.SCHEDULED, "Resuming"), state(S.RUNNING), 1, "-"),
        (state(S.PAUSED), state(S.RUNNING), 1, "-"),
        (state(S.RUNNING), state(S.COMPLETED), 1, "-"),
    ],
)
def test_a_run_that_runs_again_says_so(
    current: states.State, proposed: states.State, run_count: int, expected: str
):
    assert kind(rerunning.decide(context(current, proposed, run_count=run_count), NOW)) == expected


@pytest.mark.parametrize(
    ("current", "proposed", "expected"),
    [
        (state(S.COMPLETED, data=PAYLOAD), S.CRASHED, "abort"),
        (state(S.FAILED, data=PAYLOAD), S.COMPLETED, "abort"),
        (state(S.FAILED), S.COMPLETED, "-"),
        (state(S.COMPLETED, data=PAYLOAD), S.SCHEDULED, "-"),
        (state(S.RUNNING), S.COMPLETED, "-"),
    ],
)
def test_force_does_not_take_results_away(current: states.State, proposed: S, expected: str):
    assert kind(results.decide(context(current, proposed, forced=True), NOW)) == expected


@pytest.mark.parametrize("current", list(S))
@pytest.mark.parametrize("proposed", list(S))
def test_the_table_of_moves_is_the_word_of_the_last_resort(current: S, proposed: S):
    decision = moves.decide(context(current, proposed), NOW)
    assert (decision is None) == states.may_move(current, proposed)


@pytest.mark.parametrize("held", [False, True])
@pytest.mark.parametrize("by_holder", [False, True])
@pytest.mark.parametrize("current", list(S))
@pytest.mark.parametrize("proposed", list(S))
def test_no_pair_of_types_breaks_what_the_rules_promise(
    current: S, proposed: S, held: bool, by_holder: bool
):
    given = context(current, proposed, held=held, by_holder=by_holder)
    decision = orchestrator.decide(given, NOW)

    if isinstance(decision, Accept | Reject):
        stands = decision.state
        if stands is not given.current:
            assert states.may_move(current, stands.type)
        if current is S.COMPLETED:
            assert stands is given.current
        if current is S.CANCELLING:
            assert stands.type in (S.CANCELLING, S.CANCELLED)
        if current.is_terminal and stands is not given.current:
            assert stands.type in (current, S.SCHEDULED)
        if proposed is S.CANCELLING and not held:
            assert stands.type is not S.CANCELLING or current is S.CANCELLING
        if isinstance(decision, Reject):
            assert decision.reason.endswith(".")
    if isinstance(decision, Accept):
        assert decision.state.type is proposed
    if isinstance(decision, Abort):
        assert decision.reason.endswith(".")


@pytest.mark.parametrize("current", list(S))
@pytest.mark.parametrize("proposed", list(S))
def test_force_sets_every_state_that_takes_no_result_away(current: S, proposed: S):
    decision = orchestrator.decide(context(current, proposed, forced=True), NOW)
    assert isinstance(decision, Accept)
    assert decision.state.type is proposed


def test_what_is_proposed_is_not_changed_by_being_accepted():
    given = context(S.PENDING, S.RUNNING)
    assert orchestrator.decide(given, NOW) == Accept(given.proposed)
    assert given.run == flow_run(given.run.state)
