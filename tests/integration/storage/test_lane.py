"""PostgreSQL: small batches of a run that is alone, sent by the event loop itself."""

import dataclasses
from collections.abc import AsyncIterator
from typing import Any

import anyio
import anyio.lowlevel
import psycopg
import pytest
import sqlalchemy as sa

from headgate.core import ids
from headgate.core.clock import ManualClock
from headgate.core.runs import FlowRun
from headgate.core.states import Payload
from headgate_server.storage.records import (
    Appended,
    AppendOutcome,
    AppendRefused,
    Commit,
    Failed,
    JournalFilter,
    RunAppend,
)
from headgate_server.storage.sql import open_storage
from headgate_server.storage.sql.lane import Lane
from headgate_server.storage.sql.storage import SqlStorage
from tests.contract.storage import builders

_LANES = "SELECT pg_terminate_backend(%s)"


@pytest.fixture
async def storage(postgres_database_url: str, anyio_backend: str) -> AsyncIterator[SqlStorage]:
    storage = open_storage(postgres_database_url, clock=ManualClock(), ids=ids.new_id)
    await storage.start()
    yield storage
    await storage.close()


class Steps:
    """A run that records one task run after the other, and who carried each of them."""

    def __init__(self, storage: SqlStorage, run: FlowRun, patch: pytest.MonkeyPatch) -> None:
        self._storage = storage
        self.run = run
        self.seq = 0
        self.by_thread = 0
        self.commits: list[Commit] = []
        storage.listen(self.commits.append)
        submit = storage._committer.submit

        def count(command: Any) -> None:
            self.by_thread += command.batch is not None
            submit(command)

        patch.setattr(storage._committer, "submit", count)

    @property
    def lane(self) -> Lane:
        assert self._storage._lane is not None
        return self._storage._lane

    async def append(self, batch: RunAppend) -> AppendOutcome:
        heard, told = anyio.Event(), list[AppendOutcome]()

        def then(outcome: AppendOutcome) -> None:
            told.append(outcome)
            heard.set()

        assert self._storage.append_then(batch, then) is None
        with anyio.fail_after(10):
            await heard.wait()
        return told[0]

    async def step(self, size: int = 0) -> bool:
        """Record a step; returns whether the lane carried it."""
        task = builders.task_run(self.run)
        if size:
            data = Payload(serializer="pickle", inline=b"\x00\xff" * (size // 2))
            task = dataclasses.replace(task, state=dataclasses.replace(task.state, data=data))
        before = self.by_thread
        outcome = await self.append(builders.batch(self.run, [task], seq=self.seq))
        assert isinstance(outcome, Appended)
        self.seq += 1
        stored = await self._storage.read(lambda t: t.task_runs.get(task.id))
        assert stored == dataclasses.replace(task, revision=outcome.revision)
        return self.by_thread == before

    async def until_carried(self) -> None:
        """Record steps until the lane is there: it connects, and prepares, beside them."""
        with anyio.fail_after(10):
            while not await self.step():
                pass


@pytest.fixture
async def steps(storage: SqlStorage, monkeypatch: pytest.MonkeyPatch) -> Steps:
    # Nobody else is there, so the statement stays the same from here on.
    database: Any = storage._database
    database._presence._until = 0.0
    return Steps(storage, await builders.engine_run(storage), monkeypatch)


def backend_of(lane: Lane) -> int:
    assert lane._pgconn is not None
    return lane._pgconn.backend_pid


@pytest.fixture
def admin(postgres_database_url: str) -> Any:
    url = sa.make_url(postgres_database_url).set(drivername="postgresql")
    with psycopg.connect(url.render_as_string(hide_password=False)) as connection:
        yield connection


async def test_steps_of_a_run_that_is_alone_are_sent_by_the_loop(
    storage: SqlStorage, steps: Steps
) -> None:
    await steps.until_carried()
    assert [await steps.step(), await steps.step(16_000)] == [True, True]
    lines = await storage.read(lambda t: t.journal.read(0, JournalFilter(), 1_000))
    told = {commit.revision for commit in steps.commits}
    assert {line.revision for line in lines[1:]} <= told


async def test_a_guard_that_does_not_hold_and_an_id_that_is_taken_are_told(steps: Steps) -> None:
    await steps.until_carried()
    stale = builders.batch(steps.run, [builders.task_run(steps.run)], seq=steps.seq - 1)
    assert await steps.append(stale) == AppendRefused(
        known=True, fencing_token=1, committed_seq=steps.seq
    )
    task = builders.task_run(steps.run)
    batch = builders.batch(steps.run, [task], seq=steps.seq)
    assert isinstance(await steps.append(batch), Appended)
    again = dataclasses.replace(batch, seq_before=steps.seq + 1, seq_after=steps.seq + 2)
    assert isinstance(await steps.append(again), Failed)
    steps.seq += 1
    assert await steps.step()


async def test_a_commit_whose_answer_was_lost_is_recognised_and_announced(
    storage: SqlStorage, steps: Steps
) -> None:
    await steps.until_carried()
    lane = steps.lane
    assert lane._watched is not None
    # When the answer comes it is committed, and this is all that the loop does about it.
    lane._loop.add_reader(lane._watched, lane._drop)
    assert not await steps.step()
    newest = await storage.read(lambda t: t.journal.newest())
    assert newest in {commit.revision for commit in steps.commits}


async def test_a_connection_that_is_cut_while_it_waits_loses_nothing(
    steps: Steps, admin: psycopg.Connection[Any]
) -> None:
    await steps.until_carried()
    admin.execute("SELECT journal FROM heads FOR UPDATE")  # somebody else's turn, for long
    carried: list[bool] = []

    async def step() -> None:
        carried.append(await steps.step())

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(step)
        await anyio.lowlevel.checkpoint()
        admin.execute(_LANES, (backend_of(steps.lane),))
        admin.rollback()
    assert carried == [False]


async def test_a_connection_that_is_cut_while_idle_is_made_anew(
    steps: Steps, admin: psycopg.Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    await steps.until_carried()
    monkeypatch.setattr("headgate_server.storage.sql.lane._PAUSE_SECONDS", 0.0)
    former = backend_of(steps.lane)
    admin.execute(_LANES, (former,))
    admin.commit()
    await steps.until_carried()
    while backend_of(steps.lane) == former:
        await steps.until_carried()


async def test_a_database_that_takes_no_more_connections_is_no_hindrance(
    steps: Steps, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full() -> psycopg.Connection[Any]:
        raise psycopg.OperationalError("too many clients already")

    monkeypatch.setattr(steps.lane, "_connect", full)
    assert [await steps.step() for _ in range(4)] == [False] * 4
