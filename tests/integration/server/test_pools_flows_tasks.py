from __future__ import annotations

import uuid
from typing import Any

import grpc
from google.protobuf.field_mask_pb2 import FieldMask
from grpc import aio

from headgate.api.v1 import flow_pb2, flow_service_pb2, task_run_service_pb2, work_pool_pb2
from headgate.api.v1 import work_pool_service_pb2 as pb
from headgate.api.v1.flow_service_pb2_grpc import FlowServiceStub
from headgate.api.v1.task_run_service_pb2_grpc import TaskRunServiceStub
from headgate.api.v1.work_pool_service_pb2_grpc import WorkPoolServiceStub
from tests.integration.server.calls import create_deployment, fails


async def test_a_pool_comes_with_its_default_queue(channel: aio.Channel):
    stub = WorkPoolServiceStub(channel)
    request = pb.CreateWorkPoolRequest(work_pool=work_pool_pb2.WorkPool(name="gpu"))
    pool = (await stub.CreateWorkPool(request)).work_pool
    assert (pool.type, pool.state) == ("process", work_pool_pb2.WORK_POOL_STATE_NOT_READY)
    with fails(grpc.StatusCode.ALREADY_EXISTS, "ALREADY_EXISTS"):
        await stub.CreateWorkPool(request)
    queues = await stub.ListWorkQueues(pb.ListWorkQueuesRequest(work_pool_name="gpu"))
    assert [queue.name for queue in queues.work_queues] == ["default"]
    pools = await stub.ListWorkPools(pb.ListWorkPoolsRequest())
    assert [pool.name for pool in pools.work_pools] == ["default", "gpu"]


async def test_a_pool_is_paused_and_limited_by_mask(channel: aio.Channel):
    stub = WorkPoolServiceStub(channel)
    pool = work_pool_pb2.WorkPool(name="default", paused=True, concurrency_limit=3)
    request = pb.UpdateWorkPoolRequest(
        work_pool=pool, update_mask=FieldMask(paths=["paused", "concurrency_limit"])
    )
    changed = (await stub.UpdateWorkPool(request)).work_pool
    assert changed.state == work_pool_pb2.WORK_POOL_STATE_PAUSED
    assert changed.concurrency_limit == 3
    request = pb.UpdateWorkPoolRequest(
        work_pool=work_pool_pb2.WorkPool(name="default"),
        update_mask=FieldMask(paths=["concurrency_limit"]),
    )
    changed = (await stub.UpdateWorkPool(request)).work_pool
    assert not changed.HasField("concurrency_limit")


async def test_a_pool_that_is_used_stays(channel: aio.Channel):
    stub = WorkPoolServiceStub(channel)
    with fails(grpc.StatusCode.FAILED_PRECONDITION, "FAILED_PRECONDITION"):
        await stub.DeleteWorkPool(pb.DeleteWorkPoolRequest(name="default"))
    await stub.CreateWorkPool(
        pb.CreateWorkPoolRequest(work_pool=work_pool_pb2.WorkPool(name="gpu"))
    )
    await create_deployment(channel, work_pool_name="gpu")
    with fails(grpc.StatusCode.FAILED_PRECONDITION, "FAILED_PRECONDITION"):
        await stub.DeleteWorkPool(pb.DeleteWorkPoolRequest(name="gpu"))
    with fails(grpc.StatusCode.NOT_FOUND, "NOT_FOUND"):
        await stub.DeleteWorkPool(pb.DeleteWorkPoolRequest(name="none"))


