"""What the control plane asks of its storage.

A use-case is a function of a :class:`Transaction`; it runs in a thread of the storage, all of
it or nothing. Writes of many callers share a database commit (group commit); each is
atomic by itself, and :meth:`Storage.write` returns after the COMMIT only. A function that
raises changes nothing, and its exception comes back to its caller alone.

Functions passed in must not wait for anything but the transaction: no lock is held while
rules think. Read, decide, then write by compare-and-set (``FlowRuns.save``). They may be
called more than once, when a connection broke before the COMMIT: only what the last call
did and returned counts, so they must not leave traces elsewhere.

Whatever fails because the database cannot be used just now (it restarts, the disk is full)
raises Unavailable; storage recovers by itself.

The three implementations (memory, SQLite, PostgreSQL) pass one contract suite.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Protocol, TypeVar

from headgate.core.deployments import Deployment, Runner, WorkPool, WorkQueue
from headgate.core.runs import (
    Flow,
    FlowRun,
    LogRecord,
    RecordedCall,
    StateCount,
    TaskRun,
    TransitionRecord,
)
from headgate.core.states import State
from headgate_server.storage.kinds.artifacts import Artifacts
from headgate_server.storage.kinds.blocks import Blocks
from headgate_server.storage.kinds.concurrency import ConcurrencyLimits
from headgate_server.storage.kinds.configuration import Configuration
from headgate_server.storage.kinds.events import Events
from headgate_server.storage.kinds.run_inputs import RunInputs
from headgate_server.storage.kinds.variables import Variables
from headgate_server.storage.records import (
    Appended,
    AppendOutcome,
    AppendRefused,
    Commit,
    DeploymentFilter,
    FlowFilter,
    FlowRunFilter,
    FlowRunOrder,
    Grant,
    JournalFilter,
    Lease,
    LogAppend,
    LogFilter,
    Page,
    PageRequest,
    RunAppend,
    Session,
    TaskRunFilter,
)

T = TypeVar("T")


class Flows(Protocol):
    """Flows, by id and by unique name."""

    def get(self, flow_id: str) -> Flow | None:
        """Return the flow, or None."""
        ...

    def get_by_name(self, name: str) -> Flow | None:
        """Return the flow of this name, or None."""
        ...

    def ensure(self, name: str, *, new_id: str) -> Flow:
        """Return the flow of this name; make it, with this id, if there is none."""
        ...

    def update(self, flow: Flow) -> Flow:
        """Store labels and tags; set update_time by the database clock."""
        ...

    def delete(self, flow_id: str) -> None:
        """Delete the flow with its deployments, runs, task runs, states and logs."""
        ...

    def list(self, where: FlowFilter, page: PageRequest) -> Page[Flow]:
        """List flows by name."""
        ...


class Deployments(Protocol):
    """Deployments with their schedules."""

    def get(self, deployment_id: str) -> Deployment | None:
        """Return the deployment, or None."""
        ...

    def get_by_name(self, flow_name: str, name: str) -> Deployment | None:
        """Return the deployment of this flow and name, or None."""
        ...

    def insert(self, deployment: Deployment) -> None:
        """Store a new one. Raises AlreadyExists if flow and name are taken."""
        ...

    def replace(self, deployment: Deployment, *, expected_etag: str) -> bool:
        """Store it over the one with its id if that one's etag is still the expected one."""
        ...

    def delete(self, deployment_id: str) -> None:
        """Delete it and its schedules; past runs stay, without deployment."""
        ...

    def list(self, where: DeploymentFilter, page: PageRequest) -> Page[Deployment]:
        """List deployments by (flow name, name)."""
        ...

    def list_scheduled(self, page: PageRequest) -> Page[Deployment]:
        """List, by id, those that are not paused and have a schedule that is not paused."""
        ...


