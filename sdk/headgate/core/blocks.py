"""Blocks: configuration and credentials under a name; their kinds, their schemas, their data."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, cast

from headgate.core.record import record

#: What a secret looks like to those who may not read it.
MASK = "********"
#: The version of code that does not say.
NO_VERSION = "non-versioned"


@record
class BlockType:
    """A kind of block; the fields are those of ``block.proto``."""

    id: str = ""
    slug: str
    name: str
    logo_url: str = ""
    documentation_url: str = ""
    description: str = ""
    code_example: str = ""
    create_time: datetime
    update_time: datetime


@record
class BlockSchema:
    """What the blocks of a type hold, in one version of their code.

    Attributes:
        checksum: ``sha256:`` and 64 hexadecimal digits over the fields.
        fields: JSON Schema as JSON text, with ``secret_fields`` and ``block_schema_references``.
        capabilities: What blocks of it can do, sorted, e.g. ``read-path``.
    """

    id: str = ""
    checksum: str
    block_type_slug: str
    fields: str
    capabilities: tuple[str, ...] = ()
    version: str = NO_VERSION
    create_time: datetime


@record
class BlockDocument:
    """A block that was saved.

    Attributes:
        data: Field to JSON text; secrets are ``MASK`` unless they were asked for.
        is_anonymous: Whether it was saved without a name, for one use.
        data_unreadable: Whether the server has no key that reads the data.
    """

    id: str = ""
    name: str
    block_type_slug: str = ""
    block_schema_id: str
    data: Mapping[str, str] = dataclasses.field(default_factory=dict[str, str])
    is_anonymous: bool = False
    data_unreadable: bool = False
    create_time: datetime
    update_time: datetime

    @property
    def full_name(self) -> str:
        """``type/name``, as people write it."""
        return f"{self.block_type_slug}/{self.name}"


@record
class LoadedBlock:
    """A block with all that it takes to make an object of it.

    Attributes:
        document: The block.
        references: The blocks that it refers to, at any depth, by id.
        schemas: The schemas of all these blocks, by id.
    """

    document: BlockDocument
    references: Mapping[str, BlockDocument] = dataclasses.field(
        default_factory=dict[str, BlockDocument]
    )
    schemas: Mapping[str, BlockSchema] = dataclasses.field(default_factory=dict[str, BlockSchema])


def reference(document_id: str) -> dict[str, Any]:
    """Return the value that stands for another block."""
    return {"$ref": {"block_document_id": document_id}}


def referenced_id(value: Any) -> str | None:
    """Return the id of the block that a value stands for; None if it stands for none."""
    if not isinstance(value, dict):
        return None
    target = cast("dict[str, Any]", value).get("$ref")
    if not isinstance(target, dict):
        return None
    found = cast("dict[str, Any]", target).get("block_document_id")
    return found if isinstance(found, str) else None


def find_references(value: Any) -> Iterator[str]:
    """Yield the ids of all blocks that a value refers to, at any depth."""
    found = referenced_id(value)
    if found is not None:
        yield found
    elif isinstance(value, dict):
        for part in cast("dict[str, Any]", value).values():
            yield from find_references(part)
    elif isinstance(value, list):
        for part in cast("list[Any]", value):
            yield from find_references(part)


def secret_fields(fields: str) -> tuple[str, ...]:
    """Return the paths of secrets that a schema names; a schema that says it badly has none."""
    try:
        document: Any = json.loads(fields)
    except ValueError:
        return ()
    known = cast("dict[str, Any]", document if isinstance(document, dict) else {})
    listed = known.get("secret_fields")
    paths = cast("list[Any]", listed if isinstance(listed, list) else [])
    return tuple(path for path in paths if isinstance(path, str))


__all__ = [
    "MASK",
    "NO_VERSION",
    "BlockDocument",
    "BlockSchema",
    "BlockType",
    "LoadedBlock",
    "find_references",
    "reference",
    "referenced_id",
    "secret_fields",
]
