"""Rows F*, E* and SN* of the table of features that no other file shows."""

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest

from headgate import flow, get_client, get_run_logger, task
from headgate.client.orchestration import SyncHeadgateClient
from headgate.context import FlowRunContext, TaskRunContext, get_run_context
from headgate.core import errors
from headgate.flows import load_flow_from_entrypoint
from headgate.runtime import flow_run
from headgate.states import Completed, State


@task
def add(a: int, b: int = 1) -> int:
    return a + b


@flow
def of_this_file(day: str, n: int = 2) -> str:
    """Load a day."""
    return f"{day}/{n}"


def names_of(server: SyncHeadgateClient, state: State[Any]) -> list[str]:
    return [s.name for s in server.read_flow_run_states(state.flow_run_id or "")]


# --- F: what a flow is ---


def test_a_flow_knows_its_file_its_docstring_and_its_function():
    assert of_this_file.name == "of-this-file"
    assert of_this_file.description == "Load a day."
    assert of_this_file.fn("monday") == "monday/2"
    version = of_this_file.version
    assert version is not None
    assert of_this_file.with_options(version="2").version == "2"
    assert add.description is None
    assert task(description="Adds.")(add.fn).description == "Adds."


def test_a_flow_without_a_file_has_no_version():
    scope: dict[str, Any] = {"flow": flow}
    exec("def typed_in(): return 1\nmade = flow(typed_in)", scope)
    assert scope["made"].version is None


@pytest.mark.parametrize("character", "/%&><")
def test_a_name_that_means_something_in_urls_is_refused(character: str):
    with pytest.raises(ValueError, match="leave / % & > < away"):
        flow(name=f"a{character}b")(add.fn)


def test_a_lambda_may_be_a_flow(server: SyncHeadgateClient):
    doubles = flow(lambda n: 2 * n)
    assert doubles.name == "unknown-lambda"
    assert doubles(2) == 4


def test_parameters_are_validated_and_serialized_on_demand():
    assert of_this_file.validate_parameters({"day": "x", "n": "3"}) == {"day": "x", "n": 3}
    assert of_this_file.serialize_parameters({"day": Path("a/b")}) == {"day": "a/b"}
    assert list(of_this_file.parameters["properties"]) == ["day", "n"]
    with pytest.raises(errors.ParameterTypeError):
        of_this_file.validate_parameters({"day": "x", "n": "three"})


def test_a_run_name_may_come_from_a_function_that_asks_the_run(server: SyncHeadgateClient):
    def name() -> str:
        return f"{flow_run.flow_name}-{flow_run.parameters['n']}"

    @flow(flow_run_name=name)
    def load(n: int) -> str | None:
        return flow_run.name

    state = load(7, return_state=True)
    assert state.result() == "load-7"
    assert server.read_flow_run(state.flow_run_id or "").name == "load-7"


def test_a_generator_that_is_returned_becomes_a_list(server: SyncHeadgateClient):
    @flow
    def counts():
        return (n for n in range(3))

    @task
    def counts_too():
        return (n for n in range(2))

    @flow
    def both():
        return counts(), counts_too.submit().result()

    assert both() == ([0, 1, 2], [0, 1])


def test_a_flow_waits_for_futures_whose_results_it_does_not_use(server: SyncHeadgateClient):
    ended = threading.Event()

    @task
    def slow():
        threading.Event().wait(0.02)
        ended.set()

    @task
    def fails():
        raise ValueError("no")

    @flow
    def child() -> bool:
        return ended.is_set()

    @flow
    def parent():
        assert child(wait_for=[slow.submit()]) is True
        state = child(wait_for=[fails.submit()], return_state=True)
        return (state.type.value, state.name)

    assert parent() == ("PENDING", "NotReady")


def test_a_flow_is_loaded_by_its_entrypoint(tmp_path: Path):
    (tmp_path / "etl.py").write_text("from headgate import flow\n@flow\ndef etl(): return 3\n")
    loaded = load_flow_from_entrypoint(f"{tmp_path}/etl.py:etl")
    assert loaded.name == "etl"


def test_hooks_hear_of_each_attempt_and_of_the_last_failure(server: SyncHeadgateClient):
    heard: list[tuple[str, int]] = []

    @flow(retries=1)
    def fails():
        raise ValueError("no")

    @fails.on_running
    @fails.on_failure
    def hook(_flow: Any, run: Any, state: State[Any]):
        heard.append((state.name, run.run_count))

    assert fails(return_state=True).is_failed()
    assert heard == [("Running", 1), ("Retrying", 2), ("Failed", 2)]


# --- E: what happens in a run ---


