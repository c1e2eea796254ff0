"""Concurrency limits, and the leases on their slots."""

from __future__ import annotations

from headgate.api.v1 import concurrency_limit_pb2 as pb
from headgate.api.v1 import concurrency_limit_service_pb2 as service_pb
from headgate.codec import times
from headgate.core import concurrency, errors

_MODE_TO_PROTO: dict[concurrency.SlotMode, service_pb.SlotMode.ValueType] = {
    mode: service_pb.SlotMode.Value(f"SLOT_MODE_{mode.value}") for mode in concurrency.SlotMode
}
_MODE_FROM_PROTO: dict[int, concurrency.SlotMode] = {
    int(service_pb.SLOT_MODE_UNSPECIFIED): concurrency.SlotMode.CONCURRENCY,
    **{int(value): mode for mode, value in _MODE_TO_PROTO.items()},
}


def concurrency_limit_to_proto(
    limit: concurrency.ConcurrencyLimit, into: pb.ConcurrencyLimit | None = None
) -> pb.ConcurrencyLimit:
    """Turn a limit into a message."""
    message = pb.ConcurrencyLimit() if into is None else into
    message.id = limit.id
    message.name = limit.name
    message.limit = limit.limit
    message.active = limit.active
    message.slot_decay_per_second = limit.slot_decay_per_second
    message.active_slots = limit.active_slots
    message.waiting = limit.waiting
    times.set_timestamp(message.create_time, limit.create_time)
    times.set_timestamp(message.update_time, limit.update_time)
    return message


def concurrency_limit_from_proto(message: pb.ConcurrencyLimit) -> concurrency.ConcurrencyLimit:
    """Turn a message into a limit; times that are unset become the epoch."""
    return concurrency.ConcurrencyLimit(
        id=message.id,
        name=message.name,
        limit=message.limit,
        active=message.active if message.HasField("active") else True,
        slot_decay_per_second=message.slot_decay_per_second,
        active_slots=message.active_slots,
        waiting=message.waiting,
        create_time=times.timestamp_to_datetime(message.create_time),
        update_time=times.timestamp_to_datetime(message.update_time),
    )


def slot_holder_to_proto(
    holder: concurrency.SlotHolder, into: pb.SlotHolder | None = None
) -> pb.SlotHolder:
    """Turn a holder into a message."""
    message = pb.SlotHolder() if into is None else into
    message.type = holder.type
    message.id = holder.id
    message.flow_run_id = holder.flow_run_id
    return message


def slot_holder_from_proto(message: pb.SlotHolder) -> concurrency.SlotHolder:
    """Turn a message into a holder."""
    return concurrency.SlotHolder(type=message.type, id=message.id, flow_run_id=message.flow_run_id)


def slot_lease_to_proto(
    lease: concurrency.SlotLease, into: pb.SlotLease | None = None
) -> pb.SlotLease:
    """Turn a lease into a message."""
    message = pb.SlotLease() if into is None else into
    message.id = lease.id
    message.concurrency_limit_names.extend(lease.concurrency_limit_names)
    message.slots = lease.slots
    slot_holder_to_proto(lease.holder, message.holder)
    times.set_timestamp(message.acquire_time, lease.acquire_time)
    times.set_timestamp(message.expire_time, lease.expire_time)
    times.set_duration(message.lease_duration, lease.lease_seconds)
    message.waiting = lease.waiting
    return message


def slot_lease_from_proto(message: pb.SlotLease) -> concurrency.SlotLease:
    """Turn a message into a lease; times that are unset become the epoch."""
    return concurrency.SlotLease(
        id=message.id,
        concurrency_limit_names=tuple(message.concurrency_limit_names),
        slots=message.slots,
        holder=slot_holder_from_proto(message.holder),
        acquire_time=times.timestamp_to_datetime(message.acquire_time),
        expire_time=times.timestamp_to_datetime(message.expire_time),
        lease_seconds=times.from_duration(message.lease_duration),
        waiting=message.waiting,
    )


def slot_request_to_proto(
    request: concurrency.SlotRequest, into: service_pb.AcquireSlotsRequest | None = None
) -> service_pb.AcquireSlotsRequest:
    """Turn a wish for slots into a request."""
    message = service_pb.AcquireSlotsRequest() if into is None else into
    message.request_id = request.id
    message.concurrency_limit_names.extend(request.names)
    message.slots = request.slots
    message.mode = _MODE_TO_PROTO[request.mode]
    times.set_duration(message.lease_duration, request.lease_seconds)
    times.set_duration(message.wait, request.wait_seconds)
    message.strict = request.strict
    slot_holder_to_proto(request.holder, message.holder)
    return message


def slot_request_from_proto(message: service_pb.AcquireSlotsRequest) -> concurrency.SlotRequest:
    """Turn a request into a wish for slots, with the defaults of the contract.

    Raises:
        InvalidArgument: The mode is not known.
    """
    mode = _MODE_FROM_PROTO.get(message.mode)
    if mode is None:
        raise errors.InvalidArgument.of("mode", f"{message.mode} is not a mode of slots.")
    seconds = times.from_duration(message.lease_duration)
    return concurrency.SlotRequest(
        id=message.request_id,
        names=tuple(message.concurrency_limit_names),
        slots=message.slots or 1,
        mode=mode,
        lease_seconds=seconds or concurrency.LEASE_SECONDS_DEFAULT,
        wait_seconds=times.from_duration(message.wait),
        strict=message.strict,
        holder=slot_holder_from_proto(message.holder),
    )


def slot_answer_to_proto(
    answer: concurrency.SlotAnswer, into: service_pb.AcquireSlotsResponse | None = None
) -> service_pb.AcquireSlotsResponse:
    """Turn what came of a request into a response."""
    message = service_pb.AcquireSlotsResponse() if into is None else into
    message.acquired = answer.acquired
    if answer.lease is not None:
        slot_lease_to_proto(answer.lease, message.lease)
    message.missing_names.extend(answer.missing_names)
    return message


def slot_answer_from_proto(message: service_pb.AcquireSlotsResponse) -> concurrency.SlotAnswer:
    """Turn a response into what came of the request."""
    return concurrency.SlotAnswer(
        acquired=message.acquired,
        lease=slot_lease_from_proto(message.lease) if message.HasField("lease") else None,
        missing_names=tuple(message.missing_names),
    )


__all__ = [
    "concurrency_limit_from_proto",
    "concurrency_limit_to_proto",
    "slot_answer_from_proto",
    "slot_answer_to_proto",
    "slot_holder_from_proto",
    "slot_holder_to_proto",
    "slot_lease_from_proto",
    "slot_lease_to_proto",
    "slot_request_from_proto",
    "slot_request_to_proto",
]
