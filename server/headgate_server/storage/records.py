"""What storage takes and gives beside the records of ``headgate.core``."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Generic, TypeVar

from headgate.core.deployments import Deployment
from headgate.core.runs import FlowRun, LogRecord, RunKind, TaskRun
from headgate.core.states import State, StateType

T = TypeVar("T")

#: A page whose items have more text than this is cut: a client of any language takes messages of
#: 4 MiB, unless it was told to take greater ones.
PAGE_BYTES_MAX = 3 * 1024 * 1024

#: The values of the sort key of the last item of a page; the next page starts behind it.
Cursor = tuple[str | int, ...]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class PageRequest:
    """Which page of a list.

    Attributes:
        size: How many items at most.
        after: The cursor of the page before; None for the first page.
    """

    size: int
    after: Cursor | None = None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Page(Generic[T]):
    """A page of a list; ``next`` is None on the last."""

    items: Sequence[T]
    next: Cursor | None


def read_pages(read: Callable[[PageRequest], Page[T]], *, most: int) -> list[T]:
    """Return the items of all pages of a list, so many at most; a page may be shorter than asked.

    Args:
        read: Reads a page.
        most: How many items are enough.
    """
    found: list[T] = []
    after: Cursor | None = None
    while len(found) < most:
        page = read(PageRequest(size=most - len(found), after=after))
        found.extend(page.items)
        after = page.next
        if after is None:
            break
    return found


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class FlowFilter:
    """Which flows; empty fields do not filter."""

    name_contains: str = ""
    tags: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class DeploymentFilter:
    """Which deployments; empty fields do not filter."""

    flow_ids: tuple[str, ...] = ()
    name_contains: str = ""
    tags: tuple[str, ...] = ()
    work_pool_name: str = ""
    paused: bool | None = None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class FlowRunFilter:
    """Which flow runs; empty fields do not filter, values of one field are joined by or."""

    ids: tuple[str, ...] = ()
    flow_ids: tuple[str, ...] = ()
    flow_name: str = ""
    exclude_flow_name: str = ""
    deployment_ids: tuple[str, ...] = ()
    state_types: tuple[StateType, ...] = ()
    state_names: tuple[str, ...] = ()
    name_contains: str = ""
    tags: tuple[str, ...] = ()
    parent_flow_run_id: str = ""
    top_level: bool | None = None
    work_pool_name: str = ""
    work_queue_name: str = ""
    expected_after: datetime | None = None
    expected_before: datetime | None = None


class FlowRunOrder(enum.Enum):
    """In which order flow runs are listed; ties go by id."""

    EXPECTED_START_TIME_DESC = "expected_start_time_desc"
    EXPECTED_START_TIME_ASC = "expected_start_time_asc"
    ID_DESC = "id_desc"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class TaskRunFilter:
    """Which task runs; empty fields do not filter, values of one field are joined by or."""

    ids: tuple[str, ...] = ()
    flow_run_ids: tuple[str, ...] = ()
    state_types: tuple[StateType, ...] = ()
    state_names: tuple[str, ...] = ()
    name_contains: str = ""
    tags: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class LogFilter:
    """Which log lines; empty fields do not filter."""

    flow_run_ids: tuple[str, ...] = ()
    task_run_ids: tuple[str, ...] = ()
    root_flow_run_id: str = ""
    level_min: int = 0
    level_max: int | None = None
    message_contains: str = ""
    logged_after: datetime | None = None
    logged_before: datetime | None = None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class JournalFilter:
    """Which transitions; empty fields do not filter, values of one field are joined by or."""

    flow_run_ids: tuple[str, ...] = ()
    root_flow_run_ids: tuple[str, ...] = ()
    deployment_ids: tuple[str, ...] = ()
    kind: RunKind | None = None
    state_types: tuple[StateType, ...] = ()


class SessionKind(enum.StrEnum):
    """Who is at the other end of a session."""

    RUNNER = "RUNNER"
    ENGINE = "ENGINE"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """One live stream between a runner or an engine and the server.

    Attributes:
        id: UUID text.
        kind: Who is at the other end.
        name: For people.
        instance_id: The process at the other end.
        resume_token_hash: SHA-256 of the resume token, hexadecimal.
        epoch: Grows with every stream of the session; an older stream may not write.
        work_pool_names: Runners: the pools they serve.
        work_queue_names: Runners: the queues they are limited to; empty: all.
        slots: Runners: how many runs at once.
        sdk: Name and version of the software.
        last_beat_time: When it was last heard of, by the database clock.
        expire_time: When its leases are lost, by the database clock.
    """

    id: str
    kind: SessionKind
    name: str
    instance_id: str
    resume_token_hash: str
    epoch: int = 1
    work_pool_names: tuple[str, ...] = ()
    work_queue_names: tuple[str, ...] = ()
    slots: int = 0
    sdk: str = ""
    last_beat_time: datetime
    expire_time: datetime


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """The right of a session to execute one flow run.

    Attributes:
        flow_run_id: The run; at most one lease per run exists.
        fencing_token: The run's ``fencing_token`` while this lease is the newest.
        session_id: Who holds it.
        accepted: Whether the holder took the offer. Leases of engines are always accepted.
        offer_expire_time: When an offer that is not accepted goes back.
    """

    flow_run_id: str
    fencing_token: int
    session_id: str
    accepted: bool
    offer_expire_time: datetime | None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """A lease that was just granted, with what its holder needs to run it."""

    flow_run: FlowRun
    deployment: Deployment | None
    fencing_token: int


@dataclasses.dataclass(slots=True)
class JournalEntry:
    """A transition to be written to the journal; not frozen: made once per task state."""

    kind: RunKind
    run_id: str
    run_name: str
    state: State


@dataclasses.dataclass(slots=True, kw_only=True)
class RunAppend:
    """What one batch of an engine's stream adds to one flow run's task runs and journal.

    The append is guarded: it is written only while the flow run's fencing token is
    ``fencing_token`` and its ``committed_seq`` is ``seq_before``, and sets it to
    ``seq_after``.

    Attributes:
        task_runs: Task runs in their state after the batch; those that are new and those
            that changed.
        entries: The transitions, in order, of those task runs.
    """

    flow_run_id: str
    fencing_token: int
    seq_before: int
    seq_after: int
    new_task_runs: list[TaskRun]
    changed_task_runs: list[TaskRun]
    entries: list[JournalEntry]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Appended:
    """A RunAppend is committed.

    Attributes:
        revision: The revision of its last entry; 0 where it had none.
    """

    revision: int


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class AppendRefused:
    """A RunAppend was not written: the guard did not hold. The run's real numbers."""

    known: bool
    fencing_token: int
    committed_seq: int


