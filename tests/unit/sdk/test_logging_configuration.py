"""Logging as users configure it: a file, variables, JSON, and listening in."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from headgate import get_run_logger
from headgate.core import errors, runs
from headgate.logging import formatting, handlers
from headgate.logging.loggers import LogEavesdropper
from tests.unit.sdk.conftest import FLOW_RUN_ID, Inside


@pytest.fixture(autouse=True)
def usual_set_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("HEADGATE_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    monkeypatch.undo()
    for name in ("headgate", "headgate.flow_runs", "headgate.task_runs"):
        logging.getLogger(name).handlers.clear()
    handlers.set_up(force=True)


@pytest.fixture
def sent() -> Iterator[list[runs.LogRecord]]:
    taken: list[runs.LogRecord] = []
    with handlers.sink_of(taken.append):
        yield taken


def test_one_variable_makes_lines_json(
    inside: Inside, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setenv("HEADGATE_LOGGING_HANDLERS_CONSOLE_FORMATTER", "json")
    handlers.set_up(force=True)
    with inside():
        try:
            raise ValueError("no")
        except ValueError:
            get_run_logger().exception("It said %s", "so", extra={"odd": Path("/x")})
    [line] = capsys.readouterr().err.splitlines()
    facts = json.loads(line)
    assert facts["message"] == "It said so"
    assert facts["level"] == "ERROR"
    assert facts["flow_run_id"] == FLOW_RUN_ID
    assert facts["odd"] == "/x"
    assert "ValueError: no" in facts["exception"]
    assert facts["timestamp"].endswith("+00:00")


def test_json_can_be_pretty():
    record = logging.makeLogRecord({"name": "x", "msg": "m"})
    assert formatting.JsonFormatter("pretty").format(record).startswith("{\n  ")


def test_records_still_go_to_the_server(
    inside: Inside, monkeypatch: pytest.MonkeyPatch, sent: list[runs.LogRecord]
):
    monkeypatch.setenv("HEADGATE_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")
    monkeypatch.setenv("HEADGATE_LOGGING_TO_API_MAX_LOG_SIZE", "20")
    handlers.set_up(force=True)
    with inside():
        get_run_logger().info("x" * 50)
    assert [record.message for record in sent] == ["xxxxx... [truncated]"]


def test_a_file_takes_the_place_of_the_usual_set_up(
    usual_set_up: Path, inside: Inside, capsys: pytest.CaptureFixture[str]
):
    (usual_set_up / "logging.yml").write_text(
        """
        formatters:
          short: {format: "%(levelname)s~%(message)s"}
        handlers:
          mine: {class: logging.StreamHandler, formatter: short, stream: ext://sys.stderr}
        loggers:
          headgate: {level: "${HEADGATE_LOGGING_LEVEL}", handlers: [mine], propagate: false}
        """
    )
    handlers.set_up(force=True)
    with inside():
        get_run_logger().debug("quiet")
        get_run_logger().info("loud")
    assert capsys.readouterr().err == "INFO~loud\n"


def test_a_variable_wins_against_the_file(usual_set_up: Path, monkeypatch: pytest.MonkeyPatch):
    (usual_set_up / "logging.yml").write_text("loggers: {headgate: {level: INFO}}\n")
    monkeypatch.setenv("HEADGATE_LOGGING_LOGGERS_HEADGATE_LEVEL", "ERROR")
    handlers.set_up(force=True)
    assert logging.getLogger("headgate").level == logging.ERROR


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "cannot be read"),
        ("- a\n", "has no mapping"),
        ("handlers: {x: {class: no.such.Thing}}\n", r"no\.such"),
    ],
)
def test_a_file_that_does_not_do_is_refused(usual_set_up: Path, text: str, says: str):
    (usual_set_up / "logging.yml").write_text(text)
    with pytest.raises(errors.InvalidArgument, match=says):
        handlers.set_up(force=True)


def test_a_file_that_is_named_must_be_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("HEADGATE_LOGGING_CONFIG_PATH", str(tmp_path / "none.yml"))
    with pytest.raises(errors.InvalidArgument, match="HEADGATE_LOGGING_CONFIG_PATH"):
        handlers.set_up(force=True)


def test_listening_to_a_logger_ends_with_the_block():
    logger = logging.getLogger("somebody.else")
    logger.setLevel(logging.ERROR)
    with LogEavesdropper("somebody", level=logging.WARNING) as eavesdropper:
        logging.getLogger("somebody.other").warning("first\nof two")
        logger.info("too quiet")
        logger.error("last")
    logger.error("after")
    assert eavesdropper.text() == "first\nof two\nlast"
    assert logging.getLogger("somebody").handlers == []
    assert logging.getLogger("somebody").level == logging.NOTSET
