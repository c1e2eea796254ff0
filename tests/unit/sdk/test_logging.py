"""Logging: lines of runs reach the console and the server."""

import io
import logging
import sys
import threading
from collections.abc import Iterator

import pytest

from headgate import context, settings
from headgate.core import errors, runs
from headgate.logging import (
    disable_run_logger,
    flow_run_logger,
    get_logger,
    get_run_logger,
    handlers,
    prints,
)
from tests.unit.sdk.conftest import FLOW_RUN_ID, TASK_RUN_ID, Inside, a_flow_run


@pytest.fixture
def sent() -> Iterator[list[runs.LogRecord]]:
    """What goes to the server."""
    handlers.set_up(force=True)
    records: list[runs.LogRecord] = []
    with handlers.sink_of(records.append):
        yield records


def test_outside_of_runs_there_is_no_run_logger():
    with pytest.raises(errors.MissingContextError, match="within a flow or task"):
        get_run_logger()


def test_a_flows_line_carries_its_run(sent: list[runs.LogRecord], capsys, inside: Inside):
    with inside():
        get_run_logger().warning("half %s", "done")
    (record,) = sent
    assert (record.flow_run_id, record.task_run_id) == (FLOW_RUN_ID, None)
    assert (record.level, record.logger) == (logging.WARNING, "headgate.flow_runs")
    assert record.message == "half done"
    assert record.timestamp.tzinfo is not None
    assert "| WARNING | Flow run 'brave-otter' - half done\n" in capsys.readouterr().err


def test_a_tasks_line_carries_both(sent: list[runs.LogRecord], capsys, inside: Inside):
    with inside(task=True):
        get_run_logger().info("x")
    assert (sent[0].flow_run_id, sent[0].task_run_id) == (FLOW_RUN_ID, TASK_RUN_ID)
    assert "Task run 'load-0' - x" in capsys.readouterr().err


def test_extra_of_the_call_joins_that_of_the_run(sent: list[runs.LogRecord], inside: Inside):
    seen: list[logging.LogRecord] = []
    logger = logging.getLogger("headgate.flow_runs")
    watcher = logging.Handler()
    watcher.handle = lambda record: bool(seen.append(record))
    logger.addHandler(watcher)
    try:
        with inside():
            get_run_logger(source="a").info("x", extra={"rows": 3})
    finally:
        logger.removeHandler(watcher)
    facts = vars(seen[0])
    assert (facts["rows"], facts["source"], facts["flow_name"]) == (3, "a", "etl")


def test_lines_below_the_level_go_nowhere(sent: list[runs.LogRecord], inside: Inside):
    with inside():
        get_run_logger().debug("x")
    assert sent == []
    with settings.temporary_settings({"logging_level": "DEBUG"}), inside():
        handlers.set_up(force=True)
        get_run_logger().debug("x")
    assert len(sent) == 1


def test_a_traceback_is_part_of_the_message(sent: list[runs.LogRecord]):
    try:
        raise ValueError("no")
    except ValueError:
        flow_run_logger(a_flow_run()).exception("failed")
    assert sent[0].message.startswith("failed\nTraceback")
    assert sent[0].message.endswith("ValueError: no")


def test_a_long_message_is_cut_and_says_so():
    records: list[runs.LogRecord] = []
    with (
        settings.temporary_settings({"logging_to_api_max_log_size": 20}),
        handlers.sink_of(records.append),
    ):
        handlers.set_up(force=True)
        flow_run_logger(a_flow_run()).info("x" * 100)
    assert records[0].message == "xxxxx... [truncated]"


def test_sending_can_be_turned_off():
    records: list[runs.LogRecord] = []
    with (
        settings.temporary_settings({"logging_to_api_enabled": False}),
        handlers.sink_of(records.append),
    ):
        handlers.set_up(force=True)
        flow_run_logger(a_flow_run()).info("x")
    assert records == []


