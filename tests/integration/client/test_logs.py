"""Lines of runs, asked for by what they are (L12)."""

from __future__ import annotations

from datetime import timedelta

import pytest

from headgate import flow, get_run_logger, task
from headgate.testing.utilities import headgate_test_harness


@task
def grumble() -> None:
    get_run_logger().warning("a task's word")


@flow
def talk() -> None:
    logger = get_run_logger()
    logger.info("one")
    grumble()
    logger.error("three")


def test_lines_are_found_by_level_time_run_and_text():
    with headgate_test_harness(in_memory=True) as harness:
        talk()
        run = harness.most_recent_flow_run()
        with harness.client() as client:

            def found(**where: object) -> list[str]:
                lines = client.read_logs(flow_run_ids=[run.id], **where)  # pyright: ignore[reportArgumentType]  # any filter
                return [line.message for line in lines if "flow run" not in line.message]

            every = client.read_logs(flow_run_ids=[run.id])
            warning = next(line for line in every if line.message == "a task's word")
            assert warning.task_run_id is not None
            assert found(level_min=30, level_max=39) == ["a task's word"]
            assert found(task_run_ids=[warning.task_run_id]) == ["a task's word"]
            assert found(message_contains="THREE") == ["three"]
            assert found(level_min=30, descending=True)[-1] == "a task's word"
            after = warning.timestamp + timedelta(microseconds=1)
            assert "three" in found(logged_after=after)
            assert "one" not in found(logged_after=after)
            assert "one" in found(logged_before=warning.timestamp)


@pytest.mark.parametrize("size", [50, 1_000])
def test_a_long_line_is_cut(size: int, monkeypatch: pytest.MonkeyPatch):
    from headgate.logging import handlers

    @flow
    def verbose() -> None:
        get_run_logger().info("x" * 500)

    monkeypatch.setenv("HEADGATE_LOGGING_TO_API_MAX_LOG_SIZE", str(size))
    handlers.set_up(force=True)
    try:
        with headgate_test_harness(in_memory=True) as harness:
            verbose()
            run = harness.most_recent_flow_run()
            with harness.client() as client:
                lines = client.read_logs(flow_run_ids=[run.id], message_contains="xxx")
    finally:
        monkeypatch.undo()
        handlers.set_up(force=True)
    assert [len(line.message) for line in lines] == [min(size, 500)]
    assert lines[0].message.endswith("... [truncated]") == (size < 500)
