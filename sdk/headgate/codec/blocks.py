"""Blocks: types, schemas, documents."""

from __future__ import annotations

from headgate.api.v1 import block_pb2 as pb
from headgate.codec import times
from headgate.core import blocks


def block_type_to_proto(
    block_type: blocks.BlockType, into: pb.BlockType | None = None
) -> pb.BlockType:
    """Turn a block type into a message."""
    message = pb.BlockType() if into is None else into
    message.id = block_type.id
    message.slug = block_type.slug
    message.name = block_type.name
    message.logo_url = block_type.logo_url
    message.documentation_url = block_type.documentation_url
    message.description = block_type.description
    message.code_example = block_type.code_example
    times.set_timestamp(message.create_time, block_type.create_time)
    times.set_timestamp(message.update_time, block_type.update_time)
    return message


def block_type_from_proto(message: pb.BlockType) -> blocks.BlockType:
    """Turn a message into a block type; times that are unset become the epoch."""
    return blocks.BlockType(
        id=message.id,
        slug=message.slug,
        name=message.name,
        logo_url=message.logo_url,
        documentation_url=message.documentation_url,
        description=message.description,
        code_example=message.code_example,
        create_time=times.timestamp_to_datetime(message.create_time),
        update_time=times.timestamp_to_datetime(message.update_time),
    )


def block_schema_to_proto(
    schema: blocks.BlockSchema, into: pb.BlockSchema | None = None
) -> pb.BlockSchema:
    """Turn a block schema into a message."""
    message = pb.BlockSchema() if into is None else into
    message.id = schema.id
    message.checksum = schema.checksum
    message.block_type_slug = schema.block_type_slug
    message.fields = schema.fields
    message.capabilities.extend(schema.capabilities)
    message.version = schema.version
    times.set_timestamp(message.create_time, schema.create_time)
    return message


def block_schema_from_proto(message: pb.BlockSchema) -> blocks.BlockSchema:
    """Turn a message into a block schema; a time that is unset becomes the epoch."""
    return blocks.BlockSchema(
        id=message.id,
        checksum=message.checksum,
        block_type_slug=message.block_type_slug,
        fields=message.fields,
        capabilities=tuple(message.capabilities),
        version=message.version or blocks.NO_VERSION,
        create_time=times.timestamp_to_datetime(message.create_time),
    )


def block_document_to_proto(
    document: blocks.BlockDocument, into: pb.BlockDocument | None = None
) -> pb.BlockDocument:
    """Turn a block into a message."""
    message = pb.BlockDocument() if into is None else into
    message.id = document.id
    message.name = document.name
    message.block_type_slug = document.block_type_slug
    message.block_schema_id = document.block_schema_id
    message.data.update(document.data)
    message.is_anonymous = document.is_anonymous
    message.data_unreadable = document.data_unreadable
    times.set_timestamp(message.create_time, document.create_time)
    times.set_timestamp(message.update_time, document.update_time)
    return message


def block_document_from_proto(message: pb.BlockDocument) -> blocks.BlockDocument:
    """Turn a message into a block; times that are unset become the epoch."""
    return blocks.BlockDocument(
        id=message.id,
        name=message.name,
        block_type_slug=message.block_type_slug,
        block_schema_id=message.block_schema_id,
        data=dict(message.data),
        is_anonymous=message.is_anonymous,
        data_unreadable=message.data_unreadable,
        create_time=times.timestamp_to_datetime(message.create_time),
        update_time=times.timestamp_to_datetime(message.update_time),
    )


__all__ = [
    "block_document_from_proto",
    "block_document_to_proto",
    "block_schema_from_proto",
    "block_schema_to_proto",
    "block_type_from_proto",
    "block_type_to_proto",
]
