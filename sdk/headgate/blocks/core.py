"""The base class of blocks.

A block is a pydantic model whose data can be saved on the server under a name, secrets encrypted,
and loaded again anywhere::

    class Warehouse(Block):
        url: str
        password: SecretStr

        def query(self, statement: str) -> list[Row]: ...


    Warehouse(url=..., password=...).save("main")
    rows = Warehouse.load("main").query("select 1")

All that calls the server exists twice: ``load`` blocks, ``aload`` is awaited.
"""

from __future__ import annotations

import inspect
import typing
import uuid
from abc import ABC
from collections.abc import Generator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Self, cast

import pydantic

from headgate._explaining import explained
from headgate._validation import explain
from headgate.blocks import _plans, _registry, _schemas, _texts, _values
from headgate.blocks._awaitable import DONE, Done, Text
from headgate.core.blocks import reference
from headgate.core.errors import (
    BlockError,
    BlockExistsError,
    BlockNotFoundError,
    BlockNotSavedError,
    InvalidBlockRegistration,
    UnknownBlockType,
)

if TYPE_CHECKING:
    from headgate.client.orchestration import HeadgateClient, SyncHeadgateClient
    from headgate.core.blocks import BlockSchema

__all__ = [
    "Block",
    "BlockError",
    "BlockExistsError",
    "BlockNotFoundError",
    "BlockNotSavedError",
    "InvalidBlockRegistration",
    "UnknownBlockType",
]


#: Modules that make blocks of data.
_MAKERS = ("pydantic.", "headgate.blocks.")
_SECRETS = (pydantic.SecretStr, pydantic.SecretBytes, pydantic.Secret)
_AS_REFERENCES = {"blocks": "references"}


