"""Transactions outside of runs: begun, staged, committed or rolled back together."""

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from headgate import exceptions
from headgate.engine import process
from headgate.locking.memory import MemoryLockManager
from headgate.results import ResultStore
from headgate.transactions import (
    CommitMode,
    IsolationLevel,
    Transaction,
    atransaction,
    get_transaction,
    transaction,
)


@pytest.fixture
def store(tmp_path: Path) -> ResultStore:
    return ResultStore(result_storage=tmp_path, cache_result_in_memory=False)


@pytest.fixture
def heard() -> list[str]:
    return []


def hook(heard: list[str], name: str) -> Any:
    def call(txn: Any) -> None:
        heard.append(name)

    return call


def staged(heard: list[str], name: str, **options: Any) -> None:
    """A block that stages something, and hears what becomes of it."""
    with transaction(**options) as txn:
        txn.stage(
            name,
            on_rollback_hooks=[hook(heard, f"{name} back")],
            on_commit_hooks=[hook(heard, f"{name} in")],
        )


@contextlib.contextmanager
def going_wrong() -> Iterator[None]:
    """What is within raises, as it should."""
    with pytest.raises(ZeroDivisionError):
        yield


# --- A block by itself ---


def test_a_block_writes_what_it_staged_at_its_end(store: ResultStore):
    with transaction(key="k", store=store) as txn:
        assert txn.is_active()
        assert get_transaction() is txn
        txn.stage([1])
        assert txn.is_staged()
        assert not store.exists("k")
    assert txn.is_committed()
    assert store.read("k").result == [1]
    assert get_transaction() is None


def test_a_second_block_with_the_key_finds_it_committed(store: ResultStore):
    with transaction(key="k", store=store) as txn:
        txn.stage("first")
    with transaction(key="k", store=store) as txn:
        assert txn.is_committed()
        record = txn.read()
        assert record is not None
        assert record.result == "first"
        txn.stage("second")
    assert store.read("k").result == "first"


def test_a_block_may_overwrite(store: ResultStore):
    store.write("first", key="k")
    with transaction(key="k", store=store, overwrite=True) as txn:
        assert not txn.is_committed()
        txn.stage("second")
    assert store.read("k").result == "second"


def test_a_block_may_write_nothing(store: ResultStore):
    with transaction(key="k", store=store, write_on_commit=False) as txn:
        txn.stage(1)
    assert txn.is_committed()
    assert not store.exists("k")


def test_a_block_that_fails_is_rolled_back(store: ResultStore, heard: list[str]):
    with going_wrong(), transaction(key="k", store=store) as txn:
        txn.stage(1, on_rollback_hooks=[hook(heard, "one"), hook(heard, "two")])
        _ = 1 / 0
    assert txn.is_rolled_back()
    assert heard == ["two", "one"]
    assert not store.exists("k")


async def test_async_blocks_do_the_same(store: ResultStore, heard: list[str]):
    async def back(txn: Any) -> None:
        heard.append("back")

    async with atransaction(key="k", store=store) as txn:
        txn.stage(1)
    assert (await txn.read()) is not None
    with going_wrong():
        async with atransaction(key="l", store=store) as txn:
            txn.stage(1, on_rollback_hooks=[back])
            _ = 1 / 0
    assert heard == ["back"]
    assert txn.is_rolled_back()


async def test_an_async_hook_of_a_sync_block_is_awaited(heard: list[str]):
    async def done(txn: Any) -> None:
        heard.append("done")

    with transaction() as txn:
        txn.stage(1, on_commit_hooks=[done])
    assert heard == ["done"]


# --- Blocks within blocks ---


def test_what_is_within_commits_with_the_block_around(store: ResultStore, heard: list[str]):
    with transaction():
        staged(heard, "a", key="a", store=store)
        staged(heard, "b", key="b", store=store)
        assert heard == []
        assert not store.exists("a")
    assert heard == ["a in", "b in"]
    assert store.exists("a")
    assert store.exists("b")


def test_what_is_within_is_rolled_back_with_the_block_around_the_last_first(heard: list[str]):
    with going_wrong(), transaction() as around:
        around.stage(0, on_rollback_hooks=[hook(heard, "around back")])
        staged(heard, "a")
        with transaction():
            staged(heard, "b")
            staged(heard, "c")
        _ = 1 / 0
    assert heard == ["around back", "c back", "b back", "a back"]


def test_a_block_that_fails_rolls_back_the_one_around_although_its_error_is_caught(
    heard: list[str],
):
    with transaction() as around:
        staged(heard, "a")
        with going_wrong(), transaction():
            _ = 1 / 0
    assert around.is_rolled_back()
    assert heard == ["a back"]


def test_an_eager_block_does_not_wait_for_the_one_around(store: ResultStore, heard: list[str]):
    with going_wrong(), transaction():
        staged(heard, "a", key="a", store=store, commit_mode=CommitMode.EAGER)
        assert store.exists("a")
        _ = 1 / 0
    assert heard == ["a in"]


def test_modes_are_inherited(heard: list[str]):
    with transaction(commit_mode=CommitMode.EAGER):
        staged(heard, "a")
        assert heard == ["a in"]


def test_with_commits_off_somebody_has_to_say_so(store: ResultStore, heard: list[str]):
    staged(heard, "a", commit_mode=CommitMode.OFF)
    assert heard == ["a back"]
    with transaction(key="k", store=store, commit_mode=CommitMode.OFF) as txn:
        txn.stage(1)
        assert txn.commit()
    assert txn.is_committed()
    assert store.exists("k")


