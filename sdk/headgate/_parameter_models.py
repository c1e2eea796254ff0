"""Validation and JSON forms by pydantic, for ``headgate.parameters``; loaded when needed."""

from __future__ import annotations

import dataclasses
import inspect
import json
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, Any, cast

import pydantic
import pydantic_core
from pydantic.fields import FieldInfo

from headgate.core import errors, ids

__all__ = ["json_text", "masked", "model", "validate"]

_Kind = inspect._ParameterKind  # pyright: ignore[reportPrivateUsage]  # the enum has no other name
_EMPTY = inspect.Parameter.empty
# Classes that pydantic does not know are checked by isinstance; a field may have any name, for
# the model's own attributes are p0, p1, ... and the parameters' names are their aliases.
_CONFIG = pydantic.ConfigDict(arbitrary_types_allowed=True, title="Parameters")
#: What an annotation is that says nothing of the kind.
_VALUES = (int, float, complex, bytes, list, dict, set, tuple)


def model(
    fn: Callable[..., Any], signature: inspect.Signature, annotations: Mapping[str, Any]
) -> type[pydantic.BaseModel]:
    """Make the model of the parameters of a function.

    Raises:
        SignatureMismatchError: pydantic cannot make sense of an annotation.
    """
    fields: dict[str, Any] = {}
    for index, (name, parameter) in enumerate(signature.parameters.items()):
        annotation = _modern(_meaning(fn, name, annotations.get(name, Any)))
        if isinstance(parameter.default, FieldInfo):
            annotation = Annotated[annotation, *_constraints(parameter.default)]
        if parameter.kind is _Kind.VAR_POSITIONAL:
            annotation = tuple[annotation, ...]
        elif parameter.kind is _Kind.VAR_KEYWORD:
            annotation = dict[str, annotation]
        fields[f"p{index}"] = (annotation, _field(name, parameter))
    try:
        return pydantic.create_model("Parameters", __config__=_CONFIG, **fields)
    except (pydantic.errors.PydanticUserError, TypeError) as problem:
        msg = (
            f"The annotations of {getattr(fn, '__name__', fn)!r} cannot be validated: "
            f"{str(problem).splitlines()[0]}; change them, or pass validate_parameters=False."
        )
        raise errors.SignatureMismatchError(msg) from problem


def _constraints(given: FieldInfo) -> tuple[Any, ...]:
    """Return what ``Field(default=3, ge=0, description=...)`` says, but for the default."""
    told = pydantic.Field(description=given.description, examples=given.examples)
    return (*given.metadata, told)


def _meaning(fn: Callable[..., Any], name: str, annotation: Any) -> Any:
    """Return an annotation; in the place of a value that is no type, ``Any``."""
    if not isinstance(annotation, _VALUES):
        return annotation
    code = getattr(inspect.unwrap(fn), "__code__", None)
    warnings.warn_explicit(
        f"The annotation of parameter {name!r} of {getattr(fn, '__name__', fn)!r} is "
        f"{annotation!r}, which is no type, so anything is taken; annotate it with a type, such "
        f"as {type(cast('object', annotation)).__name__}.",
        UserWarning,
        code.co_filename if code is not None else __name__,
        code.co_firstlineno if code is not None else 1,
    )
    return Any


def _modern(annotation: Any) -> Any:
    """Let a model of pydantic 1, which its successor does not know, validate by itself."""
    if not _is_v1_model(annotation):
        return annotation

    def check(value: Any) -> Any:
        # What it raises is a ValueError, as validators may.
        return value if isinstance(value, annotation) else annotation.parse_obj(value)

    described = annotation.schema(ref_template="#/definitions/{model}")
    return Annotated[Any, pydantic.PlainValidator(check), pydantic.WithJsonSchema(described)]


def _is_v1_model(kind: Any) -> bool:
    return (
        inspect.isclass(kind)
        and not issubclass(kind, pydantic.BaseModel)
        and hasattr(kind, "__get_validators__")
        and hasattr(kind, "parse_obj")
    )


def _plain_v1(value: Any) -> Any:
    """Return the JSON form of a model of pydantic 1."""
    if not _is_v1_model(type(value)):
        msg = f"Unable to serialize unknown type: {type(value)}"
        raise pydantic_core.PydanticSerializationError(msg)
    return json.loads(value.json())


def _field(name: str, parameter: inspect.Parameter) -> Any:
    given = parameter.default
    if isinstance(given, FieldInfo):
        # What it says of the values is with the annotation.
        title = given.title or name
        if given.is_required():
            return pydantic.Field(alias=name, title=title)
        default = given.get_default(call_default_factory=True, validated_data={})
        return pydantic.Field(default=default, alias=name, title=title)
    if parameter.default is not _EMPTY:
        return pydantic.Field(default=parameter.default, alias=name, title=name)
    if parameter.kind is _Kind.VAR_POSITIONAL:
        return pydantic.Field(default=(), alias=name, title=name)
    if parameter.kind is _Kind.VAR_KEYWORD:
        return pydantic.Field(default_factory=dict[str, Any], alias=name, title=name)
    return pydantic.Field(alias=name, title=name)


