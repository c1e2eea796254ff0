"""Serializers: how results become bytes, and bytes results.

A serializer of one's own is a subclass with a ``type`` of its own, by which options and stored
records name it::

    class TextSerializer(Serializer[str]):
        type: str = "text"
        encoding: str = "utf-8"

        def dumps(self, obj: str) -> bytes:
            return obj.encode(self.encoding)

        def loads(self, blob: bytes) -> str:
            return blob.decode(self.encoding)


    @task(result_serializer=TextSerializer(encoding="latin-1"))
    def read(): ...
"""

from __future__ import annotations

import abc
import dataclasses
import importlib
import inspect
import json
from collections.abc import Mapping
from typing import Any, ClassVar, Generic, TypeVar, cast, dataclass_transform

from headgate import _options
from headgate._explaining import explained_class
from headgate.core import errors

__all__ = [
    "CompressedJSONSerializer",
    "CompressedPickleSerializer",
    "CompressedSerializer",
    "JSONSerializer",
    "PickleSerializer",
    "Serializer",
    "headgate_json_object_decoder",
    "headgate_json_object_encoder",
    "resolve_serializer",
    "serializer_from_config",
]

D = TypeVar("D")

_COMPRESSED = "compressed/"
#: What the encoder below makes of an object, and the decoder looks for.
_CLASS_KEYS = frozenset({"__class__", "data"})


@dataclass_transform(kw_only_default=True)
class Serializer(abc.ABC, Generic[D]):
    """Turns values into bytes and back.

    A subclass is a dataclass without being marked as one: annotated names are its options.
    ``Serializer(type="json")`` makes one by its type.
    """

    _by_type: ClassVar[dict[str, type[Serializer[Any]]]] = {}

    #: Names the serializer, e.g. ``pickle``.
    type: str

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        # Options are those that the class itself annotates, and those it inherits.
        explained_class(dataclasses.dataclass(kw_only=True, repr=True, eq=True)(cls))
        name = cls.__dict__.get("type")
        if isinstance(name, str):
            Serializer._by_type[name] = cls

    def __new__(cls, **options: Any) -> Serializer[D]:
        """Make one; that of the ``type`` given where the class is ``Serializer`` itself."""
        if cls is not Serializer:
            return super().__new__(cls)
        name = options.get("type")
        if not isinstance(name, str):
            msg = "Serializer is made by its type, as in Serializer(type='json'); give one."
            raise errors.OptionTypeError(msg)
        return object.__new__(_class_of(name))

    @abc.abstractmethod
    def dumps(self, obj: D) -> bytes:
        """Turn a value into bytes."""

    @abc.abstractmethod
    def loads(self, blob: bytes) -> D:
        """Turn bytes into a value."""

    def config(self) -> dict[str, Any]:
        """Return what a record keeps, so that another process reads it: the type and options.

        Options are left out where they have their default.
        """
        found: dict[str, Any] = {"type": self.type}
        for field in dataclasses.fields(cast("Any", self)):
            value = getattr(self, field.name)
            made = field.default_factory
            default = field.default if made is dataclasses.MISSING else made()
            if field.name != "type" and value != default:
                found[field.name] = value.config() if isinstance(value, Serializer) else value
        return found


class PickleSerializer(Serializer[Any]):
    """Pickles, with ``cloudpickle`` unless told otherwise; lambdas and local classes included.

    Attributes:
        picklelib: The module with ``dumps`` and ``loads``.
    """

    type: str = "pickle"
    picklelib: str = "cloudpickle"

    def __post_init__(self) -> None:
        """Check that there is such a module."""
        _module(self.picklelib, "picklelib", ("dumps", "loads"))

    def dumps(self, obj: Any) -> bytes:
        """Turn a value into bytes.

        Raises:
            SerializationError: It cannot be pickled.
        """
        module = _module(self.picklelib, "picklelib", ("dumps", "loads"))
        try:
            return module.dumps(obj)
        except Exception as error:  # __reduce__ of anything may raise anything
            raise _unserializable(obj, "be pickled", error) from error

    def loads(self, blob: bytes) -> Any:
        """Turn bytes into a value.

        Raises:
            SerializationError: They are no pickle, or of classes that are not here.
        """
        module = _module(self.picklelib, "picklelib", ("dumps", "loads"))
        try:
            return module.loads(blob)
        except Exception as error:  # __setstate__ of anything may raise anything
            raise _unreadable("a pickle", error) from error


