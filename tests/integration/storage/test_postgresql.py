"""What only a database that is shared, and elsewhere, can do wrong."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import anyio
import anyio.lowlevel
import psycopg
import pytest
import sqlalchemy as sa

from headgate.core import errors, ids
from headgate.core.clock import ManualClock, SystemClock
from headgate.core.runs import FlowRun
from headgate_server.storage.records import Appended, AppendRefused, Commit, JournalFilter
from headgate_server.storage.sql import open_storage
from headgate_server.storage.sql.announcements import CHANNEL, Announcements, Presence
from headgate_server.storage.sql.driver import Guard, Rows
from headgate_server.storage.sql.storage import SqlStorage
from tests.contract.storage import builders


def replica(url: str) -> SqlStorage:
    return open_storage(url, clock=ManualClock(), ids=ids.new_id)


@pytest.fixture
async def replicas(
    postgres_database_url: str, anyio_backend: str
) -> AsyncIterator[tuple[SqlStorage, SqlStorage]]:
    first, second = replica(postgres_database_url), replica(postgres_database_url)
    async with anyio.create_task_group() as group:  # both migrate, and neither minds
        group.start_soon(first.start)
        group.start_soon(second.start)
    yield first, second
    await first.close()
    await second.close()


def administer(url: str, *statements: str) -> None:
    """Do something to the test's database from another one of the same server."""
    target = sa.make_url(url)
    admin = target.set(drivername="postgresql", database="postgres")
    conninfo = admin.render_as_string(hide_password=False)
    with psycopg.connect(conninfo, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement.format(name=target.database).encode())


CUT = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"


class Ear:
    """Hears commits, and lets a test wait for one."""

    def __init__(self, storage: SqlStorage) -> None:
        self.heard: list[Commit] = []
        self._changed = anyio.Event()
        storage.listen(self._hear)

    def _hear(self, commit: Commit) -> None:
        self.heard.append(commit)
        self._changed.set()
        self._changed = anyio.Event()

    async def wait_for(self, wanted: Callable[[Commit], bool]) -> None:
        with anyio.fail_after(10):
            while not any(map(wanted, self.heard)):
                await self._changed.wait()


async def test_the_time_is_that_of_the_database(postgres_database_url: str) -> None:
    storage = replica(postgres_database_url)
    await storage.start()
    read = await storage.read(lambda t: t.now())
    written = await storage.write(lambda t: t.now())
    assert abs((read - SystemClock().now()).total_seconds()) < 60
    assert read <= written
    await storage.close()


async def test_a_commit_is_heard_by_the_other_replica(
    replicas: tuple[SqlStorage, SqlStorage],
) -> None:
    first, second = replicas
    ear = Ear(second)
    flow = await builders.make_flow(first)
    run = await builders.store_run(first, builders.ready_run(flow))
    await ear.wait_for(lambda commit: commit == Commit(revision=run.revision, ready=True))


async def test_a_replica_that_comes_hears_the_smallest_commits_of_one_that_was_alone(
    postgres_database_url: str,
) -> None:
    first = replica(postgres_database_url)
    listening = Ear(first)
    await first.start()
    database: Any = first._database
    presence: Presence = database._presence
    assert presence.is_likely
    await listening.wait_for(lambda commit: commit.ready and commit.logs)
    presence._until = 0.0  # as a while after the start, when nobody has said to be there
    run = await builders.engine_run(first)
    conninfo = sa.make_url(postgres_database_url).set(drivername="postgresql")
    with psycopg.connect(conninfo.render_as_string(hide_password=False), autocommit=True) as heard:
        heard.execute(f"LISTEN {CHANNEL}")
        await first.append(builders.batch(run, [builders.task_run(run)]))
        newest = (await builders.engine_run(first)).revision
        told = [notice.payload.split()[1] for notice in heard.notifies(timeout=10, stop_after=1)]
        assert told == [str(newest)]
    assert not presence.is_likely
    second = replica(postgres_database_url)
    ear, of_the_first = Ear(second), Ear(first)
    await second.start()
    # Who hears of a new one has everybody look.
    await of_the_first.wait_for(lambda commit: commit.ready and commit.logs)
    assert presence.is_likely
    appended = await first.append(builders.batch(run, [builders.task_run(run)], seq=1))
    assert isinstance(appended, Appended)
    await ear.wait_for(lambda commit: commit == Commit(revision=appended.revision))
    await first.close()
    await second.close()


