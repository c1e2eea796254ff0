"""When a unary call is tried again: the server was not there, or was too busy."""

from __future__ import annotations

from typing import TypeVar

import grpc
import tenacity
from google.protobuf.message import Message

from headgate import settings
from headgate.client.rpc import Sending
from headgate.core import errors

_SECONDS_MAX = 5.0
_CODES = frozenset(code.name for code in grpc.StatusCode)

RetryingT = TypeVar("RetryingT", tenacity.Retrying, tenacity.AsyncRetrying)


# Every call is tried again: those that make something carry a key that makes them one, those that
# delete something are content where it is gone. The first attempt, which loads none of this, has
# failed already.


def attempts() -> tenacity.Retrying:
    """Return the further attempts of a call, for code that blocks."""
    return _made(tenacity.Retrying)


def attempts_async() -> tenacity.AsyncRetrying:
    """Return the further attempts of a call, for coroutines."""
    return _made(tenacity.AsyncRetrying)


def is_worth_it(error: BaseException) -> bool:
    """Whether the same call may succeed in a moment, and may be tried again at all."""
    now = settings.current()
    if now.client_max_retries <= 0:
        return False
    if isinstance(error, errors.Unavailable | errors.ResourceExhausted):
        return True
    # Not shown: what grpc says of a failed call is a page, and the error has the heart of it.
    cause = error.__context__
    extra = _extra_codes(now.client_retry_extra_codes)
    return isinstance(cause, grpc.RpcError) and _code(cause) in extra


def answer_found_done(sending: Sending, error: errors.NotFound) -> Message:
    """Return the answer to a call that was tried again and found its work done already.

    The answer to an attempt before this one may have been lost on its way: what that one deleted
    is not there any more, and that is what was asked for.

    Raises:
        NotFound: It is another call.
    """
    if sending.rpc.method.startswith("Delete"):
        return sending.rpc.response()
    raise error


def _made(kind: type[RetryingT]) -> RetryingT:
    now = settings.current()
    return kind(
        retry=tenacity.retry_if_exception(is_worth_it),
        stop=tenacity.stop_after_attempt(now.client_max_retries),
        wait=_Backoff(now.client_retry_jitter_factor),
        reraise=True,
    )


class _Backoff:
    """Waits longer with every attempt; as long as the server says where it is busy."""

    def __init__(self, jitter_factor: float) -> None:
        """Vary each time by up to this part of it."""
        self._wait = tenacity.wait_exponential(multiplier=0.2, max=_SECONDS_MAX)
        self._jitter = tenacity.wait_random(1.0, 1.0 + max(0.0, jitter_factor))

    def __call__(self, state: tenacity.RetryCallState) -> float:
        """Return how long to wait."""
        error = state.outcome.exception() if state.outcome else None
        seconds = self._wait(state) * self._jitter(state)
        if isinstance(error, errors.ResourceExhausted):
            return max(seconds, min(error.retry_after_seconds, _SECONDS_MAX))
        return seconds


def _code(error: grpc.RpcError) -> str:
    code: grpc.StatusCode | None = getattr(error, "code", lambda: None)()
    return code.name if code is not None else ""


def _extra_codes(names: str) -> frozenset[str]:
    found = frozenset(name.strip().upper() for name in names.split(",") if name.strip())
    if found - _CODES:
        raise errors.InvalidArgument.of(
            "HEADGATE_CLIENT_RETRY_EXTRA_CODES",
            f"{', '.join(sorted(found - _CODES))} is no code of gRPC; use e.g. DEADLINE_EXCEEDED.",
        )
    return found


__all__ = ["answer_found_done", "attempts", "attempts_async", "is_worth_it"]
