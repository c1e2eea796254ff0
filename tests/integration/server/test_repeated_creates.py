"""Creation that is asked for again, because the first answer was lost on its way."""

from __future__ import annotations

from typing import Any

import grpc
import pytest
from grpc import aio

from headgate.api.v1 import (
    artifact_pb2,
    artifact_service_pb2,
    artifact_service_pb2_grpc,
    block_pb2,
    block_service_pb2,
    block_service_pb2_grpc,
    concurrency_limit_pb2,
    concurrency_limit_service_pb2,
    concurrency_limit_service_pb2_grpc,
    variable_pb2,
    variable_service_pb2,
    variable_service_pb2_grpc,
    work_pool_pb2,
    work_pool_service_pb2,
    work_pool_service_pb2_grpc,
)
from headgate.core import ids

SLUG = "one"


async def create(channel: aio.Channel, kind: str, name: str, request_id: str) -> Any:
    """Make one of a kind; return it."""
    match kind:
        case "variable":
            stub: Any = variable_service_pb2_grpc.VariableServiceStub(channel)
            made = await stub.CreateVariable(
                variable_service_pb2.CreateVariableRequest(
                    variable=variable_pb2.Variable(name=name, value="1"), request_id=request_id
                )
            )
            return made.variable
        case "artifact":
            stub = artifact_service_pb2_grpc.ArtifactServiceStub(channel)
            made = await stub.CreateArtifact(
                artifact_service_pb2.CreateArtifactRequest(
                    artifact=artifact_pb2.Artifact(key=name, data="1"), request_id=request_id
                )
            )
            return made.artifact
        case "limit":
            stub = concurrency_limit_service_pb2_grpc.ConcurrencyLimitServiceStub(channel)
            made = await stub.CreateConcurrencyLimit(
                concurrency_limit_service_pb2.CreateConcurrencyLimitRequest(
                    concurrency_limit=concurrency_limit_pb2.ConcurrencyLimit(name=name, limit=1),
                    request_id=request_id,
                )
            )
            return made.concurrency_limit
        case "pool":
            stub = work_pool_service_pb2_grpc.WorkPoolServiceStub(channel)
            made = await stub.CreateWorkPool(
                work_pool_service_pb2.CreateWorkPoolRequest(
                    work_pool=work_pool_pb2.WorkPool(name=name, type="process"),
                    request_id=request_id,
                )
            )
            return made.work_pool
        case "queue":
            stub = work_pool_service_pb2_grpc.WorkPoolServiceStub(channel)
            made = await stub.CreateWorkQueue(
                work_pool_service_pb2.CreateWorkQueueRequest(
                    work_queue=work_pool_pb2.WorkQueue(name=name, work_pool_name="default"),
                    request_id=request_id,
                )
            )
            return made.work_queue
        case _:
            return await save(channel, name, request_id)


async def save(channel: aio.Channel, name: str, request_id: str) -> block_pb2.BlockDocument:
    """Save a block; an anonymous one where the name is empty."""
    stub: Any = block_service_pb2_grpc.BlockServiceStub(channel)
    registered = await stub.RegisterBlockType(
        block_service_pb2.RegisterBlockTypeRequest(
            block_type=block_pb2.BlockType(slug=SLUG, name="One"),
            block_schemas=[
                block_pb2.BlockSchema(
                    checksum=f"sha256:{'0' * 64}", block_type_slug=SLUG, fields="{}"
                )
            ],
        )
    )
    document = block_pb2.BlockDocument(
        name=name, block_schema_id=registered.block_schemas[0].id, is_anonymous=not name
    )
    request = block_service_pb2.CreateBlockDocumentRequest(
        block_document=document, request_id=request_id
    )
    return (await stub.CreateBlockDocument(request)).block_document


KINDS = ["variable", "artifact", "limit", "pool", "queue", "block"]


@pytest.mark.parametrize("kind", KINDS)
async def test_a_request_sent_again_makes_nothing_again(channel: aio.Channel, kind: str):
    request_id = ids.new_id()
    made = await create(channel, kind, "a", request_id)
    assert await create(channel, kind, "a", request_id) == made


@pytest.mark.parametrize("kind", KINDS)
async def test_the_id_of_a_request_given_to_another_one_is_no_failure_of_ours(
    channel: aio.Channel, kind: str
):
    request_id = ids.new_id()
    made = await create(channel, kind, "a", request_id)
    # Either its own thing, or what the first request has made; never a clash of ids.
    other = await create(channel, kind, "b", request_id)
    assert other == made or other.name == "b"


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "artifact"])
async def test_another_request_for_the_same_name_is_refused(channel: aio.Channel, kind: str):
    await create(channel, kind, "a", ids.new_id())
    with pytest.raises(aio.AioRpcError) as caught:
        await create(channel, kind, "a", ids.new_id())
    assert caught.value.code() is grpc.StatusCode.ALREADY_EXISTS


async def test_an_anonymous_block_is_saved_once(channel: aio.Channel):
    request_id = ids.new_id()
    made = await save(channel, "", request_id)
    assert await save(channel, "", request_id) == made
