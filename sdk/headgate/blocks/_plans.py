"""What blocks ask of the server, described once for those who wait and those who await."""

from __future__ import annotations

import contextlib
import uuid
from typing import TYPE_CHECKING, Any, TypeVar, cast

import pydantic

from headgate._validation import explain
from headgate.blocks import _events, _registry, _schemas, _values
from headgate.core import blocks, errors, ids

if TYPE_CHECKING:
    from headgate.blocks.core import Block
    from headgate.client.orchestration import HeadgateClient, SyncHeadgateClient
    from headgate.client.rpc import Steps

__all__ = ["arun", "delete", "load", "load_from_ref", "register", "run", "save"]

T = TypeVar("T")
BlockT = TypeVar("BlockT", bound="Block")


def run(steps: Steps[T], client: SyncHeadgateClient | None = None) -> T:
    """Carry out calls with a client, or one of its own; blocks."""
    if client is not None:
        _check_client(client, "get_client(sync_client=True)")
        return client.carry(steps)
    from headgate.client import orchestration  # loads grpc

    with orchestration.get_client(sync_client=True) as opened:
        return opened.carry(steps)


def _check_client(client: object, opener: str) -> None:
    if not hasattr(client, "carry"):
        msg = f"client is {client!r}; use what `with {opener}` opens, or leave it away."
        raise errors.OptionTypeError(msg)


async def arun(steps: Steps[T], client: HeadgateClient | None = None) -> T:
    """Carry out calls with a client, or one of its own; to be awaited."""
    if client is not None:
        _check_client(client, "get_client()")
        return await client.carry(steps)
    from headgate.client import orchestration  # loads grpc

    async with orchestration.get_client() as opened:
        return await opened.carry(steps)


def load(kind: type[BlockT], name: str, *, validate: bool) -> Steps[BlockT]:
    """Load a block by name."""
    from headgate.client.calls import blocks as calls

    slug, name = _full_name(kind, name)
    try:
        loaded = yield from calls.read_block_document_by_name(name, slug)
    except errors.NotFound as error:
        msg = (
            f"There is no block {name!r} of the type {slug!r}; save one under that name, or list "
            "what there is with `headgate block ls`."
        )
        raise errors.BlockNotFoundError(msg) from error
    return _make(kind, loaded, validate=validate)


def load_from_ref(kind: type[BlockT], ref: Any, *, validate: bool) -> Steps[BlockT]:
    """Load a block by a reference."""
    from headgate.client.calls import blocks as calls

    document_id, full_name = _parse_reference(ref)
    if full_name:
        slug, _, name = full_name.partition("/")
        loaded: blocks.LoadedBlock | None = None
        with contextlib.suppress(errors.NotFound):
            loaded = yield from calls.read_block_document_by_name(name, slug)
    else:
        loaded = None
        with contextlib.suppress(errors.NotFound):
            loaded = yield from calls.read_block_document(document_id)
    if loaded is None:
        msg = f"There is no block {full_name or document_id!r}, which a reference means; save it."
        raise errors.BlockNotFoundError(msg)
    return _make(kind, loaded, validate=validate)


def register(kind: type[Block], within: tuple[type, ...] = ()) -> Steps[str]:
    """Register a class and the classes of the blocks within; return the id of its schema."""
    from headgate.client.calls import blocks as calls
    from headgate.codec.times import EPOCH

    if _registry.is_interface(kind):
        msg = (
            f"{kind.__name__} is no block but what blocks have in common; register a class that "
            "inherits from it."
        )
        raise errors.InvalidBlockRegistration(msg)
    for nested in _schemas.nested_block_classes(kind):
        if nested not in (kind, *within) and not _registry.is_interface(nested):
            yield from register(nested, (*within, kind))
    fields = kind.model_json_schema()
    block_type = blocks.BlockType(
        slug=kind.get_block_type_slug(),
        name=kind.get_block_type_name(),
        logo_url=str(_attribute(kind, "_logo_url") or ""),
        documentation_url=str(_attribute(kind, "_documentation_url") or ""),
        description=kind.get_description() or "",
        code_example=kind.get_code_example(),
        create_time=EPOCH,
        update_time=EPOCH,
    )
    schema = blocks.BlockSchema(
        checksum=_schemas.checksum(fields),
        block_type_slug=block_type.slug,
        fields=_json(fields),
        capabilities=tuple(sorted(kind.get_block_capabilities())),
        version=kind.get_block_schema_version(),
        create_time=EPOCH,
    )
    stored_type, stored_schemas = yield from calls.register_block_type(block_type, [schema])
    setattr(kind, "_block_type_id", stored_type.id)  # noqa: B010 - private, and ours
    setattr(kind, "_block_schema_id", stored_schemas[0].id)  # noqa: B010 - as above
    return stored_schemas[0].id


