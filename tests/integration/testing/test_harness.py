"""The harness that users test their flows with."""

from __future__ import annotations

import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta

import pytest

from headgate import flow, settings, task
from headgate.client.orchestration import get_client
from headgate.client.schemas import draft_deployment
from headgate.core import clock as clocks
from headgate.core import errors
from headgate.testing.clock import AdvancingClock
from headgate.testing.utilities import (
    assert_state_names,
    get_most_recent_flow_run,
    headgate_test_harness,
)
from tests.processes import eventually

REAL = clocks.SystemClock()


class Flaky:
    """Fails so many times."""

    def __init__(self, failures: int) -> None:
        self.left = failures

    def __call__(self) -> str:
        if self.left:
            self.left -= 1
            raise ConnectionError("not yet")
        return "done"


def test_an_hour_of_retry_delays_passes_in_a_moment():
    attempt = Flaky(3)

    @task(retries=3, retry_delay_seconds=[600, 1200, 1800])
    def fetch() -> str:
        return attempt()

    @flow
    def report() -> str:
        return fetch()

    clock = AdvancingClock(datetime(2026, 1, 1, tzinfo=UTC))
    started = REAL.monotonic()
    with headgate_test_harness(clock=clock) as harness:
        assert report() == "done"
        run = harness.most_recent_flow_run("report")
        with harness.client() as client:
            [task_run] = client.read_task_runs(flow_run_ids=[run.id])
    assert REAL.monotonic() - started < 10
    assert task_run.run_count == 4
    assert run.create_time.isoformat().startswith("2026-01-01T00:00")
    assert run.end_time is not None
    assert timedelta(hours=1) <= run.end_time - run.create_time < timedelta(hours=1, minutes=1)


def test_the_server_sends_a_failed_flow_into_its_delay_on_the_same_clock():
    attempt = Flaky(2)

    @flow(retries=2, retry_delay_seconds=3600)
    def nightly() -> str:
        return attempt()

    with headgate_test_harness(clock=AdvancingClock()) as harness:
        assert nightly() == "done"
        run = harness.most_recent_flow_run()
        assert_state_names(
            harness,
            run.id,
            ["Pending", "Running", *["AwaitingRetry", "Retrying"] * 2, "Completed"],
        )
        with pytest.raises(AssertionError, match="went through"):
            assert_state_names(harness, run.id, ["Completed"])


async def test_async_flows_sleep_on_the_clock_too():
    attempt = Flaky(1)

    @task(retries=1, retry_delay_seconds=86_400)
    async def fetch() -> str:
        return attempt()

    @flow
    async def report() -> str:
        return await fetch()

    with headgate_test_harness(clock=AdvancingClock()):
        assert await report() == "done"
        run = await get_most_recent_flow_run(flow_name="report")
    assert run.state.is_terminal


def test_submitted_tasks_wake_in_the_order_of_their_times():
    woken: list[str] = []

    @task(retries=1)
    def step(name: str, attempts: list[int]) -> None:
        attempts.append(1)
        if len(attempts) == 1:
            raise ConnectionError(name)
        woken.append(name)

    @flow
    def both() -> None:
        late = step.with_options(retry_delay_seconds=7200).submit("late", [])
        early = step.with_options(retry_delay_seconds=3600).submit("early", [])
        late.result()
        early.result()

    clock = AdvancingClock(auto=False)
    with headgate_test_harness(clock=clock):
        thread = threading.Thread(target=both)
        thread.start()
        eventually(lambda: clock.sleeping == 2)
        clock.advance(3600)
        eventually(lambda: woken == ["early"])
        clock.advance(timedelta(hours=1))
        thread.join(10)
    assert woken == ["early", "late"]


def test_after_the_harness_the_machine_shows_the_time_again():
    clock = AdvancingClock(datetime(2030, 1, 1, tzinfo=UTC))
    with headgate_test_harness(clock=clock):
        assert clocks.process_clock.now().year == 2030
    assert clocks.process_clock.now().year < 2030


def test_what_is_configured_outside_is_left_alone():
    before = settings.current()
    with headgate_test_harness(in_memory=True) as harness:
        assert settings.current().api_url == harness.api_url
        assert settings.current().home == harness.home != before.home
    assert settings.current() == before
    assert not harness.home.exists()


def test_each_harness_begins_empty_and_they_may_nest():
    @flow
    def hello() -> int:
        return 1

    with headgate_test_harness(in_memory=True) as outer:
        assert hello() == 1
        with headgate_test_harness(in_memory=True) as inner:
            with pytest.raises(errors.NotFound):
                inner.most_recent_flow_run()
            assert hello() == 1
            inner.most_recent_flow_run("hello")
        assert hello() == 1
        with outer.client() as client:
            assert len(client.read_flow_runs()) == 2


def test_what_the_server_waits_for_happens_when_the_clock_is_moved():
    clock = AdvancingClock(auto=False)
    with headgate_test_harness(clock=clock) as harness, harness.client() as client:
        client.create_deployment(draft_deployment("daily", "later", entrypoint="x.py:later"))
        run = client.create_flow_run_from_deployment(
            "later/daily", scheduled_time=clock.now() + timedelta(hours=1)
        )
        assert client.read_flow_run(run.id).state.name == "Scheduled"
        clock.advance(7200)
        eventually(lambda: client.read_flow_run(run.id).state.name == "Late")


@pytest.mark.slow
def test_the_real_server_keeps_what_runs_report():
    @flow
    def hello() -> int:
        return 1

    with headgate_test_harness() as harness:
        assert hello() == 1
        with get_client(sync_client=True) as client:
            assert client.server_info().database == "sqlite"
        assert harness.most_recent_flow_run("hello").state.is_terminal
    assert not harness.home.exists()


@pytest.mark.slow
def test_a_server_that_does_not_start_says_why():
    with (
        pytest.raises(errors.ServerStartError, match="did not answer within 0 s"),
        headgate_test_harness(server_startup_timeout=0),
    ):
        pass


def test_importing_the_harness_loads_no_server():
    program = (
        "import sys; import headgate.testing.utilities; "
        "sys.exit(any(m.partition('.')[0] == 'headgate_server' for m in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
