"""A whole runner, with real child processes, against a scripted server."""

from __future__ import annotations

import contextlib
import functools
import re
import signal
import sys
from pathlib import Path

import anyio
import psutil
import pytest

from headgate.api.v1 import lease_service_pb2 as pb
from headgate.codec import times
from headgate.core import errors
from headgate_runner import runner
from headgate_runner.executors import process
from tests.integration.runner import fake_lease_service as fake
from tests.integration.runner import gone

ENTRY = "child_entries:main"


@pytest.fixture
async def server(tmp_path):
    async with fake.fake_server(tmp_path / "s") as started:
        yield started


class Running:
    """A runner under way, and what it said."""

    def __init__(self, made: runner.Runner, said: Said) -> None:
        self.runner = made
        self.said = said
        self.over = anyio.Event()


class Said:
    """What a runner said."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._more = anyio.Event()

    def append(self, line: str) -> None:
        self.lines.append(line)
        self._more.set()

    async def wait_for(self, pattern: str) -> re.Match[str]:
        """Wait until the runner says, or has said, something."""
        with anyio.move_on_after(fake.PATIENCE_SECONDS):
            while True:
                for line in self.lines:
                    if match := re.search(pattern, line):
                        return match
                self._more = anyio.Event()
                await self._more.wait()
        raise AssertionError("\n".join([f"not said: {pattern}", *self.lines]))


@pytest.fixture
def running(server, monkeypatch):
    """Runs a runner for the length of a ``with`` block."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))

    @contextlib.asynccontextmanager
    async def start(**options):
        said = Said()
        made = runner.Runner(
            server.api_url,
            name="r",
            write=said.append,
            open_executor=functools.partial(process.open_executor, entry=ENTRY),
            **options,
        )
        found = Running(made, said)

        async def run() -> None:
            await made.run(handle_signals=False)
            found.over.set()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(run)
            yield found
            tasks.cancel_scope.cancel()

    return start


async def give(server: fake.FakeServer, entrypoint: str, **of_deployment):
    """Welcome the runner and have it take a run."""
    connection = await server.stream()
    await connection.welcome()
    await connection.read("credit")
    offered = fake.offer(entrypoint=entrypoint, **of_deployment)
    await connection.send(offer=offered)
    await connection.read("accept")
    return connection, offered.flow_run.id


async def released(connection: fake.FakeStream, run_id: str) -> pb.Release:
    """Read the release of a run and confirm it."""
    release = (await connection.read("release")).release
    assert release.flow_run_id == run_id
    await connection.send(released=pb.Released(flow_run_id=run_id, fencing_token=1))
    return release


async def test_a_run_is_executed_its_output_kept_and_its_lease_released(server, running):
    async with running() as found:
        connection, run_id = await give(server, "succeed")
        assert (await released(connection, run_id)).outcome == pb.RELEASE_OUTCOME_FINISHED
        assert (await connection.read("credit")).credit.granted_total == 11
        await found.said.wait_for(r"^brave-otter \| hello$")
        await found.said.wait_for(r"Run 'brave-otter' ended: Completed \(\d+\.\d s\)\.")
        await server.wait_for_line("hello")
        await server.wait_for_line("careful")


async def test_a_killed_process_is_a_crash_with_the_signal_named(server, running):
    async with running():
        connection, run_id = await give(server, "kill_self")
        release = await released(connection, run_id)
        assert release.outcome == pb.RELEASE_OUTCOME_CRASHED
        assert "SIGKILL (exit code -9)" in release.message
        await server.wait_for_line(release.message)


async def test_a_run_that_cannot_be_started_is_a_crash_with_the_reason(server, running):
    async with running():
        connection, run_id = await give(server, "succeed", job_variables={"env": "[]"})
        release = await released(connection, run_id)
        assert release.outcome == pb.RELEASE_OUTCOME_CRASHED
        assert "job variable 'env'" in release.message


async def cancel(connection: fake.FakeStream, run_id: str, grace: float) -> None:
    action = {"grace": times.to_duration(grace), "reason": "Enough."}
    await connection.send(control={"flow_run_id": run_id, "cancel": action})


async def test_a_cancelled_run_is_told_why_before_the_signal_and_may_report_itself(server, running):
    async with running() as found:
        connection, run_id = await give(server, "wait_for_stop")
        await found.said.wait_for(r"\| waiting$")
        await cancel(connection, run_id, 20)
        assert (await released(connection, run_id)).outcome == pb.RELEASE_OUTCOME_FINISHED
        await found.said.wait_for(r'\| {"intent": "cancel"}$')
        await found.said.wait_for("ended: Cancelled")


async def test_a_cancelled_run_that_does_not_end_is_killed_after_the_grace(server, running):
    async with running() as found:
        connection, run_id = await give(server, "ignore_stop")
        own = int((await found.said.wait_for(r"\| waiting (\d+)$"))[1])
        await cancel(connection, run_id, 0.1)
        release = await released(connection, run_id)
        assert release.outcome == pb.RELEASE_OUTCOME_CRASHED
        assert "was cancelled; its process was killed" in release.message
        await gone.wait_until_gone(own)


