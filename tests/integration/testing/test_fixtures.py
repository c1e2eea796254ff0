"""The fixtures that users take into their conftest.py."""

from __future__ import annotations

import warnings

import pytest

from headgate import flow, get_run_logger
from headgate.testing import fixtures, utilities
from headgate.testing.harness import Harness

add_headgate_loggers_to_caplog = fixtures.add_headgate_loggers_to_caplog
headgate_harness = fixtures.headgate_harness


@flow
def hello() -> str:
    get_run_logger().info("hello from %s", "within")
    return "hello"


def test_a_flow_runs_against_a_control_plane_of_the_tests_own(
    headgate_harness: Harness,
):
    assert hello() == "hello"
    assert headgate_harness.most_recent_flow_run().flow_name == "hello"
    assert headgate_harness.clock is not None


def test_lines_of_runs_are_captured(
    headgate_harness: Harness,
    add_headgate_loggers_to_caplog: pytest.LogCaptureFixture,
):
    hello()
    assert "hello from within" in add_headgate_loggers_to_caplog.messages


def test_no_line_is_captured_twice(
    headgate_harness: Harness, add_headgate_loggers_to_caplog: pytest.LogCaptureFixture
):
    with fixtures.caplog_of_headgate(add_headgate_loggers_to_caplog):
        hello()
    assert add_headgate_loggers_to_caplog.messages.count("hello from within") == 1


def test_exceptions_are_compared_by_what_they_say():
    assert utilities.exceptions_equal(ValueError("a"), ValueError("a"))
    assert not utilities.exceptions_equal(ValueError("a"), ValueError("b"))
    assert not utilities.exceptions_equal(ValueError("a"), KeyError("a"))


def test_a_warning_where_there_must_be_none_fails_the_test():
    with (
        pytest.raises(AssertionError, match="old"),
        utilities.assert_does_not_warn(),
    ):
        warnings.warn("old", DeprecationWarning, stacklevel=1)
    with utilities.assert_does_not_warn(ignore_warnings=[DeprecationWarning]):
        warnings.warn("old", DeprecationWarning, stacklevel=1)


def test_blocks_are_compared_by_type_and_public_fields():
    class Block:
        def __init__(self, **fields: object) -> None:
            self.fields = fields

        def model_dump(self) -> dict[str, object]:
            return self.fields

    utilities.assert_blocks_equal(Block(x=1, _id="a"), Block(x=1, _id="b"))
    with pytest.raises(AssertionError, match="'x': 2"):
        utilities.assert_blocks_equal(Block(x=1), Block(x=2))
    with pytest.raises(AssertionError, match="is a str"):
        utilities.assert_blocks_equal("x", Block(x=2))
