"""Tasks and flows execute in other processes, which can be killed; their runs stay here."""

import asyncio
import logging
import os
import pathlib
import signal
import subprocess
import sys
import threading
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from typing import Any

import pytest

from headgate import flow, get_run_logger, runtime, tags, task
from headgate.client.orchestration import SyncHeadgateClient
from headgate.context import (
    FlowRunContext,
    TaskRunContext,
    hydrated_context,
    serialize_context,
    with_context,
)
from headgate.core import errors
from headgate.core.clock import SystemClock
from headgate.engine import cells
from headgate.settings import get_current_settings, temporary_settings
from headgate.task_runners import ProcessPoolTaskRunner, ThreadPoolTaskRunner
from tests.processes import eventually

_CLOCK = SystemClock()

pytestmark = pytest.mark.slow  # a fresh interpreter takes longer than a quarter of a second


def pid_is_gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def here() -> FlowRunContext:
    context = FlowRunContext.get()
    assert context is not None
    return context


@task
def pid(_n: int = 0) -> int:
    return os.getpid()


@task
def add(a: int, b: int = 1) -> int:
    return a + b


@task
def nested(a: int) -> int:
    return add.submit(a).result() + add(a)


@flow
def double(n: int) -> int:
    get_run_logger().info("doubling %d", n)
    return add(n, n)


@task
def blocks_in_c() -> None:
    # As a library may that waits for a server: it does not even return for a signal.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGALRM})
    threading.Event().wait(60)


@task
def burns() -> int:
    # One call in C: between its beginning and its end Python looks for no signal.
    return sum(range(10**12))


class Odd(Exception):
    """Cannot be made again of its arguments."""

    def __init__(self, one: int, two: int) -> None:
        super().__init__("odd")


def logs_of(server: SyncHeadgateClient, flow_run_id: str) -> set[str]:
    return {record.message for record in server.read_logs(flow_run_ids=[flow_run_id])}


def runs_of(server: SyncHeadgateClient, flow_run_id: str) -> dict[str, Any]:
    return {run.name: run for run in server.read_task_runs(flow_run_ids=[flow_run_id])}


def test_tasks_execute_elsewhere_and_are_recorded_here(server: SyncHeadgateClient):
    @flow(task_runner=ProcessPoolTaskRunner(max_workers=2))
    def works():
        return here().flow_run.id, pid.map(range(4)).result(), pid()

    flow_run_id, pids, called = works()
    assert os.getpid() not in pids
    assert 1 <= len(set(pids)) <= 2
    assert called == os.getpid(), "a task that is called, not submitted, runs here"
    names = [s.name for s in server.read_task_run_states(runs_of(server, flow_run_id)["pid-0"].id)]
    assert names == ["Pending", "Running", "Completed"]
    eventually(lambda: all(pid_is_gone(one) for one in pids), what="the processes have ended")


def test_code_elsewhere_knows_its_run(server: SyncHeadgateClient):
    """Logs, prints, tags, settings, runtime, and the runs of tasks that it calls itself."""

    @task(log_prints=True, tags=["mine"])
    def looks(n: int):
        get_run_logger().info("logged %d", n)
        print("printed", n)
        context = TaskRunContext.get()
        assert context is not None
        assert FlowRunContext.get() is not None
        return {
            "id": context.id,
            "tags": set(runtime.task_run.tags),
            "task": runtime.task_run.task_name,
            "flow": runtime.flow_run.flow_name,
            "parameters": (runtime.flow_run.parameters, runtime.task_run.parameters),
            "level": get_current_settings().tasks_default_retries,
            "nested": nested.submit(n).result(),
            "called": nested(n),
        }

    @flow(task_runner=ProcessPoolTaskRunner(max_workers=1))
    def works(x: int):
        with tags("around"), temporary_settings({"tasks_default_retries": 7}):
            return here().flow_run.id, looks.submit(5).result()

    flow_run_id, seen = works(3)
    runs = runs_of(server, flow_run_id)
    assert seen["id"] == runs["looks-0"].id
    assert seen["tags"] == {"mine", "around"}
    assert (seen["task"], seen["flow"], seen["level"]) == ("looks", "works", 7)
    assert seen["parameters"] == ({"x": 3}, {"n": 5})
    assert (seen["nested"], seen["called"]) == (12, 12)
    assert set(runs) == {
        "looks-0",
        *("nested-0", "nested-1"),
        *("add-0", "add-1", "add-2", "add-3"),
    }
    assert all(run.state.name == "Completed" for run in runs.values())
    assert runs["nested-0"].parent_task_run_id == seen["id"]
    assert runs["add-0"].parent_task_run_id == runs["nested-0"].id
    eventually(lambda: {"logged 5", "printed 5"} <= logs_of(server, flow_run_id))


