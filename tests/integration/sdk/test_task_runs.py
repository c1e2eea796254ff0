"""Tasks run, here or on a task runner, and the server knows what became of them."""

import asyncio
import copy
import dataclasses
import pickle
import threading
from typing import Any

import pytest

from headgate import allow_failure, flow, task, unmapped
from headgate.client.orchestration import SyncHeadgateClient
from headgate.context import TaskRunContext
from headgate.core import errors
from headgate.futures import Future, as_completed, resolve_futures_to_results, wait
from headgate.states import Completed, Failed, Running, State
from headgate.task_runners import TaskRunner, ThreadPoolTaskRunner
from headgate.tasks import exponential_backoff
from headgate.utilities.annotations import quote


@task
def add(a: int, b: int = 1) -> int:
    return a + b


@task
def fails(*_args: Any):
    raise ValueError("no such thing")


def task_runs_of(server: SyncHeadgateClient, state: State) -> list[Any]:
    return server.read_task_runs(flow_run_ids=[state.flow_run_id or ""])


def names_of(server: SyncHeadgateClient, task_run_id: str) -> list[str]:
    return [state.name for state in server.read_task_run_states(task_run_id)]


def test_a_called_task_goes_from_running_to_completed(server: SyncHeadgateClient):
    @flow
    def works():
        return add(1, return_state=True).task_run_id

    state = works(return_state=True)
    assert names_of(server, state.result() or "") == ["Running", "Completed"]
    (run,) = task_runs_of(server, state)
    assert (run.name, run.dynamic_key, run.run_count) == ("add-0", "0", 1)
    assert run.task_key.startswith("add-")


def test_a_submitted_task_is_pending_first(server: SyncHeadgateClient):
    @flow
    def works():
        future = add.submit(1)
        assert future.result() == 2
        return future.task_run_id

    task_run_id = works()
    assert names_of(server, task_run_id) == ["Pending", "Running", "Completed"]


def test_a_task_cannot_be_submitted_outside_of_a_flow():
    with pytest.raises(errors.MissingContextError, match="within a flow"):
        add.submit(1)


@pytest.mark.parametrize("delay", [0, 0.01])
def test_a_task_is_retried(delay: float, server: SyncHeadgateClient):
    counts = []

    @task(retries=2, retry_delay_seconds=delay)
    def flaky() -> int:
        context = TaskRunContext.get()
        assert context is not None
        counts.append(context.run_count)
        if len(counts) < 3:
            raise ValueError("again")
        return len(counts)

    @flow
    def works():
        return flaky()

    state = works(return_state=True)
    assert state.result() == 3
    assert counts == [1, 2, 3]
    (run,) = task_runs_of(server, state)
    assert (run.run_count, run.max_retries) == (3, 2)
    again = ["AwaitingRetry", "Retrying"] if delay else ["Retrying"]
    assert names_of(server, run.id) == ["Running", *again, *again, "Completed"]


def test_a_task_that_returns_failed_is_retried(server: SyncHeadgateClient):
    calls = []

    @task(retries=1)
    def returns_failed():
        calls.append(1)
        return Failed(message="not yet") if len(calls) == 1 else "done"

    @flow
    def works():
        return returns_failed()

    assert works() == "done"


def test_a_retry_condition_decides_and_its_exception_means_no(server: SyncHeadgateClient):
    calls = []

    def broken(task, task_run, state):
        raise RuntimeError("condition")

    async def only_once(task, task_run, state):
        return task_run.run_count < 2

    @task(retries=5, retry_condition_fn=broken)
    def never():
        calls.append("never")
        raise ValueError("a")

    @task(retries=5, retry_condition_fn=only_once)
    def once():
        calls.append("once")
        raise ValueError("b")

    @flow
    def works():
        assert never(return_state=True).is_failed()
        assert once(return_state=True).is_failed()

    works()
    assert calls == ["never", "once", "once"]


def test_retries_are_what_users_write():
    with_list = add.with_options(retries=3, retry_delay_seconds=[1, 2])
    assert with_list.retry_policy.delays_seconds == (1.0, 2.0)
    backoff = add.with_options(
        retries=3, retry_delay_seconds=exponential_backoff(2), retry_jitter_factor=0.5
    )
    assert backoff.retry_policy.delays_seconds == (2.0, 4.0, 8.0)
    assert backoff.retry_jitter_factor == 0.5
    with pytest.raises(ValueError, match="50"):
        add.with_options(retries=60, retry_delay_seconds=list(range(51)))


