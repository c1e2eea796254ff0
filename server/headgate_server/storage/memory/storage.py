"""The storage that keeps everything in memory."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable
from datetime import datetime
from typing import TypeVar

from headgate.core import errors
from headgate.core.clock import Clock
from headgate.core.deployments import WorkPool, WorkQueue
from headgate.core.runs import RunKind, TaskRun
from headgate_server.storage.interface import Transaction
from headgate_server.storage.memory.artifacts import MemoryArtifacts
from headgate_server.storage.memory.blocks import MemoryBlocks
from headgate_server.storage.memory.concurrency import MemoryConcurrencyLimits
from headgate_server.storage.memory.configuration import MemoryConfiguration
from headgate_server.storage.memory.events import MemoryEvents
from headgate_server.storage.memory.flows import MemoryDeployments, MemoryFlows
from headgate_server.storage.memory.leases import MemoryLeases
from headgate_server.storage.memory.run_inputs import MemoryRunInputs
from headgate_server.storage.memory.runs import (
    MemoryFlowRuns,
    MemoryJournal,
    MemoryLogs,
    MemoryTaskRuns,
)
from headgate_server.storage.memory.tables import Tables
from headgate_server.storage.memory.variables import MemoryVariables
from headgate_server.storage.memory.work_pools import MemoryWorkPools
from headgate_server.storage.records import (
    Appended,
    AppendOutcome,
    AppendRefused,
    Commit,
    Failed,
    LogAppend,
    RunAppend,
)

T = TypeVar("T")


class MemoryTransaction:
    """See :class:`headgate_server.storage.interface.Transaction`."""

    def __init__(self, tables: Tables, now: datetime) -> None:
        self._now = now
        self.flows = MemoryFlows(tables, now)
        self.deployments = MemoryDeployments(tables)
        self.flow_runs = MemoryFlowRuns(tables, now)
        self.task_runs = MemoryTaskRuns(tables, now)
        self.work_pools = MemoryWorkPools(tables, now)
        self.leases = MemoryLeases(tables, now)
        self.journal = MemoryJournal(tables)
        self.logs = MemoryLogs(tables)
        self.run_inputs = MemoryRunInputs(tables)
        self.variables = MemoryVariables(tables, now)
        self.configuration = MemoryConfiguration(tables)
        self.artifacts = MemoryArtifacts(tables, now)
        self.events = MemoryEvents(tables, now)
        self.blocks = MemoryBlocks(tables)
        self.concurrency_limits = MemoryConcurrencyLimits(tables, now)

    def now(self) -> datetime:
        return self._now


class MemoryStorage:
    """See :class:`headgate_server.storage.interface.Storage`.

    Args:
        clock: What time it is.
        ids: Makes new ids.
    """

    def __init__(self, clock: Clock, ids: Callable[[], str]) -> None:
        self._clock = clock
        self._ids = ids
        self._tables = Tables()
        self._listeners: list[Callable[[Commit], None]] = []

    @property
    def database(self) -> str:
        return "memory"

    async def start(self) -> None:
        await self.write(self._ensure_default_pool)

    async def close(self) -> None:
        self._listeners.clear()

    async def read(self, query: Callable[[Transaction], T]) -> T:
        await asyncio.sleep(0)  # others get their turn, as with the real ones
        self._tables.begin()
        try:
            return query(MemoryTransaction(self._tables, self._clock.now()))
        finally:
            self._tables.rollback()

    async def write(self, change: Callable[[Transaction], T]) -> T:
        value = self._change(change)
        await asyncio.sleep(0)  # others get their turn, as with the real ones
        return value

    def _change(self, change: Callable[[Transaction], T]) -> T:
        self._tables.begin()
        try:
            value = change(MemoryTransaction(self._tables, self._clock.now()))
        except BaseException:
            self._tables.rollback()
            raise
        self._announce(self._tables.commit())
        return value

    async def append(self, batch: RunAppend) -> Appended | AppendRefused:
        return await self.write(lambda _: self._append(batch))

    def append_then(
        self, batch: RunAppend, then: Callable[[AppendOutcome], None]
    ) -> AppendOutcome | None:
        asyncio.get_running_loop().call_soon(self._append_and_tell, batch, then)
        return None

    def _append_and_tell(self, batch: RunAppend, then: Callable[[AppendOutcome], None]) -> None:
        try:
            outcome = self._change(lambda _: self._append(batch))
        except Exception as error:  # whatever it is, who waits is told
            outcome = Failed(error)
        then(outcome)

    async def append_logs(self, batch: LogAppend) -> Appended | AppendRefused:
        return await self.write(lambda transaction: self._append_logs(transaction, batch))

    def listen(self, on_commit: Callable[[Commit], None]) -> Callable[[], None]:
        self._listeners.append(on_commit)
        return lambda: self._listeners.remove(on_commit)

    def _announce(self, commit: Commit) -> None:
        if commit != Commit():
            loop = asyncio.get_running_loop()
            for on_commit in tuple(self._listeners):
                loop.call_soon(on_commit, commit)

    def _append(self, batch: RunAppend) -> Appended | AppendRefused:
        tables = self._tables
        run = tables.flow_runs.get(batch.flow_run_id)
        if run is None:
            return AppendRefused(known=False, fencing_token=0, committed_seq=0)
        if (run.fencing_token, run.committed_seq) != (batch.fencing_token, batch.seq_before):
            return AppendRefused(
                known=True, fencing_token=run.fencing_token, committed_seq=run.committed_seq
            )
        for task_run in batch.new_task_runs:
            if task_run.id in tables.task_runs:
                raise errors.AlreadyExists("task run", task_run.id)
        tables.flow_runs[run.id] = dataclasses.replace(run, committed_seq=batch.seq_after)
        newest: dict[str, int] = {}
        now = self._clock.now()
        for entry in batch.entries:
            newest[entry.run_id] = tables.record(
                RunKind.TASK_RUN, entry.run_id, entry.run_name, run, entry.state, now
            )
        task_runs: list[TaskRun] = [*batch.new_task_runs, *batch.changed_task_runs]
        for task_run in task_runs:
            revision = newest.get(task_run.id, task_run.revision)
            tables.task_runs[task_run.id] = dataclasses.replace(task_run, revision=revision)
        return Appended(revision=tables.heads["journal"] if batch.entries else 0)

    def _append_logs(self, transaction: Transaction, batch: LogAppend) -> Appended | AppendRefused:
        run = self._tables.flow_runs.get(batch.flow_run_id)
        if run is None:
            return AppendRefused(known=False, fencing_token=0, committed_seq=0)
        if (run.fencing_token, run.committed_log_seq) != (batch.fencing_token, batch.seq_before):
            return AppendRefused(
                known=True, fencing_token=run.fencing_token, committed_seq=run.committed_log_seq
            )
        self._tables.flow_runs[run.id] = dataclasses.replace(run, committed_log_seq=batch.seq_after)
        transaction.logs.append(batch.records)
        return Appended(revision=0)

    def _ensure_default_pool(self, transaction: Transaction) -> None:
        if transaction.work_pools.get("default") is not None:
            return
        now = transaction.now()
        transaction.work_pools.insert(
            WorkPool(id=self._ids(), name="default", create_time=now, update_time=now),
            WorkQueue(
                id=self._ids(),
                name="default",
                work_pool_name="default",
                priority=1,
                create_time=now,
            ),
        )
