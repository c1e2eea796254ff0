from datetime import timedelta
from typing import Any

import pytest

from headgate.core import retries
from headgate.core.retries import GiveUp, Retry
from headgate.core.runs import RetryPolicy


@pytest.mark.parametrize(
    ("policy", "attempt", "random", "expected"),
    [
        (RetryPolicy(), 1, 0.0, GiveUp()),
        (RetryPolicy(max_retries=1), 1, 0.0, Retry(0.0)),
        (RetryPolicy(max_retries=1), 2, 0.0, GiveUp()),
        (RetryPolicy(max_retries=3, delays_seconds=(1.0, 2.0)), 1, 0.9, Retry(1.0)),
        (RetryPolicy(max_retries=3, delays_seconds=(1.0, 2.0)), 2, 0.9, Retry(2.0)),
        (RetryPolicy(max_retries=3, delays_seconds=(1.0, 2.0)), 3, 0.9, Retry(2.0)),
        (RetryPolicy(max_retries=3, delays_seconds=(1.0, 2.0)), 4, 0.9, GiveUp()),
        (RetryPolicy(max_retries=1, delays_seconds=(4.0,), jitter_factor=0.5), 1, 0.0, Retry(4.0)),
        (RetryPolicy(max_retries=1, delays_seconds=(4.0,), jitter_factor=0.5), 1, 0.5, Retry(5.0)),
        (RetryPolicy(max_retries=1, jitter_factor=0.5), 1, 0.5, Retry(0.0)),
    ],
)
def test_a_failed_attempt_is_tried_again_by_the_policy(
    policy: RetryPolicy, attempt: int, random: float, expected: Retry | GiveUp
):
    assert retries.decide(policy, attempt, random=random) == expected


@pytest.mark.parametrize(
    ("delay", "expected"),
    [
        (None, ()),
        (0, ()),
        (2, (2.0,)),
        (timedelta(minutes=1), (60.0,)),
        ([1, timedelta(seconds=2), 3.5], (1.0, 2.0, 3.5)),
        (lambda n: [n] * n, (3.0, 3.0, 3.0)),
        (retries.exponential_backoff(10), (10.0, 20.0, 40.0)),
    ],
)
def test_all_ways_to_say_a_delay_end_in_one_form(delay: Any, expected: tuple[float, ...]):
    assert retries.policy(3, delay).delays_seconds == expected


@pytest.mark.parametrize(
    ("arguments", "error", "match"),
    [
        ((-1,), ValueError, "retries is -1"),
        (("3",), TypeError, "whole number"),
        ((True,), TypeError, "whole number"),
        ((1, -2), ValueError, "retry_delay_seconds has -2"),
        ((1, float("inf")), ValueError, "retry_delay_seconds has inf"),
        ((1, 1e9), ValueError, "use a number from 0 to 315,360,000"),
        ((2**31,), ValueError, "may be 2,147,483,647"),
        ((1, ["x"]), TypeError, "retry_delay_seconds has 'x'"),
        ((1, [1] * 51), ValueError, "51 delays, and may have 50"),
        ((1, 1, -0.1), ValueError, "retry_jitter_factor is -0.1; use a factor of 0 or more"),
        ((1, 1, "x"), TypeError, "retry_jitter_factor is 'x'; use a factor such as 0.5"),
    ],
)
def test_a_wrong_policy_is_refused_by_name(
    arguments: tuple[Any, ...], error: type[Exception], match: str
):
    with pytest.raises(error, match=match):
        retries.policy(*arguments)


def test_exponential_backoff_stops_at_the_longest_list():
    delays = retries.policy(500, retries.exponential_backoff(1)).delays_seconds
    assert len(delays) == 50
    assert max(delays) == retries.SECONDS_MAX