async def test_queues_are_made_moved_and_deleted(channel: aio.Channel):
    stub = WorkPoolServiceStub(channel)
    queue = work_pool_pb2.WorkQueue(name="fast", work_pool_name="default")
    made = (await stub.CreateWorkQueue(pb.CreateWorkQueueRequest(work_queue=queue))).work_queue
    assert made.priority == 2
    with fails(grpc.StatusCode.ALREADY_EXISTS, "ALREADY_EXISTS"):
        await stub.CreateWorkQueue(pb.CreateWorkQueueRequest(work_queue=queue))
    queue.priority, queue.paused = 1, True
    changed = await stub.UpdateWorkQueue(
        pb.UpdateWorkQueueRequest(
            work_queue=queue, update_mask=FieldMask(paths=["priority", "paused"])
        )
    )
    assert (changed.work_queue.priority, changed.work_queue.paused) == (1, True)
    queue.priority = 0
    with fails(grpc.StatusCode.INVALID_ARGUMENT, "INVALID_ARGUMENT", "work_queue.priority"):
        await stub.UpdateWorkQueue(
            pb.UpdateWorkQueueRequest(work_queue=queue, update_mask=FieldMask(paths=["priority"]))
        )
    delete = pb.DeleteWorkQueueRequest(work_pool_name="default", name="fast")
    await stub.DeleteWorkQueue(delete)
    with fails(grpc.StatusCode.NOT_FOUND, "NOT_FOUND"):
        await stub.DeleteWorkQueue(delete)
    with fails(grpc.StatusCode.FAILED_PRECONDITION, "FAILED_PRECONDITION"):
        await stub.DeleteWorkQueue(
            pb.DeleteWorkQueueRequest(work_pool_name="default", name="default")
        )


async def test_runners_of_a_pool_that_does_not_exist_are_not_found(channel: aio.Channel):
    stub = WorkPoolServiceStub(channel)
    assert not (await stub.ListRunners(pb.ListRunnersRequest())).runners
    with fails(grpc.StatusCode.NOT_FOUND, "NOT_FOUND"):
        await stub.ListRunners(pb.ListRunnersRequest(work_pool_name="none"))


async def test_a_flow_is_registered_once_labelled_and_deleted(channel: aio.Channel):
    stub = FlowServiceStub(channel)
    request = flow_service_pb2.CreateFlowRequest(flow=flow_pb2.Flow(name="etl", tags=["a"]))
    flow = (await stub.CreateFlow(request)).flow
    assert (await stub.CreateFlow(request)).flow == flow
    assert list(flow.tags) == ["a"]
    changed = await stub.UpdateFlow(
        flow_service_pb2.UpdateFlowRequest(
            flow=flow_pb2.Flow(id=flow.id, labels={"team": "x"}),
            update_mask=FieldMask(paths=["labels"]),
        )
    )
    assert (dict(changed.flow.labels), list(changed.flow.tags)) == ({"team": "x"}, ["a"])
    listed = await stub.ListFlows(flow_service_pb2.ListFlowsRequest())
    assert [flow.name for flow in listed.flows] == ["etl"]
    await stub.DeleteFlow(flow_service_pb2.DeleteFlowRequest(id=flow.id))
    with fails(grpc.StatusCode.NOT_FOUND, "NOT_FOUND"):
        await stub.GetFlow(flow_service_pb2.GetFlowRequest(name="etl"))
    with fails(grpc.StatusCode.INVALID_ARGUMENT, "INVALID_ARGUMENT", "key"):
        await stub.GetFlow(flow_service_pb2.GetFlowRequest())
    with fails(grpc.StatusCode.INVALID_ARGUMENT, "INVALID_ARGUMENT", "flow.name"):
        await stub.CreateFlow(flow_service_pb2.CreateFlowRequest(flow=flow_pb2.Flow(name="a<b")))


async def test_task_runs_that_do_not_exist_are_not_found(channel: aio.Channel):
    stub = TaskRunServiceStub(channel)
    with fails(grpc.StatusCode.NOT_FOUND, "NOT_FOUND"):
        await stub.GetTaskRun(task_run_service_pb2.GetTaskRunRequest(id=str(uuid.uuid4())))
    with fails(grpc.StatusCode.INVALID_ARGUMENT, "INVALID_ARGUMENT", "id"):
        await stub.GetTaskRun(task_run_service_pb2.GetTaskRunRequest())
    with fails(grpc.StatusCode.INVALID_ARGUMENT, "INVALID_ARGUMENT", "order"):
        order: Any = 9
        await stub.ListTaskRuns(task_run_service_pb2.ListTaskRunsRequest(order=order))
    listed = await stub.ListTaskRuns(task_run_service_pb2.ListTaskRunsRequest())
    counted = await stub.CountTaskRuns(task_run_service_pb2.CountTaskRunsRequest())
    assert (list(listed.task_runs), counted.total) == ([], 0)
