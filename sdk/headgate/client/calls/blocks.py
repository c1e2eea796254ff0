"""Blocks: types, schemas, documents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from google.protobuf.field_mask_pb2 import FieldMask

from headgate.api.v1 import block_pb2
from headgate.api.v1 import block_service_pb2 as pb
from headgate.client.rpc import Rpc, Steps, pages
from headgate.codec import blocks as codec
from headgate.core import blocks, ids

if TYPE_CHECKING:
    from headgate.client.rpc import Id

SERVICE = "BlockService"
REGISTER = Rpc(
    SERVICE, "RegisterBlockType", pb.RegisterBlockTypeRequest, pb.RegisterBlockTypeResponse
)
GET_TYPE = Rpc(SERVICE, "GetBlockType", pb.GetBlockTypeRequest, pb.GetBlockTypeResponse)
LIST_TYPES = Rpc(SERVICE, "ListBlockTypes", pb.ListBlockTypesRequest, pb.ListBlockTypesResponse)
DELETE_TYPE = Rpc(SERVICE, "DeleteBlockType", pb.DeleteBlockTypeRequest, pb.DeleteBlockTypeResponse)
GET_SCHEMA = Rpc(SERVICE, "GetBlockSchema", pb.GetBlockSchemaRequest, pb.GetBlockSchemaResponse)
LIST_SCHEMAS = Rpc(
    SERVICE, "ListBlockSchemas", pb.ListBlockSchemasRequest, pb.ListBlockSchemasResponse
)
CREATE = Rpc(
    SERVICE, "CreateBlockDocument", pb.CreateBlockDocumentRequest, pb.CreateBlockDocumentResponse
)
GET = Rpc(SERVICE, "GetBlockDocument", pb.GetBlockDocumentRequest, pb.GetBlockDocumentResponse)
LIST = Rpc(
    SERVICE, "ListBlockDocuments", pb.ListBlockDocumentsRequest, pb.ListBlockDocumentsResponse
)
UPDATE = Rpc(
    SERVICE, "UpdateBlockDocument", pb.UpdateBlockDocumentRequest, pb.UpdateBlockDocumentResponse
)
DELETE = Rpc(
    SERVICE, "DeleteBlockDocument", pb.DeleteBlockDocumentRequest, pb.DeleteBlockDocumentResponse
)


def register_block_type(
    block_type: blocks.BlockType, schemas: Sequence[blocks.BlockSchema] = ()
) -> Steps[tuple[blocks.BlockType, list[blocks.BlockSchema]]]:
    """Make a block type with schemas, or bring it up to date; what is there already stays.

    Raises:
        InvalidArgument: A field is wrong; it is named.
    """
    request = pb.RegisterBlockTypeRequest(
        block_type=codec.block_type_to_proto(block_type),
        block_schemas=[codec.block_schema_to_proto(schema) for schema in schemas],
    )
    response = yield from REGISTER(request)
    return (
        codec.block_type_from_proto(response.block_type),
        [codec.block_schema_from_proto(schema) for schema in response.block_schemas],
    )


def read_block_type_by_slug(slug: str) -> Steps[blocks.BlockType]:
    """Return a block type.

    Raises:
        NotFound: There is none.
    """
    response = yield from GET_TYPE(pb.GetBlockTypeRequest(slug=slug))
    return codec.block_type_from_proto(response.block_type)


def read_block_types(
    *, name_contains: str = "", limit: int | None = None
) -> Steps[list[blocks.BlockType]]:
    """Return block types by slug.

    Args:
        name_contains: A part of the name, upper and lower case alike.
        limit: How many at most; None for all.
    """
    request = pb.ListBlockTypesRequest(filter=pb.BlockTypeFilter(name_contains=name_contains))
    return (
        yield from pages(
            LIST_TYPES, request, lambda r: r.block_types, codec.block_type_from_proto, limit
        )
    )


def delete_block_type(slug: str) -> Steps[None]:
    """Delete a block type with its schemas and its blocks.

    Raises:
        NotFound: There is no such type.
        FailedPrecondition: Blocks of other types refer to one of its blocks.
    """
    yield from DELETE_TYPE(pb.DeleteBlockTypeRequest(slug=slug))


def read_block_schema(schema_id: Id) -> Steps[blocks.BlockSchema]:
    """Return a block schema by its id.

    Raises:
        NotFound: There is none.
    """
    response = yield from GET_SCHEMA(pb.GetBlockSchemaRequest(id=str(schema_id)))
    return codec.block_schema_from_proto(response.block_schema)


def read_block_schema_by_checksum(checksum: str) -> Steps[blocks.BlockSchema]:
    """Return the newest block schema of a checksum.

    Raises:
        NotFound: There is none.
    """
    response = yield from GET_SCHEMA(pb.GetBlockSchemaRequest(checksum=checksum))
    return codec.block_schema_from_proto(response.block_schema)


def read_block_schemas(
    block_type_slug: str = "", *, limit: int | None = None
) -> Steps[list[blocks.BlockSchema]]:
    """Return block schemas, the oldest first.

    Args:
        block_type_slug: Those of this type; empty: of all.
        limit: How many at most; None for all.
    """
    request = pb.ListBlockSchemasRequest(block_type_slug=block_type_slug)
    return (
        yield from pages(
            LIST_SCHEMAS, request, lambda r: r.block_schemas, codec.block_schema_from_proto, limit
        )
    )


def create_block_document(
    name: str, schema_id: Id, data: Mapping[str, str], *, is_anonymous: bool = False
) -> Steps[blocks.BlockDocument]:
    """Save a new block.

    Args:
        name: Unique in its type; left out for an anonymous one.
        schema_id: The schema that the data follow.
        data: Field to JSON text.
        is_anonymous: Whether the server chooses the name, and lists leave it out.

    Raises:
        AlreadyExists: There is one of this type and name.
        NotFound: There is no such schema.
        InvalidArgument: A field is wrong; it is named.
    """
    document = block_pb2.BlockDocument(
        name=name, block_schema_id=str(schema_id), data=data, is_anonymous=is_anonymous
    )
    request = pb.CreateBlockDocumentRequest(block_document=document, request_id=ids.new_id())
    response = yield from CREATE(request)
    return codec.block_document_from_proto(response.block_document)


def read_block_document(
    document_id: Id, *, include_secrets: bool = True
) -> Steps[blocks.LoadedBlock]:
    """Return a block by its id, with all that it refers to.

    Raises:
        NotFound: There is none.
        FailedPrecondition: The server has no key that reads its secrets.
    """
    request = pb.GetBlockDocumentRequest(id=str(document_id), include_secrets=include_secrets)
    return _loaded((yield from GET(request)))


def read_block_document_by_name(
    name: str, block_type_slug: str, *, include_secrets: bool = True
) -> Steps[blocks.LoadedBlock]:
    """Return a block by type and name, with all that it refers to.

    Raises:
        NotFound: There is none.
        FailedPrecondition: The server has no key that reads its secrets.
    """
    key = pb.BlockDocumentName(block_type_slug=block_type_slug, name=name)
    request = pb.GetBlockDocumentRequest(name=key, include_secrets=include_secrets)
    return _loaded((yield from GET(request)))


def _loaded(response: pb.GetBlockDocumentResponse) -> blocks.LoadedBlock:
    references = [codec.block_document_from_proto(document) for document in response.references]
    schemas = [codec.block_schema_from_proto(schema) for schema in response.block_schemas]
    return blocks.LoadedBlock(
        document=codec.block_document_from_proto(response.block_document),
        references={document.id: document for document in references},
        schemas={schema.id: schema for schema in schemas},
    )


def read_block_documents(
    *,
    block_type_slug: str = "",
    name_contains: str = "",
    anonymous: bool = False,
    limit: int | None = None,
) -> Steps[list[blocks.BlockDocument]]:
    """Return blocks by type and name, with their secrets masked.

    Args:
        block_type_slug: Those of this type; empty: of all.
        name_contains: A part of the name, upper and lower case alike.
        anonymous: Whether the anonymous ones are returned, rather than those with names.
        limit: How many at most; None for all.
    """
    where = pb.BlockDocumentFilter(
        block_type_slug=block_type_slug, name_contains=name_contains, anonymous=anonymous
    )
    request = pb.ListBlockDocumentsRequest(filter=where)
    return (
        yield from pages(
            LIST, request, lambda r: r.block_documents, codec.block_document_from_proto, limit
        )
    )


def read_block_documents_by_type(
    block_type_slug: str, *, limit: int | None = None
) -> Steps[list[blocks.BlockDocument]]:
    """Return the blocks of a type by name, with their secrets masked.

    Args:
        block_type_slug: The type.
        limit: How many at most; None for all.
    """
    return (yield from read_block_documents(block_type_slug=block_type_slug, limit=limit))


def update_block_document(
    document_id: Id,
    *,
    data: Mapping[str, str] | None = None,
    schema_id: Id | None = None,
    merge: bool = False,
) -> Steps[blocks.BlockDocument]:
    """Change a block; what is not given stays, and so do secrets that are sent masked.

    Args:
        document_id: The block.
        data: Field to JSON text.
        schema_id: Another schema of the same type.
        merge: Whether fields that ``data`` does not name stay.

    Raises:
        NotFound: There is no such block or schema.
        InvalidArgument: A field is wrong; it is named.
    """
    request = pb.UpdateBlockDocumentRequest(
        block_document=block_pb2.BlockDocument(id=str(document_id)), update_mask=FieldMask()
    )
    mask = request.update_mask.paths
    if data is not None:
        request.block_document.data.update(data)
        mask.extend([f"data.{field}" for field in data] if merge else ["data"])
    if schema_id is not None:
        request.block_document.block_schema_id = str(schema_id)
        mask.append("block_schema_id")
    response = yield from UPDATE(request)
    return codec.block_document_from_proto(response.block_document)


def delete_block_document(document_id: Id) -> Steps[None]:
    """Delete a block.

    Raises:
        NotFound: There is no such block.
        FailedPrecondition: Other blocks refer to it.
    """
    yield from DELETE(pb.DeleteBlockDocumentRequest(id=str(document_id)))
