"""BlockService."""

from __future__ import annotations

from typing import Any

from headgate.api.v1 import block_service_pb2 as pb
from headgate.api.v1 import block_service_pb2_grpc
from headgate.codec import blocks as codec
from headgate.core import blocks, errors
from headgate_server.services.block_types import BlockTypeService
from headgate_server.services.blocks import BlockService
from headgate_server.storage.kinds.blocks import BlockDocumentFilter
from headgate_server.transport import paging


class BlockServicer(block_service_pb2_grpc.BlockServiceServicer):
    """Blocks on the wire."""

    def __init__(self, types: BlockTypeService, blocks: BlockService) -> None:
        self._types = types
        self._blocks = blocks

    async def RegisterBlockType(
        self, request: pb.RegisterBlockTypeRequest, context: Any
    ) -> pb.RegisterBlockTypeResponse:
        block_type, schemas = await self._types.register(
            codec.block_type_from_proto(request.block_type),
            [codec.block_schema_from_proto(schema) for schema in request.block_schemas],
        )
        return pb.RegisterBlockTypeResponse(
            block_type=codec.block_type_to_proto(block_type),
            block_schemas=[codec.block_schema_to_proto(schema) for schema in schemas],
        )

    async def GetBlockType(
        self, request: pb.GetBlockTypeRequest, context: Any
    ) -> pb.GetBlockTypeResponse:
        block_type = await self._types.get(request.slug)
        return pb.GetBlockTypeResponse(block_type=codec.block_type_to_proto(block_type))

    async def ListBlockTypes(
        self, request: pb.ListBlockTypesRequest, context: Any
    ) -> pb.ListBlockTypesResponse:
        page = await self._types.list(request.filter.name_contains, paging.read(request))
        return pb.ListBlockTypesResponse(
            block_types=[codec.block_type_to_proto(block_type) for block_type in page.items],
            next_page_token=paging.token(request, page.next),
        )

    async def DeleteBlockType(
        self, request: pb.DeleteBlockTypeRequest, context: Any
    ) -> pb.DeleteBlockTypeResponse:
        await self._types.delete(request.slug)
        return pb.DeleteBlockTypeResponse()

    async def GetBlockSchema(
        self, request: pb.GetBlockSchemaRequest, context: Any
    ) -> pb.GetBlockSchemaResponse:
        match request.WhichOneof("key"):
            case "id":
                schema = await self._types.get_schema(request.id)
            case "checksum":
                schema = await self._types.get_schema_by_checksum(request.checksum)
            case None:
                raise errors.InvalidArgument.of("key", "Set id or checksum.")
        return pb.GetBlockSchemaResponse(block_schema=codec.block_schema_to_proto(schema))

    async def ListBlockSchemas(
        self, request: pb.ListBlockSchemasRequest, context: Any
    ) -> pb.ListBlockSchemasResponse:
        page = await self._types.list_schemas(request.block_type_slug, paging.read(request))
        return pb.ListBlockSchemasResponse(
            block_schemas=[codec.block_schema_to_proto(schema) for schema in page.items],
            next_page_token=paging.token(request, page.next),
        )

    async def CreateBlockDocument(
        self, request: pb.CreateBlockDocumentRequest, context: Any
    ) -> pb.CreateBlockDocumentResponse:
        document = await self._blocks.create(
            codec.block_document_from_proto(request.block_document), request_id=request.request_id
        )
        return pb.CreateBlockDocumentResponse(
            block_document=codec.block_document_to_proto(document)
        )

    async def GetBlockDocument(
        self, request: pb.GetBlockDocumentRequest, context: Any
    ) -> pb.GetBlockDocumentResponse:
        match request.WhichOneof("key"):
            case "id":
                loaded = await self._blocks.get(request.id, include_secrets=request.include_secrets)
            case "name":
                loaded = await self._blocks.get_by_name(
                    request.name.block_type_slug,
                    request.name.name,
                    include_secrets=request.include_secrets,
                )
            case None:
                raise errors.InvalidArgument.of("key", "Set id or name.")
        return _loaded_to_proto(loaded)

    async def ListBlockDocuments(
        self, request: pb.ListBlockDocumentsRequest, context: Any
    ) -> pb.ListBlockDocumentsResponse:
        where = BlockDocumentFilter(
            block_type_slug=request.filter.block_type_slug,
            name_contains=request.filter.name_contains,
            anonymous=request.filter.anonymous,
        )
        page = await self._blocks.list(where, paging.read(request))
        return pb.ListBlockDocumentsResponse(
            block_documents=[codec.block_document_to_proto(document) for document in page.items],
            next_page_token=paging.token(request, page.next),
        )

    async def UpdateBlockDocument(
        self, request: pb.UpdateBlockDocumentRequest, context: Any
    ) -> pb.UpdateBlockDocumentResponse:
        document = await self._blocks.update(
            codec.block_document_from_proto(request.block_document),
            list(request.update_mask.paths),
        )
        return pb.UpdateBlockDocumentResponse(
            block_document=codec.block_document_to_proto(document)
        )

    async def DeleteBlockDocument(
        self, request: pb.DeleteBlockDocumentRequest, context: Any
    ) -> pb.DeleteBlockDocumentResponse:
        await self._blocks.delete(request.id)
        return pb.DeleteBlockDocumentResponse()


def _loaded_to_proto(loaded: blocks.LoadedBlock) -> pb.GetBlockDocumentResponse:
    return pb.GetBlockDocumentResponse(
        block_document=codec.block_document_to_proto(loaded.document),
        references=[codec.block_document_to_proto(one) for one in loaded.references.values()],
        block_schemas=[codec.block_schema_to_proto(one) for one in loaded.schemas.values()],
    )
