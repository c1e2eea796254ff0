"""The one table between errors and ``google.rpc.Status``, for server and client alike.

The server calls :func:`to_status`, the client :func:`from_status`; both walk the same rows,
so what is raised on one side is raised on the other. :func:`to_run_error` and
:func:`from_run_error` do the same for errors inside a stream that goes on.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from google.protobuf import any_pb2
from google.protobuf.message import DecodeError
from google.rpc import code_pb2, error_details_pb2, status_pb2

from headgate.api.v1 import error_pb2
from headgate.codec import times
from headgate.core import errors

DOMAIN = "headgate.dev"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class _Facts:
    """What a status says, whatever the error."""

    message: str
    metadata: Mapping[str, str]
    violations: tuple[errors.Violation, ...] = ()
    retry_after_seconds: float = 1.0

    def number(self, key: str) -> int:
        text = self.metadata.get(key, "")
        return int(text) if text.isdecimal() else 0


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One kind of error: how it is said, and how it is made again.

    Attributes:
        error: The class; a subclass has its own row.
        reason: Its name on the wire.
        code: The canonical code of ``google.rpc``.
        attributes: The attributes that travel as metadata.
        make: Makes the error from what a status says.
    """

    error: type[errors.ControlPlaneError]
    reason: error_pb2.ErrorReason.ValueType
    code: int
    attributes: tuple[str, ...]
    make: Callable[[_Facts], errors.ControlPlaneError]


ROWS: tuple[Row, ...] = (
    Row(
        error=errors.InvalidArgument,
        reason=error_pb2.ERROR_REASON_INVALID_ARGUMENT,
        code=code_pb2.INVALID_ARGUMENT,
        attributes=(),
        make=lambda f: errors.InvalidArgument(f.violations, f.message),
    ),
    Row(
        error=errors.NotFound,
        reason=error_pb2.ERROR_REASON_NOT_FOUND,
        code=code_pb2.NOT_FOUND,
        attributes=("resource", "name"),
        make=lambda f: errors.NotFound(
            f.metadata.get("resource", ""), f.metadata.get("name", ""), f.message
        ),
    ),
    Row(
        error=errors.AlreadyExists,
        reason=error_pb2.ERROR_REASON_ALREADY_EXISTS,
        code=code_pb2.ALREADY_EXISTS,
        attributes=("resource", "name"),
        make=lambda f: errors.AlreadyExists(
            f.metadata.get("resource", ""), f.metadata.get("name", ""), f.message
        ),
    ),
    Row(
        error=errors.LeaseFenced,
        reason=error_pb2.ERROR_REASON_LEASE_FENCED,
        code=code_pb2.FAILED_PRECONDITION,
        attributes=("flow_run_id", "token", "current"),
        make=lambda f: errors.LeaseFenced(
            f.metadata.get("flow_run_id", ""), f.number("token"), f.number("current"), f.message
        ),
    ),
    Row(
        error=errors.EtagMismatch,
        reason=error_pb2.ERROR_REASON_ETAG_MISMATCH,
        code=code_pb2.FAILED_PRECONDITION,
        attributes=("resource", "name", "etag", "current"),
        make=lambda f: errors.EtagMismatch(
            f.metadata.get("resource", ""),
            f.metadata.get("name", ""),
            f.metadata.get("etag", ""),
            f.metadata.get("current", ""),
            f.message,
        ),
    ),
    Row(
        error=errors.FailedPrecondition,
        reason=error_pb2.ERROR_REASON_FAILED_PRECONDITION,
        code=code_pb2.FAILED_PRECONDITION,
        attributes=("resource", "name"),
        make=lambda f: errors.FailedPrecondition(
            f.message, f.metadata.get("resource", ""), f.metadata.get("name", "")
        ),
    ),
    Row(
        error=errors.RevisionCompacted,
        reason=error_pb2.ERROR_REASON_REVISION_COMPACTED,
        code=code_pb2.OUT_OF_RANGE,
        attributes=("after_revision", "oldest"),
        make=lambda f: errors.RevisionCompacted(
            f.number("after_revision"), f.number("oldest"), f.message
        ),
    ),
    Row(
        error=errors.ProtocolViolation,
        reason=error_pb2.ERROR_REASON_PROTOCOL_VIOLATION,
        code=code_pb2.INVALID_ARGUMENT,
        attributes=("frame",),
        make=lambda f: errors.ProtocolViolation(f.message, f.metadata.get("frame", "")),
    ),
    Row(
        error=errors.SessionSuperseded,
        reason=error_pb2.ERROR_REASON_SESSION_SUPERSEDED,
        code=code_pb2.ABORTED,
        attributes=("session_id",),
        make=lambda f: errors.SessionSuperseded(f.metadata.get("session_id", ""), f.message),
    ),
    Row(
        error=errors.ResourceExhausted,
        reason=error_pb2.ERROR_REASON_RESOURCE_EXHAUSTED,
        code=code_pb2.RESOURCE_EXHAUSTED,
        attributes=("limit",),
        make=lambda f: errors.ResourceExhausted(
            f.message, f.metadata.get("limit", ""), f.retry_after_seconds
        ),
    ),
    Row(
        error=errors.Unavailable,
        reason=error_pb2.ERROR_REASON_UNAVAILABLE,
        code=code_pb2.UNAVAILABLE,
        attributes=(),
        make=lambda f: errors.Unavailable(f.message, f.retry_after_seconds),
    ),
    Row(
        error=errors.Internal,
        reason=error_pb2.ERROR_REASON_INTERNAL,
        code=code_pb2.INTERNAL,
        attributes=("incident",),
        make=lambda f: errors.Internal(f.metadata.get("incident", ""), f.message),
    ),
    Row(
        error=errors.DeadlineExceeded,
        reason=error_pb2.ERROR_REASON_DEADLINE_EXCEEDED,
        code=code_pb2.DEADLINE_EXCEEDED,
        attributes=(),
        make=lambda f: errors.DeadlineExceeded(f.message),
    ),
    Row(
        error=errors.Unauthenticated,
        reason=error_pb2.ERROR_REASON_UNAUTHENTICATED,
        code=code_pb2.UNAUTHENTICATED,
        attributes=(),
        make=lambda f: errors.Unauthenticated(f.message),
    ),
    Row(
        error=errors.PermissionDenied,
        reason=error_pb2.ERROR_REASON_PERMISSION_DENIED,
        code=code_pb2.PERMISSION_DENIED,
        attributes=("method",),
        make=lambda f: errors.PermissionDenied(f.metadata.get("method", ""), f.message),
    ),
    Row(
        error=errors.Unsupported,
        reason=error_pb2.ERROR_REASON_UNSUPPORTED,
        code=code_pb2.UNIMPLEMENTED,
        attributes=("feature",),
        make=lambda f: errors.Unsupported(f.metadata.get("feature", ""), f.message),
    ),
)

