"""Who may retry a run, and when."""

from __future__ import annotations

import pytest

from headgate.core.states import StateType as S
from headgate_server.domain import orchestrator
from headgate_server.domain.context import Retry
from headgate_server.domain.decisions import Abort, Accept, Reject
from tests.unit.server.domain.builders import NOW, context, state


@pytest.mark.parametrize("deployment_id", ["d", None])
@pytest.mark.parametrize("current", [S.FAILED, S.CRASHED, S.CANCELLED])
def test_a_run_that_did_not_complete_is_scheduled_again(current: S, deployment_id: str | None):
    proposed = state(S.SCHEDULED, "AwaitingRetry")
    given = context(current, proposed, retry=Retry.ENDED, deployment_id=deployment_id)
    assert orchestrator.decide(given, NOW) == Accept(proposed)


@pytest.mark.parametrize("retry", list(Retry))
def test_a_run_that_completed_is_never_retried(retry: Retry):
    decision = orchestrator.decide(context(S.COMPLETED, S.SCHEDULED, retry=retry), NOW)
    assert isinstance(decision, Abort)


@pytest.mark.parametrize("current", [S.RUNNING, S.PENDING, S.PAUSED, S.SCHEDULED])
def test_a_run_that_may_still_be_executed_is_retried_by_force_only(current: S):
    asked = context(current, S.SCHEDULED, retry=Retry.ENDED, held=True)
    decision = orchestrator.decide(asked, NOW)
    assert isinstance(decision, Abort)
    assert "force" in decision.reason
    forced = context(current, S.SCHEDULED, retry=Retry.TAKEN_FROM_ITS_HOLDER, held=True)
    assert isinstance(orchestrator.decide(forced, NOW), Accept)


@pytest.mark.parametrize("retry", list(Retry))
def test_a_run_that_waits_already_goes_on_to_wait(retry: Retry):
    given = context(S.SCHEDULED, S.SCHEDULED, retry=retry)
    decision = orchestrator.decide(given, NOW)
    assert isinstance(decision, Reject)
    assert decision.state is given.current


def test_a_run_that_is_being_cancelled_is_not_retried():
    given = context(S.CANCELLING, S.SCHEDULED, retry=Retry.TAKEN_FROM_ITS_HOLDER, held=True)
    decision = orchestrator.decide(given, NOW)
    assert isinstance(decision, Reject)
    assert decision.state.type is S.CANCELLING
