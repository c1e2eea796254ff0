"""Parameters of flows and tasks: binding, validation with coercion, their JSON form, their schema.

``Signature`` is made once per function. It loads pydantic only when a value does not have the
plain type that its annotation names, so that a small flow starts without it.
"""

from __future__ import annotations

import datetime
import inspect
import json
import types
import typing
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from headgate import payloads
from headgate.core import errors

if typing.TYPE_CHECKING:
    import pydantic

    from headgate._parameter_schemas import ParameterSchema

__all__ = [
    "MAX_PARAMETER_BYTES",
    "RESERVED",
    "ParameterSchema",
    "Signature",
    "Texts",
    "Values",
    "decode",
    "encode",
    "encode_leniently",
    "jsonable",
    "record",
]

#: Arguments of a call that Headgate takes itself.
RESERVED = frozenset({"return_state", "wait_for"})
#: The longest JSON text of one parameter that is sent.
MAX_PARAMETER_BYTES = 512 * 1024
_MAX_REPR_CHARACTERS = 10_000
#: What pydantic writes in the place of a secret.
_MASK = "*" * 10

#: Values of exactly these types fit their annotation and need no coercion.
_PLAIN: frozenset[type] = frozenset(
    {
        bool,
        bytes,
        complex,
        datetime.date,
        datetime.datetime,
        datetime.time,
        datetime.timedelta,
        float,
        int,
        str,
        type(None),
        uuid.UUID,
    }
)
#: What the standard library may turn into JSON, where all within is as plain.
_JSON_TYPES: frozenset[type] = frozenset({bool, dict, float, int, list, str, tuple, type(None)})
_EMPTY = inspect.Parameter.empty
_Kind = inspect._ParameterKind  # pyright: ignore[reportPrivateUsage]  # the enum has no other name


