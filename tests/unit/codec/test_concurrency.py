"""Concurrency limits and leases on slots go to the wire and come back whole."""

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest

from headgate.api.v1 import concurrency_limit_pb2
from headgate.api.v1 import concurrency_limit_service_pb2 as pb
from headgate.codec import concurrency as codec
from headgate.core import errors
from headgate.core.concurrency import (
    ConcurrencyLimit,
    SlotAnswer,
    SlotHolder,
    SlotLease,
    SlotMode,
    SlotRequest,
)
from tests.unit.codec import records

LIMIT = ConcurrencyLimit(
    id="limit",
    name="database",
    limit=5,
    active=False,
    slot_decay_per_second=0.25,
    active_slots=3,
    waiting=2,
    create_time=records.NOW,
    update_time=records.LATER,
)
HOLDER = SlotHolder(type="task_run", id="task", flow_run_id="run")
LEASE = SlotLease(
    id="lease",
    concurrency_limit_names=("database", "api"),
    slots=2,
    holder=HOLDER,
    acquire_time=records.NOW,
    expire_time=records.LATER,
    lease_seconds=60.5,
    waiting=True,
)
REQUEST = SlotRequest(
    id="lease",
    names=("database",),
    slots=2,
    mode=SlotMode.RATE_LIMIT,
    lease_seconds=60.0,
    wait_seconds=1.5,
    strict=True,
    holder=HOLDER,
)
ANSWER = SlotAnswer(acquired=True, lease=LEASE, missing_names=("other",))

PAIRS: list[tuple[Any, Callable[..., Any], Callable[..., Any]]] = [
    (LIMIT, codec.concurrency_limit_to_proto, codec.concurrency_limit_from_proto),
    (HOLDER, codec.slot_holder_to_proto, codec.slot_holder_from_proto),
    (LEASE, codec.slot_lease_to_proto, codec.slot_lease_from_proto),
    (REQUEST, codec.slot_request_to_proto, codec.slot_request_from_proto),
    (ANSWER, codec.slot_answer_to_proto, codec.slot_answer_from_proto),
]
IDS = [type(record).__name__ for record, _, _ in PAIRS]


@pytest.mark.parametrize(("record", "encode", "decode"), PAIRS, ids=IDS)
def test_a_full_record_comes_back_whole(record: Any, encode: Any, decode: Any):
    for field in dataclasses.fields(record):
        assert getattr(record, field.name) != field.default, f"{field.name} is not tested"
    assert decode(encode(record)) == record
    message = type(encode(record))()
    assert encode(record, message) is message
    assert message == encode(record)


def test_an_answer_without_a_lease_has_none():
    assert codec.slot_answer_from_proto(pb.AcquireSlotsResponse()) == SlotAnswer(acquired=False)


def test_what_a_request_leaves_out_is_filled_in():
    message = pb.AcquireSlotsRequest(request_id="id", concurrency_limit_names=["x"])
    assert codec.slot_request_from_proto(message) == SlotRequest(id="id", names=("x",))


def test_a_limit_is_active_unless_it_says_otherwise():
    message = concurrency_limit_pb2.ConcurrencyLimit(name="x")
    assert codec.concurrency_limit_from_proto(message).active


def test_an_unknown_mode_is_refused_by_field():
    message = pb.AcquireSlotsRequest()
    message.mode = 99  # pyright: ignore[reportAttributeAccessIssue]  # what a newer client sends
    with pytest.raises(errors.InvalidArgument) as caught:
        codec.slot_request_from_proto(message)
    assert caught.value.violations[0].field == "mode"