def test_failures_elsewhere_are_failures_here_and_are_tried_again(
    server: SyncHeadgateClient, tmp_path: pathlib.Path
):
    marks = tmp_path / "marks"
    heard = []

    def hook(_task: Any, run: Any, state: Any) -> None:
        heard.append((run.name, state.name, os.getpid()))

    @task(retries=2, on_failure=[hook])
    def fails_twice():
        with marks.open("a") as file:
            file.write("x")
        if len(marks.read_text()) < 3:
            raise ValueError("not yet")
        return "done"

    @task(on_failure=[hook])
    def odd():
        raise Odd(1, 2)

    @flow(task_runner=ProcessPoolTaskRunner(max_workers=1))
    def works():
        assert fails_twice.submit().result() == "done"
        error = odd.submit().result(raise_on_failure=False)
        assert isinstance(error, errors.IsolatedError)
        assert str(error) == "Odd: odd"
        assert "in odd\n" in error.__notes__[0], "the traceback of the other process"

    works()
    assert heard == [("odd-0", "Failed", os.getpid())]


@pytest.mark.parametrize("blocking", [blocks_in_c, burns], ids=["in C", "burning"])
@pytest.mark.parametrize("how", ["pool", "isolate", "submitted"])
def test_a_timeout_holds_whatever_the_task_does(
    blocking: Any, how: str, server: SyncHeadgateClient, monkeypatch: pytest.MonkeyPatch
):
    """N21: killed where nothing else helps, and the next attempt begins in a fresh process."""
    monkeypatch.setattr(cells, "GRACE_SECONDS", 0.1)
    timed = blocking.with_options(timeout_seconds=0.2, retries=1, isolate=how != "pool")
    runner = ProcessPoolTaskRunner(1) if how == "pool" else ThreadPoolTaskRunner()

    @flow(task_runner=runner)
    def works():
        if how == "isolate":
            return timed(return_state=True)
        return timed.submit(return_state=True)

    started = _CLOCK.monotonic()
    state: Any = works(return_state=True).result(raise_on_failure=False)
    assert isinstance(state.result(raise_on_failure=False), errors.TaskRunTimeoutError)
    assert _CLOCK.monotonic() - started < 30, "not the minute that the call takes"


def test_a_timed_task_elsewhere_may_clean_up(server: SyncHeadgateClient, tmp_path: pathlib.Path):
    mark = tmp_path / "mark"

    @task(timeout_seconds=0.1, isolate=True)
    def waits():
        try:
            threading.Event().wait(20)
        finally:
            mark.write_text(str(os.getpid()))

    @task(isolate=True)
    def same() -> int:
        return os.getpid()

    @flow
    def works():
        assert waits(return_state=True).name == "TimedOut"
        return same()

    assert works() == int(mark.read_text()), "the process was not killed: it is used again"


def test_a_process_that_dies_fails_its_task_alone(server: SyncHeadgateClient):
    @task
    def dies(how: str):
        if how == "exits":
            os._exit(3)
        os.kill(os.getpid(), signal.SIGSEGV)

    @flow(task_runner=ProcessPoolTaskRunner(max_workers=2))
    def works():
        exits, crashes, fine = dies.submit("exits"), dies.submit("crashes"), add.submit(1)
        assert fine.result() == 2
        return [str(f.result(raise_on_failure=False)) for f in (exits, crashes)]

    exits, crashes = works()
    assert "it exited with code 3. Find what ends the process, such as os._exit" in exits
    assert "SIGSEGV. Code in C crashed; set PYTHONFAULTHANDLER=1" in crashes