class FlowRuns(Protocol):
    """Flow runs, their states, and the small set of runs ready to be leased."""

    def get(self, flow_run_id: str) -> FlowRun | None:
        """Return the run, or None."""
        ...

    def find_idempotent(self, flow_id: str, idempotency_key: str) -> FlowRun | None:
        """Return the run that was made with this key for this flow, or None."""
        ...

    def insert(self, flow_run: FlowRun) -> int:
        """Store a new run with its first state in the journal; return the revision.

        A run in SCHEDULED with a work pool enters the ready set. Raises AlreadyExists if the
        id, or (flow, idempotency key), is taken.
        """
        ...

    def save(
        self, before: FlowRun, after: FlowRun, *, release: bool = False, seq: int | None = None
    ) -> int | None:
        """Store a transition by compare-and-set; return its revision, None if it lost a race.

        Written only if the stored run still has the state id and the fencing token of
        ``before``. All fields of ``after`` that a transition may change are stored: state,
        run_count, times, fencing_token, reschedule_count. The ready set
        follows the new state: SCHEDULED with a work pool (and not an in-process retry, that
        is: with ``release`` or without a lease) is in, everything else is out. Where the state
        id stays the same nothing is written to the journal: so an offer goes back with
        ``save(run, run, release=True)``. Where the fencing token changes, committed_seq and
        committed_log_seq begin at 0 again: streams count anew under each token.

        Args:
            before: The run as it was read.
            after: The run as it shall be.
            release: Delete the run's lease.
            seq: Also set committed_seq, written only if it was ``seq - 1``.
        """
        ...

    def advance(self, flow_run_id: str, *, fencing_token: int, seq: int) -> bool:
        """Set committed_seq to seq if it was seq - 1 and the token is current."""
        ...

    def update(self, flow_run: FlowRun) -> None:
        """Store name, tags, labels, priority and retry policy; nothing else."""
        ...

    def delete(self, flow_run_id: str) -> None:
        """Delete the run with its task runs, states, logs and lease."""
        ...

    def delete_auto_scheduled(self, deployment_id: str) -> int:
        """Delete the deployment's runs that a schedule made and that are still to come."""
        ...

    def list(self, where: FlowRunFilter, order: FlowRunOrder, page: PageRequest) -> Page[FlowRun]:
        """List runs."""
        ...

    def count(self, where: FlowRunFilter) -> Sequence[StateCount]:
        """Count runs by state type and name."""
        ...

    def states(self, flow_run_id: str) -> Sequence[State]:
        """Return all states of the run, oldest first."""
        ...

    def list_late(self, due_before: datetime, limit: int) -> Sequence[FlowRun]:
        """List ready runs named Scheduled whose time was before this, oldest first."""
        ...

    def list_expired_pauses(self, now: datetime, limit: int) -> Sequence[FlowRun]:
        """List paused runs whose pause_expire_time is before now."""
        ...

    def list_overdue_cancelling(self, since_before: datetime, limit: int) -> Sequence[FlowRun]:
        """List runs that are CANCELLING since before this time."""
        ...

    def list_unfinished_children(self, flow_run_id: str, limit: int) -> Sequence[FlowRun]:
        """List runs whose parent_flow_run_id is this and that have not ended."""
        ...

    def next_ready_time(self) -> datetime | None:
        """Return the earliest time, now or later, at which a ready run is due, or None."""
        ...


class TaskRuns(Protocol):
    """Task runs and their states."""

    def get(self, task_run_id: str) -> TaskRun | None:
        """Return the task run, or None."""
        ...

    def get_many(self, task_run_ids: Sequence[str]) -> Sequence[TaskRun]:
        """Return those that exist, in any order."""
        ...

    def list(
        self, where: TaskRunFilter, page: PageRequest, *, descending: bool = False
    ) -> Page[TaskRun]:
        """List task runs by id."""
        ...

    def count(self, where: TaskRunFilter) -> Sequence[StateCount]:
        """Count task runs by state type and name."""
        ...

    def states(self, task_run_id: str) -> Sequence[State]:
        """Return all states of the task run, oldest first."""
        ...

    def list_unfinished(self, flow_run_id: str, limit: int) -> Sequence[TaskRun]:
        """List task runs of a flow run that have not ended."""
        ...

    def list_calls(
        self, flow_run_id: str, task_run_ids: Sequence[str], page: PageRequest
    ) -> Page[RecordedCall]:
        """List, by id, completed task runs whose state has a call key and data.

        Args:
            flow_run_id: Of this flow run.
            task_run_ids: These alone, with their data; empty: all, without.
            page: Which page.
        """
        ...

    def insert(self, task_run: TaskRun) -> int:
        """Store a new task run with its first state in the journal; return the revision.

        Raises AlreadyExists if the id is taken.
        """
        ...

    def update(self, task_run: TaskRun) -> None:
        """Store name and tags; nothing else."""
        ...

    def delete(self, task_run: TaskRun) -> None:
        """Delete the task run with its states and logs."""
        ...

    def save(self, task_runs: Sequence[TaskRun]) -> int:
        """Store transitions of existing task runs (state, counts, times) with journal lines.

        Used by the server itself, e.g. to end the task runs of a lost flow run. Returns the
        last revision.
        """
        ...


