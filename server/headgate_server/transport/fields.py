"""What is checked of every request before a service sees it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from google.protobuf.message import Message

from headgate.core import errors

Strings = Iterator[tuple[str, str]]

#: How many values one field of a filter may list: databases limit the parameters of a statement.
FILTER_VALUES_MAX = 5_000
#: Every tag is a condition of its own, and databases limit how deep those nest.
FILTER_TAGS_MAX = 200
#: SQLite searches for no pattern of more than 50,000 bytes.
FILTER_TEXT_MAX = 4_096


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


def refuse_long_filter(request: Message) -> None:
    """Refuse filters that no database could answer, whatever service they are for.

    Raises:
        InvalidArgument: A field of the filter lists too much, or is too long; it is named.
    """
    if "filter" not in request.DESCRIPTOR.fields_by_name or not request.HasField("filter"):
        return
    violations: list[errors.Violation] = []
    given: Message = getattr(request, "filter")  # noqa: B009 - generated; Message has no such field
    for field, value in given.ListFields():
        path = f"filter.{field.name}"
        if isinstance(value, str):
            if len(value) > FILTER_TEXT_MAX:
                description = (
                    f"The text has {len(value)} characters; at most {FILTER_TEXT_MAX} fit."
                )
                violations.append(errors.Violation(path, description))
        elif isinstance(value, Sequence):
            most = FILTER_TAGS_MAX if field.name.endswith("tags") else FILTER_VALUES_MAX
            if len(value) > most:  # pyright: ignore[reportUnknownArgumentType]  # a repeated field of any kind
                description = f"At most {most} fit; ask several times."
                violations.append(errors.Violation(path, description))
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
