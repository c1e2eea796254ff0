"""Filters, as users of the incumbent write them, for the lists of clients.

::

    from headgate.client.schemas.filters import FlowRunFilter

    failed = FlowRunFilter(state={"type": {"any_": ["FAILED"]}})
    await client.read_flow_runs(flow_run_filter=failed)

Conditions of a filter are joined by its ``operator``, ``and_`` unless it says otherwise; what is
not given does not matter. The server is asked for as little as it can tell apart, and the client
leaves out the rest.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Annotated, Any, ClassVar, TypeAlias, cast

import pydantic

from headgate.core import errors
from headgate.core.states import StateType

# A field is a text wherever an id, a state's type or a name may be written: UUIDs become texts.
_Text = Annotated[str, pydantic.BeforeValidator(lambda value: str(value))]
_Texts = list[_Text] | None


def _state_type(value: Any) -> str:
    try:
        return StateType(str(value).upper()).value
    except ValueError:
        msg = f"{value!r} is no type of states; use one of {', '.join(StateType)}."
        raise errors.OptionValueError(msg) from None


_StateTypes = list[Annotated[str, pydantic.BeforeValidator(_state_type)]] | None


def _utc(value: datetime) -> datetime:
    return value if value.tzinfo is not None else value.replace(tzinfo=UTC)


_Time = Annotated[datetime, pydantic.AfterValidator(_utc)] | None


class Operator(enum.StrEnum):
    """How the conditions of a filter are joined."""

    and_ = "and_"
    or_ = "or_"


class _Model(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid")

    def holds(self, value: Any) -> bool:
        """Whether it is true of a value."""
        raise NotImplementedError


def _tests(condition: _Model) -> Iterable[tuple[str, Any]]:
    for name in type(condition).model_fields:
        asked = getattr(condition, name)
        if name != "operator" and asked is not None:
            yield name, asked


def _joined(verdicts: Iterable[bool], operator: Operator) -> bool:
    found = list(verdicts)
    return not found or (any(found) if operator is Operator.or_ else all(found))


def _is_true(test: str, asked: Any, value: Any) -> bool:
    """Whether one test, as ``any_``, is true of a value; nothing but nullness is true of none."""
    match test:
        case "is_null_":
            return (value is None or value == ()) is asked
        case "exists_":
            return (value is not None) is asked
        case _ if value is None:
            return False
        case "any_" if isinstance(value, tuple):
            return not set(cast("tuple[str, ...]", value)).isdisjoint(asked)
        case "all_":
            return set(value) >= set(asked)
        case "any_":
            return str(value) in asked
        case "not_any_":
            return str(value) not in asked
        case "like_" | "query":
            return asked.lower() in str(value).lower()
        case "startswith_":
            return str(value).startswith(tuple(asked))
        case "before_" | "le_":
            return value <= asked
        case "after_" | "ge_":
            return value >= asked
        case _:
            return value == asked


class _Condition(_Model):
    """What is asked of one field of a record."""

    def holds(self, value: Any) -> bool:
        """Whether it is true of the value of the field."""
        operator = getattr(self, "operator", Operator.and_)
        return _joined((_is_true(test, asked, value) for test, asked in _tests(self)), operator)


class _AnyOf(_Condition):
    any_: _Texts = None


class _AnyOrNot(_AnyOf):
    not_any_: _Texts = None


class _StateType(_Condition):
    any_: _StateTypes = None
    not_any_: _StateTypes = None


class _Name(_AnyOf):
    like_: str | None = None


class _Key(_Name):
    exists_: bool | None = None


class _AnyOrNull(_AnyOf):
    operator: Operator = Operator.and_
    is_null_: bool | None = None


class _Tags(_AnyOrNull):
    all_: _Texts = None


class _Span(_Condition):
    before_: _Time = None
    after_: _Time = None


class _SpanOrNull(_Span):
    is_null_: bool | None = None


class _Number(_Condition):
    ge_: int | None = None
    le_: int | None = None


class _NumberOrNull(_Number):
    is_null_: bool | None = None


class _Exists(_Condition):
    exists_: bool | None = None


class _Filter(_Model):
    """What is asked of a record, field by field."""

    #: The attribute of the record for each field that is called something else there.
    _ATTRIBUTES: ClassVar[dict[str, str]] = {}

    operator: Operator = Operator.and_

    def holds(self, value: Any) -> bool:
        """Whether it is true of a record."""
        return _joined(
            (asked.holds(self._read(value, name)) for name, asked in _tests(self)), self.operator
        )

    def _read(self, record: Any, name: str) -> Any:
        for part in self._ATTRIBUTES.get(name, name).split("."):
            record = getattr(record, part)
        return record


class FlowFilterId(_AnyOf):
    """Flows by id."""


class FlowFilterName(_Name):
    """Flows by name."""


class FlowFilterTags(_Tags):
    """Flows by tags."""


class FlowFilter(_Filter):
    """Which flows."""

    id: FlowFilterId | None = None
    name: FlowFilterName | None = None
    tags: FlowFilterTags | None = None


class FlowRunFilterId(_AnyOrNot):
    """Flow runs by id."""


class FlowRunFilterName(_Name):
    """Flow runs by name."""


class FlowRunFilterTags(_Tags):
    """Flow runs by tags."""


class FlowRunFilterDeploymentId(_AnyOrNull):
    """Flow runs by deployment."""


class FlowRunFilterWorkQueueName(_AnyOrNull):
    """Flow runs by work queue."""


class FlowRunFilterStateType(_StateType):
    """Flow runs by the type of their state."""


class FlowRunFilterStateName(_AnyOrNot):
    """Flow runs by the name of their state."""


class FlowRunFilterState(_Filter):
    """Flow runs by their state."""

    type: FlowRunFilterStateType | None = None
    name: FlowRunFilterStateName | None = None


class FlowRunFilterFlowVersion(_AnyOf):
    """Flow runs by the version of the flow."""


class FlowRunFilterStartTime(_SpanOrNull):
    """Flow runs by start."""


class FlowRunFilterEndTime(_SpanOrNull):
    """Flow runs by end."""


class FlowRunFilterExpectedStartTime(_Span):
    """Flow runs by the time they are to start at."""


class FlowRunFilterNextScheduledStartTime(_Span):
    """Flow runs by the time they are scheduled for."""


class FlowRunFilterParentFlowRunId(_AnyOrNull):
    """Flow runs by the flow run that asked for them."""


class FlowRunFilterParentTaskRunId(_AnyOrNull):
    """Flow runs by the task run that stands for them."""


class FlowRunFilter(_Filter):
    """Which flow runs."""

    _ATTRIBUTES = {"next_scheduled_start_time": "state.details.scheduled_time"}

    id: FlowRunFilterId | None = None
    name: FlowRunFilterName | None = None
    tags: FlowRunFilterTags | None = None
    deployment_id: FlowRunFilterDeploymentId | None = None
    work_queue_name: FlowRunFilterWorkQueueName | None = None
    state: FlowRunFilterState | None = None
    flow_version: FlowRunFilterFlowVersion | None = None
    start_time: FlowRunFilterStartTime | None = None
    end_time: FlowRunFilterEndTime | None = None
    expected_start_time: FlowRunFilterExpectedStartTime | None = None
    next_scheduled_start_time: FlowRunFilterNextScheduledStartTime | None = None
    parent_flow_run_id: FlowRunFilterParentFlowRunId | None = None
    parent_task_run_id: FlowRunFilterParentTaskRunId | None = None


class TaskRunFilterId(_AnyOf):
    """Task runs by id."""


class TaskRunFilterName(_Name):
    """Task runs by name."""


class TaskRunFilterTags(_Tags):
    """Task runs by tags."""


class TaskRunFilterStateType(_StateType):
    """Task runs by the type of their state."""


class TaskRunFilterStateName(_AnyOrNot):
    """Task runs by the name of their state."""


class TaskRunFilterState(_Filter):
    """Task runs by their state."""

    type: TaskRunFilterStateType | None = None
    name: TaskRunFilterStateName | None = None


class TaskRunFilterStartTime(_SpanOrNull):
    """Task runs by start."""


class TaskRunFilterEndTime(_SpanOrNull):
    """Task runs by end."""


class TaskRunFilterExpectedStartTime(_Span):
    """Task runs by the time they are to start at."""


class TaskRunFilterSubFlowRuns(_Exists):
    """Task runs by whether they stand for a flow run."""


class TaskRunFilterFlowRunId(_AnyOrNull):
    """Task runs by flow run."""


class TaskRunFilter(_Filter):
    """Which task runs."""

    _ATTRIBUTES = {"subflow_runs": "state.details.child_flow_run_id"}

    id: TaskRunFilterId | None = None
    name: TaskRunFilterName | None = None
    tags: TaskRunFilterTags | None = None
    state: TaskRunFilterState | None = None
    start_time: TaskRunFilterStartTime | None = None
    end_time: TaskRunFilterEndTime | None = None
    expected_start_time: TaskRunFilterExpectedStartTime | None = None
    subflow_runs: TaskRunFilterSubFlowRuns | None = None
    flow_run_id: TaskRunFilterFlowRunId | None = None


class DeploymentFilterId(_AnyOrNot):
    """Deployments by id."""


class DeploymentFilterName(_Name):
    """Deployments by name."""


class DeploymentFilterTags(_Tags):
    """Deployments by tags."""


class DeploymentFilterWorkQueueName(_AnyOf):
    """Deployments by work queue."""


class DeploymentFilterConcurrencyLimit(_NumberOrNull):
    """Deployments by limit."""


class DeploymentFilter(_Filter):
    """Which deployments."""

    id: DeploymentFilterId | None = None
    name: DeploymentFilterName | None = None
    tags: DeploymentFilterTags | None = None
    work_queue_name: DeploymentFilterWorkQueueName | None = None
    concurrency_limit: DeploymentFilterConcurrencyLimit | None = None


class LogFilterLevel(_Number):
    """Log lines by level."""


class LogFilterTimestamp(_Span):
    """Log lines by time."""


class LogFilterFlowRunId(_AnyOf):
    """Log lines by flow run."""


class LogFilterTaskRunId(_AnyOf):
    """Log lines by task run."""


class LogFilterTextSearch(_Condition):
    """Log lines by what they say, upper and lower case alike."""

    query: str


class LogFilter(_Filter):
    """Which log lines."""

    _ATTRIBUTES = {"text": "message"}

    level: LogFilterLevel | None = None
    timestamp: LogFilterTimestamp | None = None
    flow_run_id: LogFilterFlowRunId | None = None
    task_run_id: LogFilterTaskRunId | None = None
    text: LogFilterTextSearch | None = None


class ArtifactFilterId(_AnyOf):
    """Artifacts by id."""


class ArtifactFilterKey(_Key):
    """Artifacts by key."""


class ArtifactFilterFlowRunId(_AnyOf):
    """Artifacts by flow run."""


class ArtifactFilterTaskRunId(_AnyOf):
    """Artifacts by task run."""


class ArtifactFilterType(_AnyOrNot):
    """Artifacts by type."""


class ArtifactFilter(_Filter):
    """Which artifacts."""

    id: ArtifactFilterId | None = None
    key: ArtifactFilterKey | None = None
    flow_run_id: ArtifactFilterFlowRunId | None = None
    task_run_id: ArtifactFilterTaskRunId | None = None
    type: ArtifactFilterType | None = None


class ArtifactCollectionFilterLatestId(_AnyOf):
    """The latest artifacts of keys by id."""


class ArtifactCollectionFilterKey(_Key):
    """The latest artifacts of keys by key."""


class ArtifactCollectionFilterFlowRunId(_AnyOf):
    """The latest artifacts of keys by flow run."""


class ArtifactCollectionFilterTaskRunId(_AnyOf):
    """The latest artifacts of keys by task run."""


class ArtifactCollectionFilterType(_AnyOrNot):
    """The latest artifacts of keys by type."""


class ArtifactCollectionFilter(_Filter):
    """Which the latest artifacts of keys."""

    _ATTRIBUTES = {"latest_id": "id"}

    latest_id: ArtifactCollectionFilterLatestId | None = None
    key: ArtifactCollectionFilterKey | None = None
    flow_run_id: ArtifactCollectionFilterFlowRunId | None = None
    task_run_id: ArtifactCollectionFilterTaskRunId | None = None
    type: ArtifactCollectionFilterType | None = None


class VariableFilterId(_AnyOf):
    """Variables by id."""


class VariableFilterName(_Name):
    """Variables by name."""


class VariableFilterTags(_Tags):
    """Variables by tags."""


class VariableFilter(_Filter):
    """Which variables."""

    id: VariableFilterId | None = None
    name: VariableFilterName | None = None
    tags: VariableFilterTags | None = None


class WorkPoolFilterId(_AnyOf):
    """Work pools by id."""


class WorkPoolFilterName(_AnyOf):
    """Work pools by name."""


class WorkPoolFilterType(_AnyOf):
    """Work pools by type."""


class WorkPoolFilter(_Filter):
    """Which work pools."""

    id: WorkPoolFilterId | None = None
    name: WorkPoolFilterName | None = None
    type: WorkPoolFilterType | None = None


class WorkQueueFilterId(_AnyOf):
    """Work queues by id."""


class WorkQueueFilterName(_AnyOf):
    """Work queues by name."""

    startswith_: _Texts = None


class WorkQueueFilter(_Filter):
    """Which work queues."""

    id: WorkQueueFilterId | None = None
    name: WorkQueueFilterName | None = None


#: Any of the filters of this module.
AnyFilter: TypeAlias = (
    FlowFilter
    | FlowRunFilter
    | TaskRunFilter
    | DeploymentFilter
    | LogFilter
    | ArtifactFilter
    | ArtifactCollectionFilter
    | VariableFilter
    | WorkPoolFilter
    | WorkQueueFilter
)

__all__ = [
    "AnyFilter",
    "ArtifactCollectionFilter",
    "ArtifactCollectionFilterFlowRunId",
    "ArtifactCollectionFilterKey",
    "ArtifactCollectionFilterLatestId",
    "ArtifactCollectionFilterTaskRunId",
    "ArtifactCollectionFilterType",
    "ArtifactFilter",
    "ArtifactFilterFlowRunId",
    "ArtifactFilterId",
    "ArtifactFilterKey",
    "ArtifactFilterTaskRunId",
    "ArtifactFilterType",
    "DeploymentFilter",
    "DeploymentFilterConcurrencyLimit",
    "DeploymentFilterId",
    "DeploymentFilterName",
    "DeploymentFilterTags",
    "DeploymentFilterWorkQueueName",
    "FlowFilter",
    "FlowFilterId",
    "FlowFilterName",
    "FlowFilterTags",
    "FlowRunFilter",
    "FlowRunFilterDeploymentId",
    "FlowRunFilterEndTime",
    "FlowRunFilterExpectedStartTime",
    "FlowRunFilterFlowVersion",
    "FlowRunFilterId",
    "FlowRunFilterName",
    "FlowRunFilterNextScheduledStartTime",
    "FlowRunFilterParentFlowRunId",
    "FlowRunFilterParentTaskRunId",
    "FlowRunFilterStartTime",
    "FlowRunFilterState",
    "FlowRunFilterStateName",
    "FlowRunFilterStateType",
    "FlowRunFilterTags",
    "FlowRunFilterWorkQueueName",
    "LogFilter",
    "LogFilterFlowRunId",
    "LogFilterLevel",
    "LogFilterTaskRunId",
    "LogFilterTextSearch",
    "LogFilterTimestamp",
    "Operator",
    "TaskRunFilter",
    "TaskRunFilterEndTime",
    "TaskRunFilterExpectedStartTime",
    "TaskRunFilterFlowRunId",
    "TaskRunFilterId",
    "TaskRunFilterName",
    "TaskRunFilterStartTime",
    "TaskRunFilterState",
    "TaskRunFilterStateName",
    "TaskRunFilterStateType",
    "TaskRunFilterSubFlowRuns",
    "TaskRunFilterTags",
    "VariableFilter",
    "VariableFilterId",
    "VariableFilterName",
    "VariableFilterTags",
    "WorkPoolFilter",
    "WorkPoolFilterId",
    "WorkPoolFilterName",
    "WorkPoolFilterType",
    "WorkQueueFilter",
    "WorkQueueFilterId",
    "WorkQueueFilterName",
]