_BY_ERROR: dict[type[Any], Row] = {row.error: row for row in ROWS}
_BY_REASON: dict[int, Row] = {row.reason: row for row in ROWS}

#: For statuses that do not come from Headgate, e.g. from a proxy or from grpc itself.
_BY_CODE: dict[int, Row] = {
    code_pb2.CANCELLED: _BY_ERROR[errors.Unavailable],
    code_pb2.UNKNOWN: _BY_ERROR[errors.Internal],
    code_pb2.INVALID_ARGUMENT: _BY_ERROR[errors.InvalidArgument],
    code_pb2.DEADLINE_EXCEEDED: _BY_ERROR[errors.DeadlineExceeded],
    code_pb2.NOT_FOUND: _BY_ERROR[errors.NotFound],
    code_pb2.ALREADY_EXISTS: _BY_ERROR[errors.AlreadyExists],
    code_pb2.PERMISSION_DENIED: _BY_ERROR[errors.PermissionDenied],
    code_pb2.RESOURCE_EXHAUSTED: _BY_ERROR[errors.ResourceExhausted],
    code_pb2.FAILED_PRECONDITION: _BY_ERROR[errors.FailedPrecondition],
    code_pb2.ABORTED: _BY_ERROR[errors.Unavailable],
    code_pb2.OUT_OF_RANGE: _BY_ERROR[errors.InvalidArgument],
    code_pb2.UNIMPLEMENTED: _BY_ERROR[errors.Unsupported],
    code_pb2.INTERNAL: _BY_ERROR[errors.Internal],
    code_pb2.UNAVAILABLE: _BY_ERROR[errors.Unavailable],
    code_pb2.DATA_LOSS: _BY_ERROR[errors.Internal],
    code_pb2.UNAUTHENTICATED: _BY_ERROR[errors.Unauthenticated],
}

_PREFIX = "ERROR_REASON_"


def reason_name(reason: error_pb2.ErrorReason.ValueType) -> str:
    """Return the reason as ErrorInfo carries it, e.g. ``LEASE_FENCED``."""
    return error_pb2.ErrorReason.Name(reason).removeprefix(_PREFIX)


