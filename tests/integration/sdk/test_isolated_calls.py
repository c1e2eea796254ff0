"""What an isolated task calls itself: recorded for durable flows, part of their transactions."""

import os
import threading
from pathlib import Path
from typing import Any

import pytest

from headgate import flow, task
from headgate.cache_policies import INPUTS
from headgate.client.orchestration import SyncHeadgateClient
from headgate.core import errors
from headgate.engine import claimed
from headgate.locking.filesystem import FileSystemLockManager
from headgate.locking.memory import MemoryLockManager
from headgate.states import State
from headgate.task_runners import ProcessPoolTaskRunner
from headgate.transactions import (
    BaseTransaction,
    IsolationLevel,
    get_transaction,
    transaction,
)

pytestmark = pytest.mark.slow  # a fresh interpreter takes longer than a quarter of a second


def note(path: Path, text: str) -> None:
    with path.open("a") as file:
        file.write(f"{text}\n")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "noted"


def noted(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


def names(server: SyncHeadgateClient, flow_run_id: str | None) -> dict[str, str]:
    """The names of the states of the task runs of a flow run, by their names."""
    found = server.read_task_runs(flow_run_ids=[flow_run_id or ""])
    return {run.name: run.state.name for run in found}


# --- Durable flows ---


@task
def step(path: Path, number: int) -> int:
    note(path, f"step {number} in {os.getpid()}")
    return number * 10


@task(isolate=True)
def steps_apart(path: Path, broken: Path) -> int:
    """Call tasks, and break down in between as long as a file is there."""
    total = step(path, 1) + step(path, 2)
    if broken.exists():
        broken.unlink()
        raise ValueError("broken")
    return total + step(path, 3)


@flow(durable=True)
def durable(path: Path, broken: Path) -> int:
    return steps_apart(path, broken)


def go_on(server: SyncHeadgateClient, which: Any, state: State) -> State[Any]:
    """Retry a run, in this process in the place of another one."""
    server.retry_flow_run(state.flow_run_id or "")
    return claimed.execute(which, state.flow_run_id or "")


def test_what_an_isolated_task_of_a_durable_flow_calls_is_called_once(
    server: SyncHeadgateClient, path: Path, tmp_path: Path
):
    broken = tmp_path / "broken"
    broken.touch()
    failed = durable(path, broken, return_state=True)
    assert failed.is_failed()
    assert go_on(server, durable, failed).result() == 60
    lines = noted(path)
    assert [line.split(" in ")[0] for line in lines] == ["step 1", "step 2", "step 3"]
    assert not any(line.endswith(f" in {os.getpid()}") for line in lines)


def test_a_retry_within_the_process_knows_what_was_called_elsewhere(
    server: SyncHeadgateClient, path: Path, tmp_path: Path
):
    broken = tmp_path / "broken"
    broken.touch()
    assert durable.with_options(retries=1)(path, broken) == 60
    assert len(noted(path)) == 3


@flow
def inner(path: Path) -> str:
    note(path, "inner")
    return "done"


@task(isolate=True)
def calls_a_flow(path: Path, broken: Path) -> str:
    made = inner(path)
    if broken.exists():
        broken.unlink()
        raise ValueError("broken")
    return made


def test_a_subflow_that_an_isolated_task_called_is_not_called_again(
    server: SyncHeadgateClient, path: Path, tmp_path: Path
):
    broken = tmp_path / "broken"
    broken.touch()

    @flow(retries=1, persist_result=True)
    def outer() -> str:
        return calls_a_flow(path, broken)

    assert outer() == "done"
    assert noted(path) == ["inner"]


@flow(durable=True)
def child(path: Path, broken: Path, number: int) -> int:
    total = step(path, number)
    if broken.exists():
        broken.unlink()
        os._exit(3)
    return total + step(path, number + 1)


@flow(durable=True, task_runner=ProcessPoolTaskRunner(max_workers=2))
def submits(path: Path, broken: Path) -> int:
    first = child.submit(path, broken.with_name("none"), 1).result()
    return first + child.submit(path, broken, 3).result()


def test_durable_subflows_in_a_pool_of_processes_go_on_after_a_kill(
    server: SyncHeadgateClient, path: Path, tmp_path: Path
):
    broken = tmp_path / "broken"
    broken.touch()
    failed = submits(path, broken, return_state=True)
    assert not failed.is_completed()
    assert go_on(server, submits, failed).result() == 100
    lines = [line.split(" in ")[0] for line in noted(path)]
    assert lines == ["step 1", "step 2", "step 3", "step 4"]
    children = server.read_flow_runs(parent_flow_run_id=failed.flow_run_id or "")
    assert sorted(run.run_count for run in children) == [1, 2]
    assert {run.state.name for run in children} == {"Completed"}


# --- Transactions ---


@task
def write(path: Path, name: str) -> str:
    txn = get_transaction()
    assert txn is not None
    txn.set("name", name)
    txn.set("path", path)
    note(path, name)
    return name


@write.on_rollback
def back(txn: BaseTransaction) -> None:
    note(txn.get("path"), f"{txn.get('name')} back in {os.getpid()}")


@write.on_commit
def done(txn: BaseTransaction) -> None:
    note(txn.get("path"), f"{txn.get('name')} in")


@task(isolate=True)
def writes_apart(path: Path) -> None:
    write(path, "a")
    write(path, "b")
    note(path, "end")


@task
def fail() -> None:
    raise ValueError("no")


def test_what_an_isolated_task_called_is_committed_with_its_block(
    server: SyncHeadgateClient, path: Path
):
    @flow
    def around() -> None:
        with transaction():
            writes_apart(path)
            note(path, "block")

    around()
    assert noted(path) == ["a", "b", "end", "block", "a in", "b in"]


def test_what_an_isolated_task_called_is_rolled_back_with_its_block(
    server: SyncHeadgateClient, path: Path
):
    @flow
    def around() -> None:
        with transaction():
            writes_apart(path)
            fail()

    state = around(return_state=True)
    here = os.getpid()
    assert noted(path) == ["a", "b", "end", f"b back in {here}", f"a back in {here}"]
    found = names(server, state.flow_run_id)
    assert found["write-0"] == found["write-1"] == found["writes_apart-0"] == "RolledBack"


def test_a_block_within_an_isolated_task_ends_with_the_task(server: SyncHeadgateClient, path: Path):
    @task(isolate=True)
    def blocks() -> None:
        with transaction() as txn:
            txn.set("seen", 1)
            write(path, "a")
        note(path, "out")

    @flow
    def around() -> None:
        blocks()

    around()
    assert noted(path) == ["a", "out", "a in"]


def test_what_a_killed_process_had_called_is_rolled_back(server: SyncHeadgateClient, path: Path):
    @task(isolate=True)
    def dies() -> None:
        write(path, "a")
        os._exit(3)

    @flow
    def around() -> None:
        dies()

    assert around(return_state=True).is_failed()
    assert noted(path)[0] == "a"
    assert noted(path)[1].startswith("a back")


def test_hooks_of_an_isolated_task_know_what_it_set(server: SyncHeadgateClient, path: Path):
    @task(isolate=True)
    def sets() -> None:
        txn = get_transaction()
        assert txn is not None
        assert txn.get("outer") == "known"
        txn.set("inner", "set")

    @sets.on_commit
    def hook(txn: BaseTransaction) -> None:
        note(path, f"{txn.get('outer')} {txn.get('inner')}")

    @flow
    def around() -> None:
        with transaction() as txn:
            txn.set("outer", "known")
            txn.set("lock", threading.Lock())  # is not known there, and is no reason to fail
            sets()

    around()
    assert noted(path) == ["known set"]


def test_a_result_is_kept_when_the_block_around_the_isolated_task_commits(
    server: SyncHeadgateClient, path: Path
):
    @task(cache_policy=INPUTS, persist_result=True)
    def kept(key: str) -> str:
        note(path, key)
        return key

    @task(isolate=True)
    def calls(key: str) -> str:
        return kept(key)

    @flow
    def around(key: str, breaks: bool) -> str:
        with transaction():
            made = calls(key)
            if breaks:
                raise ValueError("no")
        return made

    key = f"key-{os.getpid()}-{path}"
    assert around(key, breaks=True, return_state=True).is_failed()
    assert around(key, breaks=False) == key
    assert noted(path) == [key, key]
    assert around(key, breaks=False) == key
    assert noted(path) == [key, key]


def test_what_cannot_travel_is_refused_by_name(server: SyncHeadgateClient):
    @task(isolate=True)
    def sets() -> None:
        txn = get_transaction()
        assert txn is not None
        txn.set("lock", threading.Lock())

    @flow
    def around() -> None:
        sets()

    with pytest.raises(errors.SerializationError, match="'lock'"):
        around()


@pytest.mark.parametrize("fits", [True, False], ids=["files", "memory"])
def test_locks_must_be_known_to_both_processes(
    server: SyncHeadgateClient, path: Path, tmp_path: Path, fits: bool
):
    manager = FileSystemLockManager(tmp_path / "locks") if fits else MemoryLockManager()
    policy = INPUTS.configure(isolation_level=IsolationLevel.SERIALIZABLE, lock_manager=manager)

    @task(cache_policy=policy, persist_result=True)
    def locked(key: str) -> str:
        return key

    @task(isolate=True)
    def calls(key: str) -> str:
        return locked(key)

    @flow
    def around(key: str) -> str:
        with transaction():
            return calls(key)

    key = f"locked-{path}"
    if fits:
        assert around(key) == key
        assert not list((tmp_path / "locks").glob("*.lock"))
    else:
        with pytest.raises(errors.ConfigurationError, match="FileSystemLockManager"):
            around(key)


# --- Forks ---


@task(isolate=True)
def forks(path: Path) -> int:
    child = os.fork()
    if not child:
        try:
            step(path, 1)
        except errors.MissingContextError as error:
            note(path, str(error))
        os._exit(3)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) + step(path, 2)


def test_a_fork_of_an_isolated_task_is_told_that_nothing_is_recorded_there(
    server: SyncHeadgateClient, path: Path
):
    @flow
    def isolated() -> int:
        return forks(path)

    assert isolated() == 23
    told, called = noted(path)
    assert "This process is a fork" in told
    assert called.startswith("step 2")
