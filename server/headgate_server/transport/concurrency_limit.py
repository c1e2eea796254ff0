"""ConcurrencyLimitService."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from headgate.api.v1 import concurrency_limit_service_pb2 as pb
from headgate.api.v1 import concurrency_limit_service_pb2_grpc as pb_grpc
from headgate.codec import concurrency as codec
from headgate_server.services.concurrency_limits import ConcurrencyLimitService
from headgate_server.services.slots import SlotService
from headgate_server.transport import paging


class ConcurrencyLimitServicer(pb_grpc.ConcurrencyLimitServiceServicer):
    """Concurrency limits and their slots on the wire."""

    def __init__(self, limits: ConcurrencyLimitService, slots: SlotService) -> None:
        """Make it over the use-cases."""
        self._limits = limits
        self._slots = slots

    async def CreateConcurrencyLimit(
        self, request: pb.CreateConcurrencyLimitRequest, context: Any
    ) -> pb.CreateConcurrencyLimitResponse:
        limit = await self._limits.create(
            codec.concurrency_limit_from_proto(request.concurrency_limit),
            request_id=request.request_id,
        )
        return pb.CreateConcurrencyLimitResponse(
            concurrency_limit=codec.concurrency_limit_to_proto(limit)
        )

    async def GetConcurrencyLimit(
        self, request: pb.GetConcurrencyLimitRequest, context: Any
    ) -> pb.GetConcurrencyLimitResponse:
        limit = await self._limits.get(request.name)
        return pb.GetConcurrencyLimitResponse(
            concurrency_limit=codec.concurrency_limit_to_proto(limit)
        )

    async def ListConcurrencyLimits(
        self, request: pb.ListConcurrencyLimitsRequest, context: Any
    ) -> pb.ListConcurrencyLimitsResponse:
        page = await self._limits.list(request.name_prefix, paging.read(request))
        return pb.ListConcurrencyLimitsResponse(
            concurrency_limits=[codec.concurrency_limit_to_proto(limit) for limit in page.items],
            next_page_token=paging.token(request, page.next),
        )

    async def UpdateConcurrencyLimit(
        self, request: pb.UpdateConcurrencyLimitRequest, context: Any
    ) -> pb.UpdateConcurrencyLimitResponse:
        limit = await self._limits.update(
            codec.concurrency_limit_from_proto(request.concurrency_limit),
            list(request.update_mask.paths),
        )
        return pb.UpdateConcurrencyLimitResponse(
            concurrency_limit=codec.concurrency_limit_to_proto(limit)
        )

    async def DeleteConcurrencyLimit(
        self, request: pb.DeleteConcurrencyLimitRequest, context: Any
    ) -> pb.DeleteConcurrencyLimitResponse:
        await self._limits.delete(request.name)
        return pb.DeleteConcurrencyLimitResponse()

    async def ResetConcurrencyLimit(
        self, request: pb.ResetConcurrencyLimitRequest, context: Any
    ) -> pb.ResetConcurrencyLimitResponse:
        limit = await self._limits.reset(request.name)
        return pb.ResetConcurrencyLimitResponse(
            concurrency_limit=codec.concurrency_limit_to_proto(limit)
        )

    async def AcquireSlots(
        self, request: pb.AcquireSlotsRequest, context: Any
    ) -> pb.AcquireSlotsResponse:
        answer = await self._slots.acquire(codec.slot_request_from_proto(request))
        return codec.slot_answer_to_proto(answer)

    async def RenewSlots(
        self, request: pb.RenewSlotsRequest, context: Any
    ) -> pb.RenewSlotsResponse:
        lease = await self._slots.renew(request.id)
        return pb.RenewSlotsResponse(lease=codec.slot_lease_to_proto(lease))

    async def ReleaseSlots(
        self, request: pb.ReleaseSlotsRequest, context: Any
    ) -> pb.ReleaseSlotsResponse:
        await self._slots.release(request.id)
        return pb.ReleaseSlotsResponse()

    async def ListSlotLeases(
        self, request: pb.ListSlotLeasesRequest, context: Any
    ) -> pb.ListSlotLeasesResponse:
        page = await self._limits.list_leases(
            request.concurrency_limit_name,
            paging.read(request),
            include_waiting=request.include_waiting,
        )
        return pb.ListSlotLeasesResponse(
            leases=[codec.slot_lease_to_proto(lease) for lease in page.items],
            next_page_token=paging.token(request, page.next),
        )

    async def WatchActiveLimits(  # pyright: ignore[reportIncompatibleMethodOverride]  # writes, yields nothing: see grpc.aio
        self, request: pb.WatchActiveLimitsRequest, context: Any
    ) -> None:
        """Follow which limits are active."""

        async def tell(names: Sequence[str]) -> None:
            await context.write(pb.WatchActiveLimitsResponse(names=names))

        await self._limits.watch_active(request.name_prefix, tell)
