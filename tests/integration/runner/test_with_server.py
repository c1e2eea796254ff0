"""Runners and the real server, which must mean the same by a frame; no flow is executed."""

from __future__ import annotations

import contextlib
import functools
from datetime import UTC, datetime
from pathlib import Path

import anyio
import pytest

from headgate.client.orchestration import HeadgateClient
from headgate.core import deployments, errors, runs
from headgate.core.states import StateType
from headgate_runner import runner
from headgate_runner.executors import inline, process
from headgate_server.app import App
from headgate_server.settings import Settings

pytestmark = pytest.mark.slow

NOW = datetime(2026, 1, 1, tzinfo=UTC)
PATIENCE_SECONDS = 20
RESCHEDULE = deployments.InfrastructureLossPolicy(
    action=deployments.InfrastructureLossAction.RESCHEDULE
)


class Stage:
    """A server, a client, and runners as wanted."""

    def __init__(self, folder: Path) -> None:
        self.settings = Settings(
            unix_socket=folder / "s",
            database_url=f"sqlite:///{folder / 'headgate.db'}",
            lease_ttl_seconds=1.0,
            lease_margin_seconds=0.2,
            beat_interval_seconds=0.2,
            cancel_grace_seconds=0.5,
        )
        self.api_url = f"unix://{self.settings.unix_socket}"
        self.client = HeadgateClient(self.api_url)

    @contextlib.asynccontextmanager
    async def runner(
        self, *, wait: bool = True, entry: str = "child_entries:main", open_executor=None, **options
    ):
        """A runner that is connected; at the end it vanishes, as if it was killed."""
        said: list[str] = []
        made = runner.Runner(
            self.api_url,
            write=said.append,
            open_executor=open_executor or functools.partial(process.open_executor, entry=entry),
            **options,
        )
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(functools.partial(made.run, handle_signals=False))
            if wait:
                with anyio.fail_after(PATIENCE_SECONDS):
                    await made.ready.wait()
            yield made, said
            if not made.is_stopping:
                tasks.cancel_scope.cancel()

    async def ask(
        self, entrypoint: str, policy=deployments.CRASH_ON_LOSS, path: str = ""
    ) -> runs.FlowRun:
        """Ask for a run of a deployment with this entrypoint."""
        deployment = await self.client.apply_deployment(
            deployments.Deployment(
                id="",
                name=entrypoint.replace("_", "-").replace(":", "-"),
                flow_id="",
                flow_name="f",
                entrypoint=entrypoint,
                path=path,
                create_time=NOW,
                update_time=NOW,
                etag="",
                on_infrastructure_loss=policy,
            )
        )
        return await self.client.create_flow_run_from_deployment(deployment.id)

    async def until(self, run: runs.FlowRun, *types: StateType) -> runs.FlowRun:
        """Wait until a run is in a state of one of these types."""
        with anyio.fail_after(PATIENCE_SECONDS):
            async for event in self.client.watch(after_revision=0, flow_run_ids=[run.id]):
                del event
                found = await self.client.read_flow_run(run.id)
                if found.state.type in types:
                    return found
        raise AssertionError


