"""Records in dictionaries that can take back what a failed change did."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Generic, TypeVar

from headgate.core.artifacts import Artifact
from headgate.core.blocks import BlockSchema, BlockType
from headgate.core.deployments import Deployment, WorkPool, WorkQueue
from headgate.core.events import Event
from headgate.core.run_inputs import RunInput
from headgate.core.runs import Flow, FlowRun, LogRecord, RunKind, TaskRun, TransitionRecord
from headgate.core.states import State
from headgate.core.variables import Variable
from headgate_server.storage import readiness
from headgate_server.storage.kinds.blocks import StoredBlockDocument
from headgate_server.storage.kinds.concurrency import SLOTS_TOPIC, Claim, StoredLimit
from headgate_server.storage.records import Commit, Lease, Session

K = TypeVar("K")
V = TypeVar("V")

Undo = list[Callable[[], object]]


class Table(Generic[K, V]):
    """A dictionary whose changes are noted until they are committed."""

    def __init__(self, undo: Undo) -> None:
        self._rows: dict[K, V] = {}
        self._undo = undo

    def __contains__(self, key: K) -> bool:
        return key in self._rows

    def __getitem__(self, key: K) -> V:
        return self._rows[key]

    def __setitem__(self, key: K, value: V) -> None:
        self._note(key)
        self._rows[key] = value

    def __iter__(self) -> Iterator[V]:
        return iter(list(self._rows.values()))

    def get(self, key: K) -> V | None:
        """Return the record, or None."""
        return self._rows.get(key)

    def remove(self, key: K) -> bool:
        """Take the record out; say whether there was one."""
        self._note(key)
        return self._rows.pop(key, None) is not None

    def _note(self, key: K) -> None:
        rows = self._rows
        if key in rows:
            before = rows[key]
            self._undo.append(lambda: rows.__setitem__(key, before))
        else:
            self._undo.append(lambda: rows.pop(key, None))


class Tables:
    """All records, and what the change that is under way has done to them."""

    def __init__(self) -> None:
        undo: Undo = []
        self._undo = undo
        self.flows: Table[str, Flow] = Table(undo)
        self.deployments: Table[str, Deployment] = Table(undo)
        self.flow_runs: Table[str, FlowRun] = Table(undo)
        self.ready: Table[str, datetime] = Table(undo)
        self.task_runs: Table[str, TaskRun] = Table(undo)
        self.journal: Table[int, TransitionRecord] = Table(undo)
        self.logs: Table[int, LogRecord] = Table(undo)
        self.events: Table[int, Event] = Table(undo)
        self.work_pools: Table[str, WorkPool] = Table(undo)
        self.work_queues: Table[tuple[str, str], WorkQueue] = Table(undo)
        self.sessions: Table[str, Session] = Table(undo)
        self.leases: Table[str, Lease] = Table(undo)
        self.block_types: Table[str, BlockType] = Table(undo)
        self.block_schemas: Table[str, BlockSchema] = Table(undo)
        self.block_documents: Table[str, StoredBlockDocument] = Table(undo)
        self.encryption_keys: Table[str, str] = Table(undo)
        self.run_inputs: Table[tuple[str, str], RunInput] = Table(undo)
        self.deleted_run_inputs: Table[tuple[str, str], RunInput] = Table(undo)
        self.variables: Table[str, Variable] = Table(undo)
        self.configuration: Table[str, str] = Table(undo)
        self.concurrency_limits: Table[str, StoredLimit] = Table(undo)
        self.slot_claims: Table[tuple[str, str], Claim] = Table(undo)
        self.artifacts: Table[str, Artifact] = Table(undo)
        #: The last numbers given: journal, logs, inputs of runs.
        self.heads: Table[str, int] = Table(undo)
        self.heads["run_inputs"] = 0
        self.heads["journal"] = self.heads["logs"] = 0
        self.begin()

    def begin(self) -> None:
        """Begin a change."""
        self._undo.clear()
        self._heads_before = (self.heads["journal"], self.heads["logs"])
        self.ready_changed = False
        self.flow_run_ids: set[str] = set()
        self.topics: set[str] = set()

    def commit(self) -> Commit:
        """Keep the change; return what it was."""
        journal, logs = self._heads_before
        self._undo.clear()
        return Commit(
            revision=self.heads["journal"] if self.heads["journal"] != journal else 0,
            ready=self.ready_changed,
            flow_run_ids=frozenset(self.flow_run_ids),
            logs=self.heads["logs"] != logs,
            topics=frozenset(self.topics),
        )

    def rollback(self) -> None:
        """Take the change back."""
        for step in reversed(self._undo):
            step()
        self._undo.clear()

    def take_number(self, head: str) -> int:
        """Take the next number of the journal or the logs."""
        self.heads[head] = self.heads[head] + 1
        return self.heads[head]

    def record(
        self,
        kind: RunKind,
        run_id: str,
        run_name: str,
        flow_run: FlowRun,
        state: State,
        now: datetime,
    ) -> int:
        """Write a line of the journal; return its revision."""
        revision = self.take_number("journal")
        self.journal[revision] = TransitionRecord(
            revision=revision,
            kind=kind,
            run_id=run_id,
            run_name=run_name,
            flow_run_id=flow_run.id,
            root_flow_run_id=flow_run.root_flow_run_id,
            deployment_id=flow_run.deployment_id,
            state=state,
            commit_time=now,
        )
        return revision

    def follow(self, run: FlowRun) -> None:
        """Let the ready set follow the state and the lease of a run."""
        if readiness.is_ready(run, leased=run.id in self.leases):
            self.ready[run.id] = readiness.due_time(run)
            self.ready_changed = True
        else:
            self.ready.remove(run.id)

    def delete_artifact(self, artifact_id: str) -> bool:
        """Delete an artifact; the newest that is left of its key becomes the latest."""
        doomed = self.artifacts.get(artifact_id)
        if doomed is None:
            return False
        self.artifacts.remove(artifact_id)
        left = [artifact for artifact in self.artifacts if artifact.key == doomed.key]
        if doomed.latest and left:
            newest = max(left, key=lambda artifact: artifact.id)
            self.artifacts[newest.id] = dataclasses.replace(newest, latest=True)
        return True

    def delete_flow_run(self, flow_run_id: str) -> None:
        """Delete a flow run with all that belongs to it."""
        for task_run in self.task_runs:
            if task_run.flow_run_id == flow_run_id:
                self.task_runs.remove(task_run.id)
        for line in self.journal:
            if line.flow_run_id == flow_run_id:
                self.journal.remove(line.revision)
        for log in self.logs:
            if log.flow_run_id == flow_run_id:
                self.logs.remove(log.id)
        for run_input in self.run_inputs:
            if run_input.flow_run_id == flow_run_id:
                self.run_inputs.remove((flow_run_id, run_input.key))
        for run_input in self.deleted_run_inputs:
            if run_input.flow_run_id == flow_run_id:
                self.deleted_run_inputs.remove((flow_run_id, run_input.key))
        for artifact in self.artifacts:
            if artifact.flow_run_id == flow_run_id:
                self.delete_artifact(artifact.id)
        for claim in self.slot_claims:
            if claim.holder.flow_run_id == flow_run_id:
                self.slot_claims.remove((claim.lease_id, claim.limit_id))
                self.topics.add(SLOTS_TOPIC)
        for table in (self.leases, self.ready, self.flow_runs):
            table.remove(flow_run_id)
        self.ready_changed = True
