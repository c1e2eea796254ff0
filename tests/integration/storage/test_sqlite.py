"""What only a database file can do wrong."""

import os
import signal
import sqlite3
import sys
from pathlib import Path
from typing import Any

import anyio
import pytest

from headgate.core import errors, ids
from headgate.core.clock import ManualClock
from headgate_server.app import App
from headgate_server.settings import Settings
from headgate_server.storage.interface import Transaction
from headgate_server.storage.sql import maintenance, open_storage
from headgate_server.storage.sql.storage import SqlStorage

_HOLD = """
import sys
from pathlib import Path
from typing import Any
from headgate.core.clock import SystemClock
from headgate_server.storage.sql.sqlite import SqliteDatabase
SqliteDatabase(Path(sys.argv[1]), clock=SystemClock()).open()
print("held", flush=True)
sys.stdin.read()
"""


def make(path: Path, *, migrate: bool = True) -> SqlStorage:
    return open_storage(f"sqlite:///{path}", clock=ManualClock(), ids=ids.new_id, migrate=migrate)


async def test_a_second_server_on_the_file_is_refused_until_the_first_has_gone(
    tmp_path: Path,
) -> None:
    path = tmp_path / "new" / "headgate.db"
    first = make(path)
    await first.start()
    with pytest.raises(errors.DatabaseInUse, match=f"{path}.*{os.getpid()}") as refused:
        await make(path).start()
    assert refused.value.pid == os.getpid()
    await first.write(lambda t: t.flows.ensure("kept", new_id=ids.new_id()))
    await first.close()
    second = make(path)
    await second.start()
    assert await second.read(lambda t: t.flows.get_by_name("kept")) is not None
    await second.close()


async def test_the_lock_goes_with_a_killed_process(tmp_path: Path) -> None:
    path = tmp_path / "headgate.db"
    async with await anyio.open_process([sys.executable, "-c", _HOLD, str(path)]) as holder:
        assert holder.stdout is not None
        assert (await holder.stdout.receive()).startswith(b"held")
        with pytest.raises(errors.DatabaseInUse) as refused:
            await make(path).start()
        assert refused.value.pid == holder.pid
        holder.send_signal(signal.SIGKILL)
        await holder.wait()
    storage = make(path)
    await storage.start()
    await storage.close()


async def test_a_schema_that_is_not_the_newest_is_refused_where_migrating_is_off(
    tmp_path: Path,
) -> None:
    path = tmp_path / "headgate.db"
    with pytest.raises(errors.FailedPrecondition, match="database upgrade"):
        await make(path, migrate=False).start()
    maintenance.upgrade(f"sqlite:///{path}")
    storage = make(path, migrate=False)
    await storage.start()
    await storage.close()


async def test_a_closed_storage_says_so_and_closes_again(tmp_path: Path) -> None:
    storage = make(tmp_path / "headgate.db")
    await storage.start()
    await storage.close()
    await storage.close()
    with pytest.raises(errors.Unavailable):
        await storage.read(lambda t: t.now())
    with pytest.raises(errors.Unavailable):
        await storage.write(lambda t: t.now())


async def test_a_storage_that_was_refused_can_be_closed(tmp_path: Path) -> None:
    first, second = make(tmp_path / "headgate.db"), make(tmp_path / "headgate.db")
    await first.start()
    with pytest.raises(errors.DatabaseInUse):
        await second.start()
    await second.close()
    await first.close()


async def test_what_cannot_be_written_now_is_unavailable_and_comes_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from headgate_server.storage.sql import sqlite

    monkeypatch.setattr(sqlite, "_BUSY_TIMEOUT_SECONDS", 0.02)
    path = tmp_path / "headgate.db"
    storage = make(path)
    await storage.start()
    intruder = sqlite3.connect(path, isolation_level=None)
    intruder.execute("BEGIN IMMEDIATE")
    with pytest.raises(errors.Unavailable, match="locked"):
        await storage.write(lambda t: t.flows.ensure("a", new_id=ids.new_id()))
    assert await storage.read(lambda t: t.flows.get_by_name("a")) is None
    intruder.execute("ROLLBACK")
    intruder.close()
    assert await storage.write(lambda t: t.flows.ensure("a", new_id=ids.new_id()))
    await storage.close()


async def test_reading_cannot_write(tmp_path: Path) -> None:
    storage = make(tmp_path / "headgate.db")
    await storage.start()
    with pytest.raises(errors.Unavailable, match="read-only"):
        await storage.read(lambda t: t.flows.ensure("a", new_id=ids.new_id()))
    assert await storage.read(lambda t: t.flows.get_by_name("a")) is None
    await storage.close()


async def test_a_commit_whose_answer_was_lost_is_not_carried_out_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = make(tmp_path / "headgate.db")
    await storage.start()
    driver = storage._database.driver
    commit, lost = driver.commit, [sqlite3.SQLITE_IOERR]

    def commit_and_lose_the_answer(*args: Any) -> None:
        commit(*args)
        if lost:
            error = sqlite3.OperationalError("the answer was lost")
            error.sqlite_errorcode = lost.pop()
            raise error

    monkeypatch.setattr(driver, "commit", commit_and_lose_the_answer)
    times: list[int] = []

    def change(tx: Transaction) -> None:
        times.append(1)
        tx.flows.ensure(f"flow {len(times)}", new_id=ids.new_id())

    with pytest.raises(errors.Unavailable):
        await storage.write(change)
    assert len(times) == 1
    assert await storage.read(lambda t: t.flows.get_by_name("flow 1")) is not None
    assert await storage.write(lambda t: t.flows.ensure("b", new_id=ids.new_id()))
    await storage.close()


@pytest.mark.parametrize(("full_sync", "synchronous"), [(False, 1), (True, 2)])
def test_a_setting_makes_each_commit_wait_for_the_disk(
    tmp_path: Path, full_sync: bool, synchronous: int
) -> None:
    url = f"sqlite:///{tmp_path}/headgate.db"
    storage: Any = App(Settings(database_url=url, sqlite_full_sync=full_sync)).storage
    with storage._database.connect_writer() as connection:
        found = connection.exec_driver_sql("PRAGMA synchronous").scalar_one()
    assert found == synchronous  # as SQLite numbers NORMAL and FULL
