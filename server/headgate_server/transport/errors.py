"""How a call ends that was not carried out.

The table itself is ``headgate.codec.errors``; this file finds the error, keeps what is sent
within the size of trailers, and logs what nobody expected.
"""

from __future__ import annotations

import logging
from typing import Any, NoReturn

import grpc
from grpc import aio

from headgate.codec import errors as error_codec
from headgate.core import errors, ids

_log = logging.getLogger("headgate.server.transport")

_DETAILS_KEY = "grpc-status-details-bin"
#: Trailers travel as HTTP/2 headers, which clients limit to 8 KiB by default.
_TRAILER_BYTES_MAX = 4096
_VIOLATIONS_MAX = 10
_TEXT_CHARACTERS_MAX = 250

_CODES: dict[int, grpc.StatusCode] = {code.value[0]: code for code in grpc.StatusCode}


async def abort(context: aio.ServicerContext[Any, Any], method: str, error: Exception) -> NoReturn:
    """End the call with the status of the error."""
    status = error_codec.to_status(fit(expected(error, method)))
    await context.abort(
        _CODES[status.code],
        status.message,
        trailing_metadata=((_DETAILS_KEY, status.SerializeToString()),),
    )


def expected(error: Exception, method: str) -> errors.HeadgateError:
    """Return the error to tell the caller; log one that is a fault of ours."""
    found = _find(error)
    if found is not None:
        return found
    incident = ids.new_id()
    _log.error("%s failed, incident %s", method, incident, exc_info=error)
    return errors.Internal(incident)


def _find(error: BaseException) -> errors.ControlPlaneError | None:
    """Find what a server may answer, also within the group that a task group raises."""
    if isinstance(error, errors.ControlPlaneError):
        return error
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:  # pyright: ignore[reportUnknownVariableType]  # of anything
            found = _find(inner)  # pyright: ignore[reportUnknownArgumentType]  # of anything
            if found is not None:
                return found
    return None


def fit(error: errors.HeadgateError) -> errors.HeadgateError:
    """Shorten an error that would not fit into the trailers of a call."""
    if error_codec.to_status(error).ByteSize() <= _TRAILER_BYTES_MAX:
        return error
    if isinstance(error, errors.InvalidArgument) and error.violations:
        return errors.InvalidArgument(
            [
                errors.Violation(_cut(violation.field), _cut(violation.description))
                for violation in error.violations[:_VIOLATIONS_MAX]
            ],
            f"{len(error.violations)} fields are wrong; the first of them are named.",
        )
    for name, value in vars(error).items():
        if isinstance(value, str):
            setattr(error, name, _cut(value))
    return error


def _cut(text: str) -> str:
    return text if len(text) <= _TEXT_CHARACTERS_MAX else text[: _TEXT_CHARACTERS_MAX - 1] + "…"