def test_what_cannot_be_sent_is_named(server: SyncHeadgateClient):
    @task
    def takes(number: int, lock: Any, *more: Any) -> Any:
        return number, lock, more

    @task
    def returns_a_lock() -> Any:
        return threading.Lock()

    @flow(task_runner=ProcessPoolTaskRunner(max_workers=1))
    def works():
        argument = takes.submit(1, threading.Lock()).result(raise_on_failure=False)
        third = takes.submit(1, 2, threading.Lock()).result(raise_on_failure=False)
        result = returns_a_lock.submit().result(raise_on_failure=False)
        return argument, third, result

    argument, third, result = works()
    assert isinstance(argument, errors.SerializationError)
    assert "Argument 'lock' of task 'takes'" in str(argument)
    assert "Argument number 3 of task 'takes'" in str(third)
    assert isinstance(result, errors.SerializationError)
    assert "The result of task 'returns_a_lock'" in str(result)
    assert str(result).endswith("Return what can be pickled, or run the task on threads.")
    # What is said is not said again, as from another process.
    assert getattr(result, "__notes__", []) == []


def test_an_initializer_is_called_first_in_each_process(server: SyncHeadgateClient):
    def prepare(value: str) -> None:
        os.environ["PREPARED"] = value

    @task
    def reads() -> str | None:
        return os.environ.get("PREPARED")

    runner = ProcessPoolTaskRunner(1, initializer=prepare, initargs=("yes",))

    @flow(task_runner=runner)
    def works():
        return reads.submit().result()

    assert works() == "yes"

    def refuses() -> None:
        raise ValueError("not today")

    @flow(task_runner=ProcessPoolTaskRunner(1, initializer=refuses))
    def fails():
        return [reads.submit().result(raise_on_failure=False) for _ in range(2)]

    assert [str(error) for error in fails()] == ["not today"] * 2


def test_messages_of_processes_can_be_changed_and_dropped(server: SyncHeadgateClient):
    def make():
        def process(kind: str, facts: dict[str, Any]):
            if "secret" in facts["message"]:
                return None
            return kind, {**facts, "message": facts["message"].upper()}

        return process

    runner = ProcessPoolTaskRunner(1, subprocess_message_processor_factories=[make])
    assert runner.duplicate() == runner
    assert runner.duplicate().subprocess_message_processor_factories == (make,)

    @task
    def says():
        get_run_logger().info("hello")
        get_run_logger().info("secret")

    @flow(task_runner=runner)
    def works():
        says.submit().result()
        return here().flow_run.id

    flow_run_id = works()
    eventually(lambda: "HELLO" in logs_of(server, flow_run_id))
    assert not [line for line in logs_of(server, flow_run_id) if "secret" in line.lower()]


def test_flows_are_submitted_to_other_processes_too(server: SyncHeadgateClient):
    @flow
    def where() -> int:
        return os.getpid()

    @flow(task_runner=ProcessPoolTaskRunner(max_workers=2))
    def parent():
        future = double.submit(add.submit(1))
        elsewhere = where.submit().result()
        assert double.map([1, 2]).result() == [2, 4]
        bad = double.submit(1, wait_for=[blocked.submit()], return_state=True)
        ids = here().flow_run.id, future.flow_run_id, future.task_run_id
        return ids, future.result(), elsewhere, bad.name

    @flow
    def blocked():
        raise ValueError

    (flow_run_id, child_id, tracking_id), result, elsewhere, bad = parent()
    assert (result, bad) == (4, "NotReady")
    assert elsewhere != os.getpid()
    child = server.read_flow_run(child_id)
    assert child.state.name == "Completed"
    assert child.parent_task_run_id == tracking_id
    runs = {run.id: run for run in runs_of(server, flow_run_id).values()}
    assert runs[tracking_id].state.name == "Completed"
    assert set(runs_of(server, child.id)) == {"add-0"}
    eventually(lambda: "doubling 2" in logs_of(server, child.id))


def test_async_tasks_and_flows_execute_elsewhere_and_can_be_awaited(server: SyncHeadgateClient):
    @task
    async def where() -> int:
        await asyncio.sleep(0)
        return os.getpid()

    @task(isolate=True, timeout_seconds=20)
    async def alone() -> int:
        await asyncio.sleep(0)
        return os.getpid()

    @flow(task_runner=ProcessPoolTaskRunner(max_workers=1))
    async def works():
        return await where.submit(), await alone()

    pids = asyncio.run(works())
    assert os.getpid() not in pids
    assert len(set(pids)) == 2


