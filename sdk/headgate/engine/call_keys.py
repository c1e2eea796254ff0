"""Which call it is: a hash that is the same in every process, on every machine.

A durable flow finds by it, when it goes on, what it has called before. So it is made of what a
value *is*, never of where it is in memory or in which order a set happens to come. A value that
cannot be looked into, such as a lock or an open connection, counts by its type alone: it is made
anew by each attempt, and is still the same argument.
"""

from __future__ import annotations

import copyreg
import enum
import hashlib
import types
from collections.abc import Callable, Iterable, Mapping
from typing import Any, cast

__all__ = ["of_call"]

_DIGEST_BYTES = 20
#: Up to here one update of a copy is quicker than two updates.
_COPIED_BYTES_MAX = 4_096
#: How deep values are looked into; what is deeper counts by its type.
_DEPTH_MAX = 200
_SEQUENCES: Mapping[type, bytes] = {list: b"l", tuple: b"t"}
_SETS: Mapping[type, bytes] = {set: b"S", frozenset: b"F"}


def of_call(within: str, task_key: str, parameters: Mapping[str, Any]) -> str:
    """Return the key of a call.

    Args:
        within: The key of the call within which it is made; empty: the flow itself calls.
        task_key: What is called.
        parameters: What it is called with, by name.
    """
    feeder = _Feeder()
    feeder.text(b"w", within)
    feeder.text(b"k", task_key)
    for name, value in parameters.items():
        feeder.text(b"p", name)
        feeder.value(value)
    return feeder.hash.hexdigest()


class _Feeder:
    """Feeds values to a hash, each with its type and its length, so that no two look alike."""

    def __init__(self, path: set[int] | None = None) -> None:
        self.hash = hashlib.blake2b(digest_size=_DIGEST_BYTES)
        #: The objects that are being looked into; one that contains itself is met again here.
        self._path: set[int] = set() if path is None else path

    def text(self, tag: bytes, text: str) -> None:
        """Feed a text."""
        self.bytes(tag, text.encode("utf-8", "surrogatepass"))

    def bytes(self, tag: bytes, data: bytes) -> None:
        """Feed bytes."""
        if len(data) <= _COPIED_BYTES_MAX:
            self.hash.update(b"%s%d:%s" % (tag, len(data), data))
        else:
            self.hash.update(b"%s%d:" % (tag, len(data)))
            self.hash.update(data)

    def value(self, value: Any) -> None:
        """Feed any value."""
        kind = cast("type[Any]", type(value))
        if kind is str:
            self.text(b"s", value)
        elif kind is int or kind is float or kind is bool or value is None:
            self.text(b"i", repr(value))
        elif kind is bytes:
            self.bytes(b"b", value)
        elif id(value) in self._path or len(self._path) >= _DEPTH_MAX:
            self.text(b"^", _name(kind))
        else:
            self._path.add(id(value))
            try:
                self._compound(kind, value)
            finally:
                self._path.discard(id(value))

    def _compound(self, kind: type[Any], value: Any) -> None:
        if kind in _SEQUENCES:
            items = cast("Iterable[Any]", value)
            self.bytes(_SEQUENCES[kind], b"%d" % len(value))
            for item in items:
                self.value(item)
        elif kind is dict:
            # Dicts are equal in whatever order; so are their hashes.
            self._unordered(b"d", cast("dict[Any, Any]", value).items())
        elif kind in _SETS:
            self._unordered(_SETS[kind], cast("Iterable[Any]", value))
        elif isinstance(value, enum.Enum):
            self.text(b"e", f"{_name(kind)}.{value.name}")
        elif isinstance(value, (type, types.FunctionType, types.BuiltinFunctionType)):
            self._code(cast("Callable[..., Any]", value))
        else:
            self._object(kind, value)

    def _unordered(self, tag: bytes, items: Iterable[Any]) -> None:
        digests: list[bytes] = []
        for item in items:
            feeder = _Feeder(self._path)
            feeder.value(item)
            digests.append(feeder.hash.digest())
        self.bytes(tag, b"".join(sorted(digests)))

    def _code(self, code: Callable[..., Any]) -> None:
        """Feed a function or class: its name, and its source where the name is none."""
        name = f"{getattr(code, '__module__', '')}.{getattr(code, '__qualname__', '')}"
        self.text(b"c", name)
        if "<" in name:
            from headgate.engine import sources

            self.text(b"c", sources.digest(code))

    def _object(self, kind: type[Any], value: Any) -> None:
        """Feed what pickling would take an object apart into."""
        self.text(b"o", _name(kind))
        for part in _parts(kind, value):
            self.value(part)


def _parts(kind: type[Any], value: Any) -> Iterable[Any]:
    """Return what an object is made of; nothing where it cannot be taken apart."""
    try:
        reduce = copyreg.dispatch_table.get(kind)
        reduced: Any = reduce(value) if reduce is not None else value.__reduce_ex__(4)
    except Exception:  # __reduce__ of anything may raise anything
        return ()
    if isinstance(reduced, str):
        return (reduced,)
    function, arguments, *rest = reduced
    state = rest[0] if rest else None
    items = [list(part) for part in rest[1:3] if part is not None]
    return (function, arguments, state, *items)


def _name(kind: type[Any]) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"