class JSONSerializer(Serializer[Any]):
    """Writes JSON, which people and other languages can read.

    Pydantic models, dataclasses, dates, ids, bytes, sets and exceptions come back as what they
    were, with their class named in the text. As ever in JSON, tuples come back as lists, and the
    keys of a dict as texts.

    Attributes:
        jsonlib: The module with ``dumps`` and ``loads``.
        object_encoder: Where the function is that is called with what JSON cannot say; None: no
            such values.
        object_decoder: Where the function is that is called with each object read.
        dumps_kwargs: Further arguments of ``dumps``.
        loads_kwargs: Further arguments of ``loads``.
    """

    type: str = "json"
    jsonlib: str = "json"
    object_encoder: str | None = "headgate.serializers.headgate_json_object_encoder"
    object_decoder: str | None = "headgate.serializers.headgate_json_object_decoder"
    dumps_kwargs: Mapping[str, Any] = dataclasses.field(default_factory=dict[str, Any])
    loads_kwargs: Mapping[str, Any] = dataclasses.field(default_factory=dict[str, Any])

    def __post_init__(self) -> None:
        """Check that there is such a module, and that the functions have one place each."""
        _options.checked_mapping(self.dumps_kwargs, "dumps_kwargs")
        _options.checked_mapping(self.loads_kwargs, "loads_kwargs")
        _module(self.jsonlib, "jsonlib", ("dumps", "loads"))
        for option, place, given in (
            ("default", "object_encoder", self.dumps_kwargs),
            ("object_hook", "object_decoder", self.loads_kwargs),
        ):
            if option in (given or {}):
                msg = f"{option} is given by {place}; leave it away from the further arguments."
                raise errors.ConfigurationError(msg)

    def dumps(self, obj: Any) -> bytes:
        """Turn a value into bytes.

        Raises:
            SerializationError: JSON cannot say it.
        """
        kwargs = dict(self.dumps_kwargs or {})
        if self.object_encoder:
            kwargs["default"] = _function(self.object_encoder)
        try:
            text = _module(self.jsonlib, "jsonlib", ("dumps", "loads")).dumps(obj, **kwargs)
        except Exception as error:  # validators of models may raise anything
            raise _unserializable(obj, "be written as JSON", error) from error
        return text if isinstance(text, bytes) else text.encode()

    def loads(self, blob: bytes) -> Any:
        """Turn bytes into a value.

        Raises:
            SerializationError: They are no JSON, or of classes that are not here.
        """
        kwargs = dict(self.loads_kwargs or {})
        if self.object_decoder:
            kwargs["object_hook"] = _function(self.object_decoder)
        module = _module(self.jsonlib, "jsonlib", ("dumps", "loads"))
        try:
            return module.loads(blob.decode(), **kwargs)
        except Exception as error:  # validators of models may raise anything
            raise _unreadable("JSON", error) from error


class CompressedSerializer(Serializer[Any]):
    """Compresses what another serializer makes.

    Attributes:
        serializer: The other one, or its type.
        compressionlib: The module with ``compress`` and ``decompress``, e.g. ``zlib``.
    """

    type: str = "compressed"
    serializer: Serializer[Any] | str
    compressionlib: str = "lzma"

    def __post_init__(self) -> None:
        """Resolve the other one, and check that there is such a module."""
        self.serializer = resolve_serializer(self.serializer)
        _module(self.compressionlib, "compressionlib", ("compress", "decompress"))

    def dumps(self, obj: Any) -> bytes:
        """Turn a value into bytes.

        Raises:
            SerializationError: The other serializer cannot say it.
        """
        return self._module().compress(self._inner.dumps(obj))

    def loads(self, blob: bytes) -> Any:
        """Turn bytes into a value.

        Raises:
            SerializationError: They are not what was written.
        """
        try:
            content = self._module().decompress(blob)
        except Exception as error:  # each library has errors of its own
            raise _unreadable(f"what {self.compressionlib} compressed", error) from error
        return self._inner.loads(content)

    @property
    def _inner(self) -> Serializer[Any]:
        return cast("Serializer[Any]", self.serializer)

    def _module(self) -> Any:
        return _module(self.compressionlib, "compressionlib", ("compress", "decompress"))


class CompressedPickleSerializer(CompressedSerializer):
    """Compressed pickles."""

    type: str = "compressed/pickle"
    serializer: Serializer[Any] | str = dataclasses.field(default_factory=PickleSerializer)


class CompressedJSONSerializer(CompressedSerializer):
    """Compressed JSON."""

    type: str = "compressed/json"
    serializer: Serializer[Any] | str = dataclasses.field(default_factory=JSONSerializer)


def resolve_serializer(serializer: Serializer[Any] | str) -> Serializer[Any]:
    """Return a serializer that was given as such, or by its type.

    Raises:
        OptionTypeError: It is neither.
        ConfigurationError: There is no such type.
    """
    if isinstance(serializer, Serializer):
        return serializer
    if not isinstance(serializer, str):
        msg = f"{serializer!r} is no serializer; use e.g. 'pickle', 'json' or 'compressed/json'."
        raise errors.OptionTypeError(msg)
    return serializer_from_config({"type": serializer})


