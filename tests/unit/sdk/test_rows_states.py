"""Rows SN* of the table of features: what can be made of a state, and asked of it."""

from datetime import UTC, datetime
from typing import Any

import pytest

from headgate import states
from headgate.core import errors
from headgate.states import StateGroup, StateType

LATER = datetime(2030, 1, 2, tzinfo=UTC)


@pytest.mark.parametrize(
    ("made", "type", "name"),
    [
        (states.Scheduled(LATER), StateType.SCHEDULED, "Scheduled"),
        (states.Late(LATER), StateType.SCHEDULED, "Late"),
        (states.AwaitingRetry(LATER), StateType.SCHEDULED, "AwaitingRetry"),
        (states.Pending(), StateType.PENDING, "Pending"),
        (states.Running(), StateType.RUNNING, "Running"),
        (states.Retrying(), StateType.RUNNING, "Retrying"),
        (states.Paused(), StateType.PAUSED, "Paused"),
        (states.Suspended(), StateType.PAUSED, "Suspended"),
        (states.Cancelling(), StateType.CANCELLING, "Cancelling"),
        (states.Cancelled(), StateType.CANCELLED, "Cancelled"),
        (states.Completed(), StateType.COMPLETED, "Completed"),
        (states.Failed(), StateType.FAILED, "Failed"),
        (states.Crashed(), StateType.CRASHED, "Crashed"),
        (states.Completed(name="Skipped"), StateType.COMPLETED, "Skipped"),
    ],
    ids=str,
)
def test_each_kind_has_its_type_and_its_name(made: states.State[Any], type: StateType, name: str):
    assert (made.type, made.name) == (type, name)
    asked = {
        kind: getattr(made, f"is_{kind.value.lower()}")()
        for kind in StateType
        if hasattr(made, f"is_{kind.value.lower()}")
    }
    assert [kind for kind, is_it in asked.items() if is_it] == [type]
    assert made.is_final() is made.is_terminal
    ends = {StateType.COMPLETED, StateType.FAILED, StateType.CANCELLED, StateType.CRASHED}
    assert made.is_final() is (type in ends)
    if type is StateType.SCHEDULED:
        assert made.state_details.scheduled_time == LATER


def test_a_pause_ends_at_a_time_or_after_a_while():
    assert states.Paused(pause_expiration_time=LATER).details.pause_expire_time == LATER
    made = states.Paused(timeout_seconds=60, pause_key="first")
    assert made.details.pause_key == "first"
    assert made.details.pause_expire_time is not None
    left = made.details.pause_expire_time - made.timestamp
    assert 0 < left.total_seconds() <= 60
    assert states.Suspended().details.pause_reschedule is True
    with pytest.raises(ValueError, match="one of them"):
        states.Paused(timeout_seconds=1, pause_expiration_time=LATER)


def test_a_copy_is_the_same_transition_and_a_fresh_copy_another():
    made = states.Failed(message="no", data=ValueError("no"))
    same, fresh = made.copy(message="yes"), made.fresh_copy()
    assert (same.id, same.message) == (made.id, "yes")
    assert fresh.id != made.id
    assert fresh.timestamp >= made.timestamp
    assert fresh.data is made.data


def test_the_exception_of_a_state_is_had_or_raised():
    boom = KeyError("k")
    assert states.get_state_exception(states.Failed(data=boom)) is boom
    with pytest.raises(KeyError):
        states.raise_state_exception(states.Failed(data=boom))
    states.raise_state_exception(states.Completed())
    assert isinstance(states.get_state_exception(states.Crashed(message="x")), errors.CrashedRun)
    with pytest.raises(ValueError, match="failed, crashed or was cancelled"):
        states.get_state_exception(states.Running())


async def test_results_can_be_awaited():
    assert await states.Completed(data=3).aresult() == 3
    boom = ValueError("no")
    assert await states.Failed(data=boom).aresult(raise_on_failure=False) is boom


def test_a_group_counts_what_its_states_are():
    group = StateGroup([states.Completed(), states.Failed(), states.Crashed(), states.Paused()])
    assert (group.total_count, group.final_count, group.not_final_count) == (4, 3, 1)
    assert group.fail_count == 2
    assert group.any_failed()
    assert group.any_paused()
    assert not group.any_cancelled()
    assert not group.all_completed()
    assert not group.all_final()
    assert states.is_state_iterable(group.states)
    assert not states.is_state_iterable([])
    assert not states.is_state_iterable([states.Completed(), 1])


def test_more_names_that_states_have():
    assert states.AwaitingConcurrencySlot(LATER).name == "AwaitingConcurrencySlot"
    assert states.AwaitingConcurrencySlot(LATER).details.scheduled_time == LATER
    assert states.Submitting().is_pending()
    assert states.InfrastructurePending(message="asked").name == "InfrastructurePending"


def test_a_state_is_made_of_its_type_alone():
    made = states.State(type="COMPLETED")  # pyright: ignore[reportArgumentType]  # as people write it
    assert (made.type, made.name, made.message) == (StateType.COMPLETED, "Completed", "")
    assert made.id != states.State(type=StateType.COMPLETED).id
    with pytest.raises(errors.OptionValueError, match="'DONE' is no type of states"):
        states.State(type="DONE")  # pyright: ignore[reportArgumentType]  # what is tested


def test_a_state_is_copied_as_models_are():
    made = states.Completed(message="a", data=[1])
    assert made.model_copy(update={"message": "b"}).message == "b"
    assert made.model_copy().data is made.data
    assert made.model_copy(deep=True).data is not made.data


def test_the_details_of_a_state_name_its_run():
    made = states.Paused(pause_expiration_time=LATER).copy(flow_run_id="f")
    details = made.state_details
    assert (details.flow_run_id, details.task_run_id) == ("f", None)
    assert (details.pause_timeout, details.cache_expiration) == (LATER, None)


def test_a_group_counts_in_words():
    group = StateGroup([states.Completed(), states.Failed(), states.Running(), states.Cancelled()])
    assert group.cancelled_count == 1
    assert group.counts_message() == (
        "total=4, not final=1, 'COMPLETED'=1, 'FAILED'=1, 'RUNNING'=1, 'CANCELLED'=1"
    )


async def test_the_exception_of_a_state_is_there_for_async_code():
    failed = states.Failed(data=ValueError("no"))
    assert str(await states.aget_state_exception(failed)) == "no"
    with pytest.raises(ValueError, match="no"):
        await states.araise_state_exception(failed)
    await states.araise_state_exception(states.Completed())