def validate(
    made: type[pydantic.BaseModel], parameters: Mapping[str, Any], what: str
) -> dict[str, Any]:
    """Validate and coerce parameters by their model.

    Raises:
        ParameterTypeError: Values do not fit; all of them are named.
    """
    try:
        instance = made.model_validate(_with_blocks(made, parameters))
    except pydantic.ValidationError as problem:
        raise errors.ParameterTypeError(_explain(problem, what)) from None
    values = instance.__dict__
    by_alias = {field.alias: values[key] for key, field in made.model_fields.items()}
    return {name: by_alias[name] for name in parameters}


def _with_blocks(made: type[pydantic.BaseModel], parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Load the saved blocks that values stand for; annotated ones do so by themselves."""
    values = dict(parameters)
    for field in made.model_fields.values():
        name = field.alias or ""
        target = _referenced(values.get(name)) if field.annotation is Any else None
        if target is not None:
            from headgate.blocks.core import Block  # only where there is one

            values[name] = Block.load_from_ref(target)
    return values


def _referenced(value: Any) -> Any:
    """Return what a value says of the saved block it stands for; None if it stands for none."""
    known = cast("dict[str, Any]", value if isinstance(value, dict) else {})
    target = known.get("$ref") if len(known) == 1 else None
    if isinstance(target, str):
        return target if ids.is_id(target) else None
    parts = cast("dict[str, Any]", target if isinstance(target, dict) else {})
    return parts if {"block_document_id", "block_document_slug"} & set(parts) else None


def _explain(problem: pydantic.ValidationError, what: str) -> str:
    lines = [f"{problem.error_count()} validation error(s) in the parameters of {what}:"]
    for error in problem.errors(include_url=False, include_context=False):
        place = ".".join(str(part) for part in error["loc"])
        given = repr(error["input"])
        if len(given) > 200:
            given = given[:200] + "..."
        lines.append(f"  {place}: {error['msg']} (given {given})")
    return "\n".join(lines)


def masked(value: Any) -> str | None:
    """Say which secret is in a value; None if there is none.

    Args:
        value: What has a JSON form, and so does not lead back to itself.
    """
    if isinstance(value, (pydantic.Secret, pydantic.SecretStr, pydantic.SecretBytes)) or (
        type(value).__module__.startswith("pydantic.v1") and hasattr(value, "get_secret_value")
    ):
        return (
            f"a {_kind(value)} is sent as {'*' * 10} only; save it, as in "
            "Secret(value=...).save('a-name') of headgate.blocks.system, and pass that block."
        )
    if isinstance(value, pydantic.BaseModel) and hasattr(value, "_block_document_id"):
        if cast("Any", value)._block_document_id is not None:
            return None
        if any(masked(inner) for inner in _within(value)):
            return (
                f"this {_kind(value)} is not saved, and its secrets are sent as "
                f"{'*' * 10} only; call its save('a-name') first."
            )
        return None
    return next((found for inner in _within(value) if (found := masked(inner))), None)


def _kind(value: Any) -> str:
    return type(value).__name__


def _within(value: Any) -> Iterable[Any]:
    """Return what a value is made of."""
    if isinstance(value, pydantic.BaseModel):
        return [*value.__dict__.values(), *(value.model_extra or {}).values()]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return [getattr(value, field.name, None) for field in dataclasses.fields(value)]
    if hasattr(cast("Any", value), "__fields__"):  # a model of pydantic 1
        return vars(value).values()
    if isinstance(value, Mapping):
        return cast("Mapping[Any, Any]", value).values()
    if isinstance(value, (list, tuple, set, frozenset, deque)):
        return cast("Iterable[Any]", value)
    return ()


def json_text(value: Any) -> str:
    """Return the JSON text of a value.

    Raises:
        ParameterTypeError: There is none.
    """
    try:
        return pydantic_core.to_json(
            value, inf_nan_mode="null", context={"blocks": "references"}, fallback=_plain_v1
        ).decode()
    except pydantic_core.PydanticSerializationError as problem:
        msg = f"a {type(value).__name__} has no JSON form ({problem}); pass what JSON can say."
        raise errors.ParameterTypeError(msg) from None
    except Exception as problem:  # serializers in models are the user's code and raise anything
        msg = f"its JSON form failed with {type(problem).__name__}: {problem}."
        raise errors.ParameterTypeError(msg) from problem
