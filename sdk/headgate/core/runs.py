"""Flow runs and task runs, as the whole system speaks of them."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Mapping
from datetime import datetime

from headgate.core import familiar
from headgate.core.record import record
from headgate.core.states import State


class RunKind(enum.StrEnum):
    """Which sort of run."""

    FLOW_RUN = "FLOW_RUN"
    TASK_RUN = "TASK_RUN"


@record
class RetryPolicy:
    """How failed attempts are tried again, in the form that is stored and sent.

    Attributes:
        max_retries: Attempts after the first.
        delays_seconds: Waiting time before each retry; the last is used for all that follow.
        jitter_factor: A delay d becomes a random one between d and d * (1 + factor).
    """

    max_retries: int = 0
    delays_seconds: tuple[float, ...] = ()
    jitter_factor: float = 0.0


NO_RETRIES = RetryPolicy()


@record
class Flow(familiar.Updated):
    """A function that users orchestrate, known by its name."""

    id: str
    name: str
    labels: Mapping[str, str] = dataclasses.field(default_factory=dict[str, str])
    tags: tuple[str, ...] = ()
    create_time: datetime
    update_time: datetime


#: The flow of runs whose one task was called outside of flows.
TASKS_FLOW = "headgate.tasks"


@record
class FlowRun(familiar.Run):
    """One execution of a flow; the fields are those of ``flow_run.proto``.

    Attributes:
        deployment_name: ``flow name/deployment name``; None for runs by hand.
        parameters: Name to JSON text.
        job_variables: Name to JSON text.
        fencing_token: The number of its newest lease; 0 if it was never leased.
        committed_seq: The last item of its engine's stream that is committed.
        committed_log_seq: The same for log lines.
        revision: The journal revision of its newest transition.
    """

    id: str
    name: str
    flow_id: str
    flow_name: str
    deployment_id: str | None = None
    deployment_name: str | None = None
    flow_version: str = ""
    parameters: Mapping[str, str] = dataclasses.field(default_factory=dict[str, str])
    tags: tuple[str, ...] = ()
    labels: Mapping[str, str] = dataclasses.field(default_factory=dict[str, str])
    state: State
    run_count: int = 0
    retry_policy: RetryPolicy = NO_RETRIES
    expected_start_time: datetime | None = None
    start_time: datetime | None = None
    end_time: datetime | None = None
    parent_task_run_id: str | None = None
    parent_flow_run_id: str | None = None
    root_flow_run_id: str
    work_pool_name: str | None = None
    work_queue_name: str | None = None
    priority: int = 0
    job_variables: Mapping[str, str] = dataclasses.field(default_factory=dict[str, str])
    auto_scheduled: bool = False
    idempotency_key: str | None = None
    fencing_token: int = 0
    runner_name: str | None = None
    reschedule_count: int = 0
    committed_seq: int = 0
    committed_log_seq: int = 0
    create_time: datetime
    revision: int = 0


@record
class TaskRun(familiar.Run):
    """One execution of a task; the fields are those of ``task_run.proto``."""

    id: str
    name: str
    flow_run_id: str
    task_key: str
    dynamic_key: str
    task_version: str = ""
    tags: tuple[str, ...] = ()
    state: State
    run_count: int = 0
    max_retries: int = 0
    expected_start_time: datetime | None = None
    start_time: datetime | None = None
    end_time: datetime | None = None
    parent_task_run_id: str | None = None
    upstream_run_ids: tuple[str, ...] = ()
    flow_run_attempt: int = 1
    create_time: datetime
    revision: int = 0


@record
class RecordedCall:
    """A call in a durable flow run that has completed.

    Attributes:
        task_run_id: The task run that it was.
        call_key: Which call: a hash of the task, of what it was called with, and of the call
            within which it was made.
        dynamic_key: Which of several calls with one key.
        state: The Completed state, with what it returned; None where it was not asked for.
    """

    task_run_id: str
    call_key: str
    dynamic_key: str
    state: State | None = None


@record
class TransitionRecord:
    """A committed transition: a line of the journal."""

    revision: int
    kind: RunKind
    run_id: str
    run_name: str
    flow_run_id: str
    root_flow_run_id: str
    deployment_id: str | None
    state: State
    commit_time: datetime


@record
class LogRecord:
    """One line that a run logged or printed; ``level`` as in Python's logging."""

    flow_run_id: str
    task_run_id: str | None = None
    timestamp: datetime
    level: int
    logger: str
    message: str
    id: int = 0

    @property
    def name(self) -> str:
        """The same as ``logger``."""
        return self.logger


@record
class StateCount:
    """How many runs are in the state of one type and name."""

    type: str
    name: str
    count: int
