"""Options of flows and tasks are checked where they are given."""

from datetime import timedelta
from typing import Any

import pytest

from headgate import flow, task

MAKERS = [flow, task]


def work() -> None: ...


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize(
    ("given", "seconds"), [(None, None), (0, None), (2, 2.0), (timedelta(minutes=1), 60.0)]
)
def test_a_timeout_is_a_number_of_seconds_or_a_length_of_time(make: Any, given: Any, seconds: Any):
    assert make(timeout_seconds=given)(work).timeout_seconds == seconds


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize(
    ("option", "value", "kind"),
    [
        ("timeout_seconds", "soon", TypeError),
        ("timeout_seconds", True, TypeError),
        ("timeout_seconds", -1, ValueError),
        ("timeout_seconds", float("nan"), ValueError),
        ("name", 3, TypeError),
        ("retry_condition_fn", 3, TypeError),
    ],
)
def test_what_does_not_fit_is_named(make: Any, option: str, value: Any, kind: type[Exception]):
    with pytest.raises(kind, match=f"^{option} is {value!r}; use "):
        make(**{option: value})(work)


def test_a_task_runner_that_is_none_is_refused_at_decoration():
    wrong: Any = "threads"
    with pytest.raises(TypeError, match="ThreadPoolTaskRunner"):
        flow(task_runner=wrong)(work)
