"""Typed inputs: models of pydantic, or values of simple types in one."""

from __future__ import annotations

import datetime
import importlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Self, TypeVar, cast

import pydantic
import pydantic_core

from headgate._validation import explain
from headgate.core import errors, run_inputs

if TYPE_CHECKING:
    from headgate.input.receiving import areceive_input, receive_input
    from headgate.input.sending import asend_input, send_input

__all__ = [
    "AutomaticRunInput",
    "RunInput",
    "RunInputMetadata",
    "areceive_input",
    "asend_input",
    "input_type",
    "parsed",
    "receive_input",
    "send_input",
]

#: Where users of the incumbent import from here what is elsewhere.
_ELSEWHERE = {
    "areceive_input": "headgate.input.receiving",
    "asend_input": "headgate.input.sending",
    "receive_input": "headgate.input.receiving",
    "send_input": "headgate.input.sending",
}

T = TypeVar("T")

_SENDER = "headgate.flow-run/"


class RunInputMetadata(pydantic.BaseModel):
    """Where an input came from.

    Attributes:
        key: Its key in the flow run.
        sender: Who sent it, e.g. ``headgate.flow-run/<id>``; None: nobody who can be answered.
        receiver: UUID text of the flow run that received it.
    """

    key: str
    receiver: str
    sender: str | None = None
    create_time: datetime.datetime | None = None


class RunInput(pydantic.BaseModel):
    """What a flow run waits for, or is sent: derive from it.

    ::

        class Approval(RunInput):
            approved: bool
            reason: str = ""


        approval = pause_flow_run(wait_for_input=Approval)
    """

    model_config = pydantic.ConfigDict(extra="forbid")

    _description: ClassVar[str | None] = None
    _metadata: RunInputMetadata | None = pydantic.PrivateAttr(default=None)

    @property
    def metadata(self) -> RunInputMetadata:
        """Where it came from.

        Raises:
            MissingContextError: It was made here, and not received.
        """
        if self._metadata is None:
            msg = "This input was made here; only one that was received has metadata."
            raise errors.MissingContextError(msg)
        return self._metadata

    @classmethod
    def description(cls) -> str | None:
        """Return what people are told who are asked for it; Markdown."""
        return cls._description

    @classmethod
    def with_initial_data(cls, description: str | None = None, **initial_data: Any) -> type[Self]:
        """Return the type with other defaults, which people see who are asked for it.

        Args:
            description: What they are told; Markdown.
            **initial_data: Values of fields.

        Raises:
            InvalidArgument: There is no such field.
        """
        unknown = sorted(set(initial_data) - set(cls.model_fields))
        if unknown:
            raise errors.InvalidArgument.of(
                unknown[0],
                f"is no field of {cls.__name__}; it has {', '.join(cls.model_fields)}.",
            )
        fields: dict[str, Any] = {
            name: (cls.model_fields[name].annotation, value) for name, value in initial_data.items()
        }
        made = pydantic.create_model(cls.__name__, __base__=cls, **fields)
        if description is not None:
            made._description = description
        return made

    @classmethod
    def schema_text(cls) -> str:
        """Return the JSON Schema of it, as JSON text."""
        import json

        return json.dumps(cls.model_json_schema())

    def received(self, metadata: RunInputMetadata) -> Self:
        """Note where it came from; returns it."""
        self._metadata = metadata
        return self

    def respond(self, run_input: Any, key_prefix: str | None = None) -> None:
        """Send an input to the flow run that sent this one.

        Args:
            run_input: A model, or a value of a simple type.
            key_prefix: How its key begins. Default: by its type.

        Raises:
            InvalidArgument: Nobody who can be answered sent it.
        """
        from headgate.input import sending

        return sending.send_input(run_input, self._respondent(), key_prefix=key_prefix)

    async def arespond(self, run_input: Any, key_prefix: str | None = None) -> None:
        """Do what ``respond`` does, in a coroutine."""
        from headgate.input import sending

        await sending.asend_input(run_input, self._respondent(), key_prefix=key_prefix)

    def send_to(
        self, flow_run_id: Any, sender: str | None = None, key_prefix: str | None = None
    ) -> None:
        """Send it to a flow run; see ``send_input``."""
        from headgate.input import sending

        return sending.send_input(self, flow_run_id, sender=sender, key_prefix=key_prefix)

    async def asend_to(
        self, flow_run_id: Any, sender: str | None = None, key_prefix: str | None = None
    ) -> None:
        """Do what ``send_to`` does, in a coroutine."""
        from headgate.input import sending

        await sending.asend_input(self, flow_run_id, sender=sender, key_prefix=key_prefix)

    @classmethod
    def receive(cls, **options: Any) -> Any:
        """Receive inputs of this type; see ``receive_input``."""
        from headgate.input import receiving

        return receiving.receive_input(cls, **options)

    def _respondent(self) -> str:
        sender = self.metadata.sender
        if sender is None or not sender.startswith(_SENDER):
            raise errors.InvalidArgument.of(
                "sender", f"{sender!r} is no flow run, so nobody can be answered."
            )
        return sender.removeprefix(_SENDER)


