"""WorkPoolService."""

from __future__ import annotations

from typing import Any

from headgate.api.v1 import work_pool_service_pb2 as pb
from headgate.api.v1 import work_pool_service_pb2_grpc
from headgate.codec import work_pools as codec
from headgate_server.services.work_pools import WorkPoolService
from headgate_server.transport import paging


class WorkPoolServicer(work_pool_service_pb2_grpc.WorkPoolServiceServicer):
    """Work pools, queues and runners on the wire."""

    def __init__(self, work_pools: WorkPoolService) -> None:
        self._work_pools = work_pools

    async def CreateWorkPool(
        self, request: pb.CreateWorkPoolRequest, context: Any
    ) -> pb.CreateWorkPoolResponse:
        pool = await self._work_pools.create(
            codec.work_pool_from_proto(request.work_pool), request_id=request.request_id
        )
        return pb.CreateWorkPoolResponse(work_pool=codec.work_pool_to_proto(pool))

    async def GetWorkPool(
        self, request: pb.GetWorkPoolRequest, context: Any
    ) -> pb.GetWorkPoolResponse:
        pool = await self._work_pools.get(request.name)
        return pb.GetWorkPoolResponse(work_pool=codec.work_pool_to_proto(pool))

    async def ListWorkPools(
        self, request: pb.ListWorkPoolsRequest, context: Any
    ) -> pb.ListWorkPoolsResponse:
        page = await self._work_pools.list(paging.read(request))
        return pb.ListWorkPoolsResponse(
            work_pools=[codec.work_pool_to_proto(pool) for pool in page.items],
            next_page_token=paging.token(request, page.next),
        )

    async def UpdateWorkPool(
        self, request: pb.UpdateWorkPoolRequest, context: Any
    ) -> pb.UpdateWorkPoolResponse:
        pool = await self._work_pools.update(
            codec.work_pool_from_proto(request.work_pool), list(request.update_mask.paths)
        )
        return pb.UpdateWorkPoolResponse(work_pool=codec.work_pool_to_proto(pool))

    async def DeleteWorkPool(
        self, request: pb.DeleteWorkPoolRequest, context: Any
    ) -> pb.DeleteWorkPoolResponse:
        await self._work_pools.delete(request.name)
        return pb.DeleteWorkPoolResponse()

    async def CreateWorkQueue(
        self, request: pb.CreateWorkQueueRequest, context: Any
    ) -> pb.CreateWorkQueueResponse:
        queue = await self._work_pools.create_queue(
            codec.work_queue_from_proto(request.work_queue), request_id=request.request_id
        )
        return pb.CreateWorkQueueResponse(work_queue=codec.work_queue_to_proto(queue))

    async def ListWorkQueues(
        self, request: pb.ListWorkQueuesRequest, context: Any
    ) -> pb.ListWorkQueuesResponse:
        queues = await self._work_pools.list_queues(request.work_pool_name)
        return pb.ListWorkQueuesResponse(
            work_queues=[codec.work_queue_to_proto(queue) for queue in queues]
        )

    async def UpdateWorkQueue(
        self, request: pb.UpdateWorkQueueRequest, context: Any
    ) -> pb.UpdateWorkQueueResponse:
        queue = await self._work_pools.update_queue(
            codec.work_queue_from_proto(request.work_queue), list(request.update_mask.paths)
        )
        return pb.UpdateWorkQueueResponse(work_queue=codec.work_queue_to_proto(queue))

    async def DeleteWorkQueue(
        self, request: pb.DeleteWorkQueueRequest, context: Any
    ) -> pb.DeleteWorkQueueResponse:
        await self._work_pools.delete_queue(request.work_pool_name, request.name)
        return pb.DeleteWorkQueueResponse()

    async def ListRunners(
        self, request: pb.ListRunnersRequest, context: Any
    ) -> pb.ListRunnersResponse:
        runners = await self._work_pools.list_runners(
            request.work_pool_name, online_only=request.online_only
        )
        return pb.ListRunnersResponse(runners=[codec.runner_to_proto(runner) for runner in runners])
