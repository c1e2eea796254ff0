"""Durable flows: what has completed is not called again, in whatever process they go on."""

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from headgate import flow, settings, task
from headgate.client.orchestration import SyncHeadgateClient
from headgate.core import errors
from headgate.core.states import StateType, VerdictKind
from headgate.engine import claimed, durable
from headgate.states import Completed, State, from_record
from headgate.task_runners import ThreadPoolTaskRunner

called: list[Any] = []
failures: list[int] = []


@pytest.fixture(autouse=True)
def nothing_yet() -> Iterator[None]:
    called.clear()
    failures.clear()
    yield
    failures.clear()


@task
def step(number: int) -> int:
    called.append(number)
    return number * 10


@task
def fail_sometimes(value: int) -> int:
    if failures:
        raise ValueError(f"failure {failures.pop()}")
    called.append(("passed", value))
    return value


@flow(durable=True)
def sums(count: int = 3) -> int:
    return fail_sometimes(sum(step(number) for number in range(count)))


def go_on(
    server: SyncHeadgateClient, which: Any, state: State, *, force: bool = False
) -> State[Any]:
    """Retry a run, in this process in the place of another one."""
    run_id = state.flow_run_id or ""
    result = server.retry_flow_run(run_id, force=force)
    assert result.flow_run.state.name == "AwaitingRetry", result.verdict
    return claimed.execute(which, run_id)


def test_a_retry_within_the_process_calls_no_completed_task_again(server: SyncHeadgateClient):
    failures[:] = [1, 2]
    which = sums.with_options(retries=2)
    assert which() == 30
    assert called == [0, 1, 2, ("passed", 30)]


def test_a_manual_retry_goes_on_from_the_failure(server: SyncHeadgateClient):
    failures[:] = [1]
    failed = sums(return_state=True)
    assert failed.is_failed()
    ended = go_on(server, sums, failed)
    assert ended.result() == 30
    assert called == [0, 1, 2, ("passed", 30)]
    run = server.read_flow_run(failed.flow_run_id or "")
    assert (run.run_count, run.fencing_token, run.state.type) == (2, 2, StateType.COMPLETED)
    assert from_record(run.state).result() == 30


def test_what_a_durable_flow_raised_is_kept_and_raised_again(server: SyncHeadgateClient):
    failures[:] = [7]
    failed = sums(return_state=True)
    stored = server.read_flow_run(failed.flow_run_id or "").state
    with pytest.raises(ValueError, match="failure 7"):
        from_record(stored).result()


def test_a_run_that_has_completed_is_not_retried(server: SyncHeadgateClient):
    state = sums(return_state=True)
    result = server.retry_flow_run(state.flow_run_id or "", force=True)
    assert result.verdict.kind is VerdictKind.ABORT
    assert "completed" in result.verdict.reason


def test_a_call_with_other_arguments_runs(server: SyncHeadgateClient):
    source = [1, 2]

    @flow(durable=True)
    def over_source() -> int:
        return fail_sometimes(sum(step(number) for number in source))

    failures[:] = [1]
    failed = over_source(return_state=True)
    # What was there before is found again wherever it comes now.
    source[:] = [9, 2, 1]
    assert go_on(server, over_source, failed).result() == 120
    assert called == [1, 2, 9, ("passed", 120)]


def test_equal_calls_are_told_apart_by_their_number(server: SyncHeadgateClient):
    counter = iter(range(100))

    @task
    def draw() -> int:
        return next(counter)

    seen: list[list[int]] = []

    @flow(durable=True)
    def draws() -> None:
        seen.append([draw(), draw(), draw()])
        fail_sometimes(0)

    failures[:] = [1]
    failed = draws(return_state=True)
    assert go_on(server, draws, failed).is_completed()
    assert seen == [[0, 1, 2], [0, 1, 2]]


def test_a_task_whose_code_has_changed_runs_again(server: SyncHeadgateClient):
    @task(name="a")
    def first() -> str:
        called.append("first")
        return "first"

    @task(name="a")
    def second() -> str:
        called.append("second")
        return "second"

    versions = [first, second]

    @flow(durable=True)
    def versioned() -> str:
        value = versions[0]()
        fail_sometimes(0)
        return value

    failures[:] = [1]
    failed = versioned(return_state=True)
    versions.pop(0)
    assert go_on(server, versioned, failed).result() == "second"


