"""Concurrency limits on the wire: many callers at once, replicas, killed processes."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TypeAlias

import anyio
import anyio.lowlevel
import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.field_mask_pb2 import FieldMask
from grpc import aio

from headgate.api.v1 import concurrency_limit_pb2
from headgate.api.v1 import concurrency_limit_service_pb2 as pb
from headgate.api.v1 import concurrency_limit_service_pb2_grpc as pb_grpc
from headgate.core import ids
from headgate_server.app import App
from headgate_server.settings import Settings
from tests.integration.server.calls import fails

Stub: TypeAlias = "pb_grpc.ConcurrencyLimitServiceAsyncStub"


@pytest.fixture
def stub(channel: aio.Channel) -> Stub:
    return pb_grpc.ConcurrencyLimitServiceStub(channel)


async def make(
    stub: Stub, name: str = "db", limit: int = 1
) -> concurrency_limit_pb2.ConcurrencyLimit:
    message = concurrency_limit_pb2.ConcurrencyLimit(name=name, limit=limit)
    request = pb.CreateConcurrencyLimitRequest(concurrency_limit=message)
    return (await stub.CreateConcurrencyLimit(request)).concurrency_limit


def wish(name: str = "db", *, id: str = "", wait_seconds: int = 0) -> pb.AcquireSlotsRequest:
    return pb.AcquireSlotsRequest(
        request_id=id or ids.new_id(),
        concurrency_limit_names=[name],
        wait=Duration(seconds=wait_seconds),
    )


async def read(stub: Stub, name: str = "db") -> concurrency_limit_pb2.ConcurrencyLimit:
    request = pb.GetConcurrencyLimitRequest(name=name)
    return (await stub.GetConcurrencyLimit(request)).concurrency_limit


async def in_line(stub: Stub, count: int) -> None:
    """Wait until so many are in line."""
    with anyio.fail_after(10):
        # Nothing tells a test of it; each call leaves the server time to get there.
        while (await read(stub)).waiting != count:
            pass


async def test_a_limit_is_made_changed_listed_and_deleted(stub: Stub):
    made = await make(stub)
    assert (made.limit, made.active, ids.is_id(made.id)) == (1, True, True)
    with fails(grpc.StatusCode.ALREADY_EXISTS, "ALREADY_EXISTS"):
        await make(stub)
    changed = concurrency_limit_pb2.ConcurrencyLimit(name="db", limit=7, active=False)
    await stub.UpdateConcurrencyLimit(
        pb.UpdateConcurrencyLimitRequest(
            concurrency_limit=changed, update_mask=FieldMask(paths=["limit"])
        )
    )
    stored = await read(stub)
    assert (stored.limit, stored.active) == (7, True)
    await make(stub, "tag:a")
    page = await stub.ListConcurrencyLimits(pb.ListConcurrencyLimitsRequest(page_size=1))
    assert [limit.name for limit in page.concurrency_limits] == ["db"]
    rest = await stub.ListConcurrencyLimits(
        pb.ListConcurrencyLimitsRequest(page_size=1, page_token=page.next_page_token)
    )
    assert [limit.name for limit in rest.concurrency_limits] == ["tag:a"]
    assert not rest.next_page_token
    await stub.DeleteConcurrencyLimit(pb.DeleteConcurrencyLimitRequest(name="db"))
    with fails(grpc.StatusCode.NOT_FOUND, "NOT_FOUND"):
        await read(stub)


async def test_wrong_fields_are_named(stub: Stub):
    wrong = concurrency_limit_pb2.ConcurrencyLimit(limit=-1, slot_decay_per_second=-1)
    fields = ("name", "limit", "slot_decay_per_second")
    paths = [f"concurrency_limit.{field}" for field in fields]
    with fails(grpc.StatusCode.INVALID_ARGUMENT, "INVALID_ARGUMENT", *paths):
        await stub.CreateConcurrencyLimit(pb.CreateConcurrencyLimitRequest(concurrency_limit=wrong))
    await make(stub)
    with fails(grpc.StatusCode.INVALID_ARGUMENT, "INVALID_ARGUMENT", "update_mask"):
        await stub.UpdateConcurrencyLimit(
            pb.UpdateConcurrencyLimitRequest(
                concurrency_limit=concurrency_limit_pb2.ConcurrencyLimit(name="db")
            )
        )
    with fails(grpc.StatusCode.INVALID_ARGUMENT, "INVALID_ARGUMENT", "id"):
        await stub.ReleaseSlots(pb.ReleaseSlotsRequest(id="x"))
    with fails(grpc.StatusCode.NOT_FOUND, "NOT_FOUND"):
        await stub.RenewSlots(pb.RenewSlotsRequest(id=ids.new_id()))


async def test_slots_are_acquired_renewed_listed_and_released(stub: Stub):
    await make(stub)
    answer = await stub.AcquireSlots(wish())
    assert answer.acquired
    assert answer.lease.lease_duration.seconds == 300
    await stub.RenewSlots(pb.RenewSlotsRequest(id=answer.lease.id))
    assert not (await stub.AcquireSlots(wish())).acquired
    leases = await stub.ListSlotLeases(pb.ListSlotLeasesRequest(concurrency_limit_name="db"))
    assert [lease.id for lease in leases.leases] == [answer.lease.id]
    await stub.ReleaseSlots(pb.ReleaseSlotsRequest(id=answer.lease.id))
    assert (await read(stub)).active_slots == 0
    reset = await stub.ResetConcurrencyLimit(pb.ResetConcurrencyLimitRequest(name="db"))
    assert reset.concurrency_limit.active_slots == 0


async def test_a_call_that_is_broken_off_leaves_the_line(stub: Stub):
    await make(stub)
    await stub.AcquireSlots(wish())
    call = stub.AcquireSlots(wish(wait_seconds=30))
    await in_line(stub, 1)
    call.cancel()
    await in_line(stub, 0)


async def test_active_limits_are_watched(stub: Stub):
    await make(stub, "tag:a")
    call = stub.WatchActiveLimits(pb.WatchActiveLimitsRequest(name_prefix="tag:"))
    with anyio.fail_after(5):
        first = await call.read()
        await make(stub, "tag:b")
        second = await call.read()
    assert isinstance(first, pb.WatchActiveLimitsResponse)
    assert isinstance(second, pb.WatchActiveLimitsResponse)
    assert (list(first.names), list(second.names)) == (["tag:a"], ["tag:a", "tag:b"])
    call.cancel()


class Meter:
    """Counts how many hold slots at once, and in which order they came to them."""

    def __init__(self) -> None:
        self.inside = self.most = self.entered = 0


async def use(stub: Stub, meter: Meter) -> None:
    """Hold a slot for a moment."""
    request = wish(wait_seconds=30)
    answer = await stub.AcquireSlots(request)
    assert answer.acquired
    meter.inside += 1
    meter.entered += 1
    meter.most = max(meter.most, meter.inside)
    await anyio.lowlevel.checkpoint()
    meter.inside -= 1
    await stub.ReleaseSlots(pb.ReleaseSlotsRequest(id=answer.lease.id))


@pytest.mark.slow
async def test_many_callers_never_hold_more_slots_than_there_are(stub: Stub):
    await make(stub, limit=3)
    meter = Meter()
    with anyio.fail_after(60):
        async with anyio.create_task_group() as tasks:
            for _ in range(100):
                tasks.start_soon(use, stub, meter)
    assert meter.entered == 100
    assert meter.most <= 3
    stored = await read(stub)
    assert (stored.active_slots, stored.waiting) == (0, 0)


@pytest.fixture
async def replicas(postgres_database_url: str, tmp_path: Path) -> AsyncIterator[list[Stub]]:
    """Two servers over one PostgreSQL."""
    async with AsyncExitStack() as stack:
        stubs: list[Stub] = []
        for name in ("a", "b"):
            settings = Settings(
                database_url=postgres_database_url,
                unix_socket=tmp_path / name,
                shutdown_grace_seconds=0,
            )
            app = await stack.enter_async_context(App(settings).running())
            target = app.target.replace("unix://", "unix:")
            channel = await stack.enter_async_context(aio.insecure_channel(target))
            stubs.append(pb_grpc.ConcurrencyLimitServiceStub(channel))
        yield stubs


@pytest.mark.slow
async def test_replicas_share_slots_and_the_line(replicas: list[Stub]):
    await make(replicas[0], limit=2)
    meter = Meter()
    with anyio.fail_after(60):
        async with anyio.create_task_group() as tasks:
            for number in range(40):
                tasks.start_soon(use, replicas[number % 2], meter)
    assert meter.entered == 40
    assert meter.most <= 2
    assert (await read(replicas[1])).active_slots == 0


@pytest.mark.slow
async def test_a_release_at_one_replica_wakes_who_waits_at_the_other(replicas: list[Stub]):
    here, there = replicas
    await make(here)
    first = await here.AcquireSlots(wish())
    waiting = there.AcquireSlots(wish(wait_seconds=30))
    await in_line(here, 1)
    await here.ReleaseSlots(pb.ReleaseSlotsRequest(id=first.lease.id))
    with anyio.fail_after(5):
        assert (await waiting).acquired


HOLD = """
import sys, threading
from headgate.concurrency.sync import concurrency

with concurrency("db", lease_duration=float(sys.argv[1])):
    print("holds", flush=True)
    threading.Event().wait(60)
"""


@pytest.mark.slow
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_the_slots_of_a_killed_process_are_free_when_its_lease_ends(app: App, stub: Stub):
    await make(stub)
    environment = {"HEADGATE_API_URL": app.target, "PATH": ""}
    command = [sys.executable, "-c", HOLD]
    holder = await anyio.open_process([*command, "2"], env=environment)
    async with holder:
        assert holder.stdout is not None
        assert b"holds" in await holder.stdout.receive()
        waiter = await anyio.open_process([*command, "300"], env=environment)
        async with waiter:
            await in_line(stub, 1)
            waiter.kill()  # it must not be given what becomes free
            await in_line(stub, 0)
            renewed = stub.AcquireSlots(wish(wait_seconds=30))
            await in_line(stub, 1)
            await anyio.sleep(2.5)  # longer than the lease: it is renewed
            assert not renewed.done()
            holder.kill()
            with anyio.fail_after(10):
                assert (await renewed).acquired
