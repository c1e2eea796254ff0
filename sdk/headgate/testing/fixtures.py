"""Fixtures for pytest; in a ``conftest.py``: ``pytest_plugins = ["headgate.testing.fixtures"]``."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Generator

import pytest

from headgate.testing.clock import AdvancingClock
from headgate.testing.harness import Harness
from headgate.testing.utilities import headgate_test_harness

__all__ = [
    "add_headgate_loggers_to_caplog",
    "disable_terminal_wrapping",
    "headgate_harness",
    "headgate_server",
]


@pytest.fixture
def headgate_harness() -> Generator[Harness]:
    """A control plane in memory for this test alone, with a clock that jumps over waiting."""
    with headgate_test_harness(clock=AdvancingClock()) as harness:
        yield harness


@pytest.fixture(scope="session")
def headgate_server() -> Generator[Harness]:
    """A server process with an SQLite database, for all tests that ask for it."""
    with headgate_test_harness() as harness:
        yield harness


@pytest.fixture
def disable_terminal_wrapping(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let commands write lines as long as they are, so that a test finds whole sentences."""
    monkeypatch.setenv("COLUMNS", "10000")


@pytest.fixture
def add_headgate_loggers_to_caplog(
    caplog: pytest.LogCaptureFixture,
) -> Generator[pytest.LogCaptureFixture]:
    """``caplog`` with the lines of runs: Headgate's loggers do not pass them to the root."""
    with caplog_of_headgate(caplog):
        yield caplog


@contextlib.contextmanager
def caplog_of_headgate(caplog: pytest.LogCaptureFixture) -> Generator[pytest.LogCaptureFixture]:
    """Do the same for the length of a ``with`` block."""
    from headgate.logging import handlers

    handlers.set_up()
    logger = logging.getLogger("headgate")
    if caplog.handler in logger.handlers:
        # Newer versions of pytest find loggers by themselves that do not pass their lines on.
        yield caplog
        return
    logger.addHandler(caplog.handler)
    try:
        yield caplog
    finally:
        logger.removeHandler(caplog.handler)
