"""The fork server and its children, as real processes that execute no flow."""

from __future__ import annotations

import errno
import functools
import json
import os
import signal
import sys
from datetime import UTC, datetime
from pathlib import Path

import anyio
import psutil
import pytest

from headgate.core import deployments, ids, runs, states
from headgate_runner import ending, jobs
from headgate_runner.executors import interface, process, spawn
from tests.integration.runner.gone import wait_until_gone

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def job(entrypoint: str) -> jobs.Job:
    id = ids.new_id()
    return jobs.Job(
        flow_run=runs.FlowRun(
            id=id,
            name="brave-otter",
            flow_id="f1",
            flow_name="hello",
            state=states.new_state(states.StateType.SCHEDULED, id="s1", now=NOW),
            root_flow_run_id=id,
            create_time=NOW,
        ),
        deployment=deployments.Deployment(
            id="d1",
            name="daily",
            flow_id="f1",
            flow_name="hello",
            create_time=NOW,
            update_time=NOW,
            etag="1",
            entrypoint=entrypoint,
        ),
        fencing_token=1,
    )


@pytest.fixture
def open_executor(monkeypatch):
    """Opens executors whose children call child_entries.main."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    return functools.partial(process.open_executor, "unix:///nowhere", entry="child_entries:main")


@pytest.fixture
async def executor(open_executor):
    async with open_executor() as opened:
        yield opened


async def finished(child: interface.Child) -> tuple[int, str, str, ending.Receipt | None]:
    with anyio.fail_after(20):
        receipt = await child.receipt()
        code = await child.wait()
        out, err = await child.stdout.read(), await child.stderr.read()
    child.close()
    return code, out.decode(), err.decode(), receipt


async def read_line(child: interface.Child) -> str:
    with anyio.fail_after(20):
        return (await child.stdout.readline()).decode().strip()


@pytest.mark.slow
async def test_a_spawned_process_is_a_child_like_any_other(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    command = [sys.executable, "-c", "import sys, child_entries; sys.exit(child_entries.main())"]
    async with spawn.open_executor("unix:///nowhere", command=command) as executor:
        child = await executor.start(job("wait_for_stop"))
        assert await read_line(child) == "waiting"
        child.terminate(interface.Intent.CANCEL)
        code, out, _err, receipt = await finished(child)
        assert (code, out) == (0, '{"intent": "cancel"}\n')
        assert receipt == ending.Receipt(type="CANCELLED", name="Cancelled")


async def test_a_child_prints_reports_and_ends(executor):
    child = await executor.start(job("succeed"))
    completed = ending.Receipt(type="COMPLETED", name="Completed")
    assert await finished(child) == (0, "hello\n", "careful\n", completed)


async def test_each_child_has_an_environment_a_session_and_ids_of_its_own(executor):
    wanted = [job("environment") for _ in range(3)]
    children = [await executor.start(one) for one in wanted]
    made_ids = set()
    for one, child in zip(wanted, children, strict=True):
        code, out, _err, _receipt = await finished(child)
        told, made_id = out.splitlines()
        told = json.loads(told)
        made_ids.add(made_id)
        assert code == 0
        assert told["pid"] == told["sid"] == child.pid
        assert told["env"]["HEADGATE__FLOW_RUN_ID"] == one.flow_run.id
        assert told["env"]["HEADGATE_API_URL"] == "unix:///nowhere"
    assert len(made_ids) == 3


async def test_exit_handlers_run_and_the_exit_code_is_told(executor):
    child = await executor.start(job("leave_with_3"))
    code, out, _err, receipt = await finished(child)
    assert (code, out, receipt) == (3, "an exit handler ran\n", None)


async def test_an_exception_nobody_caught_is_printed(executor):
    code, _out, err, receipt = await finished(await executor.start(job("raise_something")))
    assert (code, receipt) == (1, None)
    assert "ValueError: broken" in err


async def test_a_killed_child_is_told_by_its_signal(executor):
    code, *_ = await finished(await executor.start(job("kill_self")))
    assert code == -signal.SIGKILL


async def test_a_child_hears_the_intent_before_the_signal(executor):
    child = await executor.start(job("wait_for_stop"))
    assert await read_line(child) == "waiting"
    child.terminate(interface.Intent.CANCEL)
    code, out, _err, receipt = await finished(child)
    assert (code, out) == (0, '{"intent": "cancel"}\n')
    assert receipt == ending.Receipt(type="CANCELLED", name="Cancelled")


async def test_a_kill_ends_what_the_child_has_started_too(executor):
    child = await executor.start(job("ignore_stop"))
    own = int((await read_line(child)).split()[1])
    child.terminate(interface.Intent.CANCEL)
    assert await read_line(child) == "own"
    child.kill()
    code, *_ = await finished(child)
    assert code == -signal.SIGKILL
    await wait_until_gone(own)


async def test_a_signal_to_a_child_that_has_ended_does_nothing(executor):
    child = await executor.start(job("succeed"))
    await finished(child)
    child.terminate(interface.Intent.CANCEL)
    child.kill()
    assert (await finished(await executor.start(job("succeed"))))[0] == 0


async def test_children_end_with_their_runner_without_a_word_to_the_server(open_executor):
    async with open_executor() as executor:
        child = await executor.start(job("wait_for_stop"))
        assert await read_line(child) == "waiting"
        # As when the runner is killed: its end of the socket closes.
        executor._link.sock.shutdown(2)
        assert await read_line(child) == '{"intent": "reschedule"}'
        await wait_until_gone(child.pid)
        child.close()


async def test_children_end_with_the_fork_server_and_a_new_one_is_made(executor):
    child = await executor.start(job("wait_for_stop"))
    assert await read_line(child) == "waiting"
    os.kill(psutil.Process(child.pid).ppid(), signal.SIGKILL)
    code, *_ = await finished(child)
    assert code == -signal.SIGKILL
    await wait_until_gone(child.pid)
    assert (await finished(await executor.start(job("succeed"))))[0] == 0


async def test_a_runner_without_descriptors_left_says_so_and_lives_on(executor, monkeypatch):
    def refuse() -> tuple[int, int]:
        raise OSError(errno.EMFILE, "Too many open files")

    with monkeypatch.context() as full:
        full.setattr(os, "pipe", refuse)
        with pytest.raises(jobs.UnusableJob, match="Too many open files"):
            await executor.start(job("succeed"))
    code, out, *_ = await finished(await executor.start(job("succeed")))
    assert (code, out) == (0, "hello\n")
