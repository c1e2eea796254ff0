"""Rows T*, FU*, TR* and A* of the table of features that no other file shows."""

import asyncio
from typing import Any, cast

import pytest

from headgate import allow_failure, flow, tags, task, unmapped
from headgate.client.orchestration import SyncHeadgateClient
from headgate.core import errors
from headgate.futures import as_completed, resolve_futures_to_states
from headgate.runtime import task_run
from headgate.states import State
from headgate.task_runners import ConcurrentTaskRunner, ThreadPoolTaskRunner


@task
def add(a: int, b: int = 1) -> int:
    return a + b


@task
async def slow(n: int) -> int:
    await asyncio.sleep(0.01)
    return n


# --- T ---


def test_each_call_has_a_name_and_a_key_of_its_own(server: SyncHeadgateClient):
    @task(name="My Task", tags=["x"], version="1")
    def named() -> tuple[str | None, list[str]]:
        return task_run.name, list(task_run.tags)

    @flow
    def works():
        with tags("y"):
            return named(), named()

    state = works(return_state=True)
    assert state.result() == (("My Task-0", ["x", "y"]), ("My Task-1", ["x", "y"]))
    runs = server.read_task_runs(flow_run_ids=[state.flow_run_id or ""])
    assert sorted(run.dynamic_key for run in runs) == ["0", "1"]
    assert len({run.task_key for run in runs}) == 1


def test_a_key_names_a_task_by_its_source():
    def one():
        return 1

    def two():
        return 2

    assert task(one).task_key == task(one).task_key
    two.__qualname__ = one.__qualname__
    assert task(one).task_key != task(two).task_key


def test_methods_are_submitted_and_mapped(server: SyncHeadgateClient):
    class Scale:
        factor = 3

        def __init__(self, by: int):
            self.by = by

        @task
        def times(self, n: int) -> int:
            return self.by * n

        @classmethod
        @task
        def of_class(cls, n: int) -> int:
            return cls.factor * n

        @task
        @staticmethod
        def plain(n: int) -> int:
            return n

        @flow
        def all(self) -> list[Any]:
            return [
                self.times.map([1, 2]).result(),
                type(self).of_class.submit(2).result(),
                self.plain.submit(2).result(),
            ]

    assert Scale(2).all() == [[2, 4], 6, 2]


def test_a_map_can_wait_for_others_and_let_failures_through(server: SyncHeadgateClient):
    @task
    def odd(n: int) -> int:
        if n % 2 == 0:
            raise ValueError(n)
        return n

    @task
    def count(values: Any) -> int:
        return sum(isinstance(value, ValueError) for value in values)

    @flow
    def works():
        gate = add.submit(1)
        odds = odd.map([1, 2, 3], wait_for=[gate])
        after = add.map([1, 2], unmapped(5), wait_for=[allow_failure(odds)])
        assert after.result() == [6, 7]
        assert [s.is_completed() for s in resolve_futures_to_states(odds)] == [True, False, True]
        assert count(allow_failure(odds)) == 1
        good = [future for future in odds if future.state.is_completed()]
        assert [future.result() for future in good] == [1, 3]
        states = odd.map([1, 2], return_state=True)
        return [state.name for state in states]

    assert works() == ["Completed", "Failed"]


def test_a_run_knows_how_often_it_was_tried(server: SyncHeadgateClient):
    counts: list[int] = []

    @task(retries=2)
    def fails():
        counts.append(task_run.run_count)
        raise ValueError("no")

    @flow
    def works():
        return fails(return_state=True).name

    assert works() == "Failed"
    assert counts == [1, 2, 3]


# --- FU ---


def test_futures_are_yielded_as_they_end_with_a_limit(server: SyncHeadgateClient):
    @flow
    def works():
        futures = add.map([1, 2, 3])
        assert sorted(f.result() for f in as_completed(futures, timeout=5)) == [2, 3, 4]
        never = slow.with_options(name="never").submit(1)
        never.wait(timeout=0)
        assert never.state.name in {"Pending", "Running"}
        assert never.result() == 1
        assert (never.state.name, never.state.is_final()) == ("Completed", True)

    assert works(return_state=True).is_completed()