def test_cancelling_the_flow_kills_what_executes_elsewhere(
    server: SyncHeadgateClient, tmp_path: pathlib.Path
):
    mark = tmp_path / "mark"

    @task
    def blocks():
        mark.write_text(str(os.getpid()))
        blocks_in_c.fn()

    @flow(task_runner=ProcessPoolTaskRunner(max_workers=1))
    def works():
        flow_run_id = here().flow_run.id
        future = blocks.submit()
        eventually(lambda: mark.exists() and mark.read_text())
        threading.Thread(target=server.cancel_flow_run, args=(flow_run_id,)).start()
        future.wait()

    state = works(return_state=True)
    assert state.is_cancelled()
    eventually(lambda: pid_is_gone(int(mark.read_text())))


def test_a_script_needs_no_main_guard(api_url: str, tmp_path: pathlib.Path):
    script = tmp_path / "script.py"
    script.write_text(
        """
from headgate import flow, task
from headgate.task_runners import ProcessPoolTaskRunner

@task
def inner(n): return n + 1

@task
def outer(n): return inner(n) + inner.submit(n).result()

@flow
def sub(n): return outer(n)

@flow(task_runner=ProcessPoolTaskRunner(max_workers=2))
def main(): return outer.map([1, 2]).result() + [sub.submit(1).result()]

print("RESULT", main())
"""
    )
    done = subprocess.run(
        [sys.executable, str(script)],
        env={**os.environ, "HEADGATE_API_URL": api_url, "HEADGATE_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout.count("RESULT") == 1, done.stderr
    assert "RESULT [4, 6, 4]" in done.stdout


def test_a_generator_cannot_be_isolated():
    with pytest.raises(TypeError, match="generator"):

        @task(isolate=True)
        def counts():
            yield 1

    wrong: Any = "yes"
    with pytest.raises(TypeError, match="True or False"):
        task(isolate=wrong)(lambda: None)


# --- One's own threads and processes ---


def work(n: int) -> tuple[int, str, str]:
    get_run_logger().info("worked on %d", n)
    context = FlowRunContext.get()
    assert context is not None
    return nested(n), context.flow_run.id, ",".join(runtime.flow_run.tags)


@pytest.mark.parametrize("kind", ["threads", "spawn", "forkserver"])
def test_ones_own_pool_works_in_the_run_with_context(kind: str, server: SyncHeadgateClient):
    """TR9, CX7: loggers find their run there, and tasks are recorded in it."""
    logging.getLogger("headgate")

    @flow
    def works():
        pool = (
            ThreadPoolExecutor(2)
            if kind == "threads"
            else ProcessPoolExecutor(1, mp_context=get_context(kind))
        )
        with tags("t"), pool:
            results = list(pool.map(with_context(work), [1, 2]))
        return here().flow_run.id, results

    flow_run_id, results = works()
    assert [(number, run_id) for number, run_id, _tags in results] == [
        (4, flow_run_id),
        (6, flow_run_id),
    ]
    assert sorted(runs_of(server, flow_run_id)) == [
        *("add-0", "add-1", "add-2", "add-3"),
        *("nested-0", "nested-1"),
    ]
    eventually(lambda: {"worked on 1", "worked on 2"} <= logs_of(server, flow_run_id))


def test_an_async_function_with_context_runs_in_the_run_on_any_loop(
    server: SyncHeadgateClient,
):
    async def works_async() -> str:
        await asyncio.sleep(0)
        return runtime.flow_run.id or ""

    @flow
    def works():
        wrapped = with_context(works_async)
        with ThreadPoolExecutor(1) as pool:
            return here().flow_run.id, pool.submit(lambda: asyncio.run(wrapped())).result()

    flow_run_id, seen = works()
    assert seen == flow_run_id


def test_a_context_can_be_taken_to_where_there_is_no_way_back(server: SyncHeadgateClient):
    """As on another machine: lines go to the server, tasks run and are not recorded."""

    @flow
    def works():
        return serialize_context()

    carried = works()
    carried["relay"] = None
    flow_run_id = carried["flow_run_context"]["flow_run"].id
    with hydrated_context(carried):
        assert work(1)[:2] == (4, flow_run_id)
    assert FlowRunContext.get() is None
    eventually(lambda: "worked on 1" in logs_of(server, flow_run_id))
    assert runs_of(server, flow_run_id) == {}


def test_an_empty_context_changes_nothing():
    with hydrated_context(None):
        assert FlowRunContext.get() is None
    assert serialize_context()["flow_run_context"] == {}
