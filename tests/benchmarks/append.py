"""Measures storage alone: how fast what engines' streams bring is stored.

    python -m tests.benchmarks.append [--database-url URL] [--tasks N]

Without a URL: SQLite in a new folder. A PostgreSQL database must be empty.
"""

from __future__ import annotations

import argparse
import dataclasses
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import anyio

from headgate.core import ids
from headgate.core.clock import SystemClock
from headgate.core.runs import Flow, FlowRun, RunKind, TaskRun
from headgate.core.states import Payload, State, StateType
from headgate_server.storage.interface import Storage, Transaction
from headgate_server.storage.records import Appended, JournalEntry, RunAppend
from headgate_server.storage.sql import open_storage

BATCH = 500
IN_FLIGHT = 4
NOW = datetime(2026, 1, 1, tzinfo=UTC)
RESULT = Payload(serializer="pickle", inline=b"\x80\x04K\x01.")


def make_state(type: StateType) -> State:
    data = RESULT if type is StateType.COMPLETED else None
    return State(id=ids.new_id(), type=type, name=type.default_name, timestamp=NOW, data=data)


def make_task(run: FlowRun, number: int, state: State) -> TaskRun:
    return TaskRun(
        id=ids.new_id(),
        name=f"clean-{number}",
        flow_run_id=run.id,
        task_key="flows.clean-1a2b3c4d",
        dynamic_key=str(number),
        state=state,
        run_count=1,
        expected_start_time=NOW,
        start_time=NOW,
        create_time=NOW,
    )


def entry(task: TaskRun, state: State) -> JournalEntry:
    return JournalEntry(RunKind.TASK_RUN, task.id, task.name, state)


def make_batch(run: FlowRun, seq: int, **fields: Any) -> RunAppend:
    given = {"new_task_runs": [], "changed_task_runs": [], **fields}
    after = seq + len(given["entries"])
    return RunAppend(flow_run_id=run.id, fencing_token=1, seq_before=seq, seq_after=after, **given)


def short_tasks(run: FlowRun, seq: int, count: int, per_batch: int) -> list[RunAppend]:
    """Tasks that start and end within one batch: one row and two journal lines each."""
    batches: list[RunAppend] = []
    for start in range(0, count, per_batch):
        tasks: list[TaskRun] = []
        entries: list[JournalEntry] = []
        for number in range(start, min(start + per_batch, count)):
            task = make_task(run, number, make_state(StateType.COMPLETED))
            tasks.append(task)
            entries += [entry(task, make_state(StateType.RUNNING)), entry(task, task.state)]
        batches.append(make_batch(run, seq, new_task_runs=tasks, entries=entries))
        seq = batches[-1].seq_after
    return batches


def long_tasks(run: FlowRun, seq: int, count: int) -> list[RunAppend]:
    """Tasks that end in another batch than they start in: an insert and an update each."""
    batches: list[RunAppend] = []
    for start in range(0, count, BATCH):
        numbers = range(start, min(start + BATCH, count))
        new = [make_task(run, number, make_state(StateType.RUNNING)) for number in numbers]
        done = [dataclasses.replace(task, state=make_state(StateType.COMPLETED)) for task in new]
        for field, tasks in (("new_task_runs", new), ("changed_task_runs", done)):
            entries = [entry(task, task.state) for task in tasks]
            batches.append(make_batch(run, seq, entries=entries, **{field: tasks}))
            seq = batches[-1].seq_after
    return batches


async def seconds_for(storage: Storage, batches: Sequence[RunAppend], in_flight: int) -> float:
    """Store batches, so many of them at a time; return how long it took."""
    limit = anyio.Semaphore(in_flight)

    async def append(batch: RunAppend) -> None:
        try:
            assert isinstance(await storage.append(batch), Appended)
        finally:
            limit.release()

    begin = time.perf_counter()
    async with anyio.create_task_group() as group:
        for batch in batches:
            await limit.acquire()
            group.start_soon(append, batch)
    return time.perf_counter() - begin


async def make_run(storage: Storage) -> FlowRun:
    def insert(transaction: Transaction) -> FlowRun:
        flow: Flow = transaction.flows.ensure("benchmark", new_id=ids.new_id())
        id = ids.new_id()
        run = FlowRun(
            id=id,
            name="run",
            flow_id=flow.id,
            flow_name=flow.name,
            state=make_state(StateType.RUNNING),
            root_flow_run_id=id,
            fencing_token=1,
            create_time=NOW,
        )
        transaction.flow_runs.insert(run)
        return run

    return await storage.write(insert)


async def measure(database_url: str, tasks: int) -> None:
    storage = open_storage(database_url, clock=SystemClock(), ids=ids.new_id)
    await storage.start()
    singles = tasks // 10
    for name, count, in_flight, make in (
        ("tasks that start and end in a batch", tasks, IN_FLIGHT, short_tasks),
        ("tasks that end in a later batch", tasks, IN_FLIGHT, long_tasks),
        ("one task after the other", singles, 1, short_tasks),
    ):
        run = await make_run(storage)
        if make is long_tasks:
            batches = long_tasks(run, 0, count)
        else:
            batches = short_tasks(run, 0, count, 1 if in_flight == 1 else BATCH)
        rate = count / await seconds_for(storage, batches, in_flight)
        print(f"{storage.database:<11}{name:<38}{rate:>9,.0f}/s")
    await storage.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--database-url")
    parser.add_argument("--tasks", type=int, default=20_000)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="hg-") as folder:
        url: str = arguments.database_url or f"sqlite:///{folder}/headgate.db"
        anyio.run(measure, url, arguments.tasks)


if __name__ == "__main__":
    main()