@dataclasses.dataclass(frozen=True, slots=True)
class Failed:
    """Something was not written, because of this."""

    error: Exception


AppendOutcome = Appended | AppendRefused | Failed


@dataclasses.dataclass(slots=True, kw_only=True)
class LogAppend:
    """Log lines of one run from an engine's stream, guarded like a RunAppend."""

    flow_run_id: str
    fencing_token: int
    seq_before: int
    seq_after: int
    records: list[LogRecord]


#: Stands for every topic of a Commit.
ALL_TOPICS = "*"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Commit:
    """What a commit (of this process, or of another replica) changed, for those who wait.

    Attributes:
        revision: The newest journal revision; 0 where the journal did not change.
        ready: Whether runs became ready or a slot became free: work for the matcher.
        flow_run_ids: Flow runs whose own state or token changed; empty also where not known
            (another replica).
        logs: Whether log lines were stored.
        topics: What else changed that somebody may wait for, e.g. ``run-inputs/<flow run id>``;
            a topic has no blanks. ALL_TOPICS: any of them may have.
        flow_runs: Of flow_run_ids, those that this process wrote, as they are now.
    """

    revision: int = 0
    ready: bool = False
    flow_run_ids: frozenset[str] = frozenset()
    logs: bool = False
    topics: frozenset[str] = frozenset()
    flow_runs: Mapping[str, FlowRun] = dataclasses.field(
        default_factory=dict[str, FlowRun], compare=False
    )
