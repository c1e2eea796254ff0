"""Whether a failed attempt is tried again, and when: one decision for flows and tasks alike."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from datetime import timedelta

from headgate.core import errors
from headgate.core.runs import NO_RETRIES, RetryPolicy

#: The longest list of delays; the last one is used for all retries that follow.
DELAYS_MAX = 50
#: What the contract can say: an int32.
RETRIES_MAX = 2**31 - 1
#: Ten years.
SECONDS_MAX = 315_360_000

#: How users say how long to wait: seconds, one duration per retry, or a function of the number
#: of retries that returns them.
Delay = float | timedelta
RetryDelay = Delay | Iterable[Delay] | Callable[[int], Iterable[Delay]]


@dataclasses.dataclass(frozen=True, slots=True)
class Retry:
    """Try again after the delay."""

    delay_seconds: float


@dataclasses.dataclass(frozen=True, slots=True)
class GiveUp:
    """Do not try again."""


def decide(policy: RetryPolicy, attempt: int, *, random: float) -> Retry | GiveUp:
    """Say whether a failed attempt is tried again, and when.

    Args:
        policy: How attempts are tried again.
        attempt: How many attempts have already failed; 1 after the first failure.
        random: A number from 0 (included) to 1, drawn for this decision; the jitter.
    """
    if attempt > policy.max_retries:
        return GiveUp()
    if not policy.delays_seconds:
        return Retry(0.0)
    delay = policy.delays_seconds[min(attempt, len(policy.delays_seconds)) - 1]
    return Retry(delay * (1.0 + policy.jitter_factor * random))


def policy(
    retries: int, delay: RetryDelay | None = None, jitter_factor: float | None = None
) -> RetryPolicy:
    """Turn what users write into the policy that is stored and sent.

    Args:
        retries: Attempts after the first.
        delay: Seconds before each retry; a list of them, the last of which is used for all
            that follow; or a function that is called with ``retries`` and returns such a list.
        jitter_factor: A delay d becomes a random one between d and d * (1 + factor).

    Raises:
        OptionValueError: A number is negative or too great, or the list is longer than 50.
        OptionTypeError: A delay is neither a number nor a timedelta.
    """
    if isinstance(retries, bool) or not isinstance(retries, int):
        msg = f"retries is {retries!r}, and must be a whole number; use 0 for none."
        raise errors.OptionTypeError(msg)
    if retries < 0:
        msg = f"retries is {retries}, and must not be negative; use 0 for none."
        raise errors.OptionValueError(msg)
    if retries > RETRIES_MAX:
        msg = f"retries is {retries}, and may be {RETRIES_MAX:,}; use fewer."
        raise errors.OptionValueError(msg)
    jitter = 0.0 if jitter_factor is None else _factor(jitter_factor)
    delays = _delays(retries, delay)
    if retries == 0 and not delays and jitter == 0:
        return NO_RETRIES
    return RetryPolicy(max_retries=retries, delays_seconds=delays, jitter_factor=jitter)


def exponential_backoff(backoff_factor: float) -> Callable[[int], list[float]]:
    """Return a delay that doubles with every retry: factor, 2 * factor, 4 * factor, ...

    Args:
        backoff_factor: The first delay, in seconds.
    """
    factor = _number(backoff_factor, "backoff_factor")

    def delays(retries: int) -> list[float]:
        # Whole numbers stay whole.
        first = backoff_factor if isinstance(backoff_factor, int) else factor
        return [min(first * 2**n, SECONDS_MAX) for n in range(min(retries, DELAYS_MAX))]

    return delays


def _delays(retries: int, delay: RetryDelay | None) -> tuple[float, ...]:
    if delay is None:
        return ()
    if callable(delay):
        delay = delay(retries)
    if isinstance(delay, int | float | timedelta):
        seconds = _number(delay, "retry_delay_seconds")
        return (seconds,) if seconds else ()
    if isinstance(delay, str | bytes) or not isinstance(delay, Iterable):
        msg = f"retry_delay_seconds is {delay!r}; use a number of seconds, or a list of them."
        raise errors.OptionTypeError(msg)
    values = tuple(_number(value, "retry_delay_seconds") for value in delay)
    if len(values) > DELAYS_MAX:
        msg = (
            f"retry_delay_seconds has {len(values)} delays, and may have {DELAYS_MAX}; leave the "
            "rest away: the last one is used for all retries that follow."
        )
        raise errors.OptionValueError(msg)
    return values


def _number(value: Delay, name: str) -> float:
    if isinstance(value, timedelta):
        value = value.total_seconds()
    if isinstance(value, bool) or not isinstance(value, int | float):
        msg = f"{name} has {value!r}; use a number of seconds."
        raise errors.OptionTypeError(msg)
    if not 0 <= value <= SECONDS_MAX:
        msg = f"{name} has {value!r}; use a number from 0 to {SECONDS_MAX:,}."
        raise errors.OptionValueError(msg)
    return float(value)


def _factor(value: float) -> float:
    name = "retry_jitter_factor"
    fits: bool = isinstance(value, int | float) and not isinstance(value, bool)
    if not fits:
        msg = f"{name} is {value!r}; use a factor such as 0.5, by which a delay grows at most."
        raise errors.OptionTypeError(msg)
    if not 0 <= value <= SECONDS_MAX:
        msg = f"{name} is {value!r}; use a factor of 0 or more, such as 0.5, or None for none."
        raise errors.OptionValueError(msg)
    return float(value)


__all__ = [
    "DELAYS_MAX",
    "RETRIES_MAX",
    "SECONDS_MAX",
    "Delay",
    "GiveUp",
    "Retry",
    "RetryDelay",
    "decide",
    "exponential_backoff",
    "policy",
]
