"""What is checked of blocks, and how an update by mask meets what is stored."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from headgate.core import blocks
from headgate_server.domain import block_data
from headgate_server.domain.checks import (
    JSON_CHARACTERS_MAX,
    NAME_CHARACTERS_MAX,
    Checks,
    parse_json,
)

SCHEMAS_MAX = 20
FIELDS_MAX = 500
CAPABILITIES_MAX = 100

_slug = re.compile(r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?").fullmatch
_checksum = re.compile(r"sha256:[0-9a-f]{64}").fullmatch
_DATA = "data"


def check_registration(
    checks: Checks, block_type: blocks.BlockType, schemas: Sequence[blocks.BlockSchema]
) -> None:
    """A type wants a slug and a name, each schema its checksum and an object for its fields."""
    check_slug(checks, "block_type.slug", block_type.slug)
    if not 0 < len(block_type.name.strip()) <= NAME_CHARACTERS_MAX:
        checks.add("block_type.name", f"A name has 1 to {NAME_CHARACTERS_MAX} characters.")
    for field in ("logo_url", "documentation_url", "description", "code_example"):
        checks.text(f"block_type.{field}", getattr(block_type, field))
    if len(schemas) > SCHEMAS_MAX:
        checks.add("block_schemas", f"{len(schemas)} are too many; at most {SCHEMAS_MAX} fit.")
        return
    for index, schema in enumerate(schemas):
        path = f"block_schemas[{index}]"
        _check_schema(checks, path, schema)
        if schema.block_type_slug != block_type.slug:
            checks.add(f"{path}.block_type_slug", f"It must be {block_type.slug!r}, as the type's.")


def _check_schema(checks: Checks, path: str, schema: blocks.BlockSchema) -> None:
    if _checksum(schema.checksum) is None:
        checks.add(f"{path}.checksum", "Write sha256: and 64 hexadecimal digits in lower case.")
    checks.text(f"{path}.version", schema.version, NAME_CHARACTERS_MAX)
    checks.text(f"{path}.fields", schema.fields, JSON_CHARACTERS_MAX)
    if not _is_object(schema.fields):
        checks.add(f"{path}.fields", "The fields are a JSON Schema, a JSON object as text.")
    if len(schema.capabilities) > CAPABILITIES_MAX:
        checks.add(f"{path}.capabilities", f"At most {CAPABILITIES_MAX} fit.")
    for index, capability in enumerate(schema.capabilities[:CAPABILITIES_MAX]):
        checks.text(f"{path}.capabilities[{index}]", capability, NAME_CHARACTERS_MAX)


def check_slug(checks: Checks, field: str, value: str) -> None:
    """Slugs and names of blocks go into paths and placeholders: few characters are allowed."""
    if len(value) > NAME_CHARACTERS_MAX or _slug(value) is None:
        checks.add(
            field,
            f"{value[:80]!r} is no name here; use lower-case letters, digits and dashes between "
            f"them, {NAME_CHARACTERS_MAX} at most.",
        )


def check_document(checks: Checks, document: blocks.BlockDocument) -> None:
    """A new block wants a name, unless it is anonymous, a schema, and data in JSON."""
    if not document.is_anonymous:
        check_slug(checks, "block_document.name", document.name)
    elif document.name:
        checks.add("block_document.name", "The server names anonymous blocks; leave it out.")
    checks.id("block_document.block_schema_id", document.block_schema_id)
    check_data(checks, document.data)


def check_data(checks: Checks, data: Mapping[str, str]) -> None:
    """Data are JSON texts, not too many and not nested too deeply."""
    path = "block_document.data"
    if len(data) > FIELDS_MAX:
        checks.add(path, f"{len(data)} fields are too many; at most {FIELDS_MAX} fit.")
        return
    checks.json_map(path, data)
    for field, text in data.items():
        checks.text(path, field, NAME_CHARACTERS_MAX)
        try:
            value = parse_json(text)
        except ValueError:
            continue  # json_map has said so
        _check_value(checks, f"{path}[{field!r}]", value)


def _check_value(checks: Checks, path: str, value: Any) -> None:
    if block_data.is_too_deep(value):
        checks.add(path, f"It is nested more than {block_data.DEPTH_MAX} levels deep; flatten it.")
        return
    checks.ids(f"{path}.$ref.block_document_id", blocks.find_references(value))


def check_mask(checks: Checks, mask: Sequence[str]) -> None:
    """A mask names ``data``, ``data.<field>`` or ``block_schema_id``."""
    if not mask:
        checks.add("update_mask", "Name the fields: data, data.<field>, block_schema_id.")
    for path in mask:
        if path not in (_DATA, "block_schema_id") and not path.startswith(f"{_DATA}."):
            checks.add(
                "update_mask",
                f"{path} cannot be changed; use data, data.<field> or block_schema_id.",
            )


def merge(
    given: Mapping[str, str], before: Mapping[str, str], mask: Sequence[str]
) -> dict[str, str]:
    """Return the data after an update; a field of the mask that is not given is removed."""
    if _DATA in mask:
        return dict(given)
    after = dict(before)
    for path in mask:
        head, _, field = path.partition(".")
        if head != _DATA:
            continue
        if field in given:
            after[field] = given[field]
        else:
            after.pop(field, None)
    return after


def replaces_all(
    given: Mapping[str, str], mask: Sequence[str], secret_fields: Iterable[str]
) -> bool:
    """Say whether an update needs nothing of what was stored: all data, no secret masked."""
    kept = block_data.unmask(given, {}, secret_fields)
    return _DATA in mask and not any(blocks.MASK in text for text in kept.values())


def _is_object(text: str) -> bool:
    try:
        return isinstance(parse_json(text), dict)
    except ValueError:
        return False


__all__ = [
    "CAPABILITIES_MAX",
    "FIELDS_MAX",
    "SCHEMAS_MAX",
    "check_data",
    "check_document",
    "check_mask",
    "check_registration",
    "check_slug",
    "merge",
    "replaces_all",
]
