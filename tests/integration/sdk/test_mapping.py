"""A long `map` needs memory for what is under way, and what nobody holds any more is let go."""

import asyncio
import gc
import logging
import threading
import weakref
from typing import Any

import pytest

from headgate import flow, get_run_logger, task, unmapped
from headgate.client.orchestration import SyncHeadgateClient, get_client
from headgate.context import FlowRunContext
from headgate.core import errors
from headgate.engine import task_engine, timeouts
from headgate.futures import Future
from headgate.settings import temporary_settings
from headgate.states import State
from headgate.task_runners import ProcessPoolTaskRunner, ThreadPoolTaskRunner
from headgate.utilities.annotations import opaque, quote


@task
def add(a: int, b: int = 1) -> int:
    return a + b


class Big:
    """Something that can be watched."""

    def __init__(self, n: int = 0) -> None:
        self.n = n


def here() -> FlowRunContext:
    context = FlowRunContext.get()
    assert context is not None
    return context


def alive(kind: type) -> int:
    gc.collect()
    return sum(type(thing) is kind for thing in gc.get_objects())


# --- Bounds ---


@pytest.mark.slow
def test_calls_of_a_long_map_are_made_when_it_is_their_turn(server: SyncHeadgateClient):
    gate = threading.Event()

    @task
    def waits(n: int) -> int:
        gate.wait(20)
        return n

    @flow(task_runner=ThreadPoolTaskRunner(max_workers=4))
    def works():
        before = alive(task_engine.TaskCall)
        futures = waits.map(range(1_000))
        assert alive(task_engine.TaskCall) - before <= 100
        assert {future.state.name for future in futures[200:]} == {"Pending"}
        gate.set()
        assert futures.result() == list(range(1_000))
        assert alive(task_engine.TaskCall) - before <= 1

    works()


@pytest.mark.slow
def test_a_map_over_ten_thousand_keeps_results_and_nothing_else(
    server: SyncHeadgateClient, monkeypatch: pytest.MonkeyPatch
):
    made = ended = most = 0
    make = task_engine.TaskCall.__init__

    def counts(self: task_engine.TaskCall, *args: Any, **kwargs: Any) -> None:
        nonlocal made, most
        made += 1
        most = max(most, made - ended)
        make(self, *args, **kwargs)

    monkeypatch.setattr(task_engine.TaskCall, "__init__", counts)

    @task
    def takes(big: Big) -> int:
        nonlocal ended
        ended += 1
        return big.n

    @flow(task_runner=ThreadPoolTaskRunner(max_workers=8))
    def works():
        bigs = [Big(n) for n in range(10_000)]
        watched = list(map(weakref.ref, bigs))
        futures = takes.map(bigs)
        del bigs
        futures.wait()
        gc.collect()
        assert [ref() for ref in watched if ref() is not None] == []
        return here().flow_run.id, sum(futures.result())

    flow_run_id, total = works()
    assert total == sum(range(10_000))
    assert made == 10_000
    assert most <= 150, "a hundred ahead, and those that have ended and are not counted yet"
    (last,) = server.read_task_runs(flow_run_ids=[flow_run_id], limit=1)
    assert last.state.name == "Completed"


def test_calls_of_a_map_are_numbered_in_order_whenever_they_begin(server: SyncHeadgateClient):
    @flow(task_runner=ThreadPoolTaskRunner(max_workers=2))
    def works():
        futures = add.map(range(12), max_concurrency=2)
        add(1)
        futures.wait()
        return here().flow_run.id, [future.task_run_id for future in futures]

    flow_run_id, ids = works()
    runs = {run.id: run for run in server.read_task_runs(flow_run_ids=[flow_run_id])}
    assert [runs[one].dynamic_key for one in ids] == [str(n) for n in range(12)]


@pytest.mark.parametrize("batch_size", [None, 3])
def test_no_more_than_max_concurrency_calls_run_at_once(
    batch_size: int | None, server: SyncHeadgateClient
):
    lock = threading.Lock()
    now = most = 0
    threads: dict[int, int] = {}

    @task
    def counts(n: int) -> int:
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
            threads[n] = threading.get_ident()
        threading.Event().wait(0.002)
        with lock:
            now -= 1
        return n

    @flow
    def works():
        return counts.map(range(14), max_concurrency=2, batch_size=batch_size).result()

    assert works() == list(range(14))
    assert most == 2
    if batch_size:
        assert threads[0] == threads[1] == threads[2]