def test_a_block_that_ends_after_the_one_around_follows_it(heard: list[str]):
    begun, end = threading.Event(), threading.Event()

    for fails, expected in ((False, "late in"), (True, "late back")):
        heard.clear()
        begun.clear()
        end.clear()
        around = Transaction()

        def late(around: Transaction = around) -> None:
            with Transaction(parent=around) as txn:
                begun.set()
                end.wait(10)
                txn.stage(1, [hook(heard, "late back")], [hook(heard, "late in")])

        thread = threading.Thread(target=late)
        around.begin()
        thread.start()
        assert begun.wait(10)
        around.__exit__(None, ValueError() if fails else None, None)
        end.set()
        thread.join(10)
        assert heard == [expected]


# --- Hooks and values ---


def test_values_are_those_of_the_block_and_of_those_around():
    with transaction() as around:
        around.set("path", "/a")
        with transaction() as within:
            assert within.get("path") == "/a"
            within.set("path", "/b")
            assert within.get("path") == "/b"
        assert around.get("path") == "/a"
        assert around.get("size", None) is None
        with pytest.raises(ValueError, match="no value 'size'"):
            around.get("size")


def test_hooks_are_called_with_the_transaction():
    found: list[Any] = []
    with going_wrong(), transaction() as txn:
        txn.set("path", "/a")
        txn.stage(1, on_rollback_hooks=[lambda txn: found.append(txn.get("path"))])
        _ = 1 / 0
    assert found == ["/a"]


def test_a_rollback_hook_that_fails_stops_no_other(heard: list[str]):
    def broken(txn: Any) -> None:
        raise ValueError

    with going_wrong(), transaction() as txn:
        txn.stage(1, on_rollback_hooks=[hook(heard, "one"), broken])
        _ = 1 / 0
    assert heard == ["one"]
    assert txn.is_rolled_back()


def test_a_commit_hook_that_fails_rolls_back(store: ResultStore, heard: list[str]):
    def broken(txn: Any) -> None:
        raise ValueError

    with transaction(key="k", store=store) as txn:
        txn.stage(1, on_commit_hooks=[broken], on_rollback_hooks=[hook(heard, "back")])
    assert txn.is_rolled_back()
    assert heard == ["back"]
    assert not store.exists("k")


def test_a_result_that_cannot_be_written_rolls_back(store: ResultStore, heard: list[str]):
    with transaction(key="k", store=store) as txn:
        txn.stage(threading.Lock(), on_rollback_hooks=[hook(heard, "back")])
    assert txn.is_rolled_back()
    assert heard == ["back"]


def test_committing_or_rolling_back_twice_does_nothing(heard: list[str]):
    with transaction() as txn:
        txn.stage(1, [hook(heard, "back")], [hook(heard, "in")])
        assert txn.commit()
        assert not txn.commit()
        assert not txn.rollback()
    assert heard == ["in"]


# --- Isolation ---


def test_serializable_needs_something_that_locks(store: ResultStore):
    with (
        pytest.raises(exceptions.ConfigurationError, match="needs something that locks its key"),
        transaction(key="k", store=store, isolation_level=IsolationLevel.SERIALIZABLE),
    ):
        pass


@pytest.fixture
def locked(tmp_path: Path, monkeypatch: Any) -> ResultStore:
    monkeypatch.setattr(MemoryLockManager, "_shared", None)
    return ResultStore(result_storage=tmp_path, lock_manager=MemoryLockManager())


def test_serializable_blocks_take_turns_and_find_what_the_first_wrote(locked: ResultStore):
    found: list[Any] = []
    begun = threading.Event()

    def second() -> None:
        begun.set()
        with transaction(key="k", store=locked, isolation_level=IsolationLevel.SERIALIZABLE) as txn:
            record = txn.read() if txn.is_committed() else None
            found.append(record and record.result)

    thread = threading.Thread(target=second)
    with transaction(key="k", store=locked, isolation_level=IsolationLevel.SERIALIZABLE) as txn:
        thread.start()
        assert begun.wait(10)
        assert locked.is_locked("k")
        txn.stage("first")
    thread.join(10)
    assert found == ["first"]
    assert not locked.is_locked("k")


async def test_async_serializable_blocks_on_one_loop_take_turns(locked: ResultStore):
    import anyio

    inside: list[int] = []
    most: list[int] = []

    async def one(number: int) -> None:
        async with atransaction(
            key=f"k{number % 2}",
            store=locked,
            isolation_level=IsolationLevel.SERIALIZABLE,
            overwrite=True,
        ) as txn:
            inside.append(number % 2)
            most.append(inside.count(number % 2))
            await anyio.lowlevel.checkpoint()
            inside.remove(number % 2)
            txn.stage(number)

    async with anyio.create_task_group() as group:
        for number in range(8):
            group.start_soon(one, number)
    assert most == [1] * 8


@pytest.mark.parametrize("fails", [False, True])
def test_the_lock_is_released_whatever_happens(locked: ResultStore, fails: bool):
    level = IsolationLevel.SERIALIZABLE
    try:
        with transaction(key="k", store=locked, isolation_level=level) as txn:
            txn.stage(1)
            if fails:
                raise ZeroDivisionError
    except ZeroDivisionError:
        pass
    assert not locked.is_locked("k")


def test_names_of_modes_may_be_given(locked: ResultStore):
    wrong: Any = "sometimes"
    named: Any = "serializable"
    with transaction(key="k", store=locked, isolation_level=named) as txn:
        assert txn.isolation_level is IsolationLevel.SERIALIZABLE
    with pytest.raises(ValueError, match="sometimes"), transaction(commit_mode=wrong):
        pass


@pytest.fixture(autouse=True)
def no_server() -> Any:
    yield
    assert not process._links
