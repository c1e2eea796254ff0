"""The arguments of each call of ``map``, of a task or a flow."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple, cast

from headgate.core import errors
from headgate.engine import visualizing
from headgate.futures import Future
from headgate.parameters import Signature
from headgate.states import State
from headgate.utilities.annotations import Annotation, allow_failure, quote, unmapped

__all__ = ["Calls", "Options", "arguments", "options"]


class Calls:
    """What each call is called with, by name; an argument is let go when its call takes it.

    Args:
        names: The parameters, in order.
        spread: Those that differ from call to call.
        whole: Those that every call gets.
        count: How many calls there are.
    """

    def __init__(
        self,
        names: Iterable[str],
        spread: dict[str, list[Any]],
        whole: Mapping[str, Any],
        count: int,
    ) -> None:
        """Make the calls when they are asked for."""
        self._names = tuple(names)
        self._spread = spread
        self._whole = whole
        self._count = count

    def __len__(self) -> int:
        """How many calls there are."""
        return self._count

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Take all of them, in order."""
        return (self.take(number) for number in range(self._count))

    def take(self, number: int) -> dict[str, Any]:
        """Return what one call is called with; once only."""
        taken: dict[str, Any] = {}
        for name in self._names:
            items = self._spread.get(name)
            if items is None:
                taken[name] = self._whole[name]
            else:
                taken[name], items[number] = items[number], None
        return taken


class Options(NamedTuple):
    """How ``map`` spreads its calls.

    Attributes:
        max_concurrency: How many are under way at once; None: as the runner likes.
        batch_size: How many are executed one after the other as one piece of work.
        deferred: Whether they are left to task workers, as by ``Task.delay``.
    """

    max_concurrency: int | None = None
    batch_size: int | None = None
    deferred: bool = False

    @property
    def given(self) -> dict[str, int]:
        """The numbers that were given, by name."""
        return {name: getattr(self, name) for name in _NUMBERS if getattr(self, name) is not None}


_NUMBERS = ("max_concurrency", "batch_size")


def options(signature: Signature, kwargs: Mapping[str, Any]) -> tuple[Options, dict[str, Any]]:
    """Take the options of ``map`` out of its arguments by name.

    A parameter of the function that has the name of an option is the function's.

    Raises:
        OptionTypeError: An option is of the wrong type.
        OptionValueError: A number is less than 1.
    """
    rest, found = dict(kwargs), dict[str, Any]()
    for name in Options._fields:
        if name not in signature.names and name in rest:
            found[name] = rest.pop(name)
    for name in _NUMBERS:
        _check_number(name, found.get(name))
    if type(found.get("deferred", False)) is not bool:
        msg = f"deferred is {found['deferred']!r}; use True or False."
        raise errors.OptionTypeError(msg)
    return Options(**found), rest


def _check_number(name: str, value: Any) -> None:
    if value is None:
        return
    if type(value) is not int:
        msg = f"{name} is {value!r}; use a whole number, or None."
        raise errors.OptionTypeError(msg)
    if value < 1:
        msg = f"{name} is {value}, and must be 1 at least; leave it away for no limit."
        raise errors.OptionValueError(msg)


def arguments(signature: Signature, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Calls:
    """Spread the arguments of a call of ``map`` over the calls of the function.

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
    return Calls(given, spread, whole, next(iter(lengths.values())))


def _items(value: Any) -> list[Any] | None:
    """Return what to iterate over, in a list of its own; None: to be passed whole."""
    if isinstance(value, (unmapped, quote)):
        return None
    if isinstance(value, visualizing.DrawnValue):
        return [value]  # nobody knows how many there would be: one call stands for them all
    if isinstance(value, allow_failure):
        inner = _items(cast("Annotation[Any]", value).unwrap())
        return None if inner is None else [allow_failure(item) for item in inner]
    if isinstance(value, (Future, State)):
        # What a task returned: it has to be there to be counted.
        result = cast("Future[Any] | State[Any]", value).result()
        return _items(result)
    if isinstance(value, (str, bytes, io.IOBase)) or not isinstance(value, Iterable):
        return None
    return list(cast("Iterable[Any]", value))
