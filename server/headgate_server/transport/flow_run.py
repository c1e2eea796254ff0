"""FlowRunService."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from headgate.api.v1 import flow_run_service_pb2 as pb
from headgate.api.v1 import flow_run_service_pb2_grpc
from headgate.codec import flow_runs as codec
from headgate.codec import states as state_codec
from headgate.codec import times
from headgate.core import errors, states
from headgate.core.clock import Clock
from headgate_server.services.flow_runs import FlowRunRequest, FlowRunService
from headgate_server.storage.records import FlowRunFilter, FlowRunOrder
from headgate_server.transport import paging

_ORDERS: dict[int, FlowRunOrder] = {
    pb.FLOW_RUN_ORDER_UNSPECIFIED: FlowRunOrder.EXPECTED_START_TIME_DESC,
    pb.FLOW_RUN_ORDER_EXPECTED_START_TIME_DESC: FlowRunOrder.EXPECTED_START_TIME_DESC,
    pb.FLOW_RUN_ORDER_EXPECTED_START_TIME_ASC: FlowRunOrder.EXPECTED_START_TIME_ASC,
    pb.FLOW_RUN_ORDER_ID_DESC: FlowRunOrder.ID_DESC,
}


class FlowRunServicer(flow_run_service_pb2_grpc.FlowRunServiceServicer):
    """Flow runs on the wire."""

    def __init__(
        self, flow_runs: FlowRunService, *, clock: Clock, new_id: Callable[[], str]
    ) -> None:
        self._flow_runs = flow_runs
        self._clock = clock
        self._new_id = new_id

    async def CreateFlowRun(
        self, request: pb.CreateFlowRunRequest, context: Any
    ) -> pb.CreateFlowRunResponse:
        state = None
        if request.HasField("state"):
            state = state_codec.state_from_proto(
                request.state, now=self._clock.now(), new_id=self._new_id()
            )
        run = await self._flow_runs.create(_read_request(request, state))
        return pb.CreateFlowRunResponse(flow_run=codec.flow_run_to_proto(run))

    async def GetFlowRun(
        self, request: pb.GetFlowRunRequest, context: Any
    ) -> pb.GetFlowRunResponse:
        run = await self._flow_runs.get(request.id)
        return pb.GetFlowRunResponse(flow_run=codec.flow_run_to_proto(run))

    async def ListFlowRuns(
        self, request: pb.ListFlowRunsRequest, context: Any
    ) -> pb.ListFlowRunsResponse:
        order = _ORDERS.get(request.order)
        if order is None:
            raise errors.InvalidArgument.of("order", f"{request.order} is not an order of runs.")
        page = await self._flow_runs.list(_read_filter(request.filter), order, paging.read(request))
        return pb.ListFlowRunsResponse(
            flow_runs=[codec.flow_run_to_proto(run) for run in page.items],
            next_page_token=paging.token(request, page.next),
        )

    async def CountFlowRuns(
        self, request: pb.CountFlowRunsRequest, context: Any
    ) -> pb.CountFlowRunsResponse:
        counts = await self._flow_runs.count(_read_filter(request.filter))
        return pb.CountFlowRunsResponse(
            counts=[codec.state_count_to_proto(count) for count in counts],
            total=sum(count.count for count in counts),
        )

    async def ListFlowRunStates(
        self, request: pb.ListFlowRunStatesRequest, context: Any
    ) -> pb.ListFlowRunStatesResponse:
        found = await self._flow_runs.states(request.flow_run_id)
        return pb.ListFlowRunStatesResponse(
            states=[state_codec.state_to_proto(state) for state in found]
        )

    async def UpdateFlowRun(
        self, request: pb.UpdateFlowRunRequest, context: Any
    ) -> pb.UpdateFlowRunResponse:
        # The state of the message is not read, so it may be anything, or nothing.
        request.flow_run.ClearField("state")
        run = await self._flow_runs.update(
            codec.flow_run_from_proto(request.flow_run), list(request.update_mask.paths)
        )
        return pb.UpdateFlowRunResponse(flow_run=codec.flow_run_to_proto(run))

    async def SetFlowRunState(
        self, request: pb.SetFlowRunStateRequest, context: Any
    ) -> pb.SetFlowRunStateResponse:
        state = state_codec.state_from_proto(
            request.state, now=self._clock.now(), new_id=self._new_id()
        )
        verdict, run = await self._flow_runs.set_state(
            request.flow_run_id,
            state,
            fencing_token=request.fencing_token if request.HasField("fencing_token") else None,
            force=request.force,
        )
        return pb.SetFlowRunStateResponse(
            verdict=state_codec.verdict_to_proto(verdict), flow_run=codec.flow_run_to_proto(run)
        )

    async def CancelFlowRun(
        self, request: pb.CancelFlowRunRequest, context: Any
    ) -> pb.CancelFlowRunResponse:
        run = await self._flow_runs.cancel(request.flow_run_id)
        return pb.CancelFlowRunResponse(flow_run=codec.flow_run_to_proto(run))

    async def RetryFlowRun(
        self, request: pb.RetryFlowRunRequest, context: Any
    ) -> pb.RetryFlowRunResponse:
        verdict, run = await self._flow_runs.retry(request.id, force=request.force)
        return pb.RetryFlowRunResponse(
            verdict=state_codec.verdict_to_proto(verdict), flow_run=codec.flow_run_to_proto(run)
        )

    async def ResumeFlowRun(
        self, request: pb.ResumeFlowRunRequest, context: Any
    ) -> pb.ResumeFlowRunResponse:
        verdict, run = await self._flow_runs.resume(request.flow_run_id, request.run_input)
        return pb.ResumeFlowRunResponse(
            verdict=state_codec.verdict_to_proto(verdict), flow_run=codec.flow_run_to_proto(run)
        )

    async def DeleteFlowRun(
        self, request: pb.DeleteFlowRunRequest, context: Any
    ) -> pb.DeleteFlowRunResponse:
        await self._flow_runs.delete(request.id)
        return pb.DeleteFlowRunResponse()


def _read_request(request: pb.CreateFlowRunRequest, state: states.State | None) -> FlowRunRequest:
    return FlowRunRequest(
        deployment_id=request.deployment_id,
        deployment_name=request.deployment_name,
        flow_name=request.flow_name,
        flow_version=request.flow_version,
        state=state,
        parameters=dict(request.parameters),
        scheduled_time=times.from_timestamp(request.scheduled_time),
        name=request.name,
        tags=tuple(request.tags),
        labels=dict(request.labels),
        job_variables=dict(request.job_variables),
        work_queue_name=request.work_queue_name,
        priority=request.priority,
        parent_task_run_id=request.parent_task_run_id or None,
        parent_flow_run_id=request.parent_flow_run_id or None,
        idempotency_key=request.idempotency_key,
    )


def _read_filter(given: pb.FlowRunFilter) -> FlowRunFilter:
    return FlowRunFilter(
        ids=tuple(given.ids),
        flow_ids=tuple(given.flow_ids),
        flow_name=given.flow_name,
        exclude_flow_name=given.exclude_flow_name,
        deployment_ids=tuple(given.deployment_ids),
        state_types=tuple(
            state_codec.state_type_from_proto(type, f"filter.state_types[{index}]")
            for index, type in enumerate(given.state_types)
        ),
        state_names=tuple(given.state_names),
        name_contains=given.name_contains,
        tags=tuple(given.tags),
        parent_flow_run_id=given.parent_flow_run_id,
        top_level=given.top_level if given.HasField("top_level") else None,
        work_pool_name=given.work_pool_name,
        work_queue_name=given.work_queue_name,
        expected_after=times.from_timestamp(given.expected_after),
        expected_before=times.from_timestamp(given.expected_before),
    )
