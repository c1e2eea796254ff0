"""EventService on the wire: what it stores, what it refuses, what it tells by itself."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.timestamp_pb2 import Timestamp
from grpc import aio

from headgate.api.v1 import (
    deployment_service_pb2,
    deployment_service_pb2_grpc,
    event_pb2,
    flow_run_service_pb2,
    flow_run_service_pb2_grpc,
    work_pool_pb2,
    work_pool_service_pb2,
    work_pool_service_pb2_grpc,
)
from headgate.api.v1 import event_service_pb2 as pb
from headgate.api.v1.event_service_pb2_grpc import EventServiceStub
from headgate.core import ids
from tests.integration.server.calls import (
    create_deployment,
    create_flow_run,
    fails,
    update_deployment,
)
from tests.integration.streams import wire

INVALID = (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_ARGUMENT")


def event(name: str = "acme.made", **fields: Any) -> event_pb2.Event:
    fields.setdefault("resource", {"headgate.resource.id": "acme.1"})
    return event_pb2.Event(id=fields.pop("id", None) or ids.new_id(), name=name, **fields)


async def write(channel: aio.Channel, *events: event_pb2.Event) -> int:
    request = pb.WriteEventsRequest(events=events)
    return (await EventServiceStub(channel).WriteEvents(request)).stored_count


async def listed(channel: aio.Channel, **where: Any) -> list[event_pb2.Event]:
    request = pb.ListEventsRequest(filter=pb.EventFilter(**where), ascending=True, page_size=200)
    return list((await EventServiceStub(channel).ListEvents(request)).events)


async def names(channel: aio.Channel, **where: Any) -> list[str]:
    return [each.name for each in await listed(channel, **where)]


@asynccontextmanager
async def subscribed(channel: aio.Channel, **request: Any) -> AsyncIterator[wire.Stream]:
    call = EventServiceStub(channel).SubscribeEvents(pb.SubscribeEventsRequest(**request))
    try:
        yield wire.Stream(call, pb.SubscribeEventsRequest)
    finally:
        call.cancel()


async def test_events_are_stored_once_and_come_back_whole(channel: aio.Channel) -> None:
    sent = event(
        occurred=Timestamp(seconds=1_700_000_000),
        related=[
            event_pb2.RelatedResource(
                labels={"headgate.resource.id": "b", "headgate.resource.role": "c"}
            )
        ],
        payload='{"n": 12345678901234567890}',
        follows=ids.new_id(),
    )
    assert await write(channel, sent, event()) == 2
    assert await write(channel, sent) == 0
    found, second = await listed(channel)
    assert (found.revision, second.revision) == (1, 2)
    assert found.commit_time.seconds > sent.occurred.seconds
    assert second.occurred.seconds > sent.occurred.seconds  # the time it came, as none was given
    found.ClearField("revision")
    found.ClearField("commit_time")
    assert found == sent


@pytest.mark.parametrize(
    ("bad", "field"),
    [
        ({"id": "seven"}, "events[1].id"),
        ({"follows": "seven"}, "events[1].follows"),
        ({"name": " "}, "events[1].name"),
        ({"name": "x" * 1_025}, "events[1].name"),
        ({"resource": {"a": "b"}}, "events[1].resource"),
        (
            {"resource": {"headgate.resource.id": "a", **{str(n): "" for n in range(500)}}},
            "events[1].resource",
        ),
        ({"related": [event_pb2.RelatedResource()] * 101}, "events[1].related"),
        ({"payload": "[1]"}, "events[1].payload"),
        ({"payload": "{NaN}"}, "events[1].payload"),
        ({"payload": '"' + "x" * 1_500_000 + '"'}, "events[1]"),
    ],
)
async def test_a_bad_event_is_named_and_none_of_its_batch_is_stored(
    channel: aio.Channel, bad: dict[str, Any], field: str
) -> None:
    with fails(*INVALID) as failure:
        await write(channel, event(), event(**bad))
    assert field in failure.fields
    assert await listed(channel) == []


async def test_too_many_events_are_refused(channel: aio.Channel) -> None:
    with fails(*INVALID, "events"):
        await write(channel, *[event()] * 1_001)


@pytest.mark.parametrize(
    ("where", "field"),
    [
        ({"ids": ["x"]}, "filter.ids[0]"),
        ({"names": [""]}, "filter.names[0]"),
        ({"name_prefixes": ["x"] * 51}, "filter.name_prefixes"),
        ({"resource_labels": [pb.LabelCondition(key="a")]}, "filter.resource_labels[0]"),
    ],
)
async def test_a_bad_filter_is_refused_whatever_is_asked(
    channel: aio.Channel, where: dict[str, Any], field: str
) -> None:
    with fails(*INVALID, field):
        await listed(channel, **where)
    count = pb.CountEventsRequest(filter=pb.EventFilter(**where), by=pb.EVENT_COUNT_BY_DAY)
    with fails(*INVALID, field):
        await EventServiceStub(channel).CountEvents(count)
    with fails(*INVALID, field):
        async with subscribed(channel, filter=pb.EventFilter(**where)) as stream:
            await stream._call.read()  # the bare error


async def test_the_largest_filters_that_are_taken_are_answered(channel: aio.Channel) -> None:
    """Databases refuse statements that are too deep or have too many values."""
    await write(channel, event())
    many, some = [f"headgate.tag.{n}" for n in range(100)], [f"x{n}" for n in range(50)]
    assert await names(channel, any_resource_ids=many, related_ids=many) == []
    assert await names(channel, name_prefixes=some, exclude_name_prefixes=some) == []
    assert await names(channel, resource_id_prefixes=[f"headgate.task-run.{n}" for n in some]) == []
    large: dict[str, Any] = {
        "names": [f"headgate.flow-run.{n}" for n in range(1_000)],
        "exclude_names": [f"headgate.flow-run.{n}" for n in range(1_000)],
        "resource_ids": [f"headgate.task-run.{ids.new_id()}" for _ in range(1_000)],
        "ids": [ids.new_id() for _ in range(1_000)],
    }
    assert await names(channel, **large) == []


async def test_pages_follow_each_other(channel: aio.Channel) -> None:
    await write(channel, *(event(f"acme.{n}") for n in range(5)))
    stub, found, request = EventServiceStub(channel), [], pb.ListEventsRequest(page_size=2)
    while True:
        page = await stub.ListEvents(request)
        found.extend(each.name for each in page.events)
        if not page.next_page_token:
            break
        request.page_token = page.next_page_token
    assert found == ["acme.4", "acme.3", "acme.2", "acme.1", "acme.0"]


async def test_events_are_counted(channel: aio.Channel) -> None:
    stub = EventServiceStub(channel)
    await write(channel, event(), event(), event("acme.lost"))
    await write(channel, event(occurred=Timestamp(seconds=1_000_000_000)))
    request = pb.CountEventsRequest(by=pb.EVENT_COUNT_BY_NAME)
    counts = (await stub.CountEvents(request)).counts
    assert [(each.value, each.count) for each in counts] == [("acme.made", 2), ("acme.lost", 1)]
    request.filter.since.seconds = 1
    assert (await stub.CountEvents(request)).counts[0].count == 3
    request.filter.related_roles.append("buyer")
    with fails(*INVALID, "filter.related_roles"):
        await stub.CountEvents(request)
    with fails(*INVALID, "by"):
        await stub.CountEvents(pb.CountEventsRequest())


async def test_what_is_made_changed_and_deleted_is_told(channel: aio.Channel) -> None:
    deployment = await create_deployment(channel)
    changed = await update_deployment(channel, ["paused"], id=deployment.id, paused=True)
    deployments = deployment_service_pb2_grpc.DeploymentServiceStub(channel)
    await deployments.DeleteDeployment(
        deployment_service_pb2.DeleteDeploymentRequest(id=changed.id)
    )
    pools = work_pool_service_pb2_grpc.WorkPoolServiceStub(channel)
    pool = work_pool_pb2.WorkPool(name="gpu")
    await pools.CreateWorkPool(work_pool_service_pb2.CreateWorkPoolRequest(work_pool=pool))
    pool.paused = True
    await pools.UpdateWorkPool(
        work_pool_service_pb2.UpdateWorkPoolRequest(
            work_pool=pool, update_mask=FieldMask(paths=["paused"])
        )
    )
    await pools.DeleteWorkPool(work_pool_service_pb2.DeleteWorkPoolRequest(name="gpu"))
    assert await names(channel) == [
        "headgate.flow.created",
        "headgate.deployment.created",
        "headgate.deployment.updated",
        "headgate.deployment.deleted",
        "headgate.work-pool.created",
        "headgate.work-queue.created",
        "headgate.work-pool.updated",
        "headgate.work-pool.paused",
        "headgate.work-pool.deleted",
    ]
    (updated,) = await listed(channel, names=["headgate.deployment.updated"])
    assert updated.payload == '{"updated_fields":["paused"]}'
    assert updated.resource["headgate.resource.id"] == f"headgate.deployment.{deployment.id}"
    assert updated.related[0].labels["headgate.resource.name"] == "etl"


async def test_a_change_that_is_refused_tells_nothing(channel: aio.Channel) -> None:
    await create_deployment(channel)
    before = await listed(channel)
    with fails(grpc.StatusCode.ALREADY_EXISTS, "ALREADY_EXISTS"):
        await create_deployment(channel)
    assert await listed(channel) == before


async def test_a_subscription_brings_what_is_stored_and_then_what_happens(
    channel: aio.Channel,
) -> None:
    await write(channel, event("acme.1"))
    async with subscribed(channel, after_revision=0) as stream:
        assert (await stream.next()).revision == 0
        assert (await stream.next()).name == "acme.1"
        await write(channel, event("acme.2"))
        assert (await stream.next()).name == "acme.2"
        await create_deployment(channel)
        assert (await stream.next()).name == "headgate.flow.created"
        last = await stream.next()
        run = await create_flow_run(channel)
    async with subscribed(channel, after_revision=last.revision) as stream:
        assert (await stream.next()).revision == last.revision
        scheduled = await stream.next()
        assert scheduled.name == "headgate.flow-run.Scheduled"
        flow_runs = flow_run_service_pb2_grpc.FlowRunServiceStub(channel)
        await flow_runs.CancelFlowRun(flow_run_service_pb2.CancelFlowRunRequest(flow_run_id=run.id))
        cancelled = await stream.next()
        assert cancelled.follows == scheduled.id


async def test_a_subscription_begins_now_or_where_it_is_told(channel: aio.Channel) -> None:
    await write(channel, event("acme.1"))
    async with (
        subscribed(channel) as now,
        subscribed(channel, backfill=Duration(seconds=60)) as was,
    ):
        assert (await now.next()).revision == 1
        assert (await was.next()).revision == 0
        assert (await was.next()).name == "acme.1"
        await write(channel, event("acme.2"))
        assert (await now.next()).name == (await was.next()).name == "acme.2"


async def test_a_subscription_passes_over_what_does_not_fit(channel: aio.Channel) -> None:
    where = pb.EventFilter(name_prefixes=["acme."])
    async with subscribed(channel, after_revision=0, filter=where) as stream:
        await create_deployment(channel)
        await write(channel, event("other"), event("acme.1"))
        await stream.next()
        assert (await stream.next()).name == "acme.1"


async def test_a_revision_of_another_journal_is_refused(channel: aio.Channel) -> None:
    with fails(*INVALID, "after_revision"):
        async with subscribed(channel, after_revision=7) as stream:
            await stream._call.read()  # the bare error
