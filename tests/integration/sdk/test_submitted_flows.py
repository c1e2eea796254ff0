"""Flows are submitted and mapped, within flows and outside of them."""

import asyncio
import threading

import pytest

from headgate import flow, get_run_logger, task
from headgate.client.orchestration import SyncHeadgateClient
from headgate.context import FlowRunContext
from headgate.core import errors
from headgate.futures import FlowRunFuture, Future, as_completed, wait
from headgate.states import Completed, State
from headgate.task_runners import TaskRunner, ThreadPoolTaskRunner
from tests.processes import eventually


@task
def add(a: int, b: int = 1) -> int:
    return a + b


@flow
def double(n: int) -> int:
    return n * 2


@flow
def fails(n: int = 0) -> int:
    raise ValueError(f"no such thing as {n}")


def here() -> FlowRunContext:
    context = FlowRunContext.get()
    assert context is not None
    return context


def test_a_submitted_flow_is_a_subflow_of_the_flow_that_submits_it(server: SyncHeadgateClient):
    @flow
    def parent():
        future = double.submit(4)
        assert isinstance(future, FlowRunFuture)
        assert future.result() == 8
        return here().flow_run.id, future.flow_run_id, future.task_run_id

    parent_id, child_id, tracking_id = parent()
    child = server.read_flow_run(child_id)
    assert child.parent_task_run_id == tracking_id
    assert child.root_flow_run_id == parent_id
    assert child.parameters == {"n": 4}
    (tracking,) = server.read_task_runs(flow_run_ids=[parent_id])
    assert (tracking.id, tracking.name, tracking.state.name) == (
        tracking_id,
        "double-0",
        "Completed",
    )


def test_submitted_flows_run_at_the_same_time(server: SyncHeadgateClient):
    barrier = threading.Barrier(3, timeout=20)

    @flow
    def meets(n: int) -> int:
        barrier.wait()
        return n

    @flow
    def parent():
        return meets.map([1, 2, 3]).result()

    assert parent() == [1, 2, 3]


async def test_async_flows_of_an_async_flow_share_its_loop(server: SyncHeadgateClient):
    loops = []
    everybody = asyncio.Event()

    @flow
    async def child(n: int) -> int:
        loops.append(asyncio.get_running_loop())
        if len(loops) == 3:
            everybody.set()
        await everybody.wait()
        return n

    @flow
    async def parent():
        futures = child.map([1, 2, 3])
        return [await future for future in futures]

    assert await parent() == [1, 2, 3]
    assert set(loops) == {asyncio.get_running_loop()}


async def test_blocking_on_an_async_flow_in_an_async_flow_moves_it_to_a_thread(
    server: SyncHeadgateClient,
):
    @flow
    async def child(n: int) -> int:
        return n

    @flow
    async def parent():
        return child.submit(3).result() + sum(child.map([1, 2], max_concurrency=1).result())

    assert await parent() == 6


async def test_sync_flows_may_be_submitted_in_an_async_flow_and_awaited(
    server: SyncHeadgateClient,
):
    @flow
    async def parent():
        future = double.submit(4)
        await future.wait_async()
        return await future.aresult()

    assert await parent() == 8


def test_async_flows_may_be_submitted_in_a_sync_flow(server: SyncHeadgateClient):
    @flow
    async def child(n: int) -> int:
        await asyncio.sleep(0)
        return n

    @flow
    def parent():
        return child.map([1, 2]).result()

    assert parent() == [1, 2]


def test_flows_are_submitted_outside_of_flows_too(server: SyncHeadgateClient):
    future = double.submit(4)
    assert future.result() == 8
    assert future.task_run_id == ""
    assert server.read_flow_run(future.flow_run_id).parent_task_run_id is None
    assert double.map([1, 2], return_state=True)[1].result() == 4


async def test_async_flows_are_submitted_outside_of_flows_on_the_loop_that_submits(
    server: SyncHeadgateClient,
):
    @flow
    async def child():
        return asyncio.get_running_loop()

    assert await child.submit() is asyncio.get_running_loop()


def test_a_submitted_flow_that_fails_fails_who_asks_for_its_result(server: SyncHeadgateClient):
    @flow
    def parent():
        future = fails.submit(1)
        future.wait()
        assert future.state.is_failed()
        assert isinstance(future.result(raise_on_failure=False), ValueError)
        with pytest.raises(ValueError, match="no such thing as 1"):
            future.result()
        return "fine"

    assert parent() == "fine"


