"""The schemas of blocks: which fields are secret, which are blocks, and their checksum."""

from __future__ import annotations

import hashlib
import inspect
import json
import types
import typing
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, cast

import pydantic

if TYPE_CHECKING:
    from headgate.blocks.core import Block

__all__ = [
    "REFERENCE",
    "checksum",
    "describe",
    "is_block_class",
    "nested_block_classes",
    "with_definitions",
]

REFERENCE = "#/definitions/{model}"
_SECRETS = "secret_fields"
_CONTAINERS = (list, dict, tuple, set, frozenset, typing.Union, types.UnionType)


def describe(schema: dict[str, Any], kind: type[pydantic.BaseModel]) -> None:
    """Add to a JSON Schema what blocks have more: pydantic calls it for each class of blocks."""
    block = cast("type[Block]", kind)
    schema["block_type_slug"] = block.get_block_type_slug()
    description = block.get_description()
    if description:
        schema["description"] = description
    else:
        schema.pop("description", None)
    schema[_SECRETS] = list(_secret_fields(kind))
    schema["block_schema_references"] = _references(kind)


def with_definitions(document: dict[str, Any]) -> dict[str, Any]:
    """Return a schema with its definitions under the name that parameter schemas have, too."""
    definitions = document.pop("$defs", None)
    if definitions:
        document["definitions"] = definitions
    return document


def checksum(schema: dict[str, Any]) -> str:
    """Return the checksum of a schema: the same for the same fields, in whatever order."""
    text = json.dumps(_without_secrets(schema), sort_keys=True, separators=(",", ":"))
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def is_block_class(kind: Any) -> bool:
    """Say whether something is a class of blocks."""
    from headgate.blocks import core  # which imports this module

    return (
        inspect.isclass(kind) and typing.get_origin(kind) is None and issubclass(kind, core.Block)
    )


def nested_block_classes(kind: type[pydantic.BaseModel]) -> list[type[Block]]:
    """Return the classes of blocks that the fields of a class may hold, each once."""
    found: dict[type[Block], None] = {}
    for field in kind.model_fields.values():
        for part in _leaves(field.annotation):
            if is_block_class(part):
                found[part] = None
            elif _is_model(part) and part is not kind:
                found.update(dict.fromkeys(nested_block_classes(part)))
    return list(found)


def _without_secrets(value: Any) -> Any:
    if isinstance(value, dict):
        items = cast("dict[str, Any]", value).items()
        return {key: _without_secrets(part) for key, part in items if key != _SECRETS}
    if isinstance(value, list):
        return [_without_secrets(part) for part in cast("list[Any]", value)]
    return value


def _leaves(annotation: Any) -> Iterator[Any]:
    """Yield the types that a value of an annotation may be made of."""
    if typing.get_origin(annotation) is typing.Annotated:
        yield from _leaves(typing.get_args(annotation)[0])
    elif typing.get_origin(annotation) in _CONTAINERS:
        for argument in typing.get_args(annotation):
            yield from _leaves(argument)
    else:
        yield annotation


def _secret_fields(kind: type[pydantic.BaseModel], within: tuple[type, ...] = ()) -> Iterator[str]:
    for name, field in kind.model_fields.items():
        key = field.alias or name
        found = dict.fromkeys(
            path
            for part in _leaves(field.annotation)
            for path in _secrets_of(key, part, (*within, kind))
        )
        # Where all of it is a secret, what is within need not be named.
        yield from [key] if key in found else found


def _secrets_of(key: str, part: Any, within: tuple[type, ...]) -> Iterator[str]:
    from headgate.types import SecretDict

    if part is SecretDict:
        yield f"{key}.*"
    elif _is_secret(part):
        yield key
    elif _is_model(part) and part not in within:
        for path in _secret_fields(part, within):
            yield f"{key}.{path}"


def _is_secret(part: Any) -> bool:
    kind = typing.get_origin(part) or part
    return inspect.isclass(kind) and issubclass(
        kind, (pydantic.Secret, pydantic.SecretStr, pydantic.SecretBytes)
    )


def _is_model(part: Any) -> bool:
    return (
        inspect.isclass(part)
        and typing.get_origin(part) is None
        and issubclass(part, pydantic.BaseModel)
    )


def _references(kind: type[pydantic.BaseModel]) -> dict[str, Any]:
    references: dict[str, Any] = {}
    for name, field in kind.model_fields.items():
        found = [
            {"block_type_slug": part.get_block_type_slug()}
            for part in dict.fromkeys(_leaves(field.annotation))
            if is_block_class(part)
        ]
        if found:
            references[field.alias or name] = found[0] if len(found) == 1 else found
    return references
