"""Flow runs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from google.protobuf.field_mask_pb2 import FieldMask

from headgate.api.v1 import flow_run_pb2
from headgate.api.v1 import flow_run_service_pb2 as pb
from headgate.client import choosing, proposing, related, run_states, schemas
from headgate.client.rpc import Rpc, Steps, texts
from headgate.codec import flow_runs as codec
from headgate.codec import states as state_codec
from headgate.codec import times
from headgate.core import ids, runs, states

if TYPE_CHECKING:
    from headgate.client.rpc import Id
    from headgate.client.schemas import filters, sorting
    from headgate.flows import Flow

SERVICE = "FlowRunService"
CREATE = Rpc(SERVICE, "CreateFlowRun", pb.CreateFlowRunRequest, pb.CreateFlowRunResponse)
GET = Rpc(SERVICE, "GetFlowRun", pb.GetFlowRunRequest, pb.GetFlowRunResponse)
LIST = Rpc(SERVICE, "ListFlowRuns", pb.ListFlowRunsRequest, pb.ListFlowRunsResponse)
COUNT = Rpc(SERVICE, "CountFlowRuns", pb.CountFlowRunsRequest, pb.CountFlowRunsResponse)
STATES = Rpc(
    SERVICE, "ListFlowRunStates", pb.ListFlowRunStatesRequest, pb.ListFlowRunStatesResponse
)
UPDATE = Rpc(SERVICE, "UpdateFlowRun", pb.UpdateFlowRunRequest, pb.UpdateFlowRunResponse)
SET_STATE = Rpc(SERVICE, "SetFlowRunState", pb.SetFlowRunStateRequest, pb.SetFlowRunStateResponse)
CANCEL = Rpc(SERVICE, "CancelFlowRun", pb.CancelFlowRunRequest, pb.CancelFlowRunResponse)
RETRY = Rpc(SERVICE, "RetryFlowRun", pb.RetryFlowRunRequest, pb.RetryFlowRunResponse)
RESUME = Rpc(SERVICE, "ResumeFlowRun", pb.ResumeFlowRunRequest, pb.ResumeFlowRunResponse)
DELETE = Rpc(SERVICE, "DeleteFlowRun", pb.DeleteFlowRunRequest, pb.DeleteFlowRunResponse)

_ORDERS: Mapping[schemas.FlowRunOrder, pb.FlowRunOrder.ValueType] = {
    schemas.FlowRunOrder.EXPECTED_START_TIME_DESC: pb.FLOW_RUN_ORDER_EXPECTED_START_TIME_DESC,
    schemas.FlowRunOrder.EXPECTED_START_TIME_ASC: pb.FLOW_RUN_ORDER_EXPECTED_START_TIME_ASC,
    schemas.FlowRunOrder.ID_DESC: pb.FLOW_RUN_ORDER_ID_DESC,
}
#: The orders of ``headgate.client.schemas.sorting`` that the server has.
_SERVED = {order.name: order for order in schemas.FlowRunOrder}


def create_flow_run_from_deployment(
    deployment: Id,
    *,
    parameters: Mapping[str, Any] | None = None,
    scheduled_time: datetime | None = None,
    name: str | None = None,
    tags: Sequence[str] = (),
    labels: Mapping[str, str] | None = None,
    job_variables: Mapping[str, Any] | None = None,
    work_queue_name: str | None = None,
    priority: int = 0,
    parent_task_run_id: Id | None = None,
    parent_flow_run_id: Id | None = None,
    idempotency_key: str | None = None,
) -> Steps[runs.FlowRun]:
    """Ask for a run of a deployment: it waits in its pool, and a runner starts it at its time.

    Args:
        deployment: Its id, or ``flow name/deployment name``.
        parameters: Merged over the deployment's: values by name. Those that are JSON texts already
            are given as ``headgate.parameters.Texts``.
        scheduled_time: When to start, UTC-aware. Default: now.
        name: For people. Default: an adjective and an animal.
        tags: Beside the deployment's.
        labels: Beside the deployment's.
        job_variables: Merged over the deployment's: values by name, or ``Texts``.
        work_queue_name: Another queue of the deployment's pool.
        priority: Among the runs of a queue the higher one goes first.
        parent_task_run_id: The task run, in another flow run, that stands for this one.
        parent_flow_run_id: The flow run that asks for this one.
        idempotency_key: The same key again returns the same run. Default: a new one, so that a
            request that is repeated on the way makes one run.

    Raises:
        NotFound: There is no such deployment.
        InvalidArgument: The parameters do not fit the schema of the deployment.
        ParameterTypeError: A value has no JSON form.
    """
    request = pb.CreateFlowRunRequest(
        parameters=_json_texts(parameters),
        name=name or "",
        tags=texts(tags),
        labels=labels or {},
        job_variables=_json_texts(job_variables, plain=True),
        work_queue_name=work_queue_name or "",
        priority=priority,
        parent_task_run_id=str(parent_task_run_id or ""),
        parent_flow_run_id=str(parent_flow_run_id or ""),
        idempotency_key=idempotency_key or ids.new_id(),
    )
    if ids.is_id(key := str(deployment)):
        request.deployment_id = key
    else:
        request.deployment_name = key
    if scheduled_time is not None:
        times.set_timestamp(request.scheduled_time, scheduled_time)
    response = yield from CREATE(request)
    return run_states.flow_run_from_proto(response.flow_run)


def create_flow_run(
    flow: Flow[..., Any] | str,
    name: str | None = None,
    parameters: Mapping[str, Any] | None = None,
    *,
    tags: Sequence[str] | None = None,
    labels: Mapping[str, str] | None = None,
    state: states.State | None = None,
    scheduled_time: datetime | None = None,
    priority: int = 0,
    parent_task_run_id: Id | None = None,
    parent_flow_run_id: Id | None = None,
    idempotency_key: str | None = None,
) -> Steps[runs.FlowRun]:
    """Make a run of a flow without a deployment. No runner starts it.

    It waits until ``headgate flow-run execute ID`` carries it out, or it is a record whose states
    are set by hand.

    Args:
        flow: The flow, or its name. Of a flow the run also knows its version and where it is.
        name: For people. Default: an adjective and an animal.
        parameters: Values by name.
        tags: Its tags.
        labels: Its labels.
        state: The first state. Default: Pending, or Scheduled where ``scheduled_time`` is given.
        scheduled_time: When it is to begin, UTC-aware; it does not begin by itself.
        priority: For those who list runs.
        parent_task_run_id: The task run, in another flow run, that stands for this one.
        parent_flow_run_id: The flow run that asks for this one.
        idempotency_key: The same key again returns the same run. Default: a new one, so that a
            request that is repeated on the way makes one run.

    Raises:
        ParameterTypeError: A parameter has no JSON form.
        InvalidArgument: No run begins in this state.
        NotFound: The parent does not exist.
    """
    from headgate import parameters as parameter_codec  # only who sends values needs it

    request = pb.CreateFlowRunRequest(
        flow_name=flow if isinstance(flow, str) else flow.name,
        parameters=parameter_codec.encode(parameters or {}),
        name=name or "",
        tags=texts(tags or ()),
        labels=labels or {},
        priority=priority,
        parent_task_run_id=str(parent_task_run_id or ""),
        parent_flow_run_id=str(parent_flow_run_id or ""),
        idempotency_key=idempotency_key or ids.new_id(),
    )
    if not isinstance(flow, str):
        from headgate.engine import entry

        request.flow_version = flow.version or ""
        request.labels.update({**entry.label(flow), **(labels or {})})
    if state is not None:
        state_codec.state_to_proto(proposing.record_of(state), request.state)
    if scheduled_time is not None:
        times.set_timestamp(request.scheduled_time, scheduled_time)
    response = yield from CREATE(request)
    return run_states.flow_run_from_proto(response.flow_run)


def _json_texts(values: Mapping[str, Any] | None, *, plain: bool = False) -> Mapping[str, str]:
    from headgate import parameters  # only who sends values needs it

    if values is None or isinstance(values, parameters.Texts):
        return values or {}
    return parameters.encode(values, plain=plain)


def read_flow_run(flow_run_id: Id) -> Steps[runs.FlowRun]:
    """Return a flow run by its id.

    Raises:
        NotFound: There is none.
    """
    response = yield from GET(pb.GetFlowRunRequest(id=str(flow_run_id)))
    return run_states.flow_run_from_proto(response.flow_run)


def _filter(
    ids: Sequence[Id],
    flow_ids: Sequence[Id],
    flow_name: str,
    exclude_flow_name: str,
    deployment_ids: Sequence[Id],
    state_types: Sequence[states.StateType],
    state_names: Sequence[str],
    name_contains: str,
    tags: Sequence[str],
    parent_flow_run_id: Id | None,
    top_level: bool | None,
    work_pool_name: str | None,
    work_queue_name: str | None,
    expected_after: datetime | None,
    expected_before: datetime | None,
) -> pb.FlowRunFilter:
    where = pb.FlowRunFilter(
        ids=texts(ids),
        flow_ids=texts(flow_ids),
        flow_name=flow_name,
        exclude_flow_name=exclude_flow_name,
        deployment_ids=texts(deployment_ids),
        state_types=[state_codec.TYPE_TO_PROTO[type] for type in state_types],
        state_names=texts(state_names),
        name_contains=name_contains,
        tags=texts(tags),
        parent_flow_run_id=str(parent_flow_run_id or ""),
        top_level=top_level,
        work_pool_name=work_pool_name or "",
        work_queue_name=work_queue_name or "",
    )
    if expected_after is not None:
        times.set_timestamp(where.expected_after, expected_after)
    if expected_before is not None:
        times.set_timestamp(where.expected_before, expected_before)
    return where


def read_flow_runs(
    *,
    ids: Sequence[Id] = (),
    flow_ids: Sequence[Id] = (),
    flow_name: str = "",
    exclude_flow_name: str = "",
    deployment_ids: Sequence[Id] = (),
    state_types: Sequence[states.StateType] = (),
    state_names: Sequence[str] = (),
    name_contains: str = "",
    tags: Sequence[str] = (),
    parent_flow_run_id: Id | None = None,
    top_level: bool | None = None,
    work_pool_name: str | None = None,
    work_queue_name: str | None = None,
    expected_after: datetime | None = None,
    expected_before: datetime | None = None,
    order: schemas.FlowRunOrder = schemas.FlowRunOrder.EXPECTED_START_TIME_DESC,
    flow_filter: filters.FlowFilter | None = None,
    flow_run_filter: filters.FlowRunFilter | None = None,
    task_run_filter: filters.TaskRunFilter | None = None,
    deployment_filter: filters.DeploymentFilter | None = None,
    work_pool_filter: filters.WorkPoolFilter | None = None,
    work_queue_filter: filters.WorkQueueFilter | None = None,
    sort: sorting.FlowRunSort | str | None = None,
    limit: int | None = 200,
    offset: int = 0,
) -> Steps[list[runs.FlowRun]]:
    """Return flow runs. Conditions are joined by "and", values of one condition by "or".

    Args:
        ids: These runs.
        flow_ids: Of these flows.
        flow_name: Of the flow with this name.
        exclude_flow_name: Not of the flow with this name.
        deployment_ids: Of these deployments.
        state_types: In a state of one of these types.
        state_names: In a state of one of these names.
        name_contains: A part of the run's name, upper and lower case alike.
        tags: With all of these.
        parent_flow_run_id: Started by this flow run.
        top_level: Only runs without (True) or with (False) a parent.
        work_pool_name: In this pool.
        work_queue_name: In this queue.
        expected_after: Expected to start at or after this time.
        expected_before: Expected to start before this time.
        order: Default: the newest expected start first.
        flow_filter: Of flows that fit; see ``headgate.client.schemas.filters``.
        flow_run_filter: That fit.
        task_run_filter: With a task run that fits.
        deployment_filter: Of deployments that fit.
        work_pool_filter: In work pools that fit.
        work_queue_filter: In work queues that fit.
        sort: Another order; those that the server does not have take reading all that fits.
        limit: How many at most; None for all.
        offset: How many are passed over first.
    """
    where = _filter(
        ids,
        flow_ids,
        flow_name,
        exclude_flow_name,
        deployment_ids,
        state_types,
        state_names,
        name_contains,
        tags,
        parent_flow_run_id,
        top_level,
        work_pool_name,
        work_queue_name,
        expected_after,
        expected_before,
    )
    wanted = related.Wanted(
        flow=flow_filter,
        flow_run=flow_run_filter,
        task_run=task_run_filter,
        deployment=deployment_filter,
        work_pool=work_pool_filter,
        work_queue=work_queue_filter,
    )
    keep = yield from related.narrow_flow_runs(where, wanted)
    served = _SERVED.get(str(sort), order)
    return (
        yield from choosing.read(
            LIST,
            pb.ListFlowRunsRequest(filter=where, order=_ORDERS[served]),
            lambda r: r.flow_runs,
            run_states.flow_run_from_proto,
            limit,
            keep=keep,
            sort=None if str(sort) in _SERVED else sort,
            offset=offset,
        )
    )


def count_flow_runs(
    *,
    ids: Sequence[Id] = (),
    flow_ids: Sequence[Id] = (),
    flow_name: str = "",
    exclude_flow_name: str = "",
    deployment_ids: Sequence[Id] = (),
    state_types: Sequence[states.StateType] = (),
    state_names: Sequence[str] = (),
    name_contains: str = "",
    tags: Sequence[str] = (),
    parent_flow_run_id: Id | None = None,
    top_level: bool | None = None,
    work_pool_name: str | None = None,
    work_queue_name: str | None = None,
    expected_after: datetime | None = None,
    expected_before: datetime | None = None,
) -> Steps[list[runs.StateCount]]:
    """Count flow runs by type and name of their state; conditions as in ``read_flow_runs``."""
    where = _filter(
        ids,
        flow_ids,
        flow_name,
        exclude_flow_name,
        deployment_ids,
        state_types,
        state_names,
        name_contains,
        tags,
        parent_flow_run_id,
        top_level,
        work_pool_name,
        work_queue_name,
        expected_after,
        expected_before,
    )
    response = yield from COUNT(pb.CountFlowRunsRequest(filter=where))
    return [codec.state_count_from_proto(count) for count in response.counts]


def read_flow_run_states(flow_run_id: Id) -> Steps[list[states.State]]:
    """Return all states that a flow run has been in, oldest first.

    Raises:
        NotFound: There is no such run.
    """
    response = yield from STATES(pb.ListFlowRunStatesRequest(flow_run_id=str(flow_run_id)))
    return [state_codec.state_from_proto(state) for state in response.states]


def update_flow_run(
    flow_run_id: Id,
    *,
    name: str | None = None,
    tags: Sequence[str] | None = None,
    labels: Mapping[str, str] | None = None,
    priority: int | None = None,
) -> Steps[runs.FlowRun]:
    """Change name, tags, labels or priority of a flow run; what is None stays.

    Raises:
        NotFound: There is no such run.
    """
    request = pb.UpdateFlowRunRequest(
        flow_run=flow_run_pb2.FlowRun(id=str(flow_run_id)), update_mask=FieldMask()
    )
    mask = request.update_mask.paths
    if name is not None:
        request.flow_run.name = name
        mask.append("name")
    if tags is not None:
        request.flow_run.tags.extend(tags)
        mask.append("tags")
    if labels is not None:
        request.flow_run.labels.update(labels)
        mask.append("labels")
    if priority is not None:
        request.flow_run.priority = priority
        mask.append("priority")
    response = yield from UPDATE(request)
    return run_states.flow_run_from_proto(response.flow_run)


def set_flow_run_name(flow_run_id: Id, name: str) -> Steps[runs.FlowRun]:
    """Give a flow run another name.

    Raises:
        NotFound: There is no such run.
    """
    return (yield from update_flow_run(flow_run_id, name=name))


def update_flow_run_labels(flow_run_id: Id, labels: Mapping[str, str]) -> Steps[runs.FlowRun]:
    """Add labels to a flow run; those of the same names change, all others stay.

    Raises:
        NotFound: There is no such run.
    """
    run = yield from read_flow_run(flow_run_id)
    return (yield from update_flow_run(flow_run_id, labels={**run.labels, **labels}))


def set_flow_run_state(
    flow_run_id: Id,
    state: states.State,
    *,
    fencing_token: int | None = None,
    force: bool = False,
) -> Steps[schemas.OrchestrationResult]:
    """Propose a state for a flow run. A refusal by the rules is a verdict, not an error.

    Args:
        flow_run_id: The run.
        state: The proposed state, e.g. ``Completed(data=5)``: a small result rides along.
        fencing_token: That of the lease under which the proposal is made; None: by a person.
        force: Set it whatever the rules say, but never on a run that has ended.

    Raises:
        NotFound: There is no such run.
        LeaseFenced: The token is not the newest.
    """
    request = pb.SetFlowRunStateRequest(
        flow_run_id=str(flow_run_id), fencing_token=fencing_token, force=force
    )
    state_codec.state_to_proto(proposing.record_of(state), request.state)
    response = yield from SET_STATE(request)
    return schemas.OrchestrationResult(
        verdict=state_codec.verdict_from_proto(response.verdict),
        flow_run=run_states.flow_run_from_proto(response.flow_run),
    )


def cancel_flow_run(flow_run_id: Id) -> Steps[runs.FlowRun]:
    """End a flow run.

    Returns:
        The run: Cancelled where nothing executes it, else Cancelling until its runner has
        stopped it; as it was where it has ended already.

    Raises:
        NotFound: There is no such run.
    """
    response = yield from CANCEL(pb.CancelFlowRunRequest(flow_run_id=str(flow_run_id)))
    return run_states.flow_run_from_proto(response.flow_run)


def retry_flow_run(flow_run_id: Id, *, force: bool = False) -> Steps[schemas.OrchestrationResult]:
    """Let a flow run that failed, crashed or was cancelled run again, as another attempt of it.

    A run of a deployment is offered to a runner. Any other waits for a process that claims it, as
    ``headgate flow-run execute`` does. A durable flow goes on from its point of failure.

    Args:
        flow_run_id: The run.
        force: Retry it even where it is still said to be executed: its process is gone.

    Returns:
        The verdict, ABORT where the run has completed or is still executed, and the run.

    Raises:
        NotFound: There is no such run.
    """
    response = yield from RETRY(pb.RetryFlowRunRequest(id=str(flow_run_id), force=force))
    return schemas.OrchestrationResult(
        verdict=state_codec.verdict_from_proto(response.verdict),
        flow_run=run_states.flow_run_from_proto(response.flow_run),
    )


def resume_flow_run(
    flow_run_id: Id, run_input: Mapping[str, Any] | None = None
) -> Steps[schemas.OrchestrationResult]:
    """Let a paused or suspended flow run go on; the verdict is REJECT if it was not paused.

    Args:
        flow_run_id: The run.
        run_input: What its pause asks for, as JSON has it.

    Raises:
        NotFound: There is no such run.
        InvalidArgument: The input does not fit what the pause asks for.
    """
    text = "" if run_input is None else json.dumps(run_input)
    request = pb.ResumeFlowRunRequest(flow_run_id=str(flow_run_id), run_input=text)
    response = yield from RESUME(request)
    return schemas.OrchestrationResult(
        verdict=state_codec.verdict_from_proto(response.verdict),
        flow_run=run_states.flow_run_from_proto(response.flow_run),
    )


def delete_flow_run(flow_run_id: Id) -> Steps[None]:
    """Delete a flow run with its task runs, states and logs.

    Raises:
        NotFound: There is no such run.
        FailedPrecondition: It is leased.
    """
    yield from DELETE(pb.DeleteFlowRunRequest(id=str(flow_run_id)))