def test_submitted_and_mapped_tasks_are_recorded_too(server: SyncHeadgateClient):
    @task
    def add(a: int, b: int) -> int:
        called.append((a, b))
        return a + b

    @flow(durable=True, task_runner=ThreadPoolTaskRunner(max_workers=3))
    def mapped() -> int:
        first = [step.submit(number) for number in range(4)]
        total = sum(future.result() for future in add.map(first, [1, 2, 3, 4]))
        return fail_sometimes(total)

    failures[:] = [1]
    failed = mapped(return_state=True)
    before = list(called)
    assert go_on(server, mapped, failed).result() == 70
    assert called == [*before, ("passed", 70)]
    runs = server.read_task_runs(flow_run_ids=[failed.flow_run_id or ""], limit=None)
    assert sorted(run.state.name for run in runs) == ["Completed"] * 9 + ["Failed"]
    # What was read instead of called is known as what it was.
    last = next(run for run in runs if run.name.startswith("fail") and run.state.is_completed())
    assert last.run_count == 1


def test_the_results_of_recorded_calls_are_still_known_as_theirs(server: SyncHeadgateClient):
    @task
    def make() -> list[int]:
        return [1]

    @task
    def use(value: list[int]) -> None:
        fail_sometimes(0)

    @flow(durable=True)
    def chain() -> None:
        use(make.submit())  # pyright: ignore[reportArgumentType]  # its result, by then

    failures[:] = [1]
    failed = chain(return_state=True)
    assert go_on(server, chain, failed).is_completed()
    runs = server.read_task_runs(flow_run_ids=[failed.flow_run_id or ""])
    (made,) = [run for run in runs if run.name.startswith("make")]
    used = [run for run in runs if run.name.startswith("use")]
    assert [run.upstream_run_ids for run in used] == [(made.id,)] * 2


def test_tasks_within_tasks_are_recorded_each_for_its_own(server: SyncHeadgateClient):
    @task
    def outer(name: str) -> int:
        value = step(1) + step(2)
        if name == "b":
            fail_sometimes(0)
        return value

    @flow(durable=True)
    def nests() -> int:
        return outer("a") + outer("b")

    failures[:] = [1]
    failed = nests(return_state=True)
    assert go_on(server, nests, failed).result() == 60
    assert called == [1, 2, 1, 2, ("passed", 0)]


def test_an_async_durable_flow_goes_on(server: SyncHeadgateClient):
    @task
    async def astep(number: int) -> int:
        called.append(number)
        return number

    @flow(durable=True)
    async def gathers() -> int:
        total = sum(await asyncio.gather(*(astep(number) for number in range(5))))
        return fail_sometimes(total)

    failures[:] = [1]
    failed = asyncio.run(gathers(return_state=True))
    assert go_on(server, gathers, failed).result() == 10
    assert sorted(called[:-1]) == [0, 1, 2, 3, 4]


def test_the_state_that_a_task_returned_comes_back_with_its_name(server: SyncHeadgateClient):
    @task
    def skips() -> State[int]:
        called.append("skips")
        return Completed(name="Skipped", message="nothing new", data=5)

    seen: list[State[Any]] = []

    @flow(durable=True)
    def looks() -> None:
        seen.append(skips(return_state=True))
        fail_sometimes(0)

    failures[:] = [1]
    failed = looks(return_state=True)
    assert go_on(server, looks, failed).is_completed()
    assert called.count("skips") == 1
    assert [(state.name, state.message, state.result()) for state in seen] == [
        ("Skipped", "nothing new", 5)
    ] * 2


def test_a_big_result_is_read_from_where_it_is_kept(server: SyncHeadgateClient, tmp_path: Any):
    @task
    def big() -> bytes:
        called.append("big")
        return b"x" * 100_000

    @flow(durable=True)
    def carries() -> int:
        return fail_sometimes(len(big()))

    failures[:] = [1]
    with settings.temporary_settings({"results_local_storage_path": str(tmp_path)}):
        failed = carries(return_state=True)
        assert go_on(server, carries, failed).result() == 100_000
    assert called.count("big") == 1
    assert any(path.is_file() for path in tmp_path.rglob("*"))