def test_a_flow_that_returns_the_futures_of_flows_is_as_good_as_they_are(
    server: SyncHeadgateClient,
):
    @flow
    def parent():
        return [double.submit(1), fails.submit(1)]

    state = parent(return_state=True)
    assert state.is_failed()
    assert state.message == "1/2 states failed."


def test_futures_of_tasks_and_flows_are_arguments_of_each_other(server: SyncHeadgateClient):
    @flow
    def parent():
        first = add.submit(1)
        second = double.submit(first)
        third = add.submit(second)
        assert third.result() == 5
        return here().flow_run.id, second.task_run_id, third.task_run_id

    flow_run_id, second, third = parent()
    found = {run.id: run for run in server.read_task_runs(flow_run_ids=[flow_run_id])}
    assert found[third].upstream_run_ids == (second,)
    assert len(found[second].upstream_run_ids) == 1


def test_a_flow_whose_upstream_failed_is_not_ready(server: SyncHeadgateClient):
    called = []

    @flow
    def child(n: int) -> None:
        called.append(n)

    @flow
    def parent():
        upstream = fails.submit()
        waiting = child.submit(1, wait_for=[upstream], return_state=True)
        given = child.submit(upstream, return_state=True)
        return here().flow_run.id, [waiting.name, given.name]

    flow_run_id, names = parent()
    assert names == ["NotReady", "NotReady"]
    assert called == []
    found = server.read_task_runs(flow_run_ids=[flow_run_id])
    assert sorted(run.state.name for run in found) == ["Failed", "NotReady", "NotReady"]


def test_the_parameters_of_submitted_flows_are_validated(server: SyncHeadgateClient):
    @flow
    def parent():
        with pytest.raises(errors.ParameterBindError):
            double.submit(1, 2, 3)
        state = double.submit("x", return_state=True)
        return state.name, type(state.result(raise_on_failure=False))

    assert parent() == ("Failed", errors.ParameterTypeError)


def test_generator_flows_are_consumed_where_they_are_submitted(server: SyncHeadgateClient):
    @flow
    def counts(n: int):
        yield from range(n)

    @flow
    async def counts_async(n: int):
        for i in range(n):
            yield i

    @flow
    def parent():
        return counts.submit(3).result(), counts_async.submit(2).result()

    assert parent() == ([0, 1, 2], [0, 1])


def test_flows_nest_in_the_smallest_pool_without_a_deadlock(server: SyncHeadgateClient):
    @flow(task_runner=ThreadPoolTaskRunner(max_workers=1))
    def tree(depth: int) -> int:
        if depth == 0:
            return add.submit(0).result()
        return sum(tree.map([depth - 1] * 2).result())

    assert tree(3) == 8


def test_a_flow_waits_for_the_flows_that_it_submitted(server: SyncHeadgateClient):
    ended = []

    @flow
    def child(n: int):
        threading.Event().wait(0.02)
        ended.append(n)

    @flow
    def parent():
        child.map([1, 2])

    parent()
    assert sorted(ended) == [1, 2]


def test_no_more_flows_than_max_concurrency_run_at_once(server: SyncHeadgateClient):
    lock = threading.Lock()
    together = threading.Barrier(2)  # two are under way at once, or none ends
    now = most = 0

    @flow
    def counts(n: int):
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        together.wait(30)
        with lock:
            now -= 1

    @flow
    def parent():
        counts.map(range(8), max_concurrency=2)

    parent()
    assert most == 2


def test_cancelling_a_flow_cancels_the_flows_that_it_submitted(server: SyncHeadgateClient):
    """E11: an inline subflow ends with its parent, however deep, on whatever thread."""
    started = threading.Event()
    ids: list[str] = []

    @task
    def spins():
        started.set()
        event = threading.Event()
        while True:
            event.wait(0.01)

    @flow
    def child():
        ids.append(here().flow_run.id)
        spins.submit().result()

    @flow
    def parent():
        ids.append(here().flow_run.id)
        future = child.submit()
        started.wait(20)
        threading.Thread(target=server.cancel_flow_run, args=(ids[0],)).start()
        future.wait()

    assert parent(return_state=True).is_cancelled()

    def ended():
        return all(server.read_flow_run(one).state.is_terminal for one in ids)

    eventually(ended, what="both are at their end")
    assert [server.read_flow_run(one).state.name for one in ids] == ["Cancelled", "Cancelled"]