def test_setting_up_again_doubles_nothing(sent: list[runs.LogRecord], capsys):
    for _ in range(3):
        handlers.set_up(force=True)
    flow_run_logger(a_flow_run()).info("once")
    assert len(sent) == 1
    assert capsys.readouterr().err.count("once") == 1


def test_other_loggers_can_be_kept_with_the_run(sent: list[runs.LogRecord], inside: Inside):
    logger = logging.getLogger("a_library")
    with settings.temporary_settings({"logging_extra_loggers": "a_library"}):
        handlers.set_up(force=True)
    try:
        with inside(task=True):
            logger.info("from the library")
        assert (sent[0].task_run_id, sent[0].logger) == (TASK_RUN_ID, "a_library")
        with pytest.warns(UserWarning, match="outside of any run"):
            logger.info("nowhere")
        assert len(sent) == 1
    finally:
        logger.handlers.clear()


def test_where_a_runner_reads_along_sent_lines_are_marked(
    sent: list[runs.LogRecord], capsys, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv(handlers.CAPTURED_VARIABLE, "1")
    flow_run_logger(a_flow_run()).info("two\nlines")
    get_logger("engine").warning("of no run")
    lines = capsys.readouterr().err.splitlines()
    assert [line.startswith(handlers.MARK) for line in lines] == [True, True, False]


def test_a_closed_console_fails_nothing(monkeypatch: pytest.MonkeyPatch):
    for stream in (None, io.StringIO()):
        if stream is not None:
            stream.close()
        monkeypatch.setattr(sys, "stderr", stream)
        flow_run_logger(a_flow_run()).info("x")


def test_the_run_logger_can_be_disabled(sent: list[runs.LogRecord], inside: Inside):
    with disable_run_logger():
        get_run_logger().error("outside of any run")
        with inside():
            get_run_logger().error("x")
    assert sent == []
    with inside():
        get_run_logger().error("x")
    assert len(sent) == 1


def test_a_logger_of_ours_is_named_below_ours():
    assert get_logger("engine").name == "headgate.engine"
    assert get_logger("headgate.engine") is get_logger("engine")
    assert get_logger().name == "headgate"


# Prints


def test_prints_become_lines(sent: list[runs.LogRecord], inside: Inside, capsys):
    with inside(), prints.patch_print():
        print("a", 1, sep="-")
        print("100 %", end="!\n")
        print("elsewhere", file=sys.stderr)
    print("after")
    assert [record.message for record in sent] == ["a-1", "100 %!\n"]
    assert sent[0].level == logging.INFO
    captured = capsys.readouterr()
    assert captured.out == "after\n"
    assert "elsewhere" in captured.err


def test_prints_are_turned_off_within_and_on_again(sent: list[runs.LogRecord], inside: Inside):
    with inside(), prints.patch_print():
        with prints.patch_print(False):
            print("not logged")
        print("logged")
    assert [record.message for record in sent] == ["logged"]


def test_prints_of_other_threads_stay_prints(sent: list[runs.LogRecord], inside: Inside, capsys):
    with inside(), prints.patch_print():
        thread = threading.Thread(target=print, args=("mine",))
        thread.start()
        thread.join()
    assert sent == []
    assert "mine" in capsys.readouterr().out


def test_a_print_of_a_line_that_prints_ends(sent: list[runs.LogRecord], inside: Inside, capsys):
    class Chatty(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            print("and again")

    logger = logging.getLogger("headgate.flow_runs")
    handler = Chatty()
    logger.addHandler(handler)
    try:
        with inside(), prints.patch_print():
            print("once")
    finally:
        logger.removeHandler(handler)
    assert [record.message for record in sent] == ["once"]
    assert "and again" in capsys.readouterr().out


def test_without_a_run_a_print_prints(capsys):
    assert context.FlowRunContext.get() is None
    with prints.patch_print():
        print("plain")
    assert capsys.readouterr().out == "plain\n"
