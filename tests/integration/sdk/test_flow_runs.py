"""Flows run, and the server knows what became of them."""

import asyncio
import dataclasses
import threading
from typing import Any

import pydantic
import pytest

from headgate import flow, tags, task
from headgate.client.orchestration import SyncHeadgateClient
from headgate.context import FlowRunContext
from headgate.core import errors
from headgate.states import Cancelled, Completed, Failed, Running, State, StateType


def run_of(state: State) -> str:
    assert state.flow_run_id is not None
    return state.flow_run_id


def names_of(server: SyncHeadgateClient, flow_run_id: str) -> list[str]:
    return [state.name for state in server.read_flow_run_states(flow_run_id)]


@task
def add(a: int, b: int = 1) -> int:
    return a + b


def test_a_flow_returns_its_value_and_ends_completed(server: SyncHeadgateClient):
    @flow
    def sums(n: int) -> int:
        return sum(add(i) for i in range(n))

    assert sums(3) == 6
    state = sums(3, return_state=True)
    assert state.is_completed()
    assert state.result() == 6
    run = server.read_flow_run(run_of(state))
    assert run.flow_name == "sums"
    assert run.parameters == {"n": 3}
    assert run.run_count == 1
    assert names_of(server, run.id) == ["Pending", "Running", "Completed"]
    task_runs = server.read_task_runs(flow_run_ids=[run.id])
    assert [t.name for t in task_runs] == ["add-0", "add-1", "add-2"]
    assert all(t.state.is_completed() for t in task_runs)


async def test_an_async_flow_runs_on_the_callers_loop(server: SyncHeadgateClient):
    loops = []

    @task
    async def double(n: int) -> int:
        loops.append(asyncio.get_running_loop())
        await asyncio.sleep(0)
        return 2 * n

    @flow
    async def doubles() -> list[int]:
        loops.append(asyncio.get_running_loop())
        return await asyncio.gather(*(double(n) for n in range(3)))

    assert await doubles() == [0, 2, 4]
    assert set(loops) == {asyncio.get_running_loop()}


def test_parameters_are_coerced(server: SyncHeadgateClient):
    class Place(pydantic.BaseModel):
        city: str

    @dataclasses.dataclass
    class Size:
        width: int

    @flow
    def typed(n: int, place: Place, size: Size):
        return n, place, size

    call: Any = typed
    assert call("5", {"city": "Bern"}, {"width": "3"}) == (5, Place(city="Bern"), Size(3))


def test_parameters_that_do_not_fit_fail_the_run_before_it_runs(server: SyncHeadgateClient):
    @flow(retries=2)
    def typed(n: int): ...

    state = typed("five", return_state=True)
    assert state.is_failed()
    assert "n" in state.message
    assert names_of(server, run_of(state)) == ["Pending", "Failed"]
    with pytest.raises(errors.ParameterTypeError):
        typed("five")  # pyright: ignore[reportArgumentType]  # wrong on purpose


def test_arguments_that_do_not_fit_the_signature_are_refused_without_a_run(
    server: SyncHeadgateClient,
):
    @flow
    def plain(n): ...

    with pytest.raises(errors.ParameterBindError):
        plain(1, 2)  # pyright: ignore[reportCallIssue]  # wrong on purpose


def test_validation_can_be_left_away(server: SyncHeadgateClient):
    @flow(validate_parameters=False)
    def plain(n: int):
        return n

    call: Any = plain
    assert call("x") == "x"


def test_an_exception_fails_the_run_and_reaches_the_caller(server: SyncHeadgateClient):
    @flow
    def fails():
        raise ValueError("no such thing")

    with pytest.raises(ValueError, match="no such thing"):
        fails()
    state = fails(return_state=True)
    assert state.is_failed()
    assert state.message == "Flow run encountered an exception: ValueError: no such thing"
    stored = server.read_flow_run(run_of(state)).state
    assert (stored.type, stored.message) == (StateType.FAILED, state.message)


def test_a_flow_is_retried_as_its_policy_says(server: SyncHeadgateClient):
    counts = []

    @flow(retries=2, retry_delay_seconds=0.01)
    def flaky() -> str:
        context = FlowRunContext.get()
        assert context is not None
        counts.append((context.attempt, context.flow_run.run_count))
        if len(counts) < 3:
            raise ValueError("again")
        return "done"

    state = flaky(return_state=True)
    assert state.result() == "done"
    assert counts == [(1, 1), (2, 2), (3, 3)]
    assert names_of(server, run_of(state)) == [
        "Pending",
        "Running",
        "AwaitingRetry",
        "Retrying",
        "AwaitingRetry",
        "Retrying",
        "Completed",
    ]