async def test_a_run_whose_lease_is_lost_is_stopped_without_a_word_to_the_server(server, running):
    async with running() as found:
        connection, run_id = await give(server, "ignore_stop")
        await found.said.wait_for(r"\| waiting")
        await connection.send(
            revoke=pb.Revoke(flow_run_id=run_id, fencing_token=1, grace=times.to_duration(0.1))
        )
        assert (await connection.read("credit")).credit.granted_total == 11
        await found.said.wait_for("was stopped: its lease is lost")


async def test_what_lives_on_behind_a_run_does_not_hold_its_end_up(server, running):
    async with running() as found:
        connection, run_id = await give(server, "leave_somebody_behind")
        own = int((await found.said.wait_for(r"\| (\d+)$"))[1])
        assert (await released(connection, run_id)).outcome == pb.RELEASE_OUTCOME_FINISHED
        psutil.Process(own).kill()


async def test_a_stopped_runner_lets_its_runs_finish_then_says_goodbye(server, running):
    async with running(grace_seconds=20) as found:
        connection, run_id = await give(server, "wait_for_stop")
        await found.said.wait_for(r"\| waiting$")
        found.runner.stop()
        assert times.from_duration((await connection.read("drain")).drain.grace) == 20
        await cancel(connection, run_id, 20)  # how this run finishes
        assert (await released(connection, run_id)).outcome == pb.RELEASE_OUTCOME_FINISHED
        await connection.read("goodbye")
        connection.end()
        with anyio.fail_after(fake.PATIENCE_SECONDS):
            await found.over.wait()


@pytest.mark.parametrize("how", ["grace", "twice"])
async def test_a_stopped_runner_hands_back_what_does_not_finish(server, running, how):
    async with running(grace_seconds=0.05 if how == "grace" else 60) as found:
        connection, run_id = await give(server, "wait_quietly")
        await found.said.wait_for(r"\| waiting$")
        found.runner.stop()
        await connection.read("drain")
        if how == "twice":
            found.runner.stop()
        release = await released(connection, run_id)
        assert release.outcome == pb.RELEASE_OUTCOME_HANDED_BACK
        await found.said.wait_for(r'\| {"intent": "reschedule"}$')
        await connection.read("goodbye")
        connection.end()
        with anyio.fail_after(fake.PATIENCE_SECONDS):
            await found.over.wait()


async def test_a_runner_survives_the_end_of_its_fork_server(server, running):
    async with running() as found:
        connection, run_id = await give(server, "wait_for_stop")
        await found.said.wait_for(r"\| waiting$")
        pid = int((await found.said.wait_for(r"started \(process (\d+)\)"))[1])
        psutil.Process(psutil.Process(pid).ppid()).kill()
        release = await released(connection, run_id)
        assert release.outcome == pb.RELEASE_OUTCOME_CRASHED
        await connection.read("credit")
        offered = fake.offer(entrypoint="succeed")
        await connection.send(offer=offered)
        await connection.read("accept")
        release = await released(connection, offered.flow_run.id)
        assert release.outcome == pb.RELEASE_OUTCOME_FINISHED


async def test_a_server_that_is_away_is_told_of_once_and_its_return_too(server, running):
    async with running() as found:
        connection, _run_id = await give(server, "wait_for_stop")
        await found.said.wait_for(r"\| waiting$")
        await server.stop()
        await found.said.wait_for("Not connected: .* 1 of its runs go on")
        await server.start()
        connection = await server.stream()
        hello = await connection.welcome()
        assert len(hello.held) == 1
        await found.said.wait_for("Connected again")
        told = [line for line in found.said.lines if "Not connected" in line]
        assert len(told) == len(set(told))


async def test_a_runner_that_cannot_make_processes_says_so_and_ends(server, capfd):
    made = runner.Runner(
        server.api_url,
        open_executor=functools.partial(process.open_executor, entry="no_such_module:main"),
    )
    with pytest.raises(errors.HeadgateError, match="cannot start"):
        await made.run(handle_signals=False)
    assert "no_such_module" in capfd.readouterr().err


@contextlib.asynccontextmanager
async def command(server: fake.FakeServer, *arguments: str):
    """The command line, as its own process."""
    line = [sys.executable, "-m", "headgate_runner", "start", "--api-url", server.api_url]
    async with await anyio.open_process([*line, *arguments], stderr=-1, stdout=-1) as started:
        yield started
        if started.returncode is None:
            started.kill()


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_an_idle_runner_in_order(server, number):
    async with command(server, "--name", "r") as started:
        connection = await server.stream()
        await connection.welcome()
        await connection.read("credit")
        started.send_signal(number)
        await connection.read("drain")
        await connection.read("goodbye")
        connection.end()
        with anyio.fail_after(fake.PATIENCE_SECONDS):
            assert await started.wait() == 0


@pytest.mark.slow
async def test_a_pool_that_does_not_exist_is_an_error_in_one_sentence(server):
    async with command(server, "--pool", "gpu") as started:
        connection = await server.stream()
        await connection.read("hello")
        connection.end(errors.NotFound("work pool", "gpu"))
        with anyio.fail_after(fake.PATIENCE_SECONDS):
            assert await started.wait() == 1
        assert started.stderr is not None
        told = (await started.stderr.receive()).decode()
        assert told.startswith("Error: There is no work pool 'gpu'")
        assert "headgate work-pool create gpu" in told