class Signature:
    """The parameters of one function.

    Args:
        fn: The function, bound where it is a method.
        kind: What it is, for messages: ``flow`` or ``task``.

    Raises:
        ReservedArgumentError: A parameter has a name that Headgate takes itself.
    """

    __slots__ = (
        "_annotations",
        "_defaults",
        "_fn",
        "_has_fields",
        "_model",
        "_positional_max",
        "kind",
        "names",
        "raw",
    )

    def __init__(self, fn: Callable[..., Any], *, kind: str = "flow") -> None:
        """Read the signature."""
        self._fn = fn
        self.kind = kind
        self.raw = _signature(fn)
        parameters = self.raw.parameters
        self.names = tuple(parameters)
        for name in self.names:
            if name in RESERVED:
                msg = (
                    f"Parameter {name!r} of {kind} {_name(fn)!r} is reserved: every call of a "
                    f"{kind} takes it already; rename the parameter."
                )
                raise errors.ReservedArgumentError(msg)
        self._defaults = {
            name: default
            for name, p in parameters.items()
            if (default := _default(p.default)) is not _EMPTY
        }
        #: Whether a default says more of the values, as pydantic's ``Field(ge=0)`` does.
        self._has_fields = any(type(p.default).__module__ == _FIELDS for p in parameters.values())
        kinds = [p.kind for p in parameters.values()]
        #: How many parameters can be given by position; None where binding takes ``inspect``.
        self._positional_max: int | None = None
        if set(kinds) <= {_Kind.POSITIONAL_OR_KEYWORD, _Kind.KEYWORD_ONLY}:
            self._positional_max = kinds.count(_Kind.POSITIONAL_OR_KEYWORD)
        self._annotations: dict[str, Any] | None = None
        self._model: type[pydantic.BaseModel] | None = None

    def __getstate__(self) -> tuple[None, dict[str, Any]]:
        """Pickle without what is made when it is needed, such as pydantic's model."""
        made = {"_annotations": None, "_model": None}
        return None, {name: made.get(name, getattr(self, name)) for name in self.__slots__}

    def bind(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """Give each argument its name, in the order of the signature, defaults included.

        Raises:
            ParameterBindError: The arguments do not fit the signature.
        """
        quick = self._bind_quickly(args, kwargs)
        if quick is not None:
            return quick
        try:
            bound = self.raw.bind(*args, **kwargs)
        except TypeError as problem:
            why = self._misspelt(args, kwargs) or f"{problem}."
            msg = f"The call does not fit {self.kind} {_name(self._fn)}{self.raw}: {why}"
            raise errors.ParameterBindError(msg) from None
        bound.apply_defaults()
        for name, value in bound.arguments.items():
            if type(value).__module__ == _FIELDS and value is self.raw.parameters[name].default:
                if name not in self._defaults:
                    msg = f"The call does not fit {self.kind} {_name(self._fn)}{self.raw}: missing "
                    raise errors.ParameterBindError(f"{msg}a required argument: {name!r}.")
                bound.arguments[name] = self._defaults[name]
        return bound.arguments

    def _misspelt(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> str:
        """Name the arguments that there are no parameters for; empty: there are none such."""
        found = self.raw.parameters.values()
        if any(parameter.kind is _Kind.VAR_KEYWORD for parameter in found):
            return ""
        named = [
            p.name for p in found if p.kind in (_Kind.POSITIONAL_OR_KEYWORD, _Kind.KEYWORD_ONLY)
        ]
        wrong = [name for name in kwargs if name not in named]
        if not wrong:
            return ""
        left = [
            name for name in named if name not in kwargs and name not in self.names[: len(args)]
        ]
        missing = [name for name in left if name not in self._defaults]
        from headgate import _explaining  # only who errs pays

        hint = _explaining.meant(wrong[0], left or named)
        if len(wrong) == len(missing) == 1 and _explaining.nearest(wrong[0], left) is None:
            hint = f"did you mean {missing[0]}?"
        return f"it has no parameter {', '.join(map(repr, wrong))}; {hint}"

    def _bind_quickly(
        self, args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> dict[str, Any] | None:
        """Bind without ``inspect``, which is slow; None where something does not fit."""
        given = len(args)
        if self._positional_max is None or given > self._positional_max:
            return None
        bound = dict(zip(self.names, args, strict=False))
        used = 0
        for name in self.names[given:]:
            if name in kwargs:
                bound[name] = kwargs[name]
                used += 1
            elif name in self._defaults:
                bound[name] = self._defaults[name]
            else:
                return None
        return bound if used == len(kwargs) else None

    def call_arguments(
        self, parameters: Mapping[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Turn named parameters back into what the function is called with.

        Raises:
            SignatureMismatchError: There are names that the function does not have.
        """
        self.check_names(parameters)
        args: list[Any] = []
        kwargs: dict[str, Any] = {}
        positional = True
        for name, parameter in self.raw.parameters.items():
            if parameter.kind is _Kind.VAR_POSITIONAL:
                args.extend(parameters.get(name, ()))
                positional = False
            elif parameter.kind is _Kind.VAR_KEYWORD:
                kwargs.update(parameters.get(name, {}))
            elif name not in parameters:
                # A gap: what follows has to be given by name.
                positional = False
            elif positional and parameter.kind is not _Kind.KEYWORD_ONLY:
                args.append(parameters[name])
            else:
                kwargs[name] = parameters[name]
        return tuple(args), kwargs

    def complete(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """Add defaults to parameters that came by name, as those of a deployed run do.

        Raises:
            SignatureMismatchError: There are names that the function does not have.
            ParameterBindError: A parameter without default is missing.
        """
        args, kwargs = self.call_arguments(parameters)
        return self.bind(args, kwargs)

    def check_names(self, parameters: Iterable[str]) -> None:
        """Refuse names that the function does not have.

        Raises:
            SignatureMismatchError: There are some; they are named.
        """
        unknown = [name for name in parameters if name not in self.raw.parameters]
        if unknown:
            has = ", ".join(self.names) or "no parameters"
            msg = (
                f"{self.kind.title()} {_name(self._fn)!r} has no parameter "
                f"{', '.join(map(repr, unknown))}; it has {has}."
            )
            raise errors.SignatureMismatchError(msg)

    def validate(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """Check the values against the annotations and coerce them: ``"5"`` becomes 5 for an int.

        Args:
            parameters: All parameters by name, defaults included, as ``bind`` returns them.

        Returns:
            The same names, in the same order, with the values to call the function with.

        Raises:
            ParameterTypeError: Values do not fit; all of them are named.
        """
        annotations = self.annotations
        if not self._has_fields and all(
            _fits(annotations[name], value) if name in annotations else not _is_reference(value)
            for name, value in parameters.items()
        ):
            return dict(parameters)
        from headgate import _parameter_models  # loads pydantic

        if self._model is None:
            self._model = _parameter_models.model(self._fn, self.raw, annotations)
        return _parameter_models.validate(self._model, parameters, f"{self.kind} {_name(self._fn)}")

    @property
    def annotations(self) -> dict[str, Any]:
        """The annotations of the parameters, evaluated.

        One that cannot be evaluated, because its name is imported for type checkers only, is
        left out: that parameter is passed as it is.
        """
        if self._annotations is None:
            self._annotations = _evaluated(self._fn, self.raw)
        return self._annotations

    def schema(self) -> ParameterSchema:
        """Return the JSON Schema of the parameters, with ``position`` and descriptions."""
        from headgate import _parameter_models, _parameter_schemas  # loads pydantic

        if self._model is None:
            self._model = _parameter_models.model(self._fn, self.raw, self.annotations)
        return _parameter_schemas.schema(self._model, self._fn, self.raw)


def jsonable(value: Any) -> Any:
    """Turn a value into what JSON can say: dataclasses, models, times, enums and so on.

    Raises:
        ParameterTypeError: There is no JSON form of it.
    """
    return json.loads(_text(value))


def __getattr__(name: str) -> Any:
    """Load what describes parameters when it is asked for."""
    if name == "ParameterSchema":
        from headgate import _parameter_schemas

        return _parameter_schemas.ParameterSchema
    msg = f"module 'headgate.parameters' has no attribute {name!r}"
    raise AttributeError(msg)


class Texts(dict[str, str]):
    """Parameters as they are sent: name to JSON text. Calls take anything else for values."""


class Values(dict[str, Any]):
    """Parameters as they come back: values by name.

    One that this process cannot read, for it was encoded by a payload codec that is not here, stays
    the text that it is; ``decode`` says why.

    Args:
        texts: What came.
    """

    def __init__(self, texts: Mapping[str, str]) -> None:
        """Read the values."""
        self.texts = texts
        super().__init__({name: _value_or_text(text) for name, text in texts.items()})


def _value_or_text(text: str) -> Any:
    try:
        return json.loads(payloads.decode_text(text))
    except (ValueError, errors.HeadgateError):
        return text


def encode(parameters: Mapping[str, Any], *, plain: bool = False) -> Texts:
    """Turn parameters into JSON texts, for a run that somebody else executes.

    Args:
        parameters: The values by name.
        plain: Whether others have to read them, so that no payload codec goes over them.

    Raises:
        ParameterTypeError: A value has no JSON form, one that is too long, or secrets in it, which
            JSON masks.
    """
    texts = Texts()
    for name, value in parameters.items():
        try:
            text = _text(value)
            masked = _masked(value, text)
            if masked is not None:
                raise errors.ParameterTypeError(masked)
            texts[name] = text if plain else payloads.encode_text(text)
        except errors.ParameterTypeError as problem:
            msg = f"Parameter {name!r} cannot be sent: {problem}"
            # Its cause is the user's: what a serializer of theirs raised.
            raise errors.ParameterTypeError(msg) from problem.__cause__
    return texts


class Recorded(typing.NamedTuple):
    """Parameters as the record of a run has them.

    Attributes:
        texts: The JSON text of each.
        warnings: One for each that became its ``repr``.
        lossy: The names of those that cannot be read back: these, and those with masked secrets.
    """

    texts: dict[str, str]
    warnings: list[str]
    lossy: list[str]


def record(parameters: Mapping[str, Any]) -> Recorded:
    """Turn parameters into JSON texts, for the record of a run in this process.

    Secrets are masked there, as they should be; a value without JSON form becomes its ``repr``.
    """
    made = Recorded({}, [], [])
    for name, value in parameters.items():
        try:
            text = _text(value)
        except errors.ParameterTypeError as problem:
            text = json.dumps(_short_repr(value))
            made.warnings.append(f"Parameter {name!r} is recorded as its repr: {problem}")
            made.lossy.append(name)
        else:
            if _masked(value, text) is not None:
                made.lossy.append(name)
        made.texts[name] = payloads.encode_text(text)
    return made


def encode_leniently(
    parameters: Mapping[str, Any],
) -> tuple[dict[str, str], list[str]]:
    """Turn parameters into JSON texts as ``record`` does.

    Returns:
        The texts, and the warnings.
    """
    made = record(parameters)
    return made.texts, made.warnings


def decode(texts: Mapping[str, str]) -> dict[str, Any]:
    """Turn JSON texts back into values.

    Raises:
        ParameterTypeError: A text is not JSON.
        ConfigurationError: A text was encoded by a payload codec that is not here.
    """
    values: dict[str, Any] = {}
    if isinstance(texts, Values):
        texts = texts.texts
    for name, text in texts.items():
        try:
            values[name] = json.loads(payloads.decode_text(text))
        except ValueError as problem:
            msg = f"Parameter {name!r} is not JSON: {problem}."
            raise errors.ParameterTypeError(msg) from None
    return values


def _text(value: Any) -> str:
    text = _plain_text(value)
    if text is None:
        from headgate import _parameter_models  # loads pydantic

        text = _parameter_models.json_text(value)
    if len(text) > MAX_PARAMETER_BYTES:
        msg = (
            f"its JSON form has {len(text):,} characters and {MAX_PARAMETER_BYTES:,} are sent at "
            "most; store the value and pass where it is."
        )
        raise errors.ParameterTypeError(msg)
    return text


def _masked(value: Any, text: str) -> str | None:
    """Say what of a value is masked in its JSON text; None where the text has all of it."""
    if _MASK not in text or type(value) is str:
        return None
    from headgate import _parameter_models  # loads pydantic

    return _parameter_models.masked(value)


def _plain_text(value: Any) -> str | None:
    """Return the JSON text of a plain value without pydantic; None: ask pydantic."""
    if type(value) not in _JSON_TYPES:
        return None
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        text.encode()
    except UnicodeEncodeError:
        # Half of a surrogate pair, which no wire takes as it is.
        return json.dumps(value)
    except (TypeError, ValueError):
        return None
    return text


def _short_repr(value: Any) -> str:
    try:
        text = repr(value)
    except Exception as problem:  # repr is code of the user's; a record must not fail the run
        return f"<{type(value).__name__} whose repr raised {type(problem).__name__}>"
    if len(text) > _MAX_REPR_CHARACTERS:
        return text[:_MAX_REPR_CHARACTERS] + "... [truncated]"
    return text


def _fits(annotation: Any, value: Any) -> bool:
    """Say, without pydantic, that a value surely fits; False means only: ask pydantic."""
    if annotation is Any:
        return True
    if annotation is None:
        return value is None
    if annotation is Path:
        return isinstance(value, Path)
    if isinstance(annotation, types.UnionType):
        return any(_fits(option, value) for option in annotation.__args__)
    return type(value) is annotation and annotation in _PLAIN


def _is_reference(value: Any) -> bool:
    """Say whether a value stands for a saved block, which is loaded then."""
    return type(value) is dict and "$ref" in value


#: Where pydantic has what ``Field(default=3, ge=0)`` makes.
_FIELDS = "pydantic.fields"


def _default(given: Any) -> Any:
    """Return the value that a parameter has where none is given; ``_EMPTY``: it has to be."""
    if type(given).__module__ != _FIELDS or not hasattr(given, "is_required"):
        return given
    return _EMPTY if given.is_required() else given.get_default(call_default_factory=True)


def _signature(fn: Callable[..., Any]) -> inspect.Signature:
    try:
        return inspect.signature(fn)
    except (TypeError, ValueError):
        # Some callables written in C do not tell; they take anything.
        return inspect.Signature(
            [
                inspect.Parameter("args", _Kind.VAR_POSITIONAL),
                inspect.Parameter("kwargs", _Kind.VAR_KEYWORD),
            ]
        )


def _evaluated(fn: Callable[..., Any], signature: inspect.Signature) -> dict[str, Any]:
    wanted = {
        name: p.annotation for name, p in signature.parameters.items() if p.annotation is not _EMPTY
    }
    if not any(isinstance(annotation, str) for annotation in wanted.values()):
        return wanted
    inner: Any = inspect.unwrap(fn)
    inner = getattr(inner, "__func__", inner)
    scope: dict[str, Any] = getattr(inner, "__globals__", {})
    cells: dict[str, Any] = {}
    if inspect.isfunction(inner):
        cells.update(inspect.getclosurevars(inner).nonlocals)
    evaluated: dict[str, Any] = {}
    for name, annotation in wanted.items():
        if isinstance(annotation, str):
            try:
                # The author's own annotation, in the author's own module.
                evaluated[name] = eval(annotation, scope, cells)
            except (NameError, AttributeError, TypeError, SyntaxError):
                continue
        else:
            evaluated[name] = annotation
    return evaluated


def _name(fn: Callable[..., Any]) -> str:
    name = getattr(fn, "__name__", type(fn).__name__)
    return "unknown-lambda" if name == "<lambda>" else name  # as flows and tasks of one are called