class AutomaticRunInput(RunInput, Generic[T]):
    """An input of a type that is no model, such as ``str``.

    Attributes:
        value: What was sent.
    """

    value: T


def input_type(type_: Any) -> type[RunInput]:
    """Return the type of input for what users name: a ``RunInput``, another model, or any type.

    Raises:
        InvalidArgument: It is no type.
    """
    if isinstance(type_, type) and issubclass(type_, RunInput):
        return type_
    if isinstance(type_, type) and issubclass(type_, pydantic.BaseModel):
        made = type(f"{type_.__name__}RunInput", (RunInput, type_), {"__module__": __name__})
        return cast("type[RunInput]", made)
    wanted = cast("Any", type_)
    name = str(getattr(wanted, "__name__", wanted))
    try:
        return pydantic.create_model(
            f"{name.capitalize()}Input", __base__=AutomaticRunInput, value=(wanted, ...)
        )
    except Exception:  # pydantic raises anything of what is no type
        raise errors.InvalidArgument.of(
            "wait_for_input", f"is {type_!r}; use a model, or a type such as str."
        ) from None


def key_prefix(type_: type[RunInput]) -> str:
    """Return how the keys of messages of a type begin."""
    return f"message-{type_.__name__.lower()}"


def sender_of(flow_run_id: str) -> str:
    """Return how a flow run names itself as a sender."""
    return f"{_SENDER}{flow_run_id}"


def parsed(type_: type[RunInput], stored: run_inputs.RunInput) -> RunInput:
    """Make an input of what was stored.

    Raises:
        ParameterTypeError: It does not fit the type.
    """
    try:
        made = type_.model_validate_json(stored.value)
    except pydantic.ValidationError as problem:
        wrong = explain(problem, "the input")
        msg = f"The input {stored.key!r} is no {type_.__name__}: {wrong}."
        raise errors.ParameterTypeError(msg) from None
    return made.received(
        RunInputMetadata(
            key=stored.key,
            receiver=stored.flow_run_id,
            sender=stored.sender,
            create_time=stored.create_time,
        )
    )


def shown(run_input: RunInput) -> Any:
    """Return what users see of an input: the value, where its type is no model of theirs."""
    return cast("Any", run_input).value if isinstance(run_input, AutomaticRunInput) else run_input


def as_input(value: Any) -> RunInput:
    """Return a value as an input to send.

    Raises:
        ParameterTypeError: It cannot be one.
    """
    try:
        return _as_input(value)
    except pydantic.ValidationError as problem:
        msg = f"{value!r} cannot be sent as an input: {explain(problem, 'the input')}."
        raise errors.ParameterTypeError(msg) from None
    except errors.InvalidArgument:
        msg = f"{value!r} cannot be sent as an input: it has no JSON form; send plain values."
        raise errors.ParameterTypeError(msg) from None


def as_json(made: RunInput) -> str:
    """Return what is sent of an input.

    Raises:
        ParameterTypeError: It has no JSON form.
    """
    try:
        return made.model_dump_json()
    except pydantic_core.PydanticSerializationError as problem:
        msg = f"The input {shown(made)!r} has no JSON form ({problem}); send plain values."
        raise errors.ParameterTypeError(msg) from None


def _as_input(value: Any) -> RunInput:
    if isinstance(value, RunInput):
        return value
    if isinstance(value, pydantic.BaseModel):
        return input_type(type(value)).model_validate(value.model_dump())
    if isinstance(value, Mapping):
        return input_type(dict[str, Any]).model_validate({"value": value})
    return input_type(type(value)).model_validate({"value": value})


def __getattr__(name: str) -> Any:
    home = _ELSEWHERE.get(name)
    if home is None:
        msg = f"module 'headgate.input.run_input' has no attribute {name!r}"
        raise AttributeError(msg)
    return getattr(importlib.import_module(home), name)