# --- TR ---


@pytest.mark.parametrize(
    "runner", [ThreadPoolTaskRunner, ThreadPoolTaskRunner(max_workers=1), ConcurrentTaskRunner()]
)
def test_a_runner_is_a_class_or_an_instance(runner: Any, server: SyncHeadgateClient):
    seen: list[Any] = []

    @flow(task_runner=runner)
    def works() -> int:
        from headgate.context import FlowRunContext

        context = FlowRunContext.get()
        assert context is not None
        seen.append(context.task_runner)
        return add.submit(1).result()

    assert (works(), works()) == (2, 2)
    assert seen[0] is not seen[1], "each run has a runner of its own"
    assert runner not in seen or isinstance(runner, ThreadPoolTaskRunner)


# --- A ---


async def test_a_thread_that_waits_for_the_loop_that_waits_for_it_is_no_deadlock(
    server: SyncHeadgateClient,
):
    @flow
    async def works() -> list[int]:
        after = add.submit(slow.submit(5))
        last = add.submit(after, wait_for=[slow.submit(1)])
        after.wait()
        return [after.result(), last.result(), *add.map(slow.map([1, 2])).result()]

    assert await works() == [6, 7, 2, 3]


async def test_a_thread_that_waits_for_a_begun_task_of_the_blocked_loop_is_told(
    server: SyncHeadgateClient,
):
    @flow
    async def works() -> int:
        begun = slow.submit(5)
        await asyncio.sleep(0)
        after = add.submit(begun)
        with pytest.raises(errors.UsageError, match="await the future"):
            after.result()
        return await after

    assert await works() == 6


def test_an_async_task_that_a_sync_flow_does_not_await_is_told_with_what_to_do(
    server: SyncHeadgateClient,
):
    @flow
    def passes_it_on() -> int:
        return cast("int", slow(1))

    @flow
    def forgets() -> tuple[int, str]:
        return 1, repr(slow(1))

    assert passes_it_on() == 1
    told = r"'slow \(an async task: in a sync flow call slow\.submit\(\), .*' was never awaited"
    with pytest.warns(RuntimeWarning, match=told):
        assert "slow.submit()" in forgets()[1]


async def test_task_groups_and_gather_take_tasks_and_states(server: SyncHeadgateClient):
    @task
    async def odd(n: int) -> int:
        if n % 2 == 0:
            raise ValueError(n)
        return n

    @flow
    async def works() -> list[State[int]]:
        results = await asyncio.gather(*(odd(n) for n in range(3)), return_exceptions=True)
        assert [type(result) for result in results] == [ValueError, int, ValueError]
        async with asyncio.TaskGroup() as group:
            running = [group.create_task(odd(n)) for n in (1, 3)]
        assert [one.result() for one in running] == [1, 3]
        return await asyncio.gather(*(odd(n, return_state=True) for n in range(3)))

    state = await works(return_state=True)
    assert state.is_failed()
    assert state.message == "2/3 states failed."


async def test_a_sync_flow_within_an_async_one_runs_inline(server: SyncHeadgateClient):
    @flow
    def child(n: int) -> int:
        return add(n)

    @flow
    async def parent() -> int:
        return child(1) + await slow(2)

    assert await parent() == 4


async def test_a_sync_run_on_the_loop_of_an_async_one_ends_although_it_awaits_nothing(
    server: SyncHeadgateClient,
):
    @flow
    def child() -> int:
        slow.submit(1)
        add.submit(slow.submit(2))
        slow.map([1, 2, 3])
        return 5

    @task
    def asks() -> int:
        return slow.submit(1).result() + child()

    @flow
    async def parent() -> int:
        return child() + asks() + asks.submit().result() + await slow(1)

    assert await parent() == 18