def test_a_retry_condition_can_say_no(server: SyncHeadgateClient):
    asked = []

    def never(flow, flow_run, state):
        asked.append(state.name)
        return False

    @flow(retries=3, retry_condition_fn=never)
    def fails():
        raise ValueError("final")

    with pytest.raises(ValueError, match="final"):
        fails()
    assert asked == ["Failed"]


def test_a_flow_that_takes_too_long_is_timed_out(server: SyncHeadgateClient):
    @flow(timeout_seconds=0.05)
    def slow():
        threading.Event().wait(5)

    state = slow(return_state=True)
    assert (state.type, state.name) == (StateType.FAILED, "TimedOut")
    with pytest.raises(errors.FlowRunTimeoutError):
        slow()


async def test_an_async_flow_that_takes_too_long_is_timed_out(server: SyncHeadgateClient):
    @flow(timeout_seconds=0.05)
    async def slow():
        await asyncio.sleep(5)

    with pytest.raises(errors.FlowRunTimeoutError):
        await slow()


@pytest.mark.parametrize(
    ("value", "type", "name"),
    [
        (lambda: Completed(name="Skipped", message="Nothing new"), StateType.COMPLETED, "Skipped"),
        (lambda: Failed(message="because"), StateType.FAILED, "Failed"),
        (lambda: Cancelled(), StateType.CANCELLED, "Cancelled"),
        (lambda: Running(), StateType.FAILED, "Failed"),
        (lambda: [add(1, return_state=True)], StateType.COMPLETED, "Completed"),
        (lambda: add.submit(1), StateType.COMPLETED, "Completed"),
    ],
    ids=["custom name", "failed", "cancelled", "running", "state of a task", "future"],
)
def test_the_return_value_decides_the_final_state(value, type, name, server: SyncHeadgateClient):
    @flow
    def returns():
        return value()

    state = returns(return_state=True)
    assert (state.type, state.name) == (type, name)
    assert server.read_flow_run(run_of(state)).state.name == name


def test_one_failed_state_among_those_returned_fails_the_flow(server: SyncHeadgateClient):
    @task
    def fails():
        raise ValueError("no")

    @flow
    def mixed():
        return add.submit(1), fails.submit(), add.submit(2)

    state = mixed(return_state=True)
    assert state.is_failed()
    assert state.message == "1/3 states failed."
    # Who calls it sees what became of each.
    returned: Any = mixed()
    assert [each.name for each in returned] == ["Completed", "Failed", "Completed"]


def test_a_failed_future_that_nobody_asks_for_does_not_fail_the_flow(server: SyncHeadgateClient):
    @task
    def fails():
        raise ValueError("no")

    @flow
    def careless():
        fails.submit()
        return "fine"

    assert careless() == "fine"


def test_a_subflow_is_a_run_of_its_own_and_a_task_run_of_its_parent(server: SyncHeadgateClient):
    @flow
    def child(n: int) -> int:
        return add(n)

    @flow
    def parent() -> int:
        return child(1) + child(2)

    state = parent(return_state=True)
    assert state.result() == 5
    parent_id = run_of(state)
    tracking = server.read_task_runs(flow_run_ids=[parent_id])
    assert [t.name for t in tracking] == ["child-0", "child-1"]
    assert {t.state.name for t in tracking} == {"Completed"}
    for task_run in tracking:
        child_id = task_run.state.details.child_flow_run_id
        assert child_id is not None
        run = server.read_flow_run(child_id)
        assert run.parent_task_run_id == task_run.id
        assert run.parent_flow_run_id == parent_id
        assert run.root_flow_run_id == parent_id


def test_the_failure_of_a_subflow_can_be_caught(server: SyncHeadgateClient):
    @flow
    def child():
        raise ValueError("inner")

    @flow
    def parent() -> str:
        try:
            child()
        except ValueError:
            return "caught"
        return "not raised"

    assert parent() == "caught"


async def test_subflows_run_at_the_same_time(server: SyncHeadgateClient):
    meeting = asyncio.Barrier(2)

    @flow
    async def child(n: int) -> int:
        await asyncio.wait_for(meeting.wait(), 5)
        return n

    @flow
    async def parent() -> list[int]:
        return list(await asyncio.gather(child(1), child(2)))

    assert await parent() == [1, 2]