def test_a_result_that_cannot_be_kept_is_made_again(
    server: SyncHeadgateClient, caplog: pytest.LogCaptureFixture
):
    @task
    def lock() -> Any:
        called.append("lock")
        return threading.Lock()

    @flow(durable=True)
    def locks() -> None:
        with lock():
            fail_sometimes(0)

    failures[:] = [1]
    failed = locks(return_state=True)
    assert go_on(server, locks, failed).is_completed()
    assert called.count("lock") == 2


def test_there_may_be_more_recorded_calls_than_one_page_has(
    server: SyncHeadgateClient, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(durable, "PAGE_CALLS", 7)
    failures[:] = [1]
    failed = sums(50, return_state=True)
    assert go_on(server, sums, failed).is_completed()
    assert called == [*range(50), ("passed", sum(range(50)) * 10)]


def test_a_completed_subflow_is_not_run_again_when_its_parent_is_tried_again(
    server: SyncHeadgateClient,
):
    @flow
    def child(number: int) -> int:
        called.append(("child", number))
        return number

    @flow
    def failing(number: int) -> int:
        called.append(("failing", number))
        return fail_sometimes(number)

    @flow(retries=1)
    def parent() -> int:
        return child(1) + child(2) + failing(3)

    failures[:] = [1]
    state = parent(return_state=True)
    assert state.result() == 6
    expected = [("child", 1), ("child", 2), ("failing", 3), ("failing", 3), ("passed", 3)]
    assert called == expected
    children = server.read_flow_runs(parent_flow_run_id=state.flow_run_id or "")
    assert sorted(run.flow_name for run in children) == ["child", "child", "failing", "failing"]


@pytest.mark.parametrize("said", [True, None])
def test_a_subflow_of_a_durable_flow_goes_on_when_its_parent_does(
    server: SyncHeadgateClient, said: bool | None
):
    @flow(durable=said)
    def child(count: int) -> int:
        return fail_sometimes(sum(step(number) for number in range(count)))

    @flow(durable=True)
    def parent() -> int:
        return child(2) + child(3)

    failures[:] = [1]
    failed = parent(return_state=True)
    assert go_on(server, parent, failed).result() == 40
    assert called == [0, 1, ("passed", 10), 0, 1, 2, ("passed", 30)]
    children = server.read_flow_runs(parent_flow_run_id=failed.flow_run_id or "")
    assert sorted(run.run_count for run in children) == [1, 2]


def test_a_subflow_that_says_it_is_not_durable_begins_anew(server: SyncHeadgateClient):
    @flow(durable=False)
    def child(count: int) -> int:
        return fail_sometimes(sum(step(number) for number in range(count)))

    @flow
    def between(count: int) -> int:
        return child(count)

    @flow(durable=True)
    def parent() -> int:
        return step(7) + between(2)

    failures[:] = [1]
    failed = parent(return_state=True)
    assert go_on(server, parent, failed).result() == 80
    assert called == [7, 0, 1, 0, 1, ("passed", 10)]


def test_a_run_that_others_cannot_execute_says_so(server: SyncHeadgateClient):
    @flow(durable=True)
    def takes(value: Any) -> None:
        fail_sometimes(0)

    failures[:] = [1]
    failed = takes(threading.Lock(), return_state=True)
    server.retry_flow_run(failed.flow_run_id or "")
    with pytest.raises(errors.ParameterTypeError, match="value"):
        claimed.execute(takes, failed.flow_run_id or "")


def test_a_run_that_does_not_wait_is_not_executed(server: SyncHeadgateClient):
    state = sums(return_state=True)
    with pytest.raises(errors.FailedPrecondition, match="Completed"):
        claimed.execute(sums, state.flow_run_id or "")
    with pytest.raises(errors.NotFound):
        claimed.execute(sums, "018f0000-0000-7000-8000-000000000000")


def test_a_task_is_committed_before_the_next_one_begins(server: SyncHeadgateClient):
    counts: list[int] = []

    @flow(durable=True)
    def counting() -> None:
        from headgate.runtime import flow_run

        for number in range(3):
            step(number)
            done = server.count_task_runs(
                flow_run_ids=[flow_run.id or ""], state_types=[StateType.COMPLETED]
            )
            counts.append(sum(count.count for count in done))

    counting()
    assert counts == [1, 2, 3]


def test_options_of_the_wrong_type_are_refused():
    with pytest.raises(TypeError, match="durable"):
        flow(durable="yes")(lambda: None)  # pyright: ignore[reportArgumentType]  # what is wrong with it
    assert sums.with_options(name="other").durable