async def test_cancelling_an_async_flow_cancels_the_flows_that_it_submitted(
    server: SyncHeadgateClient,
):
    ids: list[str] = []

    @flow
    async def child():
        ids.append(here().flow_run.id)
        cancelling = threading.Thread(target=server.cancel_flow_run, args=(ids[0],))
        cancelling.start()
        await asyncio.sleep(20)

    @flow
    async def parent():
        ids.append(here().flow_run.id)
        await child.submit()

    state: State[None] = await parent(return_state=True)
    assert state.is_cancelled()

    await asyncio.to_thread(eventually, lambda: server.read_flow_run(ids[1]).state.is_terminal)
    assert server.read_flow_run(ids[1]).state.name == "Cancelled"


def test_a_submitted_flow_can_be_cancelled_alone(server: SyncHeadgateClient):
    @flow
    def child():
        threading.Thread(target=server.cancel_flow_run, args=(here().flow_run.id,)).start()
        event = threading.Event()
        while True:
            event.wait(0.01)

    @flow
    def parent():
        return child.submit(return_state=True).name

    assert parent() == "Cancelled"


def test_sync_flows_run_side_by_side_on_threads_and_in_tasks(server: SyncHeadgateClient):
    """E12: by tasks that call them, too."""
    barrier = threading.Barrier(2, timeout=20)

    @flow
    def meets(n: int) -> int:
        barrier.wait()
        return n

    @task
    def calls(n: int) -> int:
        return meets(n)

    @flow
    def parent():
        return calls.map([1, 2]).result()

    assert parent() == [1, 2]


async def test_async_subflows_are_gathered(server: SyncHeadgateClient):
    both = asyncio.Event()
    begun = []

    @flow
    async def meets(n: int) -> int:
        begun.append(n)
        if len(begun) == 2:
            both.set()
        await both.wait()
        return n

    @flow
    async def parent():
        return await asyncio.gather(meets(1), meets(2))

    assert await parent() == [1, 2]


def test_futures_of_flows_are_waited_for_together(server: SyncHeadgateClient):
    @flow
    def parent():
        futures = double.map([1, 2, 3])
        done, not_done = wait(futures, timeout=20)
        assert len(done) == 3
        assert not not_done
        return sorted(future.result() for future in as_completed(futures))

    assert parent() == [2, 4, 6]


def test_flows_can_be_submitted_where_the_task_runner_knows_of_tasks_only(
    server: SyncHeadgateClient,
):
    class Inline(TaskRunner):
        def duplicate(self):
            return Inline()

        def submit(self, task, parameters, wait_for=None):
            future: Future[int] = Future("00000000-0000-7000-8000-000000000001")
            future.end(task(**parameters, wait_for=wait_for, return_state=True))
            return future

    @flow(task_runner=Inline)
    def parent():
        mapped = add.map([1, 2], max_concurrency=1).result()
        return double.submit(2).result(), double.map([1]).result(), mapped

    assert parent() == (4, [2], [2, 3])


def test_a_submitted_flow_logs_for_itself(server: SyncHeadgateClient):
    @flow
    def child():
        get_run_logger().info("said by the child")

    @flow
    def parent():
        future = child.submit()
        future.wait()
        return future.flow_run_id

    child_id = parent()
    eventually(
        lambda: (
            "said by the child" in {r.message for r in server.read_logs(flow_run_ids=[child_id])}
        )
    )


def test_a_sync_flow_runs_where_an_event_loop_is_running_as_in_a_notebook(
    server: SyncHeadgateClient,
):
    @flow
    def parent():
        return add(1), add.submit(2).result(), double.submit(3).result()

    async def cell():
        return parent()

    assert asyncio.run(cell()) == (2, 3, 6)


def test_a_future_that_nobody_will_end_warns_when_it_is_forgotten(
    caplog: pytest.LogCaptureFixture,
):
    import logging

    logging.getLogger("headgate").addHandler(caplog.handler)
    try:
        future: Future[int] = Future("run-1")
        del future
        assert "A future was garbage collected before it resolved" in caplog.text
        assert "run-1" in caplog.text
        caplog.clear()
        ended: Future[int] = Future("run-2")
        ended.end(Completed(data=1))
        del ended
        assert caplog.text == ""
    finally:
        logging.getLogger("headgate").removeHandler(caplog.handler)