def test_hooks_hear_of_the_states(server: SyncHeadgateClient):
    heard = []

    def hook(flow, flow_run, state):
        heard.append((flow.name, flow_run.name, state.name))

    async def async_hook(flow, flow_run, state):
        await asyncio.sleep(0)
        heard.append("async")

    def bad_hook(flow, flow_run, state):
        raise RuntimeError("in a hook")

    @flow(
        flow_run_name="nightly",
        on_running=[hook],
        on_completion=[bad_hook, hook, async_hook],
        on_failure=[hook],
    )
    def works(fail: bool):
        if fail:
            raise ValueError("x")

    works(False)
    assert heard == [("works", "nightly", "Running"), ("works", "nightly", "Completed"), "async"]
    heard.clear()
    with pytest.raises(ValueError, match="x"):
        works(True)
    assert heard == [("works", "nightly", "Running"), ("works", "nightly", "Failed")]


def test_hooks_can_be_added_by_decorator(server: SyncHeadgateClient):
    heard = []

    @flow
    def works(): ...

    @works.on_completion
    def hook(flow, flow_run, state):
        heard.append(state.name)

    works()
    assert heard == ["Completed"]


def test_a_run_name_is_made_of_the_validated_parameters(server: SyncHeadgateClient):
    @flow(flow_run_name="load-{n:03d}")
    def load(n: int): ...

    state = load("7", return_state=True)
    assert server.read_flow_run(run_of(state)).name == "load-007"


def test_tags_around_a_flow_are_the_tags_of_its_runs(server: SyncHeadgateClient):
    @task(tags=["own"])
    def tagged(): ...

    @flow
    def works():
        with tags("inner"):
            tagged()

    with tags("a", "b"):
        state = works(return_state=True)
    assert set(server.read_flow_run(run_of(state)).tags) == {"a", "b"}
    (task_run,) = server.read_task_runs(flow_run_ids=[run_of(state)])
    assert set(task_run.tags) == {"a", "b", "inner", "own"}


def test_ctrl_c_crashes_the_run_and_goes_on(server: SyncHeadgateClient):
    seen = []

    def hook(flow, flow_run, state):
        seen.append((flow_run.id, state.name))

    @flow(on_crashed=[hook])
    def interrupted():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    (flow_run_id, name) = seen[0]
    assert name == "Crashed"
    stored = server.read_flow_run(flow_run_id).state
    assert stored.name == "Crashed"
    assert stored.message == "Execution was aborted by an interrupt signal."


def test_a_generator_flow_yields_to_its_caller(server: SyncHeadgateClient):
    @flow
    def counts(n: int):
        for i in range(n):
            yield add(i)

    run = counts(3)
    assert next(run) == 1
    assert FlowRunContext.get() is None
    assert list(run) == [2, 3]


async def test_an_async_generator_flow_yields_to_its_caller(server: SyncHeadgateClient):
    @flow
    async def counts(n: int):
        for i in range(n):
            yield i

    assert [i async for i in counts(3)] == [0, 1, 2]


def test_methods_are_flows_too(server: SyncHeadgateClient):
    class Pipeline:
        def __init__(self, factor: int):
            self.factor = factor

        @flow
        def run(self, n: int) -> int:
            return self.factor * n

        @flow
        @classmethod
        def name(cls) -> str:
            return cls.__name__

        @flow
        @staticmethod
        def twice(n: int) -> int:
            return 2 * n

    assert Pipeline(3).run(4) == 12
    assert Pipeline.name() == "Pipeline"
    assert Pipeline(1).name() == "Pipeline"
    assert Pipeline.twice(2) == 4
    assert Pipeline(1).twice(2) == 4


def test_a_flow_called_on_another_thread_is_recorded(server: SyncHeadgateClient):
    @flow
    def works() -> int:
        return 1

    results = []
    threads = [threading.Thread(target=lambda: results.append(works())) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [1, 1, 1]


def test_what_is_logged_and_printed_is_kept(server: SyncHeadgateClient):
    from headgate import get_run_logger
    from headgate.engine import process

    @task
    def talks():
        get_run_logger().info("from the task")

    @flow(log_prints=True)
    def works():
        print("printed", 1)
        talks()

    state = works(return_state=True)
    link = process.link()
    outbox = link.outbox(run_of(state))
    if outbox is not None:
        outbox.flush().result(5)
    messages = [record.message for record in server.read_logs(flow_run_ids=[run_of(state)])]
    assert "printed 1" in messages
    assert "from the task" in messages