def row_of(error: BaseException) -> Row:
    """Return the row of an error; that of Internal for what has none."""
    for cls in type(error).__mro__:
        row = _BY_ERROR.get(cls)
        if row is not None:
            return row
    return _BY_ERROR[errors.Internal]


def _metadata(row: Row, error: BaseException) -> dict[str, str]:
    return {name: str(getattr(error, name, "")) for name in row.attributes}


def _details(row: Row, error: errors.HeadgateError) -> list[Any]:
    details: list[Any] = [
        error_details_pb2.ErrorInfo(
            reason=reason_name(row.reason), domain=DOMAIN, metadata=_metadata(row, error)
        )
    ]
    match error:
        case errors.InvalidArgument(violations=violations) if violations:
            request = error_details_pb2.BadRequest()
            for violation in violations:
                request.field_violations.add(
                    field=violation.field, description=violation.description
                )
            details.append(request)
        case errors.NotFound() | errors.AlreadyExists():
            details.append(
                error_details_pb2.ResourceInfo(
                    resource_type=error.resource,
                    resource_name=error.name,
                    description=error.message,
                )
            )
        case errors.FailedPrecondition():
            failure = error_details_pb2.PreconditionFailure()
            failure.violations.add(
                type=reason_name(row.reason),
                subject=f"{error.resource}/{error.name}".strip("/"),
                description=error.message,
            )
            details.append(failure)
        case errors.ResourceExhausted() | errors.Unavailable():
            retry = error_details_pb2.RetryInfo()
            times.set_duration(retry.retry_delay, error.retry_after_seconds)
            details.append(retry)
        case _:
            pass
    return details


def to_status(error: errors.HeadgateError) -> status_pb2.Status:
    """Turn an error into a status. An error without a row becomes INTERNAL."""
    row = row_of(error)
    status = status_pb2.Status(code=row.code, message=error.message)
    for detail in _details(row, error):
        status.details.add().Pack(detail)
    return status


def _unpack(detail: any_pb2.Any, kind: type[Any]) -> Any | None:
    """Return the detail as a message of the kind, None if it is another or broken."""
    message = kind()
    try:
        return message if detail.Unpack(message) else None
    except DecodeError:  # garbage under a known type: as good as no detail
        return None


def from_status(status: status_pb2.Status) -> errors.ControlPlaneError:
    """Turn a status, of Headgate or of anybody else, into an error."""
    row: Row | None = None
    metadata: dict[str, str] = {}
    violations: list[errors.Violation] = []
    retry_after_seconds = 1.0
    for detail in status.details:
        if (info := _unpack(detail, error_details_pb2.ErrorInfo)) and info.domain == DOMAIN:
            name = _PREFIX + info.reason
            if name in error_pb2.ErrorReason.keys():  # noqa: SIM118 - an enum, not a mapping
                row = _BY_REASON.get(error_pb2.ErrorReason.Value(name))
            metadata.update(info.metadata)
        elif bad := _unpack(detail, error_details_pb2.BadRequest):
            violations.extend(
                errors.Violation(v.field, v.description) for v in bad.field_violations
            )
        elif retry := _unpack(detail, error_details_pb2.RetryInfo):
            retry_after_seconds = times.from_duration(retry.retry_delay)
    row = row or _BY_CODE.get(status.code) or _BY_ERROR[errors.Internal]
    return row.make(
        _Facts(
            message=status.message,
            metadata=metadata,
            violations=tuple(violations),
            retry_after_seconds=retry_after_seconds,
        )
    )


def to_run_error(
    flow_run_id: str, error: errors.HeadgateError, into: error_pb2.RunError | None = None
) -> error_pb2.RunError:
    """Turn an error about one run of many into a message inside a stream."""
    row = row_of(error)
    message = error_pb2.RunError() if into is None else into
    message.flow_run_id = flow_run_id
    message.reason = row.reason
    message.message = error.message
    message.metadata.update(_metadata(row, error))
    return message


def from_run_error(message: error_pb2.RunError) -> errors.ControlPlaneError:
    """Turn a message inside a stream into the error it speaks of."""
    row = _BY_REASON.get(message.reason) or _BY_ERROR[errors.Internal]
    return row.make(_Facts(message=message.message, metadata=dict(message.metadata)))


__all__ = [
    "DOMAIN",
    "ROWS",
    "Row",
    "from_run_error",
    "from_status",
    "reason_name",
    "row_of",
    "to_run_error",
    "to_status",
]
