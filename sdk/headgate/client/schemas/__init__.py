"""The records that clients take and return: those of ``headgate.core``, and a few of their own."""

from __future__ import annotations

import dataclasses
import enum
from datetime import datetime
from typing import Any

from headgate.codec.times import EPOCH
from headgate.core.artifacts import Artifact
from headgate.core.blocks import BlockDocument, BlockSchema, BlockType, LoadedBlock
from headgate.core.concurrency import (
    ConcurrencyLimit,
    SlotAnswer,
    SlotHolder,
    SlotLease,
    SlotMode,
    SlotRequest,
)
from headgate.core.deployments import (
    CollisionStrategy,
    CronRule,
    Deployment,
    InfrastructureLossAction,
    InfrastructureLossPolicy,
    IntervalRule,
    PullStep,
    RecurrenceRule,
    Runner,
    Schedule,
    ScheduleRule,
    WorkPool,
    WorkPoolState,
    WorkQueue,
)
from headgate.core.run_inputs import RunInput
from headgate.core.runs import (
    Flow,
    FlowRun,
    LogRecord,
    RetryPolicy,
    RunKind,
    StateCount,
    TaskRun,
    TransitionRecord,
)
from headgate.core.states import Payload, State, StateDetails, StateType, Verdict, VerdictKind
from headgate.core.variables import Variable


class FlowRunOrder(enum.Enum):
    """In which order flow runs are listed."""

    EXPECTED_START_TIME_DESC = "expected_start_time_desc"
    EXPECTED_START_TIME_ASC = "expected_start_time_asc"
    ID_DESC = "id_desc"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class OrchestrationResult:
    """What became of a proposed state.

    Attributes:
        verdict: What the server says.
        flow_run: The run after it.
    """

    verdict: Verdict
    flow_run: FlowRun

    @property
    def status(self) -> VerdictKind:
        """What the server says: ACCEPT, REJECT, WAIT or ABORT."""
        return self.verdict.kind

    @property
    def state(self) -> State:
        """The state that the run is in."""
        return self.flow_run.state


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class TaskOrchestrationResult:
    """What became of a state proposed for a task run.

    Attributes:
        verdict: What the server says.
        task_run: The task run after it.
    """

    verdict: Verdict
    task_run: TaskRun

    @property
    def status(self) -> VerdictKind:
        """What the server says: ACCEPT, REJECT, WAIT or ABORT."""
        return self.verdict.kind

    @property
    def state(self) -> State:
        """The state that the task run is in."""
        return self.task_run.state


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ServerDefaultResultStorage:
    """Where results are kept that neither flow, task nor settings name a storage for.

    Attributes:
        default_result_storage_block_id: The id of the block; None: no block was chosen.
        block: Its name, as ``type/name``.
    """

    default_result_storage_block_id: str | None = None
    block: str | None = None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ServerInfo:
    """What a server is and what it can do.

    Attributes:
        version: E.g. ``0.1.0``.
        api_versions: The contracts it serves, e.g. ``headgate.api.v1``.
        features: Optional parts of the contract that it has.
        database: ``sqlite``, ``postgresql`` or ``memory``.
        instance_id: The id of the server process.
        server_time: Its time.
        process_id: The id that its operating system knows it by.
    """

    version: str
    api_versions: tuple[str, ...]
    features: frozenset[str]
    database: str
    instance_id: str
    server_time: datetime
    process_id: int


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ServerSetting:
    """A setting in force.

    Attributes:
        name: Also its environment variable.
        value: As text; masked where it is a secret.
        changed: Whether it differs from the default.
    """

    name: str
    value: str
    changed: bool


def draft_deployment(name: str, flow_name: str, **fields: Any) -> Deployment:
    """Describe a deployment that is to be made: ids, times and etag are the server's to choose.

    Args:
        name: Unique in its flow.
        flow_name: The flow.
        **fields: Any other field of a deployment.
    """
    blanks: dict[str, Any] = {
        "id": "",
        "flow_id": "",
        "create_time": EPOCH,
        "update_time": EPOCH,
        "etag": "",
    }
    return Deployment(name=name, flow_name=flow_name, **(blanks | fields))


__all__ = [
    "Artifact",
    "BlockDocument",
    "BlockSchema",
    "BlockType",
    "CollisionStrategy",
    "ConcurrencyLimit",
    "CronRule",
    "Deployment",
    "Flow",
    "FlowRun",
    "FlowRunOrder",
    "InfrastructureLossAction",
    "InfrastructureLossPolicy",
    "IntervalRule",
    "LoadedBlock",
    "LogRecord",
    "OrchestrationResult",
    "Payload",
    "PullStep",
    "RecurrenceRule",
    "RetryPolicy",
    "RunInput",
    "RunKind",
    "Runner",
    "Schedule",
    "ScheduleRule",
    "ServerDefaultResultStorage",
    "ServerInfo",
    "ServerSetting",
    "SlotAnswer",
    "SlotHolder",
    "SlotLease",
    "SlotMode",
    "SlotRequest",
    "State",
    "StateCount",
    "StateDetails",
    "StateType",
    "TaskOrchestrationResult",
    "TaskRun",
    "TransitionRecord",
    "Variable",
    "Verdict",
    "VerdictKind",
    "WorkPool",
    "WorkPoolState",
    "WorkQueue",
    "draft_deployment",
]