class WorkPools(Protocol):
    """Work pools and queues. ``WorkPool.state`` is derived: paused, or a runner is online."""

    def get(self, name: str) -> WorkPool | None:
        """Return the pool, or None."""
        ...

    def insert(self, pool: WorkPool, queue: WorkQueue) -> None:
        """Store a new pool with its first queue. Raises AlreadyExists."""
        ...

    def update(self, pool: WorkPool) -> WorkPool:
        """Store description, concurrency_limit, paused and base_job_template."""
        ...

    def delete(self, name: str) -> None:
        """Delete the pool with its queues."""
        ...

    def list(self, page: PageRequest) -> Page[WorkPool]:
        """List pools by name."""
        ...

    def is_used(self, name: str) -> bool:
        """Say whether a deployment or a lease refers to the pool."""
        ...

    def get_queue(self, pool_name: str, name: str) -> WorkQueue | None:
        """Return the queue, or None."""
        ...

    def insert_queue(self, queue: WorkQueue) -> None:
        """Store a new queue. Raises AlreadyExists."""
        ...

    def update_queue(self, queue: WorkQueue) -> WorkQueue:
        """Store description, priority, concurrency_limit and paused."""
        ...

    def delete_queue(self, pool_name: str, name: str) -> None:
        """Delete the queue; its ready runs and deployments go to the queue ``default``."""
        ...

    def list_queues(self, pool_name: str) -> Sequence[WorkQueue]:
        """List the queues of a pool by priority, then name."""
        ...


class Leases(Protocol):
    """Sessions and the leases they hold. All times are of the database clock."""

    def open_session(self, session: Session, *, ttl_seconds: float) -> Session:
        """Store a new session that expires ttl from now."""
        ...

    def get_session(self, session_id: str) -> Session | None:
        """Return the session, or None."""
        ...

    def resume_session(
        self, session_id: str, *, resume_token_hash: str, ttl_seconds: float
    ) -> Session | None:
        """Take the session over: bump its epoch and renew it; None if unknown or not theirs.

        A session that has expired but was not reaped yet resumes.
        """
        ...

    def beat(self, session_id: str, *, epoch: int, ttl_seconds: float) -> bool:
        """Renew the session; False if it is gone or the epoch is not the newest."""
        ...

    def close_session(self, session_id: str) -> None:
        """Delete the session; its leases must have been ended before."""
        ...

    def list_expired_sessions(self, *, margin_seconds: float, limit: int) -> Sequence[Session]:
        """List sessions that expired more than the margin ago, oldest first."""
        ...

    def extend_sessions(self, *, ttl_seconds: float) -> int:
        """Let every session live at least ttl from now: after an outage of ours."""
        ...

    def next_expiry(self) -> datetime | None:
        """Return when the first session expires, or None."""
        ...

    def list_runners(self, work_pool_name: str, *, online_only: bool) -> Sequence[Runner]:
        """List runner sessions as runners, by name; an empty pool name means all."""
        ...

    def list_served(self, work_pool_name: str, *, besides: str) -> Sequence[tuple[str, ...]]:
        """List, each once, to which queues of a pool the runners that are online limit themselves.

        Args:
            work_pool_name: The pool.
            besides: The id of a session that is left out.

        Returns:
            Names of queues; empty for a runner that serves them all.
        """
        ...

    def grant(self, session: Session, *, count: int, offer_ttl_seconds: float) -> Sequence[Grant]:
        """Lease up to count due runs of the session's pools and queues to it.

        Takes each out of the ready set, bumps its fencing token, sets committed_seq and
        committed_log_seq to 0 (streams count anew under each token), and stores the lease (not
        accepted). Order: queue priority, run priority (higher
        first), scheduled time, id. Never gives more than the concurrency limits of pool,
        queue and deployment leave, counted from live leases. Nothing from paused pools or
        queues. The state of the run stays as it is until the offer is accepted.
        """
        ...

    def grant_to_engine(self, flow_run_id: str, *, fencing_token: int, session_id: str) -> None:
        """Store the lease of a run that an engine created (the run has that token)."""
        ...

    def get(self, flow_run_id: str) -> Lease | None:
        """Return the lease of the run, or None."""
        ...

    def accept(self, flow_run_id: str, *, fencing_token: int, session_id: str) -> bool:
        """Mark an offer as accepted; False if that lease is not there any more."""
        ...

    def held_by(self, session_id: str) -> Sequence[Lease]:
        """Return all leases of a session."""
        ...

    def list_expired_offers(self, *, limit: int) -> Sequence[Lease]:
        """List leases that were not accepted in time."""
        ...


