from typing import Any

import pytest
from google.rpc import code_pb2
from grpc import RpcError, StatusCode

from headgate.client import channel
from headgate.codec import errors as codec
from headgate.core import errors


@pytest.mark.parametrize(
    ("api_url", "address", "secure", "local"),
    [
        ("http://127.0.0.1:4200", "127.0.0.1:4200", False, True),
        ("127.0.0.1:4200", "127.0.0.1:4200", False, True),
        ("localhost", "localhost:4200", False, True),
        ("http://headgate.example.com:80/", "headgate.example.com:80", False, False),
        ("https://headgate.example.com", "headgate.example.com:443", True, False),
        ("http://[::1]:4201", "[::1]:4201", False, True),
        ("unix:///run/hg.sock", "unix:/run/hg.sock", False, True),
        ("unix:/run/hg.sock", "unix:/run/hg.sock", False, True),
        ("unix:hg.sock", "unix:hg.sock", False, True),
    ],
)
def test_an_address_is_understood(api_url: str, address: str, secure: bool, local: bool):
    assert channel.target(api_url) == channel.Target(
        api_url=api_url, address=address, secure=secure, local=local
    )


@pytest.mark.parametrize(
    "api_url",
    [
        "",
        "unix://",
        "unix:///",
        "ftp://host",
        "http://",
        "host:port",
        "http://h:99999",
        "http://h/api",
        "my server",
    ],
)
def test_what_is_no_address_is_refused_with_an_example(api_url: str):
    with pytest.raises(errors.InvalidArgument, match="use e") as caught:
        channel.target(api_url)
    assert caught.value.violations[0].field == "api_url"


class FailedCall(RpcError):
    """What grpc raises, as far as we look at it."""

    def __init__(self, code: StatusCode, details: str | None, trailing: Any = ()) -> None:
        super().__init__()
        self.code = lambda: code
        self.details = lambda: details
        self.trailing_metadata = lambda: trailing


def test_a_rich_error_is_taken_from_the_trailing_metadata():
    status = codec.to_status(errors.NotFound("flow", "x"))
    error = channel.error_of(
        FailedCall(
            StatusCode.NOT_FOUND,
            "no",
            [("other", "x"), ("grpc-status-details-bin", status.SerializeToString())],
        )
    )
    assert isinstance(error, errors.NotFound)
    assert error.name == "x"


@pytest.mark.parametrize(
    "trailing", [None, (), [("grpc-status-details-bin", b"\xff\xff\xff")]], ids=str
)
def test_a_server_that_is_not_there_is_named_with_what_to_look_at(trailing: object):
    error = channel.error_of(
        FailedCall(StatusCode.UNAVAILABLE, "connection refused", trailing), "http://h:1"
    )
    assert isinstance(error, errors.Unavailable)
    assert "The server at http://h:1 cannot be reached (connection refused)" in error.message
    assert "HEADGATE_API_URL" in error.message


@pytest.mark.parametrize(
    ("details", "reason"),
    [
        (
            "failed to connect to all addresses; last error: UNKNOWN: ipv4:127.0.0.1:1: Failed to "
            "connect to remote host: Connection refused",
            "Connection refused",
        ),
        (
            "errors resolving h:1: [field:hostname lookup error:address lookup failed for h:1: "
            "Domain name not found]",
            "Domain name not found",
        ),
        ("Socket closed", "Socket closed"),
        ("", "no reason given"),
    ],
)
def test_of_what_grpc_says_the_reason_is_shown(details: str, reason: str):
    error = channel.error_of(FailedCall(StatusCode.UNAVAILABLE, details), "http://h:1")
    assert f"cannot be reached ({reason});" in error.message


def test_an_answer_of_a_web_server_is_told_from_one_of_ours():
    failed = FailedCall(StatusCode.UNIMPLEMENTED, "Received http2 header with status: 404")
    error = channel.error_of(failed, "http://h:1")
    assert isinstance(error, errors.Unsupported)
    assert "not the server at http://h:1 (Received http2" in str(error)
    assert "HEADGATE_API_URL" in str(error)


@pytest.mark.parametrize("code", list(StatusCode))
def test_any_code_without_details_becomes_an_error(code: StatusCode):
    error = channel.error_of(FailedCall(code, None))
    assert error.message
    assert (
        code is StatusCode.OK
        or codec.row_of(error).code == code.value[0]
        or (
            code.value[0]
            in (
                code_pb2.CANCELLED,
                code_pb2.UNKNOWN,
                code_pb2.ABORTED,
                code_pb2.OUT_OF_RANGE,
                code_pb2.DATA_LOSS,
            )
        )
    )