class Block(pydantic.BaseModel, ABC):
    """Configuration with methods, which can be saved under a name.

    A subclass has fields as any pydantic model; ``block_initialization`` is called when one has
    been made. Fields of the types ``SecretStr``, ``SecretBytes``, ``Secret`` and ``SecretDict`` are
    masked wherever the block is shown.
    """

    model_config: ClassVar[pydantic.ConfigDict] = pydantic.ConfigDict(
        extra="allow", json_schema_extra=_schemas.describe
    )

    #: The name of the type for people. Default: that of the class.
    _block_type_name: ClassVar[str | None] = None
    #: The name of the type in paths. Default: made of the name for people.
    _block_type_slug: ClassVar[str | None] = None
    _logo_url: ClassVar[str | None] = None
    _documentation_url: ClassVar[str | None] = None
    #: Default: the first paragraph of the docstring.
    _description: ClassVar[str | None] = None
    #: Default: the example of the docstring, else one that loads the block.
    _code_example: ClassVar[str | None] = None
    #: What blocks of this class can do, beside what those of its bases can.
    _block_schema_capabilities: ClassVar[list[str] | None] = None
    #: Default: the version of the package that the class is in.
    _block_schema_version: ClassVar[str | None] = None
    #: The schema as it was last registered by this process.
    _block_schema_id: ClassVar[str | None] = None
    _block_type_id: ClassVar[str | None] = None

    _block_document_id: str | None = pydantic.PrivateAttr(None)
    _block_document_name: str | None = pydantic.PrivateAttr(None)
    _is_anonymous: bool | None = pydantic.PrivateAttr(None)

    def __init__(self, /, **data: Any) -> None:
        """Make a block of its fields.

        Raises:
            BlockError: Fields are missing or wrong; they are named.
        """
        try:
            super().__init__(**data)
        except pydantic.ValidationError as problem:
            # One within a model, or that is loaded, is made by pydantic, which says of its errors
            # where in the whole they are.
            here = inspect.currentframe()
            caller = None if here is None else here.f_back
            if caller is not None and caller.f_globals["__name__"].startswith(_MAKERS):
                raise
            error = _misfit(type(self), data, problem)
            try:
                raise error from problem
            except BlockError:
                from headgate.logging import tracebacks  # only who errs pays

                tracebacks.trim(error)
                raise
        self.block_initialization()

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        """Let blocks of this class be found by the slug of their type."""
        super().__pydantic_init_subclass__(**kwargs)
        _registry.add(cls)

    def __await__(self) -> Generator[Any, Any, Self]:
        """Return the block itself.

        So ``await Block.load(...)``, as async flows of the incumbent say it, works too.
        """
        yield from ()
        return self

    def __str__(self) -> str:
        """Show the fields, secrets masked."""
        return repr(self)

    def block_initialization(self) -> None:
        """Prepare a block that was just made; does nothing unless a subclass says so."""

    @pydantic.model_validator(mode="wrap")
    @classmethod
    def _hydrate(cls, data: Any, handler: pydantic.ModelWrapValidatorHandler[Self]) -> Self:
        return _values.hydrate(cls, data, handler)

    @pydantic.model_serializer(mode="wrap")
    def _serialize(
        self, handler: pydantic.SerializerFunctionWrapHandler, info: pydantic.SerializationInfo
    ) -> Any:
        # Parameters of runs name a saved block; others want to see its fields.
        if self._block_document_id is not None and info.context == _AS_REFERENCES:
            return reference(self._block_document_id)
        return self._revealed(handler(self), info)

    def _revealed(self, fields: dict[str, Any], info: pydantic.SerializationInfo) -> dict[str, Any]:
        """Show secrets to who asks for them: ``model_dump(context={"include_secrets": True})``."""
        context: Any = info.context
        asked = isinstance(context, Mapping) and "include_secrets" in context
        if not asked or not cast("Mapping[str, Any]", context)["include_secrets"]:
            return fields
        for name, value in fields.items():
            secret = getattr(self, name, value)
            if isinstance(secret, _SECRETS) and value is not None:
                fields[name] = secret.get_secret_value()
        return fields

    # --- What it is -------------------------------------------------------------------------

    @classmethod
    def get_block_type_name(cls) -> str:
        """Return the name of the type for people."""
        return cls._block_type_name or cls.__name__

    @classmethod
    def get_block_type_slug(cls) -> str:
        """Return the name of the type in paths, e.g. ``slack-webhook``."""
        return _texts.slug(cls._block_type_slug or cls.get_block_type_name())

    @classmethod
    def get_block_capabilities(cls) -> frozenset[str]:
        """Return what blocks of this class and its bases can do, e.g. ``read-path``."""
        listed = (vars(base).get("_block_schema_capabilities") or () for base in cls.__mro__)
        return frozenset(capability for capabilities in listed for capability in capabilities)

    @classmethod
    def get_block_schema_version(cls) -> str:
        """Return the version of the schema: of the class, else of its package."""
        return cls._block_schema_version or _texts.package_version(cls)

    @classmethod
    def get_description(cls) -> str | None:
        """Return what the block is: as the class says it, else as its docstring does."""
        return cls._description if cls._description is not None else _texts.description(cls)

    @classmethod
    def get_code_example(cls) -> str:
        """Return how it is used: as the class or its docstring say, else by loading it."""
        return _texts.code_example(cls, cls._code_example)

    @classmethod
    def model_json_schema(
        cls, *arguments: Any, ref_template: str = _schemas.REFERENCE, **options: Any
    ) -> dict[str, Any]:
        """Return the JSON Schema of the fields, with what blocks add to it."""
        document = super().model_json_schema(*arguments, ref_template=ref_template, **options)
        return _schemas.with_definitions(document)

    @classmethod
    def is_block_class(cls, block: Any) -> bool:
        """Say whether something is a class of blocks."""
        return _schemas.is_block_class(block)

    @classmethod
    def annotation_refers_to_block_class(cls, annotation: Any) -> bool:
        """Say whether an annotation is a class of blocks, or a union that has one."""
        return cls.is_block_class(annotation) or any(
            cls.is_block_class(argument) for argument in typing.get_args(annotation)
        )

    @classmethod
    def get_block_class_from_schema(cls, schema: BlockSchema) -> type[Block]:
        """Return the class of the blocks of a schema.

        Raises:
            UnknownBlockType: No class of this process is of that type.
        """
        return cls.get_block_class_from_key(schema.block_type_slug)

    @classmethod
    def get_block_class_from_key(cls, key: str) -> type[Block]:
        """Return the class of the blocks of a type, by its slug.

        Raises:
            UnknownBlockType: No class of this process is of that type.
        """
        return _registry.find(key)

    def get_block_placeholder(self) -> str:
        """Return the text that stands for the block in templates.

        Raises:
            BlockNotSavedError: It has no name yet.
        """
        if not self._block_document_name:
            msg = (
                f"This {type(self).__name__} has no placeholder, for it is not saved; call its "
                "save('a-name') first."
            )
            raise BlockNotSavedError(msg)
        return f"headgate.blocks.{self.get_block_type_slug()}.{self._block_document_name}"

    # --- Loading ----------------------------------------------------------------------------

    @classmethod
    @explained
    def load(
        cls, name: str, validate: bool = True, client: SyncHeadgateClient | None = None
    ) -> Self:
        """Load a saved block.

        Args:
            name: Its name; on ``Block`` itself ``type/name``, e.g. ``secret/api-key``.
            validate: Whether data that do not fit the fields are an error. Without, what is missing
                is None, so that a block can be mended after its class has changed.
            client: A client that is open. Default: one of its own.

        Raises:
            BlockNotFoundError: There is no such block.
            BlockError: Its data do not fit the fields.
        """
        return _plans.run(_plans.load(cls, name, validate=validate), client)

    @classmethod
    @explained
    async def aload(
        cls, name: str, validate: bool = True, client: HeadgateClient | None = None
    ) -> Self:
        """Load a saved block; see ``load``."""
        return await _plans.arun(_plans.load(cls, name, validate=validate), client)

    @classmethod
    @explained
    def load_from_ref(
        cls,
        ref: str | uuid.UUID | dict[str, Any],
        validate: bool = True,
        client: SyncHeadgateClient | None = None,
    ) -> Self:
        """Load a saved block by a reference.

        Args:
            ref: Its id, ``type/name``, or a dictionary with ``block_document_id`` or
                ``block_document_slug``.
            validate: As in ``load``.
            client: As in ``load``.

        Raises:
            BlockNotFoundError: There is no such block.
            BlockError: It is no reference, or the data do not fit the fields.
        """
        return _plans.run(_plans.load_from_ref(cls, ref, validate=validate), client)

    @classmethod
    @explained
    async def aload_from_ref(
        cls,
        ref: str | uuid.UUID | dict[str, Any],
        validate: bool = True,
        client: HeadgateClient | None = None,
    ) -> Self:
        """Load a saved block by a reference; see ``load_from_ref``."""
        return await _plans.arun(_plans.load_from_ref(cls, ref, validate=validate), client)

    # --- Saving -----------------------------------------------------------------------------

    @classmethod
    def register_type_and_schema(cls, client: SyncHeadgateClient | None = None) -> Done:
        """Tell the server about this class, and the classes of the blocks within.

        Saving does so by itself. What the server knows already stays.

        Raises:
            InvalidBlockRegistration: The class is ``Block`` or an interface.
        """
        _plans.run(_plans.register(cls), client)
        return DONE

    @classmethod
    async def aregister_type_and_schema(cls, client: HeadgateClient | None = None) -> None:
        """Tell the server about this class; see ``register_type_and_schema``."""
        await _plans.arun(_plans.register(cls), client)

    @explained
    def save(
        self,
        name: str | None = None,
        overwrite: bool = False,
        client: SyncHeadgateClient | None = None,
    ) -> Text:
        """Save the block under a name.

        Args:
            name: Lower-case letters, digits and dashes. Default: the name that it was loaded or
                saved under.
            overwrite: Whether a block of this name is replaced.
            client: A client that is open. Default: one of its own.

        Returns:
            The id of the saved block.

        Raises:
            BlockExistsError: There is one of this name, and it was not to be overwritten.
            BlockError: It has no name, or data without a JSON form.
            InvalidArgument: The name has characters that are not allowed.
        """
        return Text(_plans.run(_plans.save(self, name, overwrite=overwrite), client))

    @explained
    async def asave(
        self,
        name: str | None = None,
        overwrite: bool = False,
        client: HeadgateClient | None = None,
    ) -> str:
        """Save the block under a name; see ``save``."""
        return await _plans.arun(_plans.save(self, name, overwrite=overwrite), client)

    @classmethod
    @explained
    def delete(cls, name: str, client: SyncHeadgateClient | None = None) -> Done:
        """Delete a saved block.

        Args:
            name: Its name; on ``Block`` itself ``type/name``.
            client: A client that is open. Default: one of its own.

        Raises:
            BlockNotFoundError: There is no such block.
            FailedPrecondition: Other blocks refer to it.
        """
        _plans.run(_plans.delete(cls, name), client)
        return DONE

    @classmethod
    @explained
    async def adelete(cls, name: str, client: HeadgateClient | None = None) -> None:
        """Delete a saved block; see ``delete``."""
        await _plans.arun(_plans.delete(cls, name), client)


def _misfit(
    kind: type[Block], given: dict[str, Any], problem: pydantic.ValidationError
) -> BlockError:
    wrong = explain(problem, "the block", given)
    return BlockError(f"A {kind.__name__} cannot be made of this: {wrong}.")
