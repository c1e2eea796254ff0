"""What is committed on the event loop itself: a run that is alone, and nothing that waits."""

import itertools
import shutil
import sqlite3
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest
import sqlalchemy as sa

from headgate.core import ids
from headgate.core.clock import ManualClock
from headgate.core.runs import FlowRun
from headgate_server.storage.records import Appended, AppendOutcome, Commit, RunAppend
from headgate_server.storage.sql import committer, maintenance
from headgate_server.storage.sql.sqlite import SqliteDatabase
from headgate_server.storage.sql.storage import SqlStorage
from tests.contract.storage import builders


class Steps:
    """A run that records one task run after the other."""

    def __init__(self, storage: SqlStorage, run: FlowRun) -> None:
        self._storage = storage
        self._run = run
        self._seq = 0

    def next(self, tasks: int = 1) -> RunAppend:
        new = [builders.task_run(self._run) for _ in range(tasks)]
        batch = builders.batch(self._run, new, seq=self._seq)
        self._seq += tasks
        return batch

    async def record(self, tasks: int = 1) -> bool:
        """Record a step; returns whether it was committed at once."""
        heard = anyio.Event()
        told: list[AppendOutcome] = []

        def then(outcome: AppendOutcome) -> None:
            told.append(outcome)
            heard.set()

        outcome = self._storage.append_then(self.next(tasks), then)
        if outcome is None:
            await heard.wait()
        assert isinstance(outcome or told[0], Appended)
        return outcome is not None


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("template") / "headgate.db"
    maintenance.upgrade(f"sqlite:///{path}")
    return path


@pytest.fixture(params=[False])
async def storage(
    request: pytest.FixtureRequest, template: Path, tmp_path: Path
) -> AsyncIterator[SqlStorage]:
    path, clock = tmp_path / "headgate.db", ManualClock()
    shutil.copy(template, path)
    database = SqliteDatabase(path, clock=clock, full_sync=request.param)
    storage = SqlStorage(database, ids=ids.new_id, migrate=False)
    await storage.start()
    yield storage
    await storage.close()


async def steps_of(storage: SqlStorage) -> Steps:
    return Steps(storage, await builders.engine_run(storage))


async def test_a_run_that_is_alone_is_committed_at_once_and_announced(storage: SqlStorage) -> None:
    steps = await steps_of(storage)
    heard: list[Commit] = []
    storage.listen(heard.append)
    assert [await steps.record() for _ in range(3)] == [False, True, True]
    await anyio.lowlevel.checkpoint()
    revisions = [commit.revision for commit in heard if commit.revision]
    assert len(revisions) == 3
    assert revisions == sorted(revisions)


async def test_runs_side_by_side_are_committed_together_by_the_thread(storage: SqlStorage) -> None:
    one, other = await steps_of(storage), await steps_of(storage)
    for _ in range(3):
        assert not await one.record()
        assert not await other.record()


async def test_what_is_much_is_left_to_the_thread(storage: SqlStorage) -> None:
    steps = await steps_of(storage)
    assert not await steps.record()
    assert not await steps.record(tasks=20)
    assert await steps.record()


async def test_the_event_loop_does_not_wait_for_a_lock_that_others_hold(
    storage: SqlStorage, tmp_path: Path
) -> None:
    steps = await steps_of(storage)
    await steps.record()
    intruder = sqlite3.connect(tmp_path / "headgate.db", isolation_level=None)
    intruder.execute("BEGIN IMMEDIATE")
    recorded: list[bool] = []

    async def record() -> None:
        recorded.append(await steps.record())

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(record)
        await anyio.lowlevel.checkpoint()
        # The lock is given back by the very loop that would wait for it.
        intruder.execute("ROLLBACK")
        intruder.close()
    assert recorded == [False]


async def test_where_patience_cannot_be_laid_aside_the_thread_finds_out_why(
    storage: SqlStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = await steps_of(storage)
    await steps.record()

    be_patient = storage._database.be_patient
    asked: list[bool] = []

    def half_way(connection: sa.Connection, *, patient: bool) -> bool:
        asked.append(patient)
        if asked == [False]:
            raise sqlite3.OperationalError("disk I/O error")
        return be_patient(connection, patient=patient)

    monkeypatch.setattr(storage._database, "be_patient", half_way)
    # The thread must not take it that nothing has changed.
    assert [await steps.record() for _ in range(2)] == [False, True]
    assert asked == [False, True, False]


async def test_a_disk_that_is_slow_is_left_to_the_thread_for_a_while(
    storage: SqlStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = await steps_of(storage)
    await steps.record()
    now: Callable[[], float] = itertools.count(step=0.5).__next__
    monkeypatch.setattr(storage._committer, "_stopwatch", now)
    monkeypatch.setattr(committer, "_SLOW_THREAD_TURNS", 3)
    assert [await steps.record() for _ in range(5)] == [True, False, False, False, True]


async def test_now_and_then_the_thread_has_its_turn_to_tidy_the_log(
    storage: SqlStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = await steps_of(storage)
    await steps.record()
    monkeypatch.setattr(storage._committer, "_turns_at_once", 3)
    recorded = [await steps.record() for _ in range(6)]
    assert recorded == [True, True, True, False, False, True]


@pytest.mark.parametrize("storage", [True], indirect=True)
async def test_where_each_commit_waits_for_the_disk_the_thread_makes_all(
    storage: SqlStorage,
) -> None:
    steps = await steps_of(storage)
    assert [await steps.record() for _ in range(3)] == [False, False, False]
