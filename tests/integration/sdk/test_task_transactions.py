"""Task runs as transactions: committed together, rolled back together, and the server knows."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from headgate import flow, settings, task
from headgate.cache_policies import INPUTS
from headgate.client.orchestration import SyncHeadgateClient
from headgate.results import ResultStore
from headgate.transactions import (
    BaseTransaction,
    CommitMode,
    atransaction,
    get_transaction,
    transaction,
)


@pytest.fixture(autouse=True)
def storage(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "storage"
    with settings.temporary_settings({"results_local_storage_path": folder}):
        yield folder


@pytest.fixture
def heard() -> list[str]:
    return []


@pytest.fixture
def write(heard: list[str]) -> Any:
    """A task that notes what becomes of it."""

    @task
    def write(name: str) -> str:
        txn = get_transaction()
        assert txn is not None
        txn.set("name", name)
        heard.append(name)
        return name

    @write.on_rollback
    def back(txn: BaseTransaction) -> None:
        heard.append(f"{txn.get('name')} back")

    @write.on_commit
    def done(txn: BaseTransaction) -> None:
        heard.append(f"{txn.get('name')} in")

    return write


@task
def fail() -> None:
    raise ValueError("no")


def names(server: SyncHeadgateClient, flow_run_id: str | None) -> list[str]:
    """The names of the states that the task runs of a flow run are in, in their order."""
    found = server.read_task_runs(flow_run_ids=[flow_run_id or ""])
    return [run.state.name for run in sorted(found, key=lambda run: run.id)]


def test_a_task_by_itself_commits_at_its_end(
    server: SyncHeadgateClient, write: Any, heard: list[str]
):
    @flow
    def around():
        write("a")
        write("b")

    around()
    assert heard == ["a", "a in", "b", "b in"]


def test_tasks_of_a_block_commit_with_it(server: SyncHeadgateClient, write: Any, heard: list[str]):
    @flow
    def around():
        with transaction():
            write("a")
            write("b")
            heard.append("end")

    around()
    assert heard == ["a", "b", "end", "a in", "b in"]


def test_a_task_that_fails_rolls_back_those_before_it_the_last_first(
    server: SyncHeadgateClient, write: Any, heard: list[str]
):
    @flow
    def around():
        write("before")
        with transaction():
            write("a")
            write.submit("b").wait()
            fail()

    state = around(return_state=True)
    assert state.is_failed()
    assert heard == ["before", "before in", "a", "b", "b back", "a back"]
    assert names(server, state.flow_run_id) == ["Completed", "RolledBack", "RolledBack", "Failed"]


def test_plain_tasks_of_a_block_are_rolled_back_by_name(server: SyncHeadgateClient):
    @task
    def plain():
        return 1

    @flow
    def around():
        plain()
        with transaction():
            plain()
            fail()

    state = around(return_state=True)
    assert names(server, state.flow_run_id) == ["Completed", "RolledBack", "Failed"]


async def test_async_tasks_and_blocks_do_the_same(server: SyncHeadgateClient, heard: list[str]):
    async def back(txn: BaseTransaction) -> None:
        heard.append("back")

    @task(on_rollback=[back])
    async def write():
        return 1

    @flow
    async def around():
        async with atransaction():
            await write()
            raise ValueError

    @flow
    async def with_sync_block():
        with transaction():
            await write()
            raise ValueError

    state = await around(return_state=True)
    assert heard == ["back"]
    assert names(server, state.flow_run_id) == ["RolledBack"]
    assert (await with_sync_block(return_state=True)).is_failed()
    assert heard == ["back", "back"]


def test_results_of_a_block_are_written_with_it(server: SyncHeadgateClient, storage: Path):
    @task(cache_policy=INPUTS, persist_result=True)
    def add(x: int):
        return x + 1

    def count() -> int:
        return sum(path.is_file() for path in storage.glob("*"))

    @flow
    def around(fails: bool):
        with transaction():
            add(1)
            assert count() == 0
            if fails:
                fail()

    assert around(True, return_state=True).is_failed()
    assert count() == 0
    assert around(False, return_state=True).is_completed()
    assert count() == 1


def test_a_cached_task_is_not_rolled_back(
    server: SyncHeadgateClient, heard: list[str], storage: Path
):
    @task(cache_policy=INPUTS, on_rollback=[lambda _txn: heard.append("back")])
    def add(x: int):
        heard.append("called")
        return x + 1

    @flow
    def around(fails: bool):
        with transaction():
            add(1)
            if fails:
                fail()

    around(False)
    state = around(True, return_state=True)
    assert heard == ["called"]
    assert names(server, state.flow_run_id) == ["Cached", "Failed"]


def test_an_attempt_that_is_tried_again_rolls_nothing_around_back(
    server: SyncHeadgateClient, write: Any, heard: list[str]
):
    attempts: list[int] = []

    @task(retries=1)
    def flaky():
        attempts.append(1)
        if len(attempts) == 1:
            raise ValueError
        return 1

    @flow
    def around():
        with transaction():
            write("a")
            flaky()

    state = around(return_state=True)
    assert heard == ["a", "a in"]
    assert names(server, state.flow_run_id) == ["Completed", "Completed"]


def test_what_an_attempt_called_is_rolled_back_before_the_next(
    server: SyncHeadgateClient, write: Any, heard: list[str]
):
    attempts: list[int] = []

    @task(retries=1)
    def outer():
        attempts.append(1)
        write(f"inner {len(attempts)}")
        if len(attempts) == 1:
            raise ValueError

    @flow
    def around():
        outer()

    around()
    assert heard == ["inner 1", "inner 1 back", "inner 2", "inner 2 in"]


def test_a_task_commits_with_the_task_that_calls_it(
    server: SyncHeadgateClient, write: Any, heard: list[str]
):
    @task
    def outermost():
        middle()
        heard.append("outermost")

    @task
    def middle():
        write("a")
        heard.append("middle")

    @flow
    def around():
        outermost()

    around()
    assert heard == ["a", "middle", "outermost", "a in"]


def test_an_eager_task_result_stays(server: SyncHeadgateClient, write: Any, heard: list[str]):
    @flow
    def around():
        with transaction(commit_mode=CommitMode.EAGER):
            write("a")
            fail()

    state = around(return_state=True)
    assert heard == ["a", "a in"]
    assert names(server, state.flow_run_id) == ["Completed", "Failed"]


def test_values_of_the_block_are_those_of_its_tasks(server: SyncHeadgateClient):
    @task
    def read():
        txn = get_transaction()
        assert txn is not None
        return txn.get("folder")

    @flow
    def around():
        with transaction() as txn:
            txn.set("folder", "/tmp/x")
            return read(), read.submit().result()

    assert around() == ("/tmp/x", "/tmp/x")


def test_the_transaction_of_a_task_is_its_own(server: SyncHeadgateClient):
    @task
    def mine():
        with transaction() as inner:
            assert get_transaction() is inner
        txn = get_transaction()
        assert txn is not None
        return txn

    @flow
    def around():
        assert get_transaction() is None
        with transaction() as txn:
            one, other = mine(), mine()
            assert one is not other
            assert one.get_parent() is other.get_parent() is txn
            assert get_transaction() is txn
        outside = mine()
        assert outside.get_parent() is None
        return outside.is_committed()

    assert around() is True


def test_a_block_with_a_key_is_done_once(server: SyncHeadgateClient, heard: list[str]):
    @flow
    def around():
        with transaction(key="report-2026-11") as txn:
            if txn.is_committed():
                return "there already"
            heard.append("made")
            txn.stage("done")
        return "made"

    assert [around(), around()] == ["made", "there already"]
    assert heard == ["made"]
    assert ResultStore().read("report-2026-11").result == "done"


def test_a_commit_hook_that_fails_rolls_its_task_back(
    server: SyncHeadgateClient, heard: list[str], storage: Path
):
    def broken(txn: BaseTransaction) -> None:
        raise ValueError("full")

    @task(persist_result=True, on_commit=[broken], on_rollback=[lambda _txn: heard.append("back")])
    def write():
        return 1

    @flow
    def around():
        return write(return_state=True)

    state = around(return_state=True)
    assert heard == ["back"]
    assert names(server, state.flow_run_id) == ["RolledBack"]
    assert not list(storage.glob("[!.]*"))


def test_a_run_that_is_torn_down_is_rolled_back(
    server: SyncHeadgateClient, write: Any, heard: list[str]
):
    @task
    def outer():
        write("a")
        raise KeyboardInterrupt

    @flow
    def around():
        outer()

    with pytest.raises(KeyboardInterrupt):
        around()
    assert heard == ["a", "a back"]


def test_tasks_on_threads_enlist_in_the_block_that_submitted_them(
    server: SyncHeadgateClient, heard: list[str]
):
    lock = threading.Lock()

    def back(txn: BaseTransaction) -> None:
        with lock:
            heard.append("back")

    @task(on_rollback=[back])
    def write(n: int):
        return n

    @flow
    def around():
        with transaction():
            assert write.map(list(range(20))).result() == list(range(20))
            fail()

    state = around(return_state=True)
    assert heard == ["back"] * 20
    assert names(server, state.flow_run_id).count("RolledBack") == 20


def test_tasks_outside_of_flows_are_transactions_too(
    server: SyncHeadgateClient, heard: list[str], write: Any
):
    def block() -> None:
        with transaction():
            write("a")
            fail()

    with pytest.raises(ValueError, match="no"):
        block()
    assert heard == ["a", "a back"]


def test_hooks_have_to_be_functions_in_a_list():
    with pytest.raises(TypeError, match=r"on_rollback is .*; use a list: on_rollback=\[print\]"):
        task(on_rollback=print)(lambda: 1)  # pyright: ignore[reportArgumentType]  # wrong on purpose
    with pytest.raises(TypeError, match=r"on_commit has 3; use functions of \(transaction\)"):
        task(on_commit=[3])(lambda: 1)  # pyright: ignore[reportArgumentType]  # wrong on purpose
