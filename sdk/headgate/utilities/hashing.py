"""Hashes of values that are the same in every process: what cache keys are made of."""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import enum
import fractions
import hashlib
import inspect
import os
import pathlib
import struct
import uuid
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar, cast

from headgate.core import errors

__all__ = ["file_hash", "hash_objects", "register_hasher", "stable_hash"]

T = TypeVar("T")

_DIGEST_BYTES = 16
#: Their text says all of them.
_TEXTUAL: tuple[type[Any], ...] = (
    datetime.date,
    datetime.time,
    datetime.timedelta,
    datetime.timezone,
    decimal.Decimal,
    fractions.Fraction,
    pathlib.PurePath,
    uuid.UUID,
    complex,
    range,
    slice,
)
_hashers: dict[type[Any], Callable[[Any], bytes | str]] = {}


def stable_hash(*parts: str | bytes) -> str:
    """Return a hash of texts: 32 hexadecimal digits."""
    digest = hashlib.blake2b(digest_size=_DIGEST_BYTES)
    for part in parts:
        _feed(digest, b"t", part.encode() if isinstance(part, str) else part)
    return digest.hexdigest()


def file_hash(path: str | os.PathLike[str]) -> str:
    """Return a hash of what a file has in it.

    Args:
        path: The file.
    """
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest()


def hash_objects(*values: Any, **named: Any) -> str:
    """Return a hash of values: equal ones have the same, in every process.

    Numbers, texts, collections, dates, paths, enums, dataclasses, pydantic models, functions,
    classes, and arrays and frames of numpy, pandas and polars are hashed by what they say; others
    by their pickle.

    Args:
        *values: The values.
        **named: Values with names, by which an error calls them.

    Raises:
        HashError: One cannot be hashed; it is named, with where in it the reason is.
    """
    digest = hashlib.blake2b(digest_size=_DIGEST_BYTES)
    for number, value in enumerate(values):
        _Hasher(f"value {number}").feed(digest, value)
    for name in sorted(named):
        _feed(digest, b"k", name.encode())
        _Hasher(f"argument {name!r}").feed(digest, named[name])
    return digest.hexdigest()


def register_hasher(kind: type[T], hasher: Callable[[T], bytes | str]) -> None:
    """Say how values of a class, and of its subclasses, are hashed.

    Args:
        kind: The class.
        hasher: Returns a text or bytes that are the same for equal values, in every process.
    """
    _hashers[kind] = hasher


def _feed(digest: Any, tag: bytes, content: bytes) -> None:
    """Hash bytes with what they are and how many: no two sequences of them are the same."""
    digest.update(tag + struct.pack("<Q", len(content)))
    digest.update(content)


