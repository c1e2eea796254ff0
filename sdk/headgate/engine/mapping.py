"""The arguments of each call of ``Task.map``."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping
from typing import Any, cast

from headgate.core import errors
from headgate.futures import Future, FutureList
from headgate.parameters import Signature
from headgate.utilities.annotations import Annotation, allow_failure, quote, unmapped

__all__ = ["arguments"]


def arguments(
    signature: Signature, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """Spread the arguments of a call of ``map`` over the calls of the task.

    Raises:
        ParameterBindError: The arguments do not fit the signature.
        MappingMissingIterable: There is nothing to iterate over.
        MappingLengthMismatch: The iterables differ in length.
    """
    given = signature.bind(args, kwargs)
    # Defaults are passed whole, whatever they are.
    named = set(signature.raw.bind(*args, **kwargs).arguments)
    spread: dict[str, list[Any]] = {}
    whole: dict[str, Any] = {}
    for name, value in given.items():
        items = _items(value) if name in named else None
        if items is None:
            whole[name] = value.unwrap() if isinstance(value, unmapped) else value
        else:
            spread[name] = items
    if not spread:
        has = ", ".join(given) or "nothing"
        msg = f"map was given nothing to iterate over, but {has}; give it a list, or use submit."
        raise errors.MappingMissingIterable(msg)
    lengths = {name: len(items) for name, items in spread.items()}
    if len(set(lengths.values())) > 1:
        told = ", ".join(f"{name}: {length}" for name, length in lengths.items())
        msg = (
            f"map was given iterables of different lengths ({told}); make them equal, or wrap "
            "those that are to be passed whole in unmapped."
        )
        raise errors.MappingLengthMismatch(msg)
    count = next(iter(lengths.values()))
    return [
        {name: spread[name][n] if name in spread else whole[name] for name in given}
        for n in range(count)
    ]


def _items(value: Any) -> list[Any] | None:
    """Return what to iterate over; None where a value is to be passed whole."""
    if isinstance(value, (unmapped, quote)):
        return None
    if isinstance(value, allow_failure):
        inner = _items(cast("Annotation[Any]", value).unwrap())
        return None if inner is None else [allow_failure(item) for item in inner]
    if isinstance(value, Future) and not isinstance(value, FutureList):
        # What a task returned: it has to be there to be counted.
        result = cast("Future[Any]", value).result()
        return _items(result)
    if isinstance(value, (str, bytes, io.IOBase)) or not isinstance(value, Iterable):
        return None
    return list(cast("Iterable[Any]", value))
