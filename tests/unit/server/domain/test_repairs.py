"""What people may do to a task run by hand."""

from datetime import UTC, datetime
from typing import Any

import pytest

from headgate.core import ids, states
from headgate.core.states import Payload, StateDetails, StateType
from headgate_server.domain import decisions, repairs

NOW = datetime(2026, 7, 1, tzinfo=UTC)
RESULT = Payload(serializer="json", inline=b"1")


def state(type: StateType, **given: Any) -> states.State:
    return states.new_state(type, id=ids.new_id(), now=NOW, **given)


FAILED = state(StateType.FAILED, details=StateDetails(call_key="k"))
COMPLETED = state(StateType.COMPLETED, data=RESULT)


@pytest.mark.parametrize(
    ("current", "proposed", "executed", "words"),
    [
        (FAILED, state(StateType.COMPLETED, data=RESULT), False, None),
        (state(StateType.CRASHED), state(StateType.COMPLETED), False, None),
        (state(StateType.PENDING), state(StateType.CANCELLED), False, None),
        (state(StateType.PENDING), state(StateType.RUNNING), False, None),
        (state(StateType.RUNNING), state(StateType.PENDING), False, "Pending is no end"),
        (state(StateType.COMPLETED), state(StateType.FAILED), False, None),
        (FAILED, state(StateType.COMPLETED), True, "is being executed"),
        (FAILED, state(StateType.RUNNING), False, "Running is no end"),
        (FAILED, state(StateType.SCHEDULED), False, "Retry its flow run"),
        (COMPLETED, state(StateType.FAILED), False, "with a result"),
    ],
)
def test_a_task_run_that_nobody_executes_may_be_ended(
    current: states.State, proposed: states.State, executed: bool, words: str | None
):
    decision = repairs.decide([current], proposed, flow_run_name="brave-otter", executed=executed)
    if words is None:
        assert isinstance(decision, decisions.Accept)
        assert decision.state.id == proposed.id
    else:
        assert isinstance(decision, decisions.Abort)
        assert words in decision.reason


def test_a_request_that_comes_again_is_answered_again_even_while_the_run_goes_on():
    decision = repairs.decide([FAILED, COMPLETED], COMPLETED, flow_run_name="x", executed=True)
    assert decision == decisions.Accept(COMPLETED)


@pytest.mark.parametrize("sent", [None, "forged"])
def test_the_completed_state_says_which_call_it_was_as_the_engine_said_it(sent: str | None):
    proposed = state(StateType.COMPLETED, details=StateDetails(call_key=sent))
    history = [FAILED, state(StateType.CRASHED)]
    decision = repairs.decide(history, proposed, flow_run_name="x", executed=False)
    assert isinstance(decision, decisions.Accept)
    assert decision.state.details.call_key == "k"
    ended = repairs.decide(history, state(StateType.CANCELLED), flow_run_name="x", executed=False)
    assert isinstance(ended, decisions.Accept)
    assert ended.state.details.call_key is None
