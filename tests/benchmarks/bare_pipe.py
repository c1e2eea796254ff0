"""The limit of our parts: a minimal gRPC stream with executemany of the same rows behind it.

No validation, no fencing, no engine: a client streams the frames that a flow of trivial tasks
makes, a server process writes the same rows into the same tables with the same indexes, and
acknowledges after COMMIT. What Headgate does beside this is what its overhead is made of.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import sqlite3
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from concurrent import futures
from typing import Any, Protocol

import grpc
import uuid_utils
from sqlalchemy import Table, create_engine

from headgate.api.v1 import engine_service_pb2, engine_service_pb2_grpc, state_pb2
from headgate_server.storage.sql import tables

BATCH = 256
_TYPES = {state_pb2.STATE_TYPE_RUNNING: "RUNNING", state_pb2.STATE_TYPE_COMPLETED: "COMPLETED"}

Row = tuple[Any, ...]


def _insert(table: Table, mark: str) -> str:
    """Spell the INSERT of whole rows of one of our own tables."""
    columns = ", ".join(column.name for column in table.columns)
    marks = ", ".join(mark for _ in table.columns)
    return f"INSERT INTO {table.name} ({columns}) VALUES ({marks})"


class _Database(Protocol):
    def write(self, tasks: list[Row], journal: list[Row]) -> None: ...


class _Sqlite:
    def __init__(self, path: str) -> None:
        self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._connection.execute("PRAGMA journal_mode=WAL")
        self._connection.execute("PRAGMA synchronous=NORMAL")
        self._tasks = _insert(tables.task_runs, "?")
        self._journal = _insert(tables.journal, "?")

    def write(self, tasks: list[Row], journal: list[Row]) -> None:
        self._connection.execute("BEGIN IMMEDIATE")
        self._connection.executemany(self._tasks, tasks)
        self._connection.executemany(self._journal, journal)
        self._connection.execute("COMMIT")


class _Postgres:
    def __init__(self, url: str) -> None:
        import psycopg

        self._connection = psycopg.connect(url.replace("+psycopg", ""))
        self._tasks = _insert(tables.task_runs, "%s").encode()
        self._journal = _insert(tables.journal, "%s").encode()

    def write(self, tasks: list[Row], journal: list[Row]) -> None:
        with self._connection.cursor() as cursor:
            cursor.executemany(self._tasks, tasks)
            cursor.executemany(self._journal, journal)
        self._connection.commit()


def _open(url: str) -> _Database:
    """Make our own tables, with their indexes, in an empty database."""
    engine = create_engine(url)
    tables.METADATA.create_all(engine)
    engine.dispose()
    if url.startswith("sqlite:///"):
        return _Sqlite(url.removeprefix("sqlite:///"))
    return _Postgres(url)


def _task_row(run: Any, flow_run_id: str, name: str, started: int, ended: int, line: int) -> Row:
    what = (run.id, run.name, flow_run_id, run.task_key, "1", "", "[]", "COMPLETED", name)
    return *what, 1, 0, None, started, ended, None, "[]", 1, started, line


def _line(revision: int, flow_run_id: str, run: Any, state: Any, micros: int, now: int) -> Row:
    what = (revision, flow_run_id, run.id, run.name, state.id, _TYPES[state.type], state.name)
    return *what, micros, "", None, None, None, None, now


class _Pipe(engine_service_pb2_grpc.EngineServiceServicer):
    def __init__(self, database: _Database) -> None:
        self._database = database
        self._writer = futures.ThreadPoolExecutor(1)

    async def Session(self, request_iterator: Any, context: Any) -> AsyncIterator[Any]:
        loop = asyncio.get_running_loop()
        revision = 0
        async for request in request_iterator:
            batch = request.batch
            tasks: list[tuple[Any, ...]] = []
            journal: list[tuple[Any, ...]] = []
            flow_run_id = batch.flow_run_id
            items = iter(batch.items)
            for item in items:
                run = item.create_task_run
                done = next(items).report.state
                first = run.state
                started = first.timestamp.ToNanoseconds() // 1000
                ended = done.timestamp.ToNanoseconds() // 1000
                tasks.append(_task_row(run, flow_run_id, done.name, started, ended, revision + 2))
                for state, micros in ((first, started), (done, ended)):
                    revision += 1
                    journal.append(_line(revision, flow_run_id, run, state, micros, ended))
            await loop.run_in_executor(self._writer, self._database.write, tasks, journal)
            yield engine_service_pb2.SessionResponse(
                ack=engine_service_pb2.Ack(
                    flow_run_id=flow_run_id,
                    committed_seq=batch.first_seq + len(batch.items) - 1,
                )
            )


async def _serve(address: str, database: _Database) -> None:
    server = grpc.aio.server()
    engine_service_pb2_grpc.add_EngineServiceServicer_to_server(_Pipe(database), server)
    server.add_insecure_port(address)
    await server.start()
    print("ready", flush=True)
    await server.wait_for_termination()


def _frames(count: int, outbox: queue.Queue[Any]) -> Any:
    """Make the frames of a flow of trivial tasks, as fast as they are taken."""
    flow_run_id = str(uuid_utils.uuid7())
    seq = 1
    for start in range(0, count, BATCH):
        request = engine_service_pb2.SessionRequest()
        batch = request.batch
        batch.flow_run_id = flow_run_id
        batch.fencing_token = 1
        batch.first_seq = seq
        for number in range(start, min(start + BATCH, count)):
            run_id = str(uuid_utils.uuid7())
            now = time.time_ns()
            run = batch.items.add().create_task_run
            run.id, run.name, run.task_key = run_id, f"task-{number}", "benchmark.task"
            run.flow_run_id = flow_run_id
            state = run.state
            state.id, state.type, state.name = (
                str(uuid_utils.uuid7()),
                state_pb2.STATE_TYPE_RUNNING,
                "Running",
            )
            state.timestamp.FromNanoseconds(now)
            report = batch.items.add().report
            report.task_run_id = run_id
            state = report.state
            state.id, state.type, state.name = (
                str(uuid_utils.uuid7()),
                state_pb2.STATE_TYPE_COMPLETED,
                "Completed",
            )
            state.timestamp.FromNanoseconds(now)
        seq += len(batch.items)
        yield request
    outbox.get()  # Keep the stream open until the last acknowledgement is in.


def measure(count: int, *, folder: str, database_url: str) -> float:
    """Stream ``count`` tasks through the bare pipe; return tasks per second."""
    address = f"unix:{folder}/bare.sock"
    server = subprocess.Popen(
        [sys.executable, "-m", "tests.benchmarks.bare_pipe", address, database_url],
        stdout=subprocess.PIPE,
    )
    try:
        assert server.stdout is not None
        assert server.stdout.readline() == b"ready\n"
        with grpc.insecure_channel(address) as channel:
            stub = engine_service_pb2_grpc.EngineServiceStub(channel)
            done: queue.Queue[Any] = queue.Queue()
            started = time.perf_counter()
            for response in stub.Session(_frames(count, done)):
                if response.ack.committed_seq == 2 * count:
                    break
            elapsed = time.perf_counter() - started
            done.put(None)
    finally:
        server.kill()
        server.wait()
        assert server.stdout is not None
        server.stdout.close()
    return count / elapsed


def _main() -> None:
    address, url = sys.argv[1:]
    database = _open(url)
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_serve(address, database))


if __name__ == "__main__":
    _main()