def test_a_task_that_takes_too_long_is_timed_out_on_any_thread(server: SyncHeadgateClient):
    @task(timeout_seconds=0.05)
    def slow():
        event = threading.Event()
        while True:
            event.wait(0.01)

    @task(timeout_seconds=0.05)
    async def slow_async():
        await asyncio.sleep(5)

    @flow
    def works():
        here = slow(return_state=True)
        there = slow.submit(return_state=True)
        on_a_loop = slow_async.submit(return_state=True)
        return [state.name for state in (here, there, on_a_loop)]

    assert works() == ["TimedOut"] * 3


def test_hooks_hear_of_the_states(server: SyncHeadgateClient):
    heard: list[Any] = []

    def hook(task, task_run, state):
        heard.append((task.name, task_run.name, state.name))

    @task(on_running=[hook], on_completion=[hook], on_failure=[hook], retries=1)
    def flaky(bad: bool):
        if bad and len(heard) < 2:
            raise ValueError("again")

    @flow
    def works():
        flaky(True)

    works()
    assert heard == [
        ("flaky", "flaky-0", "Running"),
        ("flaky", "flaky-0", "Retrying"),
        ("flaky", "flaky-0", "Completed"),
    ]
    with pytest.raises(TypeError, match="list"):
        task(on_failure=hook)(hook)  # pyright: ignore[reportArgumentType]  # wrong on purpose


def test_the_name_of_a_run_is_made_of_its_parameters(server: SyncHeadgateClient):
    @task(task_run_name="load-{day}")
    def load(day: str): ...

    @task(task_run_name=lambda parameters: f"load-{parameters['day']}!")
    def load_by_function(day: str): ...

    @flow
    def works():
        load("monday")
        load_by_function("tuesday")
        load.submit(add.submit(1)).wait()
        load.submit("friday").wait()
        load_by_function.submit("sunday").wait()

    state = works(return_state=True)
    names = {run.name for run in task_runs_of(server, state)}
    assert {"load-monday", "load-tuesday!", "load-2", "load-friday", "load-sunday!"} <= names


def test_futures_are_resolved_at_any_depth(server: SyncHeadgateClient):
    @dataclasses.dataclass
    class Pair:
        left: Any
        right: Any

    @task
    def show(value):
        return value

    @flow
    def works():
        one, two = add.submit(0), add.submit(1)
        nested = {"a": [one, (two, 3)], "pair": Pair(one, "x")}
        return show(nested), show(quote(nested)) is nested

    (shown, quoted) = works()
    assert shown == {"a": [1, (2, 3)], "pair": Pair(1, "x")}
    assert quoted


def test_upstream_runs_are_linked_by_futures_states_and_plain_results(server: SyncHeadgateClient):
    @task
    def make() -> dict[str, int]:
        return {"n": 1}

    @task
    def use(*values: Any, **named: Any) -> None: ...

    @flow
    def works():
        plain = make()
        future = make.submit()
        state = make(return_state=True)
        use(plain, [future], key=state)
        use(1, wait_for=[future])

    state = works(return_state=True)
    by_name = {run.name: run for run in task_runs_of(server, state)}
    makes = [by_name[f"make-{n}"].id for n in range(3)]
    assert list(by_name["use-0"].upstream_run_ids) == makes
    assert list(by_name["use-1"].upstream_run_ids) == [makes[1]]


def test_a_task_whose_upstream_failed_is_not_ready(server: SyncHeadgateClient):
    @flow
    def works():
        failed = fails.submit()
        after = add.submit(failed)
        waiting = add.submit(1, wait_for=[failed])
        after.wait()
        why = r"'fails-0' \([0-9a-f-]+\) is Failed and not Completed \(Task run .* no such thing\)"
        with pytest.raises(errors.UpstreamTaskError, match=why):
            after.result()
        with pytest.raises(errors.UpstreamTaskError, match=r"'add-0' .* is NotReady .*'fails-0'"):
            add(after)  # pyright: ignore[reportArgumentType]  # wrong on purpose
        with pytest.raises(errors.UpstreamTaskError):
            add(failed)  # pyright: ignore[reportArgumentType]  # wrong on purpose
        waiting.wait()
        return [after.state.name, waiting.state.name]

    assert works() == ["NotReady", "NotReady"]


def test_allow_failure_passes_the_exception(server: SyncHeadgateClient):
    @task
    def look(value):
        return repr(value)

    @flow
    def works():
        return look(allow_failure(fails.submit()))

    assert works() == "ValueError('no such thing')"


