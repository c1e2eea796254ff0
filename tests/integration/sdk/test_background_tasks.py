"""Background tasks are asked for here and executed by whoever serves them."""

from __future__ import annotations

import asyncio
import contextvars
import json
import threading
import urllib.request
from collections.abc import Iterator

import pytest

from headgate import flow, task
from headgate._distributed_future import Reminder
from headgate.client.orchestration import SyncHeadgateClient
from headgate.core import errors, runs
from headgate.futures import as_completed, wait
from headgate.states import StateType
from headgate.task_runners import BackgroundTaskRunner
from headgate.task_worker import TaskWorker, _status_server, serve


@task
def add(a: int, b: int = 2) -> int:
    return a + b


@task
async def later(text: str) -> str:
    return text.upper()


@task(retries=1)
def fails() -> None:
    raise ValueError("broken")


@task
def length(data: bytes) -> int:
    return len(data)


@pytest.fixture
def worker(server: SyncHeadgateClient) -> Iterator[TaskWorker]:
    """Serve the tasks of this file from a thread."""
    worker = TaskWorker(add, later, fails, length, print_messages=False)
    context = contextvars.copy_context()  # with the settings of the test
    thread = threading.Thread(target=lambda: context.run(worker.start))
    thread.start()
    assert worker.is_started.wait(20)
    yield worker
    worker.stop()
    thread.join(20)
    assert not thread.is_alive()


def test_a_delayed_task_waits_until_somebody_serves_it(server: SyncHeadgateClient):
    future = add.delay(1)
    assert future.state.type is StateType.SCHEDULED
    future.wait(0.01)
    assert not future.done()
    run = server.read_flow_run(future.flow_run_id)
    assert run.flow_name == runs.TASKS_FLOW
    with pytest.raises(TimeoutError, match="Background task"):
        future.result(0.01)


def test_it_is_said_once_that_nobody_serves_what_is_waited_for(
    server: SyncHeadgateClient, capfd: pytest.CaptureFixture[str]
):
    reminder = Reminder(None, seconds=3600)
    for future in (add.delay(1), add.delay(2)):
        reminder.add(future)
    for future in (later.delay("x"), ended := length.delay(b"y")):
        reminder.add(future)
    server.cancel_flow_run(ended.flow_run_id)
    reminder.tell()
    said = capfd.readouterr().err
    assert said.count("Waiting for the background task 'add', which nobody has taken") == 1
    assert said.count("Waiting for the background task 'later'") == 1
    assert "'length'" not in said
    reminder.add(add.delay(1))
    reminder.tell()
    assert "Waiting" not in capfd.readouterr().err


def test_a_delayed_task_is_executed_and_its_result_handed_back(
    server: SyncHeadgateClient, worker: TaskWorker
):
    future = add.delay(1, b=3)
    assert future.result(20) == 4
    assert future.state.is_completed()
    assert server.read_task_run(future.task_run_id).state.type is StateType.COMPLETED
    assert later.delay("x").result(20) == "X"


def test_a_failure_is_raised_where_it_was_asked_for(worker: TaskWorker):
    future = fails.delay()
    with pytest.raises(ValueError, match="broken"):
        future.result(20)
    assert isinstance(future.result(20, raise_on_failure=False), ValueError)


def test_what_is_too_big_for_the_wire_goes_by_the_result_storage(worker: TaskWorker):
    assert length.delay(b"x" * 1_000_000).result(20) == 1_000_000


def test_many_are_waited_for_together(worker: TaskWorker):
    futures = [add.delay(n) for n in range(5)]
    assert sorted(future.result() for future in as_completed(futures, timeout=20)) == [
        2,
        3,
        4,
        5,
        6,
    ]
    assert len(wait(futures).done) == 5


async def test_a_delayed_task_can_be_awaited(worker: TaskWorker):
    future = add.delay(1)
    assert await future == 3


def test_a_flow_may_delay_tasks_on_futures_and_pass_them_on(worker: TaskWorker):
    @task
    def double(n: int) -> int:
        return 2 * n

    @flow
    def works() -> int:
        first = add.submit(1)
        delayed = add.apply_async((first,), {"b": 10}, wait_for=[first])
        return double.submit(delayed).result()

    assert works() == 26


def test_a_call_that_does_not_fit_is_refused_at_once():
    with pytest.raises(errors.ParameterBindError):
        add.delay()  # pyright: ignore[reportCallIssue]  # that is the point


def test_serving_nothing_or_what_is_no_task_is_refused():
    with pytest.raises(errors.InvalidArgument, match="one at least"):
        serve()
    with pytest.raises(errors.InvalidArgument, match="decorate it with @task"):
        serve(len)  # pyright: ignore[reportArgumentType]  # that is the point


async def test_serving_blocks_and_says_so_where_a_loop_runs():
    with pytest.raises(errors.FailedPrecondition, match="aserve"):
        serve(add)


def test_a_worker_tells_how_it_stands():
    worker = TaskWorker(add)
    with (
        _status_server(worker, 0) as port,
        urllib.request.urlopen(f"http://127.0.0.1:{port}/status") as answer,
    ):
        told = json.load(answer)
    assert told == {"tasks": [add.task_key], "limit": 10, "current_tasks": 0}


def test_a_flow_may_leave_all_its_tasks_to_those_who_serve_them(worker: TaskWorker):
    @flow(task_runner=BackgroundTaskRunner())
    def works() -> list[int]:
        add.submit(0)  # nobody looks at it, and the flow waits for it
        return add.map([1, 2], 10).result()

    assert works() == [11, 12]


def test_a_map_may_be_left_to_those_who_serve_the_task(worker: TaskWorker):
    assert add.map([1, 2], deferred=True).result() == [3, 4]


def test_who_begins_to_wait_when_another_thread_has_just_heard_of_the_end_does_not_wait(
    server: SyncHeadgateClient,
):
    futures = [add.delay(1), add.delay(2)]
    for future in futures:
        # The other thread has noted where the run stands, and is about to say that it ended.
        future._run = server.cancel_flow_run(future.flow_run_id)
    futures[0].wait()
    asyncio.run(futures[1].wait_async())
    assert all(future.state.is_cancelled() for future in futures)


def test_two_threads_that_hear_of_the_end_at_once_do_not_disturb_each_other(
    server: SyncHeadgateClient, monkeypatch: pytest.MonkeyPatch
):
    future = add.delay(1)
    ended = server.cancel_flow_run(future.flow_run_id)
    make = future._state_of
    # The other one is a moment faster.
    monkeypatch.setattr(future._ended, "done", lambda: False)
    future._ended.set_result(make(ended))
    monkeypatch.setattr(future, "_state_of", make)
    future.look(ended)
    monkeypatch.undo()
    assert future.state.is_cancelled()


@pytest.mark.parametrize(
    "problem", [errors.Unavailable("The server is away."), RuntimeError("a mistake of ours")]
)
def test_who_waits_hears_of_the_end_whatever_happened_to_who_listens(
    worker: TaskWorker, monkeypatch: pytest.MonkeyPatch, problem: Exception
):
    watch = vars(SyncHeadgateClient)["watch"]
    away: list[int] = []

    def stumble(self: SyncHeadgateClient, **options):
        if not away:
            away.append(1)
            raise problem
        return watch.__get__(self, type(self))(**options)

    monkeypatch.setattr(SyncHeadgateClient, "watch", stumble)
    ended = threading.Event()
    add.delay(1).add_done_callback(lambda _future: ended.set())
    assert ended.wait(20)
    assert away
