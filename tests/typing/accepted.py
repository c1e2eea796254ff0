# pyright: strict, reportUnnecessaryTypeIgnoreComment=true
"""A flow file as users write it: results are inferred without a cast. It is checked, never run."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator
from datetime import timedelta
from typing import Any, Never, assert_type

from headgate import (
    Flow,
    State,
    Task,
    allow_failure,
    apause_flow_run,
    asuspend_flow_run,
    flow,
    get_run_logger,
    pause_flow_run,
    suspend_flow_run,
    tags,
    task,
    unmapped,
)
from headgate.cache_policies import INPUTS
from headgate.client.schemas import FlowRun, TaskRun
from headgate.futures import FlowRunFuture, Future, FutureList, as_completed, wait
from headgate.input import RunInput
from headgate.states import Completed
from headgate.task_runners import ThreadPoolTaskRunner
from headgate.tasks import exponential_backoff
from headgate.transactions import Transaction, transaction

# --- Tasks


@task
def count(text: str, *, unit: str = "characters") -> int:
    return len(text)


@task(
    name="parse",
    retries=3,
    retry_delay_seconds=exponential_backoff(backoff_factor=2),
    retry_jitter_factor=0.5,
    cache_policy=INPUTS,
    cache_expiration=timedelta(hours=1),
    timeout_seconds=10,
    tags=["db"],
    viz_return_value=[1.0],
)
def parse(text: str) -> list[float]:
    return [float(part) for part in text.split()]


@task
async def fetch(url: str) -> bytes:
    return url.encode()


@task
def rows(limit: int) -> Generator[int]:
    yield from range(limit)


@task
async def arows(limit: int) -> AsyncGenerator[int]:
    yield limit


@task
def give_up() -> Never:
    raise RuntimeError


def plain(number: int) -> str:
    return str(number)


assert_type(task(plain)(1), str)
assert_type(task(plain, name="other", retries=2)(1), str)
assert_type(count("x"), int)
assert_type(count("x", unit="words"), int)
assert_type(count("x", return_state=True), State[int])
assert_type(count("x", wait_for=[count.submit("y")]), int)
assert_type(count.with_options(retries=2, timeout_seconds=None)("x"), int)
assert_type(parse("1 2"), list[float])
assert_type(rows(3), Generator[int])
assert_type(arows(3), AsyncGenerator[int])
assert_type(give_up(return_state=True), State[Never])
assert_type(count.fn("x"), int)


def submitted() -> None:
    assert_type(count.submit("x"), Future[int])
    assert_type(count.submit("x").result(), int)
    assert_type(count.submit("x", return_state=True), State[int])
    assert_type(count.submit("x", return_state=True).result(), int)
    assert_type(count.submit(count.submit("x"), wait_for=[1]), Future[int])
    assert_type(fetch.submit("u"), Future[bytes])
    assert_type(fetch.submit("u", return_state=True), State[bytes])
    assert_type(count.map(["x", "y"], unit=unmapped("words")), FutureList[int])
    assert_type(count.map(["x", "y"]).result(), list[int])
    failed = count.map(["x"]).result(raise_on_failure=False)
    assert_type(failed, list[int | BaseException])
    assert_type(count.submit("x").result(None, False), int | BaseException)
    assert_type(count.submit("x").result(timeout=3), int)
    assert_type(count.map(["x", "y"], return_state=True), list[State[int]])
    assert_type(fetch.map(["u"], return_state=True), list[State[bytes]])
    assert_type(fetch.map(["u"]).result(), list[bytes])
    assert_type(count.delay("x").result(), int)
    assert_type(fetch.delay("u").result(), bytes)
    assert_type(count.apply_async(kwargs={"text": "x"}).result(), int)
    for future in as_completed(count.map(["x"])):
        assert_type(future.result(), int)
    wait([count.submit(allow_failure(count.submit("x")))])


# --- States

assert_type(count("x", return_state=True).result(), int)
assert_type(count("x", return_state=True).result(raise_on_failure=False), int | BaseException)
assert_type(Completed(data=3).is_completed(), bool)


async def awaited_states() -> None:
    state = await fetch("u", return_state=True)
    assert_type(state, State[bytes])
    assert_type(await state.aresult(), bytes)


# --- Flows


@flow
def etl(day: str, limit: int = 3) -> dict[str, int]:
    get_run_logger().info("hello")
    with tags("nightly"), transaction(key="k"):
        return {day: count(day)}


def told(what: Flow[..., Any], run: FlowRun, state: State[Any]) -> None: ...


def told_of_task(what: Task[..., Any], run: TaskRun, state: State[Any]) -> None: ...


def undo(done: Transaction) -> None: ...


@flow(
    name="nightly",
    retries=2,
    retry_delay_seconds=[1, 10],
    log_prints=True,
    task_runner=ThreadPoolTaskRunner(max_workers=4),
    on_completion=[told],
    durable=True,
)
async def nightly(day: str) -> int:
    return len(await fetch(day))


@flow
def pages(limit: int) -> Generator[str]:
    yield from map(str, range(limit))


assert_type(etl("monday"), dict[str, int])
assert_type(etl("monday", limit=4), dict[str, int])
assert_type(etl("monday", return_state=True), State[dict[str, int]])
assert_type(etl.with_options(name="other")("monday"), dict[str, int])
assert_type(flow(plain)(1), str)
assert_type(flow(plain, name="other")(1), str)
assert_type(flow.from_source("https://github.com/org/repo", "flows.py:etl"), Flow[..., Any])
assert_type(pages(2), Generator[str])
assert_type(etl.submit("monday"), FlowRunFuture[dict[str, int]])
assert_type(etl.submit("monday").result(), dict[str, int])
assert_type(etl.submit("monday", return_state=True), State[dict[str, int]])
assert_type(nightly.submit("monday").result(), int)
assert_type(nightly.submit("monday", return_state=True), State[int])
assert_type(etl.map(["monday"]).result(), list[dict[str, int]])
assert_type(nightly.map(["monday"]).result(), list[int])
assert_type(nightly.map(["monday"], return_state=True), list[State[int]])
assert_type(etl.generate_mermaid_graph("monday"), str)


@etl.on_failure
def noticed(what: Flow[..., Any], run: FlowRun, state: State[Any]) -> None: ...


@count.on_rollback
def undone(done: Transaction) -> None: ...


hooked = count.with_options(on_completion=[told_of_task], on_rollback=[undo])


async def awaited() -> None:
    assert_type(await nightly("monday"), int)
    assert_type(await Pipeline().arun("monday"), int)
    assert_type(await nightly("monday", return_state=True), State[int])
    assert_type(await fetch("u"), bytes)
    assert_type(await fetch.submit("u"), bytes)
    assert_type(await count.submit("x").result_async(), int)
    async for number in arows(3):
        assert_type(number, int)


# --- Methods


class Pipeline:
    @flow
    def run(self, day: str) -> int:
        return self.step(day)

    @task
    def step(self, day: str) -> int:
        return len(day)

    @flow
    async def arun(self, day: str) -> int:
        return len(day)

    @classmethod
    @flow
    def of_class(cls, day: str) -> int:
        return len(day)

    @staticmethod
    @flow
    def of_nobody(day: str) -> int:
        return len(day)


assert_type(Pipeline().run("monday"), int)
assert_type(Pipeline().run("monday", return_state=True), State[int])
assert_type(Pipeline().step("monday"), int)
assert_type(Pipeline().step.submit("monday"), Future[int])
assert_type(Pipeline().of_nobody("monday"), int)
assert_type(Pipeline.of_nobody("monday"), int)
assert_type(Pipeline.of_class("monday"), int)
assert_type(Pipeline().of_class("monday"), int)
assert_type(Pipeline.run(Pipeline(), "monday"), int)


# --- Pauses


class Approval(RunInput):
    approved: bool


@flow
def asks() -> str:
    assert_type(pause_flow_run(), None)
    assert_type(pause_flow_run(wait_for_input=Approval).approved, bool)
    assert_type(suspend_flow_run(wait_for_input=Approval).approved, bool)
    return pause_flow_run(wait_for_input=str, timeout=60)


@flow
async def asks_later() -> str:
    assert_type(await apause_flow_run(), None)
    assert_type((await apause_flow_run(wait_for_input=Approval)).approved, bool)
    assert_type((await asuspend_flow_run(wait_for_input=Approval)).approved, bool)
    return await apause_flow_run(wait_for_input=str)
