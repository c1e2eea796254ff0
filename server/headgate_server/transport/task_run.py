"""TaskRunService."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from headgate.api.v1 import state_pb2, task_run_service_pb2_grpc
from headgate.api.v1 import task_run_service_pb2 as pb
from headgate.codec import flow_runs as flow_run_codec
from headgate.codec import states as state_codec
from headgate.codec import task_runs as codec
from headgate.core import errors
from headgate.core.clock import Clock
from headgate_server.services.task_runs import TaskRunService
from headgate_server.storage.records import TaskRunFilter
from headgate_server.transport import paging


class TaskRunServicer(task_run_service_pb2_grpc.TaskRunServiceServicer):
    """Task runs on the wire."""

    def __init__(
        self, task_runs: TaskRunService, *, clock: Clock, new_id: Callable[[], str]
    ) -> None:
        self._task_runs = task_runs
        self._clock = clock
        self._new_id = new_id

    async def CreateTaskRun(
        self, request: pb.CreateTaskRunRequest, context: Any
    ) -> pb.CreateTaskRunResponse:
        asked = request.task_run
        if not asked.HasField("state"):
            asked.state.type = state_pb2.STATE_TYPE_PENDING
        if not asked.state.id:
            asked.state.id = self._new_id()
        run = await self._task_runs.create(codec.task_run_from_proto(asked, now=self._clock.now()))
        return pb.CreateTaskRunResponse(task_run=codec.task_run_to_proto(run))

    async def GetTaskRun(
        self, request: pb.GetTaskRunRequest, context: Any
    ) -> pb.GetTaskRunResponse:
        run = await self._task_runs.get(request.id)
        return pb.GetTaskRunResponse(task_run=codec.task_run_to_proto(run))

    async def ListTaskRuns(
        self, request: pb.ListTaskRunsRequest, context: Any
    ) -> pb.ListTaskRunsResponse:
        if request.order not in pb.TaskRunOrder.values():
            raise errors.InvalidArgument.of("order", f"{request.order} is not an order of runs.")
        page = await self._task_runs.list(
            _read_filter(request.filter),
            paging.read(request),
            descending=request.order == pb.TASK_RUN_ORDER_ID_DESC,
        )
        return pb.ListTaskRunsResponse(
            task_runs=[codec.task_run_to_proto(run) for run in page.items],
            next_page_token=paging.token(request, page.next),
        )

    async def CountTaskRuns(
        self, request: pb.CountTaskRunsRequest, context: Any
    ) -> pb.CountTaskRunsResponse:
        counts = await self._task_runs.count(_read_filter(request.filter))
        return pb.CountTaskRunsResponse(
            counts=[flow_run_codec.state_count_to_proto(count) for count in counts],
            total=sum(count.count for count in counts),
        )

    async def ListTaskRunStates(
        self, request: pb.ListTaskRunStatesRequest, context: Any
    ) -> pb.ListTaskRunStatesResponse:
        states = await self._task_runs.states(request.task_run_id)
        return pb.ListTaskRunStatesResponse(
            states=[state_codec.state_to_proto(state) for state in states]
        )

    async def ListRecordedCalls(
        self, request: pb.ListRecordedCallsRequest, context: Any
    ) -> pb.ListRecordedCallsResponse:
        page = await self._task_runs.list_calls(
            request.flow_run_id,
            tuple(request.task_run_ids),
            paging.read(request, default_size=1_000, max_size=5_000),
        )
        return pb.ListRecordedCallsResponse(
            calls=[codec.recorded_call_to_proto(call) for call in page.items],
            next_page_token=paging.token(request, page.next),
        )

    async def SetTaskRunState(
        self, request: pb.SetTaskRunStateRequest, context: Any
    ) -> pb.SetTaskRunStateResponse:
        state = state_codec.state_from_proto(
            request.state, now=self._clock.now(), new_id=self._new_id()
        )
        verdict, run = await self._task_runs.set_state(request.task_run_id, state)
        return pb.SetTaskRunStateResponse(
            verdict=state_codec.verdict_to_proto(verdict), task_run=codec.task_run_to_proto(run)
        )

    async def UpdateTaskRun(
        self, request: pb.UpdateTaskRunRequest, context: Any
    ) -> pb.UpdateTaskRunResponse:
        # The state of the message is not read, so it may be anything, or nothing.
        request.task_run.state.Clear()
        request.task_run.state.type = state_pb2.STATE_TYPE_PENDING
        run = await self._task_runs.update(
            codec.task_run_from_proto(request.task_run), list(request.update_mask.paths)
        )
        return pb.UpdateTaskRunResponse(task_run=codec.task_run_to_proto(run))

    async def DeleteTaskRun(
        self, request: pb.DeleteTaskRunRequest, context: Any
    ) -> pb.DeleteTaskRunResponse:
        await self._task_runs.delete(request.id)
        return pb.DeleteTaskRunResponse()


def _read_filter(given: pb.TaskRunFilter) -> TaskRunFilter:
    return TaskRunFilter(
        ids=tuple(given.ids),
        flow_run_ids=tuple(given.flow_run_ids),
        state_types=tuple(
            state_codec.state_type_from_proto(type, f"filter.state_types[{index}]")
            for index, type in enumerate(given.state_types)
        ),
        state_names=tuple(given.state_names),
        name_contains=given.name_contains,
        tags=tuple(given.tags),
    )