async def test_max_concurrency_holds_on_the_loop_too(server: SyncHeadgateClient):
    now = most = 0

    @task
    async def counts(n: int) -> int:
        nonlocal now, most
        now += 1
        most = max(most, now)
        await asyncio.sleep(0.001)
        now -= 1
        return n

    @flow
    async def works():
        futures = counts.map(range(10), max_concurrency=3)
        return [await future for future in futures]

    assert await works() == list(range(10))
    assert most == 3


async def test_blocking_on_a_call_that_has_not_begun_moves_all_to_threads(
    server: SyncHeadgateClient,
):
    @task
    async def same(n: int) -> int:
        await asyncio.sleep(0)
        return n

    @flow
    async def works():
        return same.map(range(5), max_concurrency=1)[4].result()

    assert await works() == 4


def test_options_of_map_that_are_parameters_of_the_task_are_the_tasks(
    server: SyncHeadgateClient,
):
    @task
    def loads(n: int, batch_size: int) -> tuple[int, int]:
        return n, batch_size

    @flow
    def works():
        return loads.map([1, 2], batch_size=unmapped(7)).result()

    assert works() == [(1, 7), (2, 7)]


@pytest.mark.parametrize(
    ("value", "error"), [("2", TypeError), (True, TypeError), (0, ValueError)], ids=repr
)
def test_wrong_options_of_map_are_refused(value: Any, error: Any, server: SyncHeadgateClient):
    @flow
    def works():
        with pytest.raises(error, match="max_concurrency"):
            add.map([1], max_concurrency=value)

    works()


def test_wrong_values_of_deferred_are_refused(server: SyncHeadgateClient):
    with pytest.raises(TypeError, match="deferred"):
        add.map([1], deferred="yes")


async def test_a_client_made_in_a_flow_works_in_its_tasks(server: SyncHeadgateClient):
    """N22: async tasks, called or submitted, run on the loop that the client belongs to."""

    @task
    async def reads(client: Any, flow_run_id: str) -> str:
        return (await client.read_flow_run(flow_run_id)).state.name

    @flow
    async def works():
        async with get_client() as client:
            run_id = here().flow_run.id
            called = await reads(client, run_id)
            return called, await reads.submit(opaque(client), run_id)

    assert await works() == ("Running", "Running")


def test_the_size_of_a_pool_may_come_from_the_settings(server: SyncHeadgateClient):
    """TR8."""
    lock = threading.Lock()
    now = most = 0

    @task
    def counts(n: int) -> None:
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        threading.Event().wait(0.002)
        with lock:
            now -= 1

    @flow
    def works():
        counts.map(range(10)).wait()

    with temporary_settings({"tasks_runner_thread_pool_max_workers": 2}):
        works()
    assert most == 2
    with temporary_settings({"tasks_runner_process_pool_max_workers": 3}):
        assert ProcessPoolTaskRunner()._size() == 3
        assert ProcessPoolTaskRunner(1)._size() == 1


def test_a_failed_flow_starts_no_more_of_a_map(server: SyncHeadgateClient):
    begun = []
    kept: list[Future[int]] = []

    @task
    def slow(n: int) -> int:
        begun.append(n)
        threading.Event().wait(0.02)
        return n

    @flow
    def works():
        kept.extend(slow.map(range(50), max_concurrency=2))
        kept[0].wait()
        raise ValueError("enough")

    assert works(return_state=True).is_failed()
    assert len(begun) <= 6
    assert all(future.done() for future in kept)
    assert kept[-1].state.name == "Cancelled"


def test_a_map_of_maps_never_locks_a_small_pool(server: SyncHeadgateClient):
    @task
    def tree(depth: int) -> int:
        if depth == 0:
            return 1
        return sum(tree.map([depth - 1] * 2, max_concurrency=1).result())

    @flow(task_runner=ThreadPoolTaskRunner(max_workers=1))
    def works():
        return sum(tree.map([2] * 3).result())

    assert works() == 12


# --- Letting go (N16) ---