class _Hasher:
    """Hashes one value."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._within: set[int] = set()

    def feed(self, digest: Any, value: Any) -> None:
        """Hash a value, at any depth."""
        kind = _kind(value)
        plain = _plain(value)
        if plain is not None:
            _feed(digest, *plain)
            return
        if id(value) in self._within:
            msg = f"{self._path} contains itself, so no hash can be made of it; leave it away."
            raise errors.HashError(msg)
        self._within.add(id(value))
        try:
            self._feed_object(digest, value, kind)
        finally:
            self._within.discard(id(value))

    def _feed_object(self, digest: Any, value: Any, kind: type[Any]) -> None:
        hasher = _registered(kind)
        if hasher is not None:
            made = hasher(value)
            name = _name(kind).encode()
            _feed(digest, b"r" + name, made.encode() if isinstance(made, str) else made)
        elif isinstance(value, Mapping):
            self._feed_mapping(digest, cast("Mapping[Any, Any]", value))
        elif isinstance(value, (set, frozenset)):
            parts = sorted(self._apart(item, "{}") for item in cast("Iterable[Any]", value))
            _feed(digest, b"s", b"".join(parts))
        elif isinstance(value, (list, tuple)):
            self._feed_sequence(digest, cast("Iterable[Any]", value), kind)
        elif (fields := _fields(value, kind)) is not None:
            _feed(digest, b"o", _name(kind).encode())
            self._feed_fields(digest, fields)
        elif (content := _tabular(value, kind)) is not None:
            _feed(digest, b"a" + _name(kind).encode(), content)
        else:
            _feed(digest, b"p", self._pickle(value))

    def _feed_mapping(self, digest: Any, value: Mapping[Any, Any]) -> None:
        """Hash a mapping whatever the order of its keys."""
        parts = sorted(
            self._apart(key, f" key {key!r}") + self._apart(item, f"[{key!r}]")
            for key, item in value.items()
        )
        _feed(digest, b"m", b"".join(parts))

    def _feed_sequence(self, digest: Any, value: Iterable[Any], kind: type[Any]) -> None:
        items = list(value)
        _feed(digest, b"l", kind.__name__.encode())
        _feed(digest, b"n", str(len(items)).encode())
        for number, item in enumerate(items):
            self._inside(f"[{number}]", digest, item)

    def _feed_fields(self, digest: Any, fields: Mapping[str, Any]) -> None:
        for name, item in fields.items():
            _feed(digest, b"k", name.encode())
            self._inside(f".{name}", digest, item)

    def _apart(self, value: Any, step: str) -> bytes:
        digest = hashlib.blake2b(digest_size=_DIGEST_BYTES)
        self._inside(step, digest, value)
        return digest.digest()

    def _inside(self, step: str, digest: Any, value: Any) -> None:
        before = self._path
        self._path = before + step
        self.feed(digest, value)
        self._path = before

    def _pickle(self, value: Any) -> bytes:
        import cloudpickle

        try:
            return cloudpickle.dumps(value, protocol=5)
        except Exception as error:  # __reduce__ of anything may raise anything
            msg = (
                f"No hash can be made of {self._path}, a {_name(_kind(value))} "
                f"({type(error).__name__}: {error}); leave it out of the cache key, as in "
                "INPUTS - 'name', or tell how with register_hasher."
            )
            raise errors.HashError(msg) from error


def _plain(value: Any) -> tuple[bytes, bytes] | None:
    """Return a tag and bytes for a value that has nothing within."""
    match value:
        case None | bool():
            return b"c", repr(value).encode()
        case enum.Enum():
            return b"e" + _name(_kind(value)).encode(), value.name.encode()
        case int() | float():
            return b"i" if isinstance(value, int) else b"f", repr(value).encode()
        case str():
            return b"t", value.encode("utf-8", "surrogatepass")
        case bytes() | bytearray():
            return b"b", bytes(value)
        case _ if isinstance(value, _TEXTUAL):
            return b"x" + _name(_kind(value)).encode(), str(value).encode()
        case _ if inspect.isroutine(value) or inspect.isclass(value):
            return b"d", _source(value)
        case _:
            return None


def _source(value: Any) -> bytes:
    """Return what tells a function or class from others, and its versions apart."""
    from headgate.engine import sources

    place = f"{getattr(value, '__module__', '')}.{getattr(value, '__qualname__', value)}"
    if inspect.isbuiltin(value):
        return place.encode()
    return f"{place}:{sources.digest(value)}".encode()


def _registered(kind: type[Any]) -> Callable[[Any], bytes | str] | None:
    for base in kind.__mro__:
        if base in _hashers:
            return _hashers[base]
    return None


def _fields(value: Any, kind: type[Any]) -> dict[str, Any] | None:
    """Return what a dataclass, a pydantic model or a task is made of."""
    if dataclasses.is_dataclass(kind):
        return {f.name: getattr(value, f.name, None) for f in dataclasses.fields(kind) if f.compare}
    if hasattr(kind, "__pydantic_core_schema__") and hasattr(kind, "model_fields"):
        return {**vars(value), **(getattr(value, "__pydantic_extra__", None) or {})}
    if kind.__module__ in ("headgate.tasks", "headgate.flows"):
        return {"name": value.name, "fn": value.fn}
    return None


def _tabular(value: Any, kind: type[Any]) -> bytes | None:
    """Return the content of an array or a frame, told without loading its library."""
    package = kind.__module__.partition(".")[0]
    if package == "numpy" and hasattr(value, "tobytes"):
        if value.dtype.hasobject:
            return None
        return f"{value.dtype.str}{value.shape}".encode() + value.tobytes()
    if package == "pandas" and kind.__name__ in ("DataFrame", "Series", "Index", "RangeIndex"):
        return _pandas(value)
    if package == "polars" and kind.__name__ in ("DataFrame", "Series"):
        frame = value.to_frame() if kind.__name__ == "Series" else value
        return str(frame.schema).encode() + frame.hash_rows(0, 1, 2, 3).to_numpy().tobytes()
    return None


def _pandas(value: Any) -> bytes | None:
    import importlib

    pandas: Any = importlib.import_module("pandas")
    try:
        hashes = pandas.util.hash_pandas_object(value, index=True)
    except TypeError:
        # Cells that pandas cannot hash, such as lists: the pickle has to do.
        return None
    kinds = value.dtypes if hasattr(value, "columns") else value.dtype
    labels = list(value.columns) if hasattr(value, "columns") else [value.name]
    return f"{labels!r}{kinds!s}".encode() + hashes.to_numpy().tobytes()


def _kind(value: Any) -> type[Any]:
    return cast("type[Any]", type(value))


def _name(kind: type[Any]) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"