def save(block: Block, name: str | None, *, overwrite: bool) -> Steps[str]:
    """Save a block; return its id."""
    from headgate.client.calls import blocks as calls

    kind = type(block)
    name = name or cast("str | None", _attribute(block, "_block_document_name"))
    if not name:
        msg = f"The {kind.__name__} cannot be saved without a name; call save('a-name')."
        raise errors.BlockError(msg)
    data = _values.data_of(block)
    schema_id = yield from register(kind)
    try:
        document = yield from calls.create_block_document(name, schema_id, data)
    except errors.AlreadyExists as error:
        slug = kind.get_block_type_slug()
        if not overwrite:
            msg = (
                f"There is a block {name!r} of the type {slug!r} already; choose another name, or "
                "replace that one with overwrite=True."
            )
            raise errors.BlockExistsError(msg) from error
        found = yield from calls.read_block_document_by_name(name, slug, include_secrets=False)
        document = yield from calls.update_block_document(
            found.document.id, data=data, schema_id=schema_id
        )
    _identify(block, document)
    return document.id


def delete(kind: type[Block], name: str) -> Steps[None]:
    """Delete a block by name."""
    from headgate.client.calls import blocks as calls

    slug, name = _full_name(kind, name)
    try:
        found = yield from calls.read_block_document_by_name(name, slug, include_secrets=False)
    except errors.NotFound as error:
        msg = f"There is no block {name!r} of the type {slug!r}, so it cannot be deleted."
        raise errors.BlockNotFoundError(msg) from error
    yield from calls.delete_block_document(found.document.id)


def _full_name(kind: type[Block], name: str) -> tuple[str, str]:
    """Return the slug of the type and the name."""
    given, slash, rest = name.partition("/")
    if kind.__name__ != "Block":
        slug = kind.get_block_type_slug()
        return (slug, rest) if slash and given == slug else (slug, name)
    if not (given and rest):
        msg = f"{name!r} does not say which type of block is meant; write type/name, e.g. secret/x."
        raise errors.BlockError(msg)
    return given, rest


def _parse_reference(ref: Any) -> tuple[str, str]:
    """Return the id, or ``type/name``, that a reference means."""
    if isinstance(ref, dict):
        known = cast("dict[str, Any]", ref)
        ref = known.get("block_document_id") or known.get("block_document_slug")
    text = str(ref) if isinstance(ref, (str, uuid.UUID)) else ""
    if ids.is_id(text.lower()):
        return text.lower(), ""
    if text.count("/") == 1 and not text.startswith("/") and not text.endswith("/"):
        return "", text
    msg = (
        f"{ref!r} is no reference to a block; give an id, 'type/name', or a dictionary with "
        "block_document_id or block_document_slug."
    )
    raise errors.BlockError(msg)


def _make(kind: type[BlockT], loaded: blocks.LoadedBlock, *, validate: bool) -> BlockT:
    document = loaded.document
    actual = cast("type[BlockT]", _actual_class(kind, document))
    values = _values.loaded_values(loaded)
    try:
        block = actual.model_validate(values)
    except pydantic.ValidationError as problem:
        if validate:
            wrong = explain(problem, "the block")
            msg = (
                f"Block {document.full_name!r} does not fit {actual.__name__}: "
                f"{wrong}. If the class has changed, load it with validate=False, put "
                "it right and save it with overwrite=True."
            )
            raise errors.BlockError(msg) from None
        required = (name for name, field in actual.model_fields.items() if field.is_required())
        block = actual.model_construct(None, **{**dict.fromkeys(required), **values})
    _identify(block, document)
    _events.loaded(block)
    return block


def _actual_class(kind: type[Block], document: blocks.BlockDocument) -> type[Block]:
    slug = document.block_type_slug
    if slug == kind.get_block_type_slug() and not _registry.is_interface(kind):
        return kind
    actual = _registry.find(slug)
    if not issubclass(actual, kind):
        msg = (
            f"Block {document.full_name!r} is a {actual.__name__}, not a {kind.__name__}; load it "
            f"with {actual.__name__}.load."
        )
        raise errors.BlockError(msg)
    return actual


def _identify(block: Block, document: blocks.BlockDocument) -> None:
    for name, value in (
        ("_block_document_id", document.id),
        ("_block_document_name", document.name),
        ("_is_anonymous", document.is_anonymous),
    ):
        setattr(block, name, value)


def _attribute(of: Any, name: str) -> Any:
    return getattr(of, name)


def _json(value: Any) -> str:
    import json

    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
