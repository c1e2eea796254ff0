"""Concurrency limits, those of tags among them, and the leases on their slots."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from google.protobuf.field_mask_pb2 import FieldMask

from headgate.api.v1 import concurrency_limit_pb2
from headgate.api.v1 import concurrency_limit_service_pb2 as pb
from headgate.client.rpc import Rpc, Steps, pages
from headgate.client.schemas import actions
from headgate.codec import concurrency as codec
from headgate.core import concurrency, errors, ids

if TYPE_CHECKING:
    from headgate.client.rpc import Id
    from headgate.client.schemas.actions import (
        GlobalConcurrencyLimitCreate,
        GlobalConcurrencyLimitUpdate,
    )

SERVICE = "ConcurrencyLimitService"
CREATE = Rpc(
    SERVICE,
    "CreateConcurrencyLimit",
    pb.CreateConcurrencyLimitRequest,
    pb.CreateConcurrencyLimitResponse,
)
GET = Rpc(
    SERVICE, "GetConcurrencyLimit", pb.GetConcurrencyLimitRequest, pb.GetConcurrencyLimitResponse
)
LIST = Rpc(
    SERVICE,
    "ListConcurrencyLimits",
    pb.ListConcurrencyLimitsRequest,
    pb.ListConcurrencyLimitsResponse,
)
UPDATE = Rpc(
    SERVICE,
    "UpdateConcurrencyLimit",
    pb.UpdateConcurrencyLimitRequest,
    pb.UpdateConcurrencyLimitResponse,
)
DELETE = Rpc(
    SERVICE,
    "DeleteConcurrencyLimit",
    pb.DeleteConcurrencyLimitRequest,
    pb.DeleteConcurrencyLimitResponse,
)
RESET = Rpc(
    SERVICE,
    "ResetConcurrencyLimit",
    pb.ResetConcurrencyLimitRequest,
    pb.ResetConcurrencyLimitResponse,
)
ACQUIRE = Rpc(SERVICE, "AcquireSlots", pb.AcquireSlotsRequest, pb.AcquireSlotsResponse)
RENEW = Rpc(SERVICE, "RenewSlots", pb.RenewSlotsRequest, pb.RenewSlotsResponse)
RELEASE = Rpc(SERVICE, "ReleaseSlots", pb.ReleaseSlotsRequest, pb.ReleaseSlotsResponse)
LIST_LEASES = Rpc(SERVICE, "ListSlotLeases", pb.ListSlotLeasesRequest, pb.ListSlotLeasesResponse)


def create_global_concurrency_limit(
    name: str | GlobalConcurrencyLimitCreate = "",
    limit: int = 0,
    *,
    active: bool = True,
    slot_decay_per_second: float = 0.0,
    concurrency_limit: GlobalConcurrencyLimitCreate | None = None,
) -> Steps[concurrency.ConcurrencyLimit]:
    """Make a concurrency limit.

    Args:
        name: Its unique name; ``tag:X`` limits the tasks with the tag X. Or all of it, described
            as in ``headgate.client.schemas.actions``.
        limit: How many slots there are; 0: nobody gets any.
        active: Whether it limits.
        slot_decay_per_second: How many slots become free per second after ``rate_limit`` took
            them; 0: it cannot be used as a rate limit.
        concurrency_limit: The limit as described there, by keyword.

    Raises:
        AlreadyExists: There is one of this name.
        InvalidArgument: A field is wrong; it is named.
    """
    kind = actions.GlobalConcurrencyLimitCreate
    if (described := actions.given(kind, name, concurrency_limit)) is not None:
        return (yield from create_global_concurrency_limit(**described))
    message = concurrency_limit_pb2.ConcurrencyLimit(
        name=cast("str", name),
        limit=limit,
        active=active,
        slot_decay_per_second=slot_decay_per_second,
    )
    request = pb.CreateConcurrencyLimitRequest(concurrency_limit=message, request_id=ids.new_id())
    response = yield from CREATE(request)
    return codec.concurrency_limit_from_proto(response.concurrency_limit)


def read_global_concurrency_limit_by_name(name: str) -> Steps[concurrency.ConcurrencyLimit]:
    """Return a concurrency limit, with the slots that are in use.

    Raises:
        NotFound: There is none.
    """
    response = yield from GET(pb.GetConcurrencyLimitRequest(name=name))
    return codec.concurrency_limit_from_proto(response.concurrency_limit)


def read_global_concurrency_limits(
    *, name_prefix: str = "", limit: int | None = None, offset: int = 0
) -> Steps[list[concurrency.ConcurrencyLimit]]:
    """Return concurrency limits by name.

    Args:
        name_prefix: Only those whose names begin so.
        limit: How many at most; None for all.
        offset: How many are passed over first.
    """
    request = pb.ListConcurrencyLimitsRequest(name_prefix=name_prefix)
    return (
        yield from pages(
            LIST,
            request,
            lambda r: r.concurrency_limits,
            codec.concurrency_limit_from_proto,
            limit,
            offset=offset,
        )
    )


def update_global_concurrency_limit(
    name: str,
    concurrency_limit: GlobalConcurrencyLimitUpdate | None = None,
    *,
    limit: int | None = None,
    active: bool | None = None,
    slot_decay_per_second: float | None = None,
) -> Steps[concurrency.ConcurrencyLimit]:
    """Change a concurrency limit; what is not given stays.

    Args:
        name: The limit.
        concurrency_limit: The change, described as in ``headgate.client.schemas.actions``.
        limit: How many slots there are. Those that are held stay so, also above a lower limit.
        active: Whether it limits.
        slot_decay_per_second: How many slots become free per second after ``rate_limit`` took
            them.

    Raises:
        NotFound: There is no such limit.
        InvalidArgument: A field is wrong; it is named.
    """
    kind = actions.GlobalConcurrencyLimitUpdate
    if (described := actions.given(kind, concurrency_limit)) is not None:
        described["name"] = name
        return (yield from update_global_concurrency_limit(**described))
    message = concurrency_limit_pb2.ConcurrencyLimit(name=name)
    mask = FieldMask()
    if limit is not None:
        message.limit = limit
        mask.paths.append("limit")
    if active is not None:
        message.active = active
        mask.paths.append("active")
    if slot_decay_per_second is not None:
        message.slot_decay_per_second = slot_decay_per_second
        mask.paths.append("slot_decay_per_second")
    response = yield from UPDATE(
        pb.UpdateConcurrencyLimitRequest(concurrency_limit=message, update_mask=mask)
    )
    return codec.concurrency_limit_from_proto(response.concurrency_limit)


def upsert_global_concurrency_limit_by_name(
    name: str, limit: int, slot_decay_per_second: float | None = None
) -> Steps[concurrency.ConcurrencyLimit]:
    """Make a concurrency limit, or change the one of this name.

    Args:
        name: Its unique name.
        limit: How many slots there are.
        slot_decay_per_second: How many slots become free per second after ``rate_limit`` took
            them; None leaves it.

    Raises:
        InvalidArgument: A field is wrong; it is named.
    """
    try:
        return (
            yield from update_global_concurrency_limit(
                name, limit=limit, slot_decay_per_second=slot_decay_per_second
            )
        )
    except errors.NotFound:
        return (
            yield from create_global_concurrency_limit(
                name, limit, slot_decay_per_second=slot_decay_per_second or 0.0
            )
        )


def delete_global_concurrency_limit_by_name(name: str) -> Steps[None]:
    """Delete a concurrency limit; what is held of it is limited no longer.

    Raises:
        NotFound: There is none.
    """
    yield from DELETE(pb.DeleteConcurrencyLimitRequest(name=name))


def reset_global_concurrency_limit_by_name(name: str) -> Steps[concurrency.ConcurrencyLimit]:
    """Free all slots of a concurrency limit, whoever holds them.

    Raises:
        NotFound: There is none.
    """
    response = yield from RESET(pb.ResetConcurrencyLimitRequest(name=name))
    return codec.concurrency_limit_from_proto(response.concurrency_limit)


def create_concurrency_limit(
    tag: str, concurrency_limit: int
) -> Steps[concurrency.ConcurrencyLimit]:
    """Limit how many task runs with a tag run at once; changes the limit if there is one.

    Args:
        tag: The tag.
        concurrency_limit: How many; 0: none, they fail.

    Raises:
        InvalidArgument: A field is wrong; it is named.
    """
    found = yield from LIST(pb.ListConcurrencyLimitsRequest(name_prefix=_of_tag(tag)))
    if any(limit.name == _of_tag(tag) for limit in found.concurrency_limits):
        return (yield from update_global_concurrency_limit(_of_tag(tag), limit=concurrency_limit))
    return (yield from create_global_concurrency_limit(_of_tag(tag), concurrency_limit))


def read_concurrency_limit_by_tag(tag: str) -> Steps[concurrency.ConcurrencyLimit]:
    """Return the concurrency limit of a tag.

    Raises:
        NotFound: There is none.
    """
    return (yield from read_global_concurrency_limit_by_name(_of_tag(tag)))


def read_concurrency_limits(
    *, limit: int | None = None
) -> Steps[list[concurrency.ConcurrencyLimit]]:
    """Return the concurrency limits of tags.

    Args:
        limit: How many at most; None for all.
    """
    prefix = concurrency.TAG_PREFIX
    return (yield from read_global_concurrency_limits(name_prefix=prefix, limit=limit))


def reset_concurrency_limit_by_tag(tag: str) -> Steps[concurrency.ConcurrencyLimit]:
    """Free all slots of the concurrency limit of a tag, whoever holds them.

    Raises:
        NotFound: There is none.
    """
    return (yield from reset_global_concurrency_limit_by_name(_of_tag(tag)))


def delete_concurrency_limit_by_tag(tag: str) -> Steps[None]:
    """Delete the concurrency limit of a tag.

    Raises:
        NotFound: There is none.
    """
    yield from delete_global_concurrency_limit_by_name(_of_tag(tag))


def acquire_slots(request: concurrency.SlotRequest) -> Steps[concurrency.SlotAnswer]:
    """Take slots of concurrency limits, or get in line; see ``headgate.concurrency`` first.

    Raises:
        NotFound: A limit does not exist, and the request is strict.
        FailedPrecondition: The limits can never give what is asked.
        InvalidArgument: A field is wrong; it is named.
    """
    response = yield from ACQUIRE(
        codec.slot_request_to_proto(request), wait_seconds=request.wait_seconds
    )
    return codec.slot_answer_from_proto(response)


def renew_slots(lease_id: Id) -> Steps[concurrency.SlotLease]:
    """Let a lease on slots live for its duration from now.

    Raises:
        NotFound: The lease has ended.
    """
    response = yield from RENEW(pb.RenewSlotsRequest(id=str(lease_id)))
    return codec.slot_lease_from_proto(response.lease)


def release_slots(lease_id: Id) -> Steps[None]:
    """End a lease on slots, or the wait for one; there need not be one."""
    yield from RELEASE(pb.ReleaseSlotsRequest(id=str(lease_id)))


def read_slot_leases(
    name: str, *, include_waiting: bool = False, limit: int | None = None
) -> Steps[list[concurrency.SlotLease]]:
    """Return who holds slots of a concurrency limit, in the order in which they asked.

    Args:
        name: The limit.
        include_waiting: Also who waits for them.
        limit: How many at most; None for all.

    Raises:
        NotFound: There is no such limit.
    """
    request = pb.ListSlotLeasesRequest(concurrency_limit_name=name, include_waiting=include_waiting)
    return (
        yield from pages(
            LIST_LEASES, request, lambda r: r.leases, codec.slot_lease_from_proto, limit
        )
    )


def _of_tag(tag: str) -> str:
    return concurrency.TAG_PREFIX + tag


__all__ = [
    "acquire_slots",
    "create_concurrency_limit",
    "create_global_concurrency_limit",
    "delete_concurrency_limit_by_tag",
    "delete_global_concurrency_limit_by_name",
    "read_concurrency_limit_by_tag",
    "read_concurrency_limits",
    "read_global_concurrency_limit_by_name",
    "read_global_concurrency_limits",
    "read_slot_leases",
    "release_slots",
    "renew_slots",
    "reset_concurrency_limit_by_tag",
    "reset_global_concurrency_limit_by_name",
    "update_global_concurrency_limit",
]