class Journal(Protocol):
    """The ordered record of committed transitions."""

    def read(
        self, after_revision: int, where: JournalFilter, limit: int
    ) -> Sequence[TransitionRecord]:
        """Return transitions behind a revision, in order, without state data.

        Committed order equals revision order: no later read returns a smaller revision than
        an earlier one has returned.
        """
        ...

    def newest(self) -> int:
        """Return the newest committed revision; 0 if there is none."""
        ...

    def oldest(self) -> int:
        """Return the revision before which lines were removed; 0 if none were."""
        ...


class Logs(Protocol):
    """Log lines."""

    def append(self, records: Sequence[LogRecord]) -> int:
        """Store lines; return the id of the last."""
        ...

    def list(
        self, where: LogFilter, page: PageRequest, *, descending: bool = False
    ) -> Page[LogRecord]:
        """List lines by id."""
        ...


class Transaction(Protocol):
    """One transaction: all of it, or nothing."""

    @property
    def flows(self) -> Flows:
        """Flows."""
        ...

    @property
    def deployments(self) -> Deployments:
        """Deployments."""
        ...

    @property
    def flow_runs(self) -> FlowRuns:
        """Flow runs."""
        ...

    @property
    def task_runs(self) -> TaskRuns:
        """Task runs."""
        ...

    @property
    def work_pools(self) -> WorkPools:
        """Work pools."""
        ...

    @property
    def leases(self) -> Leases:
        """Sessions and leases."""
        ...

    @property
    def journal(self) -> Journal:
        """The journal."""
        ...

    @property
    def logs(self) -> Logs:
        """Log lines."""
        ...

    @property
    def events(self) -> Events:
        """Events."""
        ...

    @property
    def blocks(self) -> Blocks:
        """Blocks."""
        ...

    @property
    def concurrency_limits(self) -> ConcurrencyLimits:
        """Concurrency limits and the claims on their slots."""
        ...

    @property
    def run_inputs(self) -> RunInputs:
        """Inputs of flow runs."""
        ...

    @property
    def variables(self) -> Variables:
        """Variables."""
        ...

    @property
    def configuration(self) -> Configuration:
        """Settings that are made while the server runs."""
        ...

    @property
    def artifacts(self) -> Artifacts:
        """Artifacts."""
        ...

    def now(self) -> datetime:
        """Return the time by the database clock, UTC-aware, the same all through."""
        ...


class Storage(Protocol):
    """A place where records are kept."""

    @property
    def database(self) -> str:
        """``memory``, ``sqlite`` or ``postgresql``."""
        ...

    async def start(self) -> None:
        """Open it; bring the schema up to date; make the pool ``default`` if need be."""
        ...

    async def close(self) -> None:
        """Finish what was asked for, then close."""
        ...

    async def read(self, query: Callable[[Transaction], T]) -> T:
        """Run a query on a snapshot."""
        ...

    async def write(self, change: Callable[[Transaction], T]) -> T:
        """Run a change; return what it returned, after the COMMIT."""
        ...

    async def append(self, batch: RunAppend) -> Appended | AppendRefused:
        """Store what an engine's stream brings; return after the COMMIT."""
        ...

    def append_then(
        self, batch: RunAppend, then: Callable[[AppendOutcome], None]
    ) -> AppendOutcome | None:
        """Store what an engine's stream brings; call back after the COMMIT. The hot path.

        As ``append``, without a task that waits: that costs more than many a commit.

        Args:
            batch: What to store.
            then: Called on the event loop, after this has returned None, with what became of the
                batch. Must not raise.

        Returns:
            What became of the batch where it is committed already; ``then`` is not called.
        """
        ...

    async def append_logs(self, batch: LogAppend) -> Appended | AppendRefused:
        """Store log lines that an engine's stream brings; return after the COMMIT."""
        ...

    def listen(self, on_commit: Callable[[Commit], None]) -> Callable[[], None]:
        """Call back, on the event loop, after every commit of any replica; returns unlisten."""
        ...


__all__ = [
    "Deployments",
    "FlowRuns",
    "Flows",
    "Journal",
    "Leases",
    "Logs",
    "Storage",
    "TaskRuns",
    "Transaction",
    "WorkPools",
]
