"""Deployments are stored, and their runs asked for and waited for, on a real server."""

import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import anyio.from_thread
import pytest

from headgate import State, schedules, settings
from headgate.client import orchestration
from headgate.core import clock, deployments, errors, ids, states
from headgate.deployments import (
    RunnerDeployment,
    arun_deployment,
    deploy,
    run_deployment,
    serve,
    serving,
)
from headgate_server.app import App
from headgate_server.settings import Settings


def etl(limit: int = 1) -> None: ...


ETL: Any = SimpleNamespace(
    name="etl", fn=etl, description=None, version=None, durable=False, origin=None
)


@pytest.fixture
def client(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[orchestration.SyncHeadgateClient]:
    """A client of a server that remembers nothing."""
    monkeypatch.chdir(Path(__file__).parent)
    app = App(Settings(database_url="memory://", unix_socket=tmp_path / "s"))
    with (
        anyio.from_thread.start_blocking_portal() as portal,
        portal.wrap_async_context_manager(app.running()),
        settings.temporary_settings({"api_url": app.target}),
        orchestration.get_client(sync_client=True) as client,
    ):
        yield client


def end(
    client: orchestration.SyncHeadgateClient,
    flow_run_id: str,
    type: states.StateType = states.StateType.COMPLETED,
) -> None:
    state = states.new_state(type, id=ids.new_id(), now=clock.SystemClock().now())
    client.set_flow_run_state(flow_run_id, state)


def end_the_first(
    client: orchestration.SyncHeadgateClient,
    type: states.StateType = states.StateType.COMPLETED,
) -> threading.Thread:
    """End the first run that somebody asks for, from another thread."""

    def wait() -> None:
        for transition in client.watch(after_revision=0):
            end(client, transition.run_id, type)
            return

    thread = threading.Thread(target=wait)
    thread.start()
    return thread


def test_deploying_again_changes_the_deployment_and_keeps_what_was_not_said(
    client: orchestration.SyncHeadgateClient, capsys
):
    (first,) = deploy(
        RunnerDeployment.from_flow(
            ETL, "daily", schedules=[schedules.Cron("0 9 * * *", slug="early")], tags=["a"]
        )
    )
    client.pause_deployment(first)
    (second,) = deploy(RunnerDeployment.from_flow(ETL, "daily", tags=["b"]))
    stored = client.read_deployment_by_name("etl/daily")
    assert first == second == stored.id
    assert (stored.tags, stored.paused) == (("b",), True)
    assert [item.slug for item in stored.schedules] == ["early"]
    assert isinstance(stored.schedules[0].rule, deployments.CronRule)
    assert "headgate deployment run 'etl/daily'" in capsys.readouterr().out


def test_a_pool_that_does_not_exist_is_named(client: orchestration.SyncHeadgateClient):
    with pytest.raises(errors.NotFound, match="gpu"):
        deploy(RunnerDeployment.from_flow(ETL, "daily"), work_pool_name="gpu")


def test_a_run_is_asked_for(client: orchestration.SyncHeadgateClient):
    RunnerDeployment.from_flow(ETL, "daily", parameters={"limit": 2}).apply()
    run = run_deployment("etl/daily", timeout=0, tags=["x"], flow_run_name="one", priority=3)
    assert (run.name, run.priority, run.state.name) == ("one", 3, "Scheduled")
    assert run.parameters == {"limit": 2}
    assert "x" in run.tags
    again = run_deployment("etl/daily", {"limit": 5}, timeout=0, idempotency_key="k")
    assert again.parameters == {"limit": 5}
    assert run_deployment("etl/daily", timeout=0, idempotency_key="k").id == again.id


def test_parameters_that_do_not_fit_are_refused(client: orchestration.SyncHeadgateClient):
    RunnerDeployment.from_flow(ETL, "daily").apply()
    with pytest.raises(errors.InvalidArgument, match="limit"):
        run_deployment("etl/daily", {"limit": "many"}, timeout=0)
    with pytest.raises(errors.NotFound, match="etl/hourly"):
        run_deployment("etl/hourly", timeout=0)


@pytest.mark.parametrize("timeout", [None, 30], ids=["for ever", "for a while"])
def test_the_end_is_waited_for(client: orchestration.SyncHeadgateClient, timeout: float | None):
    RunnerDeployment.from_flow(ETL, "daily").apply()
    thread = end_the_first(client)
    done = run_deployment("etl/daily", timeout=timeout, poll_interval=5)
    assert done.state.name == "Completed"
    thread.join()


@pytest.mark.parametrize("type", [states.StateType.FAILED, states.StateType.COMPLETED])
def test_the_state_of_a_run_that_was_asked_for_can_be_asked_for_its_result(
    client: orchestration.SyncHeadgateClient, type: states.StateType
):
    RunnerDeployment.from_flow(ETL, "daily").apply()
    thread = end_the_first(client, type)
    state = run_deployment("etl/daily").state
    thread.join()
    assert isinstance(state, State)
    is_failed = type is states.StateType.FAILED
    with pytest.raises(errors.FailedRun if is_failed else errors.MissingResult):
        state.result()


def test_a_wait_ends_with_its_timeout(client: orchestration.SyncHeadgateClient):
    RunnerDeployment.from_flow(ETL, "daily").apply()
    assert run_deployment("etl/daily", timeout=0.05).state.name == "Scheduled"


async def test_in_a_coroutine_the_same_call_is_awaited(client: orchestration.SyncHeadgateClient):
    await RunnerDeployment.from_flow(ETL, "daily").aapply()
    thread = await anyio.to_thread.run_sync(end_the_first, client)
    call: Any = run_deployment("etl/daily")
    assert (await call).state.name == "Completed"
    thread.join()
    assert (await arun_deployment("etl/daily", timeout=0.05)).state.name == "Scheduled"


def test_serving_takes_a_queue_of_its_own_and_pauses_at_the_end(
    client: orchestration.SyncHeadgateClient, monkeypatch: pytest.MonkeyPatch, capsys
):
    seen: dict[str, Any] = {}

    class Runner:
        def __init__(self, api_url: str, **options: Any) -> None:
            seen.update(options)

        async def run(self, *, handle_signals: bool) -> None:
            seen["paused"] = client.read_deployment_by_name("etl/daily").paused

    monkeypatch.setattr("headgate_runner.runner.Runner", Runner)
    for _ in range(2):
        serve(RunnerDeployment.from_flow(ETL, "daily", paused=False, interval=3600), limit=3)
        assert (seen["queues"], seen["limit"]) == (["serve-etl-daily"], 3)
        assert seen["paused"] is False
        stored = client.read_deployment_by_name("etl/daily")
        assert (stored.work_queue_name, stored.paused) == ("serve-etl-daily", True)
    assert "etl/daily" in capsys.readouterr().out


async def test_serve_in_a_coroutine_says_what_to_use_instead():
    with pytest.raises(errors.FailedPrecondition, match="aserve"):
        serving.serve_flow(ETL)