def test_a_timed_out_flow_is_tried_again(server: SyncHeadgateClient):
    calls: list[int] = []

    @flow(timeout_seconds=0.2, retries=1)
    def slow_at_first() -> str:
        calls.append(1)
        if len(calls) == 1:
            threading.Event().wait(5)
        return "in time"

    state = slow_at_first(return_state=True)
    assert state.result() == "in time"
    assert names_of(server, state)[-3:] == ["AwaitingRetry", "Retrying", "Completed"]


def test_data_beside_states_do_not_decide(server: SyncHeadgateClient):
    @task
    def fails():
        raise ValueError("no")

    @flow
    def returns() -> dict[str, Any]:
        return {"a": fails.submit(), "n": 1}

    state = returns(return_state=True)
    assert state.is_completed()
    assert state.result()["a"].is_failed()


def test_a_failure_that_was_had_as_a_state_can_be_handled(server: SyncHeadgateClient):
    @task
    def fails():
        raise KeyError("k")

    @flow
    def handles():
        state = fails(return_state=True)
        error = state.result(raise_on_failure=False)
        with pytest.raises(KeyError):
            state.result()
        return Completed(name="Handled", data=type(error).__name__)

    state = handles(return_state=True)
    assert (state.name, state.result()) == ("Handled", "KeyError")
    assert handles() == "KeyError"


async def test_a_cancelled_coroutine_crashes_its_run(server: SyncHeadgateClient):
    begun = asyncio.Event()
    ids: list[str] = []

    @flow
    async def waits():
        ids.append(flow_run.id or "")
        begun.set()
        await asyncio.sleep(60)

    async with asyncio.TaskGroup() as group:
        running = group.create_task(waits())
        await begun.wait()
        running.cancel()
    stored = server.read_flow_run(ids[0]).state
    assert stored.name == "Crashed"
    assert "cancelled" in stored.message


def test_a_system_exit_crashes_the_run_with_its_code(server: SyncHeadgateClient):
    ids: list[str] = []

    @flow
    def leaves():
        ids.append(flow_run.id or "")
        raise SystemExit(3)

    with pytest.raises(SystemExit):
        leaves()
    assert "code 3" in server.read_flow_run(ids[0]).state.message


# --- CX: where code is ---


def test_the_innermost_run_is_the_run_context(server: SyncHeadgateClient):
    @task
    def look() -> tuple[str, str]:
        context = get_run_context()
        assert isinstance(context, TaskRunContext)
        assert context.parameters == {}
        flow_context = FlowRunContext.get()
        assert flow_context is not None
        return context.task_run.name, flow_context.flow.name

    @flow
    def looks() -> tuple[str, str]:
        context = get_run_context()
        assert isinstance(context, FlowRunContext)
        assert context.flow_run.id == flow_run.id
        return look()

    assert looks() == ("look-0", "looks")
    assert FlowRunContext.get() is None
    with pytest.raises(errors.MissingContextError):
        get_run_context()
    with pytest.raises(errors.MissingContextError):
        get_run_logger()


async def test_a_client_tells_a_flow_of_its_own_run(server: SyncHeadgateClient):
    @flow
    async def asks() -> bool:
        async with get_client() as client:
            run = await client.read_flow_run(flow_run.id or "")
        return run.name == flow_run.name and run.state.name == "Running"

    assert await asks()


@pytest.mark.parametrize("on_main_thread", [True, False])
def test_the_timeout_of_a_flow_ends_what_it_waits_for_and_what_it_calls(
    on_main_thread: bool, server: SyncHeadgateClient
):
    gate = threading.Event()
    calls: list[str] = []

    @task
    def held():
        gate.wait(5)

    @task(retries=3)
    def stubborn():
        calls.append("stubborn")
        while True:
            gate.wait(0.01)

    @flow(timeout_seconds=0.05)
    def waits():
        future = held.submit()
        future.add_done_callback(lambda _ended: calls.append("ended"))
        threading.Timer(0.1, gate.set).start()
        while True:
            future.wait(timeout=0.01)

    @flow(timeout_seconds=0.05)
    def calls_in_vain():
        try:
            stubborn()
        except Exception:  # such code is everywhere
            calls.append("swallowed")

    states: list[State[Any]] = []

    def run() -> None:
        states.extend([waits(return_state=True)])
        gate.clear()
        states.extend([calls_in_vain(return_state=True)])

    if on_main_thread:
        run()
    else:
        thread = threading.Thread(target=run)
        thread.start()
        thread.join(10)
    assert [state.name for state in states] == ["TimedOut", "TimedOut"]
    assert calls == ["ended", "stubborn"]
    (inner,) = server.read_task_runs(flow_run_ids=[states[1].flow_run_id or ""])
    assert inner.state.name == "Crashed"
    assert "time of the run around it" in inner.state.message