@pytest.fixture
async def stage(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    made = Stage(tmp_path)
    async with App(made.settings).running(), made.client:
        yield made


async def test_a_killed_process_crashes_its_run(stage):
    async with stage.runner():
        run = await stage.ask("kill_self")
        ended = await stage.until(run, StateType.CRASHED)
    assert "SIGKILL" in ended.state.message


async def test_a_cancelled_run_ends_as_cancelled(stage):
    async with stage.runner():
        run = await stage.ask("wait_quietly")
        await stage.until(run, StateType.PENDING)
        await stage.client.cancel_flow_run(run.id)
        await stage.until(run, StateType.CANCELLED)


FLOWS = """
import os, pathlib, signal, time
from headgate import flow, get_run_logger, task

def note(flow, flow_run, state):
    pathlib.Path(__file__).with_name("noted").write_text(f"{flow_run.name} {state.name}")

@task
def double(n):
    return 2 * n

@flow(log_prints=True)
def good():
    get_run_logger().info("logged")
    print("printed")
    os.write(1, b"written\\n")
    return double(3)

@flow(on_crashed=[note])
def killed():
    os.kill(os.getpid(), signal.SIGKILL)

@flow(on_crashed=[note])
def lasting():
    while True:
        time.sleep(0.01)

@flow(on_cancellation=[note])
def deaf():
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    pathlib.Path(__file__).with_name("deaf").touch()
    while True:
        time.sleep(0.01)
"""
ENGINE = process.DEFAULT_ENTRY


@pytest.fixture
def flows(tmp_path):
    """The folder of flows.py."""
    (tmp_path / "flows.py").write_text(FLOWS)
    return tmp_path


async def test_a_flow_is_executed_and_each_line_kept_once(stage, flows):
    async with stage.runner(entry=ENGINE) as (made, said):
        run = await stage.ask("flows.py:good", path=str(flows))
        ended = await stage.until(run, StateType.COMPLETED)
        made.stop()  # which stores what was printed
    assert ended.run_count == 1
    lines = [record.message for record in await stage.client.read_logs(flow_run_ids=[run.id])]
    assert [lines.count(line) for line in ("logged", "printed", "written")] == [1, 1, 1], lines
    assert any(line.endswith("- logged") for line in said)


async def test_runs_may_be_executed_in_threads_of_the_runner(stage, flows):
    async with stage.runner(open_executor=inline.open_executor, limit=4) as (made, _said):
        asked = [await stage.ask("flows.py:good", path=str(flows)) for _ in range(8)]
        for run in asked:
            await stage.until(run, StateType.COMPLETED)
        made.stop()


async def test_hooks_are_called_for_a_process_that_was_killed(stage, flows):
    async with stage.runner(entry=ENGINE, grace_seconds=20) as (made, _said):
        run = await stage.ask("flows.py:killed", path=str(flows))
        await stage.until(run, StateType.CRASHED)
        made.stop()  # which waits for hooks
    assert (flows / "noted").read_text() == f"{run.name} Crashed"


async def test_hooks_are_called_for_a_cancelled_process_that_had_to_be_killed(stage, flows):
    async with stage.runner(entry=ENGINE, grace_seconds=20) as (made, _said):
        run = await stage.ask("flows.py:deaf", path=str(flows))
        await stage.until(run, StateType.RUNNING)
        await stage.client.cancel_flow_run(run.id)
        await stage.until(run, StateType.CANCELLED)
        made.stop()
    assert (flows / "noted").read_text() == f"{run.name} Cancelled"


async def test_slots_are_used_again_and_again(stage):
    async with stage.runner(limit=2):
        asked = [await stage.ask("kill_self") for _ in range(7)]
        for run in asked:
            await stage.until(run, StateType.CRASHED)


async def test_a_stopped_runner_hands_its_run_to_the_next(stage):
    async with stage.runner(grace_seconds=0) as (first, _said):
        run = await stage.ask("wait_quietly")
        await stage.until(run, StateType.PENDING)
        first.stop()
        await stage.until(run, StateType.SCHEDULED)
    async with stage.runner() as (second, _said):
        taken = await stage.until(run, StateType.PENDING)
        assert taken.runner_name == second.name
        assert taken.reschedule_count == 0


async def test_the_run_of_a_runner_that_vanished_is_taken_by_another(stage):
    async with stage.runner():
        run = await stage.ask("wait_quietly", RESCHEDULE)
        await stage.until(run, StateType.PENDING)
    lost = await stage.until(run, StateType.SCHEDULED)
    assert lost.reschedule_count == 1
    async with stage.runner() as (second, _said):
        taken = await stage.until(run, StateType.PENDING)
        assert taken.runner_name == second.name
        assert taken.fencing_token > run.fencing_token


async def test_the_run_of_a_runner_that_vanished_crashes_where_it_may_not_run_again(stage):
    async with stage.runner() as (first, _said):
        run = await stage.ask("wait_quietly")
        await stage.until(run, StateType.PENDING)
    ended = await stage.until(run, StateType.CRASHED)
    assert f"Runner {first.name} stopped sending heartbeats" in ended.state.message


async def lose_a_run(stage: Stage, flows: Path) -> runs.FlowRun:
    """Have a runner vanish with a run."""
    async with stage.runner(entry=ENGINE):
        run = await stage.ask("flows.py:lasting", path=str(flows))
        await stage.until(run, StateType.RUNNING)
    return run


async def test_the_hooks_of_the_run_of_a_lost_runner_are_called_by_another(stage, flows):
    run = await lose_a_run(stage, flows)
    async with stage.runner(entry=ENGINE, grace_seconds=20) as (other, _said):
        await stage.until(run, StateType.CRASHED)
        await noted(flows)
        other.stop()
    assert (flows / "noted").read_text() == f"{run.name} Crashed"


async def test_a_runner_that_comes_later_calls_the_hooks_of_lost_runs(stage, flows):
    run = await lose_a_run(stage, flows)
    await stage.until(run, StateType.CRASHED)
    assert not (flows / "noted").exists()
    async with stage.runner(entry=ENGINE, grace_seconds=20) as (other, _said):
        await noted(flows)
        other.stop()  # which waits for hooks
    assert (flows / "noted").read_text() == f"{run.name} Crashed"


async def noted(flows: Path) -> None:
    """Wait until a hook has begun to say something."""
    with anyio.fail_after(PATIENCE_SECONDS):
        while not (flows / "noted").exists():  # noqa: ASYNC110 - written by another process
            await anyio.sleep(0.02)


async def test_a_pool_that_does_not_exist_is_refused(stage):
    made = runner.Runner(stage.api_url, pools=["gpu"])
    with pytest.raises(errors.NotFound) as caught:
        await made.run(handle_signals=False)
    assert caught.value.name == "gpu"


async def test_runs_survive_a_restart_of_the_server_and_all_slots_are_there_afterwards(
    tmp_path, monkeypatch
):
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    stage = Stage(tmp_path)
    async with stage.client, stage.runner(limit=3, wait=False) as (_made, said):
        async with App(stage.settings).running():
            run = await stage.ask("wait_quietly")
            before = await stage.until(run, StateType.PENDING)
        async with App(stage.settings).running():
            others = [await stage.ask("wait_quietly") for _ in range(2)]
            for other in others:
                await stage.until(other, StateType.PENDING)
            after = await stage.client.read_flow_run(run.id)
            assert after.fencing_token == before.fencing_token
            assert after.state == before.state
            for each in (run, *others):
                await stage.client.cancel_flow_run(each.id)
                await stage.until(each, StateType.CANCELLED)
            last = [await stage.ask("wait_quietly") for _ in range(3)]
            for each in last:
                await stage.until(each, StateType.PENDING)
            assert any("Connected again" in line for line in said)