def test_map_spreads_iterables_and_passes_the_rest_whole(server: SyncHeadgateClient):
    @task
    def show(a, b, c="default"):
        return (a, b, c)

    @flow
    def works():
        return (
            add.map([1, 2, 3]).result(),
            show.map([1, 2], "xy", unmapped([7, 8])).result(),
            show.map((n for n in range(2)), b=add.submit(1)).result(),
            add.map(add.map([1, 2])).result(),
        )

    spread, whole, generator, futures = works()
    assert spread == [2, 3, 4]
    assert whole == [(1, "xy", [7, 8]), (2, "xy", [7, 8])]
    assert generator == [(0, 2, "default"), (1, 2, "default")]
    assert futures == [3, 4]


def test_map_says_what_it_cannot_spread(server: SyncHeadgateClient):
    @flow
    def works():
        with pytest.raises(errors.MappingMissingIterable):
            add.map(1)
        with pytest.raises(errors.MappingLengthMismatch, match="a: 2, b: 3"):
            add.map([1, 2], [1, 2, 3])

    works()


def test_futures_can_be_waited_for_together(server: SyncHeadgateClient):
    begun, gate = threading.Event(), threading.Event()

    @task
    def held():
        begun.set()
        gate.wait(20)
        return "held"

    @flow
    def works():
        quick, slow = add.submit(1), held.submit()
        quick.wait(20)
        assert begun.wait(20)
        done, not_done = wait([quick, slow], timeout=0.05)
        assert (done, not_done) == ({quick}, {slow})
        with pytest.raises(TimeoutError):
            slow.result(timeout=0.01)
        assert slow.state.is_running()
        heard: list[Future[str]] = []
        slow.add_done_callback(heard.append)
        gate.set()
        assert {f.result() for f in as_completed([quick, slow], timeout=5)} == {2, "held"}
        assert heard == [slow]
        assert resolve_futures_to_results({"a": [quick]}) == {"a": [2]}
        assert fails.submit().result(raise_on_failure=False).args == ("no such thing",)

    works()


def test_nested_submits_do_not_lock_a_small_pool(server: SyncHeadgateClient):
    @task
    def outer(n: int) -> int:
        return add.submit(n).result() + add.submit(n).result()

    @flow(task_runner=ThreadPoolTaskRunner(max_workers=1))
    def works():
        return outer.map([1, 2, 3]).result()

    assert works() == [4, 6, 8]


def test_no_more_than_max_workers_run_at_once(server: SyncHeadgateClient):
    lock = threading.Lock()
    now = most = 0

    @task
    def counts():
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        threading.Event().wait(0.005)
        with lock:
            now -= 1

    @flow(task_runner=ThreadPoolTaskRunner(max_workers=3))
    def works():
        for future in [counts.submit() for _ in range(20)]:
            future.wait()

    works()
    assert most == 3


async def test_async_tasks_of_an_async_flow_share_its_loop(server: SyncHeadgateClient):
    loops = []

    @task
    async def where(n: int) -> int:
        loops.append(asyncio.get_running_loop())
        return n

    @flow
    async def works():
        futures = where.map([1, 2, 3])
        return [await future for future in futures]

    assert await works() == [1, 2, 3]
    assert set(loops) == {asyncio.get_running_loop()}


async def test_blocking_on_async_tasks_in_an_async_flow_moves_them_to_threads(
    server: SyncHeadgateClient,
):
    @task
    async def slow(n: int) -> int:
        await asyncio.sleep(0.01)
        return n

    @flow
    async def works():
        return slow.map([1, 2, 3]).result()

    assert await works() == [1, 2, 3]


async def test_blocking_on_an_async_task_that_has_begun_says_so(server: SyncHeadgateClient):
    @task
    async def slow():
        await asyncio.sleep(0.05)

    @flow
    async def works():
        future = slow.submit()
        await asyncio.sleep(0.01)
        with pytest.raises(RuntimeError, match="await the future"):
            future.result()
        await future

    await works()


async def test_sync_tasks_may_be_called_and_submitted_in_an_async_flow(
    server: SyncHeadgateClient,
):
    @flow
    async def works():
        return add(1), add.submit(2).result(), await add.submit(3)

    assert await works() == (2, 3, 4)


def test_async_tasks_may_be_submitted_in_a_sync_flow(server: SyncHeadgateClient):
    @task
    async def double(n: int) -> int:
        await asyncio.sleep(0)
        return 2 * n

    @flow
    def works():
        return double.map([1, 2]).result()

    assert works() == [2, 4]


