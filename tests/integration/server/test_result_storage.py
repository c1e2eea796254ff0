"""The block in which results are kept by default."""

from __future__ import annotations

import grpc
from grpc import aio

from headgate.api.v1 import block_service_pb2, server_service_pb2
from headgate.api.v1.block_service_pb2_grpc import BlockServiceStub
from headgate.api.v1.server_service_pb2_grpc import ServerServiceStub
from headgate.core import ids
from tests.integration.server.calls import fails
from tests.integration.server.test_repeated_creates import save


async def get(channel: aio.Channel) -> server_service_pb2.ResultStorage:
    request = server_service_pb2.GetResultStorageRequest()
    return (await ServerServiceStub(channel).GetResultStorage(request)).result_storage


async def choose(channel: aio.Channel, document_id: str) -> server_service_pb2.ResultStorage:
    request = server_service_pb2.SetResultStorageRequest(block_document_id=document_id)
    return (await ServerServiceStub(channel).SetResultStorage(request)).result_storage


async def test_a_block_is_chosen_and_let_go(channel: aio.Channel):
    block = await save(channel, "results", ids.new_id())
    assert await get(channel) == server_service_pb2.ResultStorage()
    chosen = await choose(channel, block.id)
    assert chosen.block_document_id == block.id
    assert chosen.block_document_name.endswith("/results")
    assert await get(channel) == chosen
    assert await choose(channel, "") == server_service_pb2.ResultStorage()
    assert await get(channel) == server_service_pb2.ResultStorage()


async def test_the_chosen_block_is_not_deleted(channel: aio.Channel):
    block = await save(channel, "results", ids.new_id())
    await choose(channel, block.id)
    stub = BlockServiceStub(channel)
    delete = block_service_pb2.DeleteBlockDocumentRequest(id=block.id)
    with fails(grpc.StatusCode.FAILED_PRECONDITION, "FAILED_PRECONDITION") as failure:
        await stub.DeleteBlockDocument(delete)
    assert "result-storage clear" in failure.message
    await choose(channel, "")
    await stub.DeleteBlockDocument(delete)


async def test_what_is_no_block_is_refused(channel: aio.Channel):
    with fails(grpc.StatusCode.NOT_FOUND, "NOT_FOUND"):
        await choose(channel, ids.new_id())
    with fails(grpc.StatusCode.INVALID_ARGUMENT, "INVALID_ARGUMENT", "block_document_id"):
        await choose(channel, "results")