def serializer_from_config(config: Mapping[str, Any]) -> Serializer[Any]:
    """Make the serializer that ``Serializer.config`` described.

    Raises:
        ConfigurationError: There is no such type, or it has no such options.
    """
    options = dict(config)
    name = options.get("type")
    kind = _class_of(str(name))
    inner = options.get("serializer")
    if isinstance(inner, Mapping):
        options["serializer"] = serializer_from_config(cast("Mapping[str, Any]", inner))
    if kind is CompressedSerializer:
        options.setdefault("serializer", str(name).removeprefix(_COMPRESSED))
    try:
        return kind(**options)
    except TypeError as error:
        msg = f"Serializer {name!r} cannot be made of {options!r}: {error}; check its options."
        raise errors.ConfigurationError(msg) from error


def headgate_json_object_encoder(obj: Any) -> Any:
    """Return what JSON can say of an object: its class by name, and its fields.

    Raises:
        TypeError: Pydantic does not know how to write it either.
    """
    if isinstance(obj, BaseException):
        data: Any = {"args": list(obj.args)}
    else:
        import pydantic_core

        # Within models and dataclasses bytes are read as text again, so they are written so.
        mode = "base64" if isinstance(obj, bytes) else "utf8"
        data = pydantic_core.to_jsonable_python(obj, bytes_mode=mode)
    kind = cast("type[Any]", type(obj))
    return {"__class__": f"{kind.__module__}.{kind.__qualname__}", "data": data}


def headgate_json_object_decoder(obj: dict[str, Any]) -> Any:
    """Return the object that the encoder made this of; anything else as it is."""
    if obj.keys() != _CLASS_KEYS or not isinstance(obj["__class__"], str):
        return obj
    kind = _attribute(obj["__class__"])
    if not isinstance(kind, type):
        msg = f"{obj['__class__']!r} is no class."
        raise TypeError(msg)
    if issubclass(kind, BaseException):
        return kind(*obj["data"]["args"])
    import pydantic

    # A model has a configuration of its own, and takes no other.
    config: Any = {"val_json_bytes": "base64"} if issubclass(kind, bytes) else None
    adapter: Any = pydantic.TypeAdapter(cast("Any", kind), config=config)
    # As JSON, for what validates Python values refuses e.g. a text for a time.
    return adapter.validate_json(json.dumps(obj["data"], default=headgate_json_object_encoder))


def _class_of(name: str) -> type[Serializer[Any]]:
    found = Serializer._by_type.get(name)  # pyright: ignore[reportPrivateUsage]  # of this module
    if found is None and name.startswith(_COMPRESSED):
        _class_of(name.removeprefix(_COMPRESSED))
        return CompressedSerializer
    if found is None:
        known = ", ".join(sorted(Serializer._by_type))  # pyright: ignore[reportPrivateUsage]  # of this module
        msg = f"There is no serializer {name!r}; use one of {known}, or import its module first."
        raise errors.ConfigurationError(msg)
    return found


def _module(name: str, option: str, functions: tuple[str, ...]) -> Any:
    _options.required_text(name, option)
    try:
        module = importlib.import_module(name)
    except ImportError as error:
        msg = f"{option} is {name!r}, which cannot be imported ({error}); install it."
        raise errors.ConfigurationError(msg) from error
    missing = [function for function in functions if not callable(getattr(module, function, None))]
    if missing:
        msg = f"{option} is {name!r}, which has no {' and no '.join(missing)}; use another module."
        raise errors.ConfigurationError(msg)
    return module


def _function(place: str) -> Any:
    found = _attribute(place)
    if not callable(found):
        msg = f"{place!r} is no function; name one as in 'my_module.encode'."
        raise errors.ConfigurationError(msg)
    return found


def _attribute(place: str) -> Any:
    """Import what a dotted name leads to, nested classes included."""
    parts = place.split(".")
    for length in range(len(parts) - 1, 0, -1):
        try:
            found: Any = importlib.import_module(".".join(parts[:length]))
        except ModuleNotFoundError:
            continue
        for part in parts[length:]:
            found = inspect.getattr_static(found, part, None)
        if found is not None:
            return found
    msg = f"There is no {place!r} here; import or install what defines it."
    raise ModuleNotFoundError(msg)


def _unserializable(obj: Any, what: str, error: Exception) -> errors.SerializationError:
    kind = cast("type[Any]", type(obj))
    msg = (
        f"A value of type {kind.__module__}.{kind.__qualname__} cannot {what} "
        f"({type(error).__name__}: {error}); return something else, or use another serializer."
    )
    return errors.SerializationError(msg)


def _unreadable(what: str, error: Exception) -> errors.SerializationError:
    msg = (
        f"Stored bytes cannot be read as {what} ({type(error).__name__}: {error}); read them "
        "where the same code and the same packages are installed."
    )
    return errors.SerializationError(msg)
