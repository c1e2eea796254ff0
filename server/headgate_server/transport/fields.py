"""What is checked of every request before a service sees it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from google.protobuf.message import Message

from headgate.core import errors

Strings = Iterator[tuple[str, str]]


def refuse_nul(request: Message) -> None:
    """Refuse texts with a NUL character, which not every database can store.

    Raises:
        InvalidArgument: A text has one; the field is named.
    """
    if b"\x00" not in request.SerializeToString():
        # Numbers may have zero bytes, too; texts without any are the rule and cost one search.
        return
    violations = [
        errors.Violation(path, "A text must not contain the NUL character; take it out.")
        for path, text in _strings(request, "")
        if "\x00" in text
    ]
    if violations:
        raise errors.InvalidArgument(violations)


def _strings(message: Message, prefix: str) -> Strings:
    for field, value in message.ListFields():
        yield from _strings_of(value, f"{prefix}{field.name}")


def _strings_of(value: Any, path: str) -> Strings:
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, Message):
        yield from _strings(value, f"{path}.")
    elif isinstance(value, Mapping):
        for key in value:  # pyright: ignore[reportUnknownVariableType]  # a map field of any kind
            yield path, str(key)  # pyright: ignore[reportUnknownArgumentType]  # as above
            yield from _strings_of(value[key], f"{path}[{key!r}]")
    elif isinstance(value, Sequence) and not isinstance(value, bytes):
        for index, item in enumerate(value):  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]  # a repeated field of any kind
            yield from _strings_of(item, f"{path}[{index}]")
