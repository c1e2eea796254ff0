"""The one table of errors, walked from both ends."""

import pytest
from google.protobuf import any_pb2
from google.rpc import code_pb2, error_details_pb2, status_pb2

from headgate.api.v1 import error_pb2
from headgate.codec import errors as codec
from headgate.core import errors

EXAMPLES: list[errors.ControlPlaneError] = [
    errors.InvalidArgument(
        [errors.Violation("name", "It is empty."), errors.Violation("tags[0]", "It is long.")]
    ),
    errors.NotFound("work pool", "gpu"),
    errors.AlreadyExists("work pool", "gpu"),
    errors.LeaseFenced("run-1", 1, 2**60),
    errors.EtagMismatch("deployment", "a/b", "1", "2"),
    errors.FailedPrecondition("The pool is in use; delete its deployments.", "work pool", "gpu"),
    errors.RevisionCompacted(3, 7),
    errors.ProtocolViolation("The first frame must be Open.", "batch"),
    errors.SessionSuperseded("session-1"),
    errors.ResourceExhausted("The queue is full; come again.", "write_queue", 2.5),
    errors.Unavailable("The server stops; come again.", 0.25),
    errors.Internal("incident-1"),
    errors.DeadlineExceeded(),
    errors.Unauthenticated(),
    errors.PermissionDenied("/headgate.api.v1.FlowService/GetFlow"),
    errors.Unsupported("watch"),
]
NAMES = [type(error).__name__ for error in EXAMPLES]


def same(one: errors.ControlPlaneError, other: errors.ControlPlaneError) -> bool:
    return type(one) is type(other) and one.__dict__ == other.__dict__


def error_info(status: status_pb2.Status) -> error_details_pb2.ErrorInfo:
    info = error_details_pb2.ErrorInfo()
    assert status.details[0].Unpack(info)
    return info


@pytest.mark.parametrize("error", EXAMPLES, ids=NAMES)
def test_an_error_goes_to_the_wire_and_comes_back(error: errors.ControlPlaneError):
    status = status_pb2.Status.FromString(codec.to_status(error).SerializeToString())
    assert same(codec.from_status(status), error)
    assert status.code != code_pb2.OK


@pytest.mark.parametrize("error", EXAMPLES, ids=NAMES)
def test_every_failure_tells_its_reason_under_our_domain(error: errors.ControlPlaneError):
    info = error_info(codec.to_status(error))
    assert info.domain == "headgate.dev"
    assert error_pb2.ErrorReason.Value(f"ERROR_REASON_{info.reason}") == codec.row_of(error).reason
    assert set(info.metadata) == set(codec.row_of(error).attributes)


def test_the_table_has_every_reason_and_every_error_once():
    reasons = [row.reason for row in codec.ROWS]
    assert sorted(reasons) == sorted(error_pb2.ErrorReason.values())[1:]
    assert [row.error for row in codec.ROWS] == [type(error) for error in EXAMPLES]
    assert set(errors.ControlPlaneError.__subclasses__()) <= {row.error for row in codec.ROWS}


@pytest.mark.parametrize(
    ("error", "detail"),
    [
        (EXAMPLES[0], error_details_pb2.BadRequest),
        (EXAMPLES[1], error_details_pb2.ResourceInfo),
        (EXAMPLES[2], error_details_pb2.ResourceInfo),
        (EXAMPLES[3], error_details_pb2.PreconditionFailure),
        (EXAMPLES[4], error_details_pb2.PreconditionFailure),
        (EXAMPLES[5], error_details_pb2.PreconditionFailure),
        (EXAMPLES[9], error_details_pb2.RetryInfo),
        (EXAMPLES[10], error_details_pb2.RetryInfo),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else value.__name__,
)
def test_an_error_carries_the_detail_that_the_contract_promises(
    error: errors.ControlPlaneError, detail: type
):
    assert any(each.Is(detail.DESCRIPTOR) for each in codec.to_status(error).details)


def test_a_subclass_without_a_row_goes_as_its_parent_and_a_stranger_as_internal():
    class Refined(errors.NotFound):
        pass

    assert codec.to_status(Refined("flow", "x")).code == code_pb2.NOT_FOUND
    assert codec.to_status(errors.ScriptError("A file is broken.")).code == code_pb2.INTERNAL


@pytest.mark.parametrize("code", sorted(code_pb2.Code.values())[1:])
def test_a_status_of_somebody_else_becomes_an_error_by_its_code(code: int):
    error = codec.from_status(status_pb2.Status(code=code, message="from a proxy"))
    assert isinstance(error, errors.ControlPlaneError)
    assert error.message == "from a proxy"


def test_garbage_in_details_is_passed_over():
    status = codec.to_status(EXAMPLES[1])
    status.details.insert(
        0,
        any_pb2.Any(type_url="type.googleapis.com/google.rpc.ErrorInfo", value=b"\xff\xff\xff"),
    )
    status.details.add(type_url="type.googleapis.com/nobody.Knows", value=b"x")
    assert same(codec.from_status(status), EXAMPLES[1])


def test_a_reason_of_a_newer_server_falls_back_to_the_code():
    status = status_pb2.Status(code=code_pb2.NOT_FOUND, message="It has gone.")
    status.details.add().Pack(
        error_details_pb2.ErrorInfo(reason="GONE_FOR_EVER", domain="headgate.dev")
    )
    assert isinstance(codec.from_status(status), errors.NotFound)


@pytest.mark.parametrize("error", EXAMPLES, ids=NAMES)
def test_an_error_inside_a_stream_comes_back(error: errors.ControlPlaneError):
    message = codec.to_run_error("run-1", error)
    assert message.flow_run_id == "run-1"
    again = codec.from_run_error(message)
    assert type(again) is type(error)
    assert again.message == error.message
    for name in codec.row_of(error).attributes:
        assert getattr(again, name) == getattr(error, name)
