"""When a unary call is tried again: the server was not there, or was too busy."""

from __future__ import annotations

import tenacity

from headgate.core import errors

ATTEMPTS_MAX = 5
_SECONDS_MAX = 5.0

_backoff = tenacity.wait_exponential_jitter(multiplier=0.2, max=_SECONDS_MAX, jitter=0.1)


def is_worth_it(error: BaseException) -> bool:
    """Whether the same call may succeed in a moment."""
    return isinstance(error, errors.Unavailable | errors.ResourceExhausted)


def _wait(state: tenacity.RetryCallState) -> float:
    """Wait longer with every attempt; as long as the server says where it is busy."""
    error = state.outcome.exception() if state.outcome else None
    backoff = _backoff(state)
    if isinstance(error, errors.ResourceExhausted):
        return max(backoff, min(error.retry_after_seconds, _SECONDS_MAX))
    return backoff


# Every call is tried again: those that make something carry a key that makes them one. The
# first attempt, which loads none of this, has failed already.


def attempts() -> tenacity.Retrying:
    """Return the further attempts of a call, for code that blocks."""
    return tenacity.Retrying(
        retry=tenacity.retry_if_exception(is_worth_it),
        stop=tenacity.stop_after_attempt(ATTEMPTS_MAX - 1),
        wait=_wait,
        reraise=True,
    )


def attempts_async() -> tenacity.AsyncRetrying:
    """Return the further attempts of a call, for coroutines."""
    return tenacity.AsyncRetrying(
        retry=tenacity.retry_if_exception(is_worth_it),
        stop=tenacity.stop_after_attempt(ATTEMPTS_MAX - 1),
        wait=_wait,
        reraise=True,
    )


__all__ = ["ATTEMPTS_MAX", "attempts", "attempts_async", "is_worth_it"]