@pytest.mark.slow
def test_arguments_and_results_are_let_go_when_nobody_holds_them(server: SyncHeadgateClient):
    made: list[weakref.ref[Big]] = []

    @task
    def makes() -> Big:
        big = Big()
        made.append(weakref.ref(big))
        return big

    @task
    def takes(big: Big) -> int:
        return big.n

    @flow
    def child(big: Big) -> int:
        return big.n

    @flow
    def works():
        big = makes()
        takes(big)
        del big
        assert made[0]() is None, "called"
        future = makes.submit()
        second = takes.submit(future)
        second.wait()
        assert made[1]() is not None, "the future is held, and so is the result"
        del future
        gc.collect()
        assert made[1]() is None, "submitted"
        third = child.submit(makes())
        third.wait()
        gc.collect()
        assert made[2]() is None, "of a flow; its own future is held"
        return third

    works()


def test_lists_that_nobody_holds_are_let_go_with_the_next_results(server: SyncHeadgateClient):
    """A list cannot be watched; it is looked at when others come."""
    made: list[weakref.ref[Big]] = []

    @task
    def makes() -> list[Big]:
        bigs = [Big()]
        made.append(weakref.ref(bigs[0]))
        return bigs

    @flow
    def works():
        for _ in range(100):
            makes()
            gc.collect(0)
            assert sum(ref() is not None for ref in made) <= 2

    works()


# --- Marks on arguments (T32, T33) ---


def test_quoted_arguments_are_passed_as_they_are_and_opaque_ones_unopened(
    server: SyncHeadgateClient,
):
    @task
    def takes(value: Any) -> str:
        return type(value[0] if isinstance(value, list) else value).__name__

    @flow
    def works():
        future = add.submit(1)
        return (
            takes.submit(quote([future])).result(),
            takes.submit(opaque([future])).result(),
            takes.submit(opaque(future)).result(),
            takes.submit([future]).result(),
        )

    assert works() == ("Future", "Future", "int", "int")


# --- Names (T8) ---


def test_the_name_of_a_run_may_come_from_an_async_function(server: SyncHeadgateClient):
    async def named(parameters: dict[str, Any]) -> str:
        await asyncio.sleep(0)
        return f"load-{parameters['n']}"

    async def wrong() -> int:
        return 5

    @task(task_run_name=named)
    async def loads_async(n: int) -> int:
        return n

    @task(task_run_name=named)
    def loads(n: int) -> int:
        return n

    @task(task_run_name=wrong)
    def bad() -> None: ...

    @flow
    async def works():
        with pytest.raises(TypeError, match="returned 5"):
            bad()
        await loads_async(1)
        loads.submit(2).wait()
        return here().flow_run.id

    flow_run_id = asyncio.run(works())
    names = {run.name for run in server.read_task_runs(flow_run_ids=[flow_run_id])}
    assert {"load-1", "load-2"} <= names


# --- Generators, methods (T39) ---


def test_async_generators_are_consumed_where_they_are_submitted(server: SyncHeadgateClient):
    @task
    async def counts(n: int):
        for i in range(n):
            yield i

    class Adder:
        def __init__(self, by: int) -> None:
            self.by = by

        @task
        def add(self, n: int) -> int:
            return n + self.by

        @flow
        def twice(self, n: int) -> int:
            return self.add(self.add(n))

    @flow
    async def works():
        adder = Adder(5)
        return (
            await counts.submit(3),
            adder.add.map([1, 2]).result(),
            adder.twice.submit(1).result(),
        )

    assert asyncio.run(works()) == ([0, 1, 2], [6, 7], 11)


# --- What a thread cannot do (N21) ---


def test_a_timed_thread_that_blocks_is_told_of(
    server: SyncHeadgateClient, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(timeouts, "STUCK_SECONDS", 0.01)
    told = threading.Event()
    said: list[str] = []

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            said.append(record.getMessage())
            if "isolate=True" in said[-1]:
                told.set()

    listener = Listener()
    logging.getLogger("headgate.task_runs").addHandler(listener)

    @task(timeout_seconds=0.02)
    def blocks() -> None:
        get_run_logger().info("begun")
        told.wait(20)

    @flow
    def works() -> State[None]:
        return blocks.submit(return_state=True)

    try:
        state = works(return_state=True)
    finally:
        logging.getLogger("headgate.task_runs").removeHandler(listener)
    with pytest.raises(errors.TaskRunTimeoutError):
        state.result()
    assert any("isolate=True" in line for line in said)
