"""States that users make: what cannot be sent is refused where it is made, or brought into form.

The link sends states on a thread of its own; what it cannot encode would end it, and all runs of
the process with it.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from headgate import states
from headgate.client import proposing
from headgate.codec.states import state_to_proto
from headgate.core import errors
from headgate.states import State, StateType

NAIVE = datetime(2030, 1, 2)  # noqa: DTZ001  # that is the point
AWARE = NAIVE.replace(tzinfo=UTC)
ID = uuid.UUID(int=7)
HALF = "half \ud800"
WRONG: Any = object()
A_TEXT: Any = "Completed"
A_UUID: Any = ID
A_MAKER: Any = states.Completed


@pytest.mark.parametrize(
    "made",
    [
        pytest.param(states.Scheduled(NAIVE), id="scheduled"),
        pytest.param(states.AwaitingRetry(NAIVE), id="retry"),
        pytest.param(states.Paused(pause_expiration_time=NAIVE), id="paused"),
        pytest.param(states.Completed(timestamp=NAIVE), id="timestamp"),
        pytest.param(states.Completed().copy(timestamp=NAIVE), id="copy"),
        pytest.param(
            states.Completed(details=states.StateDetails(cache_expire_time=NAIVE)), id="details"
        ),
        pytest.param(State(type=StateType.COMPLETED, timestamp=NAIVE), id="class"),
    ],
)
def test_times_without_a_zone_are_utc(made: State[Any]):
    details = made.details
    times = (
        details.scheduled_time,
        details.pause_expire_time,
        details.cache_expire_time,
        made.timestamp,
    )
    assert AWARE in times
    assert all(time is None or time.tzinfo is not None for time in times)
    state_to_proto(made.without_data().record())


def test_ids_may_be_uuids_and_what_is_none_is_filled_in():
    made = State(
        type=StateType.PENDING,
        id=A_UUID,
        details=states.StateDetails(child_flow_run_id=A_UUID),
    )
    assert (made.id, made.details.child_flow_run_id) == (str(ID), str(ID))
    assert states.Completed(message=ID).message == str(ID)
    nothing: Any = None
    filled = State(type=StateType.PENDING, id=nothing, timestamp=nothing, message=nothing)
    state_to_proto(filled.record())


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        pytest.param(make, error, words, id=words)
        for make, error, words in (
            (lambda: states.Completed(message=3), errors.OptionTypeError, "message is 3"),
            (lambda: states.Completed(name=3), errors.OptionTypeError, "name is 3"),
            (lambda: states.Completed(name=HALF), errors.OptionValueError, "cannot be written"),
            (lambda: states.Completed(timestamp="x"), errors.OptionTypeError, "timestamp is 'x'"),
            (lambda: states.Completed(details={}), errors.OptionTypeError, "details is {}"),
            (lambda: states.Completed(payload="x"), errors.OptionTypeError, "payload is 'x'"),
            (
                lambda: states.Completed(details=states.StateDetails(retriable=A_TEXT)),
                errors.OptionTypeError,
                "retriable is 'Completed'; use True or False",
            ),
            (lambda: states.Scheduled(details=3), errors.OptionTypeError, "details is 3"),
            (lambda: states.Scheduled(A_TEXT), errors.OptionTypeError, "scheduled_time is"),
            (lambda: states.Failed(type=WRONG), errors.OptionTypeError, "has no option 'type'"),
            (
                lambda: states.Paused(timeout_second=3),
                errors.OptionTypeError,
                "did you mean timeout_seconds",
            ),
            (
                lambda: states.Completed().copy(mesage="x"),
                errors.OptionTypeError,
                "A state has no option 'mesage'; did you mean message",
            ),
            (
                lambda: states.Completed().fresh_copy(nam="x"),
                errors.OptionTypeError,
                "A state has no option 'nam'; did you mean name",
            ),
            (
                lambda: A_MAKER(3),
                errors.OptionTypeError,
                "does not fit Completed: too many positional",
            ),
        )
    ],
)
def test_what_cannot_be_sent_is_refused_where_it_is_made(
    make: Callable[[], Any], error: type[Exception], words: str
):
    with pytest.raises(error, match=words):
        make()


def test_details_go_with_those_of_the_type():
    made = states.Scheduled(AWARE, details=states.StateDetails(cache_key="k"))
    assert (made.details.scheduled_time, made.details.cache_key) == (AWARE, "k")


def test_only_states_are_proposed():
    with pytest.raises(errors.OptionTypeError, match="state is 'Completed'; use one of"):
        proposing.record_of(A_TEXT)