async def test_a_replica_that_cannot_listen_announces_its_smallest_commits_all_the_same(
    postgres_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    second = replica(postgres_database_url)
    ear = Ear(second)
    await second.start()

    def refused(self: Announcements) -> psycopg.Connection[Any]:
        raise psycopg.OperationalError("no connection is left for a listener")

    monkeypatch.setattr(Announcements, "_connect", refused)
    clock = ManualClock()
    first = open_storage(
        postgres_database_url, clock=clock, ids=ids.new_id, use_database_clock=False
    )
    await first.start()
    run = await builders.engine_run(first)
    clock.advance(3_600)
    appended = await first.append(builders.batch(run, [builders.task_run(run)]))
    assert isinstance(appended, Appended)
    await ear.wait_for(lambda commit: commit == Commit(revision=appended.revision))
    monkeypatch.undo()
    await first.close()
    await second.close()


async def test_revisions_are_given_in_the_order_of_commits(
    replicas: tuple[SqlStorage, SqlStorage],
) -> None:
    """A watcher that follows the newest revision it sees never misses a line."""
    runs = [await builders.engine_run(storage) for storage in replicas]
    seen: list[int] = []

    async def write(storage: SqlStorage, run: FlowRun) -> None:
        for seq in range(25):
            batch = builders.batch(run, [builders.task_run(run)], seq=seq)
            assert isinstance(await storage.append(batch), Appended)

    async def watch(scope: anyio.CancelScope) -> None:
        while len(seen) < 52:
            after = seen[-1] if seen else 0
            lines = await replicas[0].read(
                lambda t, after=after: t.journal.read(after, JournalFilter(), 100)
            )
            seen.extend(line.revision for line in lines)
        scope.cancel()

    with anyio.fail_after(20):
        async with anyio.create_task_group() as group:
            group.start_soon(watch, group.cancel_scope)
            async with anyio.create_task_group() as writers:
                for storage, run in zip(replicas, runs, strict=True):
                    writers.start_soon(write, storage, run)
            await anyio.sleep_forever()
    assert seen == list(range(1, 53))


async def test_two_replicas_never_grant_the_same_run(
    replicas: tuple[SqlStorage, SqlStorage],
) -> None:
    flow = await builders.make_flow(replicas[0])
    for _ in range(20):
        await builders.store_run(replicas[0], builders.ready_run(flow))
    granted: list[str] = []

    async def take(storage: SqlStorage) -> None:
        session = builders.session()
        await storage.write(lambda t: t.leases.open_session(session, ttl_seconds=30))
        for _ in range(12):
            grants = await storage.write(
                lambda t: t.leases.grant(session, count=1, offer_ttl_seconds=10)
            )
            granted.extend(one.flow_run.id for one in grants)

    async with anyio.create_task_group() as group:
        for storage in replicas:
            group.start_soon(take, storage)
    assert len(granted) == len(set(granted)) == 20


async def test_connections_that_were_cut_while_idle_are_not_noticed(
    postgres_database_url: str,
) -> None:
    storage = replica(postgres_database_url)
    await storage.start()
    ear = Ear(storage)
    await storage.read(lambda t: t.now())
    administer(postgres_database_url, CUT)
    run = await builders.engine_run(storage)
    administer(postgres_database_url, CUT)
    assert isinstance(await storage.append(builders.batch(run, [builders.task_run(run)])), Appended)
    administer(postgres_database_url, CUT)
    assert await storage.read(lambda t: t.flow_runs.get(run.id)) is not None
    # Whoever listens is told that announcements may have been missed.
    await ear.wait_for(lambda commit: commit.ready and commit.logs)
    await storage.close()


async def test_a_commit_whose_answer_was_lost_is_not_refused_and_is_announced(
    postgres_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = replica(postgres_database_url)
    await storage.start()
    run = await builders.engine_run(storage)
    batch = builders.batch(run, [builders.task_run(run)])
    ear = Ear(storage)
    driver = storage._database.driver
    commit_alone = driver.commit_alone

    def cut_off(connection: sa.Connection, guard: Guard, rows: Rows) -> int | None:
        monkeypatch.setattr(driver, "commit_alone", commit_alone)
        assert commit_alone(connection, guard, rows) is not None
        raise psycopg.OperationalError("server closed the connection unexpectedly")

    monkeypatch.setattr(driver, "commit_alone", cut_off)
    newest = run.revision + 1
    assert await storage.append(batch) == Appended(revision=newest)
    await ear.wait_for(lambda commit: commit == Commit(revision=newest))
    # One that somebody else stored is refused still.
    assert isinstance(await storage.append(batch), AppendRefused)
    await storage.close()


async def test_a_run_that_is_fenced_while_its_batch_waits_for_its_turn_takes_nothing(
    postgres_database_url: str,
) -> None:
    storage = replica(postgres_database_url)
    await storage.start()
    run = await builders.engine_run(storage)
    batch = builders.batch(run, [builders.task_run(run)])
    outcomes: list[Appended | AppendRefused] = []

    async def append() -> None:
        outcomes.append(await storage.append(batch))

    conninfo = sa.make_url(postgres_database_url).set(drivername="postgresql")
    with psycopg.connect(conninfo.render_as_string(hide_password=False)) as other:
        other.execute("SELECT FROM heads FOR UPDATE")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(append)
            with anyio.fail_after(10):
                while other.execute("SELECT FROM pg_locks WHERE NOT granted").fetchone() is None:
                    await anyio.lowlevel.checkpoint()
            other.execute("UPDATE flow_runs SET fencing_token = 2, committed_seq = 0")
            other.commit()
    assert outcomes == [AppendRefused(known=True, fencing_token=2, committed_seq=0)]
    assert await storage.read(lambda t: t.task_runs.get(batch.new_task_runs[0].id)) is None
    assert await storage.read(lambda t: len(t.journal.read(run.revision, JournalFilter(), 9))) == 0
    # Who follows the journal does not stumble over numbers that were taken for nothing.
    newer = await builders.engine_run(storage)
    lines = await storage.read(lambda t: t.journal.read(run.revision, JournalFilter(), 9))
    assert [line.revision for line in lines] == [newer.revision]
    await storage.close()


async def test_a_connection_whose_first_transaction_fails_commits_the_next(
    postgres_database_url: str,
) -> None:
    """What was to be prepared behind a failure is not prepared, and must not be taken for it."""
    storage = replica(postgres_database_url)
    await storage.start()
    run = await builders.engine_run(storage)
    taken = builders.task_run(run)
    await storage.append(builders.batch(run, [taken]))
    administer(postgres_database_url, f"{CUT} AND application_name = 'headgate'")
    many = [taken, *(builders.task_run(run) for _ in range(9))]  # too many for one statement
    with pytest.raises(psycopg.errors.UniqueViolation, match="duplicate key"):
        await storage.append(builders.batch(run, many, seq=1))
    for seq in range(1, 41, 10):
        many = [builders.task_run(run) for _ in range(10)]
        assert isinstance(await storage.append(builders.batch(run, many, seq=seq)), Appended)
    await storage.close()


async def test_a_lost_database_is_unavailable_and_comes_back(
    postgres_database_url: str,
) -> None:
    storage = replica(postgres_database_url)
    await storage.start()
    run = await builders.engine_run(storage)
    batch = builders.batch(run, [builders.task_run(run)])
    administer(postgres_database_url, "ALTER DATABASE {name} ALLOW_CONNECTIONS false", CUT)
    with pytest.raises(errors.Unavailable, match="cannot be used now"):
        await storage.append(batch)
    with pytest.raises(errors.Unavailable):
        await storage.write(lambda t: t.flows.ensure("a", new_id=ids.new_id()))
    with pytest.raises(errors.Unavailable):
        await storage.read(lambda t: t.flow_runs.get(run.id))
    administer(postgres_database_url, "ALTER DATABASE {name} ALLOW_CONNECTIONS true")
    assert isinstance(await storage.append(batch), Appended)
    assert await storage.read(lambda t: t.flows.get_by_name("a")) is None
    await storage.close()


async def test_a_database_that_is_not_there_is_unavailable_at_the_start() -> None:
    storage = replica("postgresql://nobody:secret@127.0.0.1:1/none")
    with pytest.raises(errors.Unavailable) as told:
        await storage.start()
    assert "secret" not in str(told.value)
    await storage.close()


async def test_a_commit_that_nobody_listened_for_is_told_when_somebody_listens_again(
    replicas: tuple[SqlStorage, SqlStorage], postgres_database_url: str
) -> None:
    first, second = replicas
    ear = Ear(second)
    run = await builders.engine_run(first)
    administer(postgres_database_url, f"{CUT} AND application_name = 'headgate-listener'")
    newest = await first.read(lambda t: t.journal.newest())
    assert newest >= run.revision > 0
    await ear.wait_for(lambda commit: commit.ready and commit.logs and commit.revision == newest)


async def test_connections_do_not_trust_a_network_that_swallows_everything(
    postgres_database_url: str,
) -> None:
    storage = replica(postgres_database_url)
    await storage.start()

    def parameters(transaction: Any) -> dict[str, str]:
        connection: sa.Connection = transaction.flows._work.connection
        driver: Any = connection.connection.driver_connection
        return driver.info.get_parameters()

    found = await storage.read(parameters)
    assert int(found["tcp_user_timeout"]) <= 15_000
    assert int(found["keepalives_idle"]) <= 15
    await storage.close()
