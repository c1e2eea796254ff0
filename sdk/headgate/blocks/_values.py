"""The data of a block: from its fields to JSON, and back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar, cast

import pydantic
import pydantic_core

from headgate.blocks import _registry
from headgate.core import blocks, errors

if TYPE_CHECKING:
    from headgate.blocks.core import Block

__all__ = ["data_of", "hydrate", "loaded_values"]

#: What data of a block within another one, or of a referenced one, have beside their fields.
TYPE_KEY = "block_type_slug"
ID_KEY = "_block_document_id"
NAME_KEY = "_block_document_name"
_ANONYMOUS_KEY = "_is_anonymous"
_IDENTITY = (ID_KEY, NAME_KEY, _ANONYMOUS_KEY)

BlockT = TypeVar("BlockT", bound="Block")
_SECRETS = (pydantic.Secret, pydantic.SecretStr, pydantic.SecretBytes)


def data_of(block: Block) -> dict[str, str]:
    """Return the data of a block, field to JSON text, secrets as they are.

    Raises:
        BlockError: A value has no JSON form.
    """
    try:
        values = _fields_of(block)
    except (pydantic_core.PydanticSerializationError, TypeError, UnicodeDecodeError) as problem:
        msg = (
            f"The {type(block).__name__} cannot be saved, for a value has no JSON form: {problem}; "
            "give it one with a field_serializer, or keep the value elsewhere."
        )
        raise errors.BlockError(msg) from problem
    return {
        name: json.dumps(value, ensure_ascii=False, separators=(",", ":"))
        for name, value in values.items()
    }


def loaded_values(loaded: blocks.LoadedBlock) -> dict[str, Any]:
    """Return the data of a loaded block as values, with those of the blocks it refers to within.

    What comes from another block carries who that is; ``hydrate`` makes a block of it.
    """
    values = _parsed(loaded.document)
    return {field: _resolved(value, loaded) for field, value in values.items()}


def hydrate(
    kind: type[BlockT], data: Any, handler: pydantic.ModelWrapValidatorHandler[BlockT]
) -> BlockT:
    """Make a block of what is given for one: its fields, or a reference to a saved one."""
    if not isinstance(data, dict):
        return handler(data)
    values = dict(cast("dict[str, Any]", data))
    if set(values) == {"$ref"}:
        return kind.load_from_ref(values["$ref"])
    slug = values.pop(TYPE_KEY, None)
    identity = {key: values.pop(key) for key in _IDENTITY if key in values}
    if slug is not None and (slug != kind.get_block_type_slug() or _registry.is_interface(kind)):
        actual = _registry.find(slug)
        if not issubclass(actual, kind):
            msg = f"a block of the type {slug!r} is no {kind.__name__}"
            raise ValueError(msg)
        return actual.model_validate({**values, **identity})
    block = handler(values)
    for key, value in identity.items():
        setattr(block, key, value)
    return block


def _parsed(document: blocks.BlockDocument) -> dict[str, Any]:
    return {field: json.loads(text) for field, text in document.data.items()}


def _resolved(value: Any, loaded: blocks.LoadedBlock) -> Any:
    document = loaded.references.get(blocks.referenced_id(value) or "")
    if document is not None:
        values = {field: _resolved(part, loaded) for field, part in _parsed(document).items()}
        return {
            **values,
            TYPE_KEY: document.block_type_slug,
            ID_KEY: document.id,
            NAME_KEY: document.name,
            _ANONYMOUS_KEY: document.is_anonymous,
        }
    if isinstance(value, dict):
        items = cast("dict[str, Any]", value).items()
        return {key: _resolved(part, loaded) for key, part in items}
    if isinstance(value, list):
        return [_resolved(part, loaded) for part in cast("list[Any]", value)]
    return value


def _fields_of(model: pydantic.BaseModel) -> dict[str, Any]:
    """Return the values of a model by alias, in JSON's types, secrets as they are."""
    fields = type(model).model_fields
    named = {name: getattr(model, name) for name in fields}
    # pydantic writes the rest as its fields say; a secret it would mask, a block spell out.
    ours = {name for name, value in named.items() if _is_ours(value)}
    values: dict[str, Any] = model.model_dump(
        mode="json", by_alias=True, include=set(fields) - ours, context={"include_secrets": True}
    )
    for name in fields:
        if name in ours:
            values[fields[name].alias or name] = _plain(named[name])
    return values


def _is_ours(value: Any) -> bool:
    """Say whether a value has secrets or blocks in it."""
    from headgate.blocks.core import Block

    if isinstance(value, (*_SECRETS, Block)):
        return True
    if isinstance(value, pydantic.BaseModel):
        return any(_is_ours(getattr(value, name)) for name in type(value).model_fields)
    if isinstance(value, Mapping):
        return any(_is_ours(part) for part in cast("Mapping[Any, Any]", value).values())
    if isinstance(value, (list, tuple, set, frozenset)):
        return any(_is_ours(part) for part in cast("list[Any]", value))
    return False


def _plain(value: Any) -> Any:
    from headgate.blocks.core import Block

    if isinstance(value, Block):
        document_id = value._block_document_id  # pyright: ignore[reportPrivateUsage]  # the name is that of the incumbent
        if document_id is not None:
            return blocks.reference(document_id)
        return {TYPE_KEY: value.get_block_type_slug(), **_fields_of(value)}
    if isinstance(value, _SECRETS):
        return _plain(cast("pydantic.Secret[Any]", value).get_secret_value())
    if isinstance(value, pydantic.BaseModel):
        return _fields_of(value)
    if isinstance(value, Mapping):
        items = cast("Mapping[Any, Any]", value).items()
        return {str(key): _plain(part) for key, part in items}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_plain(part) for part in cast("list[Any]", value)]
    return pydantic_core.to_jsonable_python(value)
