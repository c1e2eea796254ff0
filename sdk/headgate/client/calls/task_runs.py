"""Task runs, for those who look; engines write them on their session stream."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from headgate.api.v1 import task_run_service_pb2 as pb
from headgate.client import run_states
from headgate.client.rpc import Rpc, Steps, pages, texts
from headgate.codec import flow_runs as flow_run_codec
from headgate.codec import states as state_codec
from headgate.codec import task_runs as codec
from headgate.core import runs, states

if TYPE_CHECKING:
    from headgate.client.rpc import Id

SERVICE = "TaskRunService"
GET = Rpc(SERVICE, "GetTaskRun", pb.GetTaskRunRequest, pb.GetTaskRunResponse)
LIST = Rpc(SERVICE, "ListTaskRuns", pb.ListTaskRunsRequest, pb.ListTaskRunsResponse)
COUNT = Rpc(SERVICE, "CountTaskRuns", pb.CountTaskRunsRequest, pb.CountTaskRunsResponse)
STATES = Rpc(
    SERVICE, "ListTaskRunStates", pb.ListTaskRunStatesRequest, pb.ListTaskRunStatesResponse
)
CALLS = Rpc(SERVICE, "ListRecordedCalls", pb.ListRecordedCallsRequest, pb.ListRecordedCallsResponse)
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
    limit: int | None = 200,
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
        limit: How many at most; None for all.
    """
    request = pb.ListTaskRunsRequest(
        filter=_filter(ids, flow_run_ids, state_types, state_names, name_contains, tags),
        order=pb.TASK_RUN_ORDER_ID_DESC if descending else pb.TASK_RUN_ORDER_ID_ASC,
    )
    return (
        yield from pages(
            LIST, request, lambda r: r.task_runs, run_states.task_run_from_proto, limit
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