def test_tasks_may_call_tasks_and_flows(server: SyncHeadgateClient):
    @flow
    def child():
        return add(10)

    @task
    def outer():
        return add(1) + child()

    @flow
    def works():
        return outer()

    state = works(return_state=True)
    assert state.result() == 13
    by_name = {run.name: run for run in task_runs_of(server, state)}
    assert by_name["add-0"].parent_task_run_id == by_name["outer-0"].id
    assert by_name["child-0"].parent_task_run_id == by_name["outer-0"].id


def test_a_crash_on_a_thread_is_recorded_and_reaches_the_flow(server: SyncHeadgateClient):
    @task
    def leaves():
        raise SystemExit(3)

    @flow
    def works():
        future = leaves.submit()
        future.wait()
        assert future.state.is_crashed()
        return future.task_run_id

    task_run_id = works()
    assert names_of(server, task_run_id)[-1] == "Crashed"


def test_what_is_submitted_has_ended_when_the_flow_ends(server: SyncHeadgateClient):
    ended = []

    @task
    def slow(n: int):
        threading.Event().wait(0.02)
        ended.append(n)

    @flow
    def works():
        slow.map([1, 2, 3])

    works()
    assert sorted(ended) == [1, 2, 3]


def test_a_failed_flow_starts_no_more_of_its_tasks(server: SyncHeadgateClient):
    begun = threading.Event()
    gate = threading.Event()

    @task
    def held(n: int):
        begun.set()
        gate.wait(5)

    @flow(task_runner=ThreadPoolTaskRunner(max_workers=1))
    def breaks():
        futures = held.map([1, 2, 3])
        begun.wait(5)
        futures[1].add_done_callback(lambda _future: gate.set())
        raise ValueError("x")

    state = breaks(return_state=True)
    assert state.is_failed()
    names = sorted(run.state.name for run in task_runs_of(server, state))
    assert names == ["Cancelled", "Cancelled", "Completed"]


def test_generators_and_methods_are_tasks_too(server: SyncHeadgateClient):
    class Loader:
        @task
        def load(self, n: int) -> int:
            return n

    @task
    def counts():
        yield from range(3)

    @flow
    def works():
        loader = Loader()
        return loader.load(1), loader.load.submit(2).result(), list(counts())

    assert works() == (1, 2, [0, 1, 2])


def test_a_state_made_by_hand_is_the_state_of_the_task(server: SyncHeadgateClient):
    @task
    def skips():
        return Completed(name="Skipped", data=7)

    @flow
    def works():
        made = skips()
        return made.name, made.result(), skips(return_state=True).name, skips.submit().result()

    assert works() == ("Skipped", 7, "Skipped", 7)


def test_a_task_that_returns_a_state_that_is_no_end_has_failed(server: SyncHeadgateClient):
    @task(retries=2)
    def hangs():
        return Running()

    @flow
    def works():
        return hangs(return_state=True).name

    state = works(return_state=True)
    assert state.result() == "Failed"
    assert state.flow_run_id is not None
    (run,) = server.read_task_runs(flow_run_ids=[state.flow_run_id])
    assert (run.state.name, run.run_count) == ("Failed", 1)


def test_a_task_runner_of_ones_own(server: SyncHeadgateClient):
    seen = []

    class Here(TaskRunner):
        def duplicate(self):
            return Here()

        def submit(self, task, parameters, wait_for=None):
            seen.append(task.name)
            state = task(**parameters, wait_for=wait_for, return_state=True)
            future: Future[Any] = Future(state.task_run_id)
            future.end(state)
            return future

    @flow(task_runner=Here)
    def works():
        return add.map([1, 2]).result()

    assert works() == [2, 3]
    assert seen == ["add", "add"]


def test_wrong_arguments_are_refused_before_there_is_a_run(server: SyncHeadgateClient):
    @flow
    def works():
        with pytest.raises(errors.ParameterBindError):
            add()  # pyright: ignore[reportCallIssue]  # wrong on purpose
        with pytest.raises(errors.ParameterBindError):
            add.submit(1, c=2)

    state = works(return_state=True)
    assert state.is_completed(), state
    assert task_runs_of(server, state) == []


def test_reserved_names_are_refused_at_decoration():
    with pytest.raises(errors.ReservedArgumentError):

        @task
        def bad(wait_for): ...


class Named:
    """A class that is found by its name."""

    @task
    def method(self) -> int:
        return 1


@pytest.mark.usefixtures("server")
def test_tasks_are_pickled_by_name_and_copied_in_full():
    assert pickle.loads(pickle.dumps(add)) is add
    assert copy.copy(add) is not add
    named = Named()
    assert named.method() == 1
    assert Named.method.fn is not named.method.fn
