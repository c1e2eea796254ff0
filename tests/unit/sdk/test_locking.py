"""Lock managers: one holder at a time, in this process and between processes."""

import asyncio
import json
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from headgate import exceptions
from headgate.core import clock
from headgate.engine import sleeping
from headgate.locking import filesystem, memory
from headgate.locking.protocol import LockManager


@pytest.fixture(params=["memory", "files"])
def locks(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: Any) -> LockManager:
    if request.param == "files":
        return filesystem.FileSystemLockManager(tmp_path / "locks")
    monkeypatch.setattr(memory.MemoryLockManager, "_shared", None)
    return memory.MemoryLockManager()


@pytest.fixture
def manual(monkeypatch: Any):
    """A clock that the test moves; sleeping moves it, too."""
    moved = clock.ManualClock()
    monkeypatch.setattr(filesystem, "_clock", moved)
    monkeypatch.setattr(memory, "_clock", moved)

    class Moving:
        def sleep(self, seconds: float) -> None:
            moved.advance(seconds)

        async def sleep_async(self, seconds: float) -> None:
            moved.advance(seconds)

    before = sleeping.use(Moving())
    yield moved
    sleeping.use(before)


def test_both_are_lock_managers(locks: LockManager):
    assert isinstance(locks, LockManager)


def test_a_lock_has_one_holder(locks: LockManager):
    assert locks.acquire_lock("k", "a")
    assert not locks.acquire_lock("k", "b", acquire_timeout=0)
    assert locks.is_locked("k")
    assert locks.is_lock_holder("k", "a")
    assert not locks.is_lock_holder("k", "b")
    assert locks.acquire_lock("other", "b", acquire_timeout=0)


def test_the_holder_may_lock_again(locks: LockManager):
    assert locks.acquire_lock("k", "a")
    assert locks.acquire_lock("k", "a", acquire_timeout=0)


def test_a_released_lock_is_free(locks: LockManager):
    locks.acquire_lock("k", "a")
    locks.release_lock("k", "a")
    assert not locks.is_locked("k")
    assert locks.acquire_lock("k", "b", acquire_timeout=0)


def test_only_the_holder_releases(locks: LockManager):
    with pytest.raises(exceptions.LockError, match="'b' does not hold the lock of 'k'") as caught:
        locks.release_lock("k", "b")
    assert caught.value.key == "k"
    locks.acquire_lock("k", "a")
    with pytest.raises(exceptions.LockError):
        locks.release_lock("k", "b")


def test_a_lock_is_free_when_its_time_is_over(locks: LockManager, manual: clock.ManualClock):
    locks.acquire_lock("k", "a", hold_timeout=10)
    manual.advance(9)
    assert locks.is_locked("k")
    manual.advance(1)
    assert not locks.is_locked("k")
    assert locks.acquire_lock("k", "b", acquire_timeout=0)
    with pytest.raises(exceptions.LockError):
        locks.release_lock("k", "a")


def test_who_waits_gets_it_when_it_is_released(locks: LockManager):
    locks.acquire_lock("k", "a")
    got = threading.Event()

    def want() -> None:
        locks.acquire_lock("k", "b")
        got.set()

    thread = threading.Thread(target=want)
    thread.start()
    assert not got.is_set()
    locks.release_lock("k", "a")
    thread.join(10)
    assert got.is_set()
    assert locks.is_lock_holder("k", "b")


def test_waiting_for_a_lock_does_not_take_it(locks: LockManager):
    assert locks.wait_for_lock("k", timeout=0)
    locks.acquire_lock("k", "a")
    assert not locks.wait_for_lock("k", timeout=0)
    locks.release_lock("k", "a")
    assert locks.wait_for_lock("k")
    assert not locks.is_locked("k")


async def test_coroutines_wait_without_holding_up_their_loop(locks: LockManager):
    assert await locks.aacquire_lock("k", "a")
    assert not await locks.aacquire_lock("k", "b", acquire_timeout=0)
    assert not await locks.await_for_lock("k", timeout=0)
    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(locks.aacquire_lock("k", "b"))
        looking = group.create_task(locks.await_for_lock("other"))
        assert await looking
        locks.release_lock("k", "a")
        assert await waiting
    assert locks.is_lock_holder("k", "b")


async def test_a_coroutine_that_is_cancelled_is_given_no_lock(locks: LockManager):
    locks.acquire_lock("k", "a")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.02):
            await locks.aacquire_lock("k", "b")
    locks.release_lock("k", "a")
    assert not locks.is_locked("k")


def test_memory_locks_are_those_of_the_process():
    assert memory.MemoryLockManager() is memory.MemoryLockManager()


@pytest.fixture
def files(tmp_path: Path) -> filesystem.FileSystemLockManager:
    return filesystem.FileSystemLockManager(tmp_path)


def lock_file(folder: Path) -> Path:
    [file] = folder.glob("*.lock")
    return file


def test_a_lock_of_a_process_that_is_gone_is_free(files: Any, tmp_path: Path):
    files.acquire_lock("k", "a")
    file = lock_file(tmp_path)
    held = json.loads(file.read_text())
    file.write_text(json.dumps({**held, "begun": "1"}))
    assert not files.is_locked("k")
    file.write_text(json.dumps({**held, "begun": "1", "host": "elsewhere"}))
    assert files.is_locked("k")


@pytest.mark.parametrize("text", ["", "{", "[]", '{"holder": "a"}'])
def test_a_file_that_is_no_lock_holds_nobody_up(files: Any, tmp_path: Path, text: str):
    files.acquire_lock("k", "a")
    lock_file(tmp_path).write_text(text)
    assert files.acquire_lock("k", "b", acquire_timeout=0)


def test_a_folder_that_cannot_be_used_is_named(tmp_path: Path):
    (tmp_path / "file").touch()
    locks = filesystem.FileSystemLockManager(tmp_path / "file" / "locks")
    with pytest.raises(exceptions.LockError, match="see to the folder"):
        locks.acquire_lock("k", "a")


@pytest.mark.slow
def test_processes_take_turns(tmp_path: Path):
    code = """
import sys
from headgate.locking.filesystem import FileSystemLockManager
locks = FileSystemLockManager(sys.argv[1])
for _ in range(25):
    locks.acquire_lock("k", sys.argv[2])
    with open(sys.argv[1] + "/count", "r+") as file:
        count = int(file.read())
        file.seek(0)
        file.write(str(count + 1))
    locks.release_lock("k", sys.argv[2])
"""
    (tmp_path / "count").write_text("0")
    children = [
        subprocess.Popen([sys.executable, "-c", code, str(tmp_path), name]) for name in "abcd"
    ]
    assert [child.wait(60) for child in children] == [0, 0, 0, 0]
    assert (tmp_path / "count").read_text() == "100"


@pytest.mark.slow
def test_a_killed_process_lets_go_of_its_lock(tmp_path: Path):
    code = """
import sys, threading
from headgate.locking.filesystem import FileSystemLockManager
FileSystemLockManager(sys.argv[1]).acquire_lock("k", "child")
print("locked", flush=True)
threading.Event().wait()
"""
    child = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "locked\n"
    locks = filesystem.FileSystemLockManager(tmp_path)
    assert locks.is_locked("k")
    child.kill()
    child.communicate()
    assert locks.acquire_lock("k", "parent", acquire_timeout=0)
