"""What becomes of runs whose leases end."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime

import pytest

from headgate.core.deployments import InfrastructureLossAction, InfrastructureLossPolicy
from headgate.core.runs import FlowRun
from headgate.core.states import State, StateDetails, StateType, new_state
from headgate_server.domain.leasing import (
    Drop,
    Ending,
    Enter,
    GiveBack,
    Held,
    Outcome,
    Stored,
    after_loss,
    after_release,
    reconcile,
)
from tests.unit.server.domain.builders import flow_run

NOW = datetime(2026, 1, 1, tzinfo=UTC)
S = StateType
RESCHEDULE = InfrastructureLossPolicy(action=InfrastructureLossAction.RESCHEDULE, max_reschedules=2)
CRASH = InfrastructureLossPolicy()
LOST = "Runner r stopped sending heartbeats; nothing was heard for 31 s."


def state(type: StateType, *, suspended: bool = False) -> State:
    details = StateDetails(pause_reschedule=suspended)
    return new_state(type, id="s", now=NOW, details=details)


@pytest.mark.parametrize(
    ("current", "accepted", "outcome", "ending"),
    [
        (S.SCHEDULED, False, Outcome.HANDED_BACK, GiveBack()),
        (S.PENDING, True, Outcome.HANDED_BACK, Enter(S.SCHEDULED, "why")),
        (S.RUNNING, True, Outcome.HANDED_BACK, Enter(S.SCHEDULED, "why")),
        (S.SCHEDULED, True, Outcome.HANDED_BACK, Enter(S.SCHEDULED, "why")),
        (S.RUNNING, True, Outcome.CRASHED, Enter(S.CRASHED, "why")),
        (S.PAUSED, True, Outcome.CRASHED, Enter(S.CRASHED, "why")),
        (S.RUNNING, True, Outcome.FINISHED, Enter(S.CRASHED, "why")),
        (S.COMPLETED, True, Outcome.FINISHED, Drop()),
        (S.COMPLETED, True, Outcome.CRASHED, Drop()),
        (S.CANCELLING, True, Outcome.CRASHED, Enter(S.CANCELLED, "The run was cancelled.")),
        (S.CANCELLING, True, Outcome.HANDED_BACK, Enter(S.CANCELLED, "The run was cancelled.")),
    ],
    ids=lambda value: str(value),
)
def test_releases(current: StateType, accepted: bool, outcome: Outcome, ending: Ending) -> None:
    released = after_release(
        flow_run(state(current)), accepted=accepted, policy=None, outcome=outcome, message="why"
    )
    assert released == ending


@pytest.mark.parametrize(
    ("policy", "count", "ending"),
    [
        (CRASH, 0, Enter(S.CRASHED, "why")),
        (RESCHEDULE, 0, Enter(S.SCHEDULED, "why", "AwaitingRetry", True)),
        (RESCHEDULE, 2, Enter(S.CRASHED, "why It was rescheduled 2 times before, no more.")),
    ],
    ids=lambda value: str(value),
)
def test_a_run_whose_process_alone_was_lost_goes_back_as_its_deployment_says(
    policy: InfrastructureLossPolicy, count: int, ending: Ending
) -> None:
    run = dataclasses.replace(flow_run(state(S.RUNNING)), reschedule_count=count)
    assert (
        after_release(run, accepted=True, policy=policy, outcome=Outcome.CRASHED, message="why")
        == ending
    )


def test_a_suspended_run_stays_suspended_when_its_process_has_ended() -> None:
    paused = state(S.PAUSED, suspended=True)
    for outcome in Outcome:
        assert (
            after_release(flow_run(paused), accepted=True, policy=None, outcome=outcome, message="")
            == Drop()
        )


@pytest.mark.parametrize(
    ("current", "accepted", "policy", "count", "ending"),
    [
        (S.RUNNING, True, CRASH, 0, Enter(S.CRASHED, LOST)),
        (S.RUNNING, True, None, 0, Enter(S.CRASHED, LOST)),
        (S.RUNNING, True, RESCHEDULE, 1, Enter(S.SCHEDULED, LOST, "AwaitingRetry", True)),
        (S.PENDING, True, RESCHEDULE, 0, Enter(S.SCHEDULED, LOST, "AwaitingRetry", True)),
        (
            S.RUNNING,
            True,
            RESCHEDULE,
            2,
            Enter(S.CRASHED, f"{LOST} It was rescheduled 2 times before, no more."),
        ),
        (S.SCHEDULED, False, CRASH, 0, GiveBack()),
        (S.SCHEDULED, True, CRASH, 0, Enter(S.CRASHED, LOST)),
        (S.CANCELLING, True, RESCHEDULE, 0, Enter(S.CANCELLED, "The run was cancelled.")),
        (S.FAILED, True, RESCHEDULE, 0, Drop()),
    ],
    ids=[
        "crash",
        "by hand",
        "reschedule",
        "reschedule pending",
        "rescheduled too often",
        "not accepted",
        "waits for a retry in its process",
        "cancelling",
        "ended",
    ],
)
def test_losses(
    current: StateType,
    accepted: bool,
    policy: InfrastructureLossPolicy | None,
    count: int,
    ending: Ending,
) -> None:
    run = FlowRun(
        id="r",
        name="r",
        flow_id="f",
        flow_name="f",
        state=state(current),
        root_flow_run_id="r",
        reschedule_count=count,
        create_time=NOW,
    )
    assert (
        after_loss(run, accepted=accepted, policy=policy, holder="Runner r", silent_seconds=31)
        == ending
    )


def fact(name: str, *, leased: bool = True, accepted: bool = True, **more: bool) -> Stored:
    held = Held(flow_run_id=name, fencing_token=1)
    return Stored(
        held=held,
        leased=leased,
        accepted=accepted,
        ended=more.get("ended", False),
        cancelling=more.get("cancelling", False),
    )


def test_a_runner_that_comes_back_is_told_what_to_keep_and_what_to_drop() -> None:
    facts = {
        "kept": fact("kept"),
        "cancelled": fact("cancelled", cancelling=True),
        "just ended": fact("just ended", leased=False, ended=True),
        "fenced": fact("fenced", leased=False),
        "unsent": fact("unsent", accepted=False),
        "forgotten": fact("forgotten"),
    }
    unknown = Held(flow_run_id="unknown", fencing_token=1)
    claimed = {facts[name].held for name in ("kept", "cancelled", "just ended", "fenced")}
    told = reconcile(frozenset({*claimed, unknown}), tuple(facts.values()))

    def names(all_held: tuple[Held, ...]) -> list[str]:
        return [held.flow_run_id for held in all_held]

    assert names(told.keep) == ["cancelled", "just ended", "kept"]
    assert names(told.drop) == ["fenced", "unknown"]
    assert names(told.cancel) == ["cancelled"]
    assert names(told.unsent) == ["unsent"]
    assert names(told.suspect) == ["forgotten"]
