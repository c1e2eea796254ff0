"""Task runs, for those who look and repair; engines write them on their session stream."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from google.protobuf.field_mask_pb2 import FieldMask

from headgate.api.v1 import task_run_pb2
from headgate.api.v1 import task_run_service_pb2 as pb
from headgate.client import choosing, proposing, related, run_states, schemas
from headgate.client.rpc import Rpc, Steps, pages, texts
from headgate.codec import flow_runs as flow_run_codec
from headgate.codec import states as state_codec
from headgate.codec import task_runs as codec
from headgate.core import ids, runs, states

if TYPE_CHECKING:
    from headgate.client.rpc import Id
    from headgate.client.schemas import filters, sorting
    from headgate.tasks import Task

SERVICE = "TaskRunService"
GET = Rpc(SERVICE, "GetTaskRun", pb.GetTaskRunRequest, pb.GetTaskRunResponse)
LIST = Rpc(SERVICE, "ListTaskRuns", pb.ListTaskRunsRequest, pb.ListTaskRunsResponse)
COUNT = Rpc(SERVICE, "CountTaskRuns", pb.CountTaskRunsRequest, pb.CountTaskRunsResponse)
STATES = Rpc(
    SERVICE, "ListTaskRunStates", pb.ListTaskRunStatesRequest, pb.ListTaskRunStatesResponse
)
CREATE = Rpc(SERVICE, "CreateTaskRun", pb.CreateTaskRunRequest, pb.CreateTaskRunResponse)
UPDATE = Rpc(SERVICE, "UpdateTaskRun", pb.UpdateTaskRunRequest, pb.UpdateTaskRunResponse)
DELETE = Rpc(SERVICE, "DeleteTaskRun", pb.DeleteTaskRunRequest, pb.DeleteTaskRunResponse)
CALLS = Rpc(SERVICE, "ListRecordedCalls", pb.ListRecordedCallsRequest, pb.ListRecordedCallsResponse)
SET_STATE = Rpc(SERVICE, "SetTaskRunState", pb.SetTaskRunStateRequest, pb.SetTaskRunStateResponse)
#: The pages that the server gives at most.
_CALLS_PAGE_SIZE, _CALLS_WITH_DATA_MAX = 5_000, 200


def _filter(
    ids: Sequence[Id],
    flow_run_ids: Sequence[Id],
    state_types: Sequence[states.StateType],
    state_names: Sequence[str],
    name_contains: str,
    tags: Sequence[str],
) -> pb.TaskRunFilter:
    return pb.TaskRunFilter(
        ids=texts(ids),
        flow_run_ids=texts(flow_run_ids),
        state_types=[state_codec.TYPE_TO_PROTO[type] for type in state_types],
        state_names=texts(state_names),
        name_contains=name_contains,
        tags=texts(tags),
    )


def create_task_run(
    task: Task[..., Any] | str,
    flow_run_id: Id,
    dynamic_key: str = "0",
    id: Id | None = None,
    name: str | None = None,
    extra_tags: Sequence[str] | None = None,
    state: states.State | None = None,
) -> Steps[runs.TaskRun]:
    """Store a task run that no engine executes: the record of something done by other means.

    Args:
        task: The task, or its key.
        flow_run_id: The flow run that it belongs to.
        dynamic_key: What tells it from other calls of the task in the flow run.
        id: Its id; the same id again returns the same task run. Default: a new one, so that a
            request that is repeated on the way makes one.
        name: For people. Default: made of the task and ``dynamic_key``.
        extra_tags: Its tags, beside the task's.
        state: The first state. Default: Pending.

    Raises:
        NotFound: There is no such flow run.
        AlreadyExists: The id is that of a task run of another flow run.
    """
    request = pb.CreateTaskRunRequest()
    made = request.task_run
    made.id, made.flow_run_id = str(id or ids.new_id()), str(flow_run_id)
    made.dynamic_key = str(dynamic_key)
    tags = list(extra_tags or ())
    if isinstance(task, str):
        made.task_key, made.name = task, name or ""
    else:
        made.task_key, made.name = task.task_key, name or f"{task.name}-{dynamic_key}"
        made.task_version, made.max_retries = task.version or "", task.retry_policy.max_retries
        tags = [*task.tags, *tags]
    made.tags.extend(sorted(set(tags)))
    if state is not None:
        state_codec.state_to_proto(proposing.record_of(state), made.state)
    response = yield from CREATE(request)
    return run_states.task_run_from_proto(response.task_run)


def read_task_run(task_run_id: Id) -> Steps[runs.TaskRun]:
    """Return a task run by its id.

    Raises:
        NotFound: There is none.
    """
    response = yield from GET(pb.GetTaskRunRequest(id=str(task_run_id)))
    return run_states.task_run_from_proto(response.task_run)


def read_task_runs(
    *,
    ids: Sequence[Id] = (),
    flow_run_ids: Sequence[Id] = (),
    state_types: Sequence[states.StateType] = (),
    state_names: Sequence[str] = (),
    name_contains: str = "",
    tags: Sequence[str] = (),
    descending: bool = False,
    flow_filter: filters.FlowFilter | None = None,
    flow_run_filter: filters.FlowRunFilter | None = None,
    task_run_filter: filters.TaskRunFilter | None = None,
    deployment_filter: filters.DeploymentFilter | None = None,
    sort: sorting.TaskRunSort | str | None = None,
    limit: int | None = 200,
    offset: int = 0,
) -> Steps[list[runs.TaskRun]]:
    """Return task runs. Conditions are joined by "and", values of one condition by "or".

    Args:
        ids: These runs.
        flow_run_ids: Of these flow runs.
        state_types: In a state of one of these types.
        state_names: In a state of one of these names.
        name_contains: A part of the run's name, upper and lower case alike.
        tags: With all of these.
        descending: The newest made first.
        flow_filter: Of flows that fit; see ``headgate.client.schemas.filters``.
        flow_run_filter: Of flow runs that fit.
        task_run_filter: That fit.
        deployment_filter: Of deployments that fit.
        sort: Another order; those that the server does not have take reading all that fits.
        limit: How many at most; None for all.
        offset: How many are passed over first.
    """
    where = _filter(ids, flow_run_ids, state_types, state_names, name_contains, tags)
    wanted = related.Wanted(
        flow=flow_filter,
        flow_run=flow_run_filter,
        task_run=task_run_filter,
        deployment=deployment_filter,
    )
    keep = yield from related.narrow_task_runs(where, wanted)
    newest_first = descending or sort == "ID_DESC"
    order = pb.TASK_RUN_ORDER_ID_DESC if newest_first else pb.TASK_RUN_ORDER_ID_ASC
    return (
        yield from choosing.read(
            LIST,
            pb.ListTaskRunsRequest(filter=where, order=order),
            lambda r: r.task_runs,
            run_states.task_run_from_proto,
            limit,
            keep=keep,
            sort=None if sort == "ID_DESC" else sort,
            offset=offset,
        )
    )


def count_task_runs(
    *,
    ids: Sequence[Id] = (),
    flow_run_ids: Sequence[Id] = (),
    state_types: Sequence[states.StateType] = (),
    state_names: Sequence[str] = (),
    name_contains: str = "",
    tags: Sequence[str] = (),
) -> Steps[list[runs.StateCount]]:
    """Count task runs by type and name of their state; conditions as in ``read_task_runs``."""
    where = _filter(ids, flow_run_ids, state_types, state_names, name_contains, tags)
    response = yield from COUNT(pb.CountTaskRunsRequest(filter=where))
    return [flow_run_codec.state_count_from_proto(count) for count in response.counts]


def read_task_run_states(task_run_id: Id) -> Steps[list[states.State]]:
    """Return all states that a task run has been in, oldest first.

    Raises:
        NotFound: There is no such run.
    """
    response = yield from STATES(pb.ListTaskRunStatesRequest(task_run_id=str(task_run_id)))
    return [state_codec.state_from_proto(state) for state in response.states]


def set_task_run_state(
    task_run_id: Id, state: states.State
) -> Steps[schemas.TaskOrchestrationResult]:
    """End a task run by hand, for repairs. A refusal by the rules is a verdict, not an error.

    Where its flow run is durable, a task run that is Completed so is not called again when the
    flow run is retried: its result is the one that was given.

    Args:
        task_run_id: The task run.
        state: Its end, e.g. ``Completed(data=5)``: a small result rides along; of
            ``Completed()`` it is None.

    Raises:
        NotFound: There is no such task run.
    """
    request = pb.SetTaskRunStateRequest(task_run_id=str(task_run_id))
    state_codec.state_to_proto(proposing.record_of(state, with_none=True), request.state)
    response = yield from SET_STATE(request)
    return schemas.TaskOrchestrationResult(
        verdict=state_codec.verdict_from_proto(response.verdict),
        task_run=run_states.task_run_from_proto(response.task_run),
    )


def set_task_run_name(task_run_id: Id, name: str) -> Steps[runs.TaskRun]:
    """Give a task run another name.

    Raises:
        NotFound: There is no such task run.
    """
    request = pb.UpdateTaskRunRequest(
        task_run=task_run_pb2.TaskRun(id=str(task_run_id), name=name),
        update_mask=FieldMask(paths=["name"]),
    )
    response = yield from UPDATE(request)
    return run_states.task_run_from_proto(response.task_run)


def delete_task_run(task_run_id: Id) -> Steps[None]:
    """Delete a task run with its states and logs.

    Raises:
        NotFound: There is no such task run.
        FailedPrecondition: Its flow run is executed.
    """
    yield from DELETE(pb.DeleteTaskRunRequest(id=str(task_run_id)))


def read_recorded_calls(
    flow_run_id: Id, *, task_run_ids: Sequence[Id] = ()
) -> Steps[list[runs.RecordedCall]]:
    """Return the calls of a durable flow run that have completed, oldest first.

    Args:
        flow_run_id: The flow run.
        task_run_ids: These alone, with what they returned; at most 200. Default: all, without.

    Raises:
        NotFound: There is no such flow run.
    """
    request = pb.ListRecordedCallsRequest(
        flow_run_id=str(flow_run_id), task_run_ids=texts(task_run_ids)
    )
    return (
        yield from pages(
            CALLS,
            request,
            lambda r: r.calls,
            codec.recorded_call_from_proto,
            None,
            _CALLS_WITH_DATA_MAX if task_run_ids else _CALLS_PAGE_SIZE,
        )
    )
