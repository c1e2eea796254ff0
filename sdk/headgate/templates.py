"""Templates: values with placeholders in them, such as ``{{ headgate.variables.region }}``.

There are four kinds of placeholders: ``{{ name }}`` stands for a given value, ``{{ $NAME }}`` for a
variable of the environment, ``{{ headgate.variables.name }}`` for a variable of the server, and
``{{ headgate.blocks.type.name.field }}`` for a saved block or a part of it. They are looked for in
texts within dictionaries and lists, at any depth. A text that is nothing but one placeholder
becomes the value itself, of whatever type; in a longer text each becomes what the value is as text.
"""

from __future__ import annotations

import enum
import functools
import json
import os
import re
from collections.abc import Callable, Generator, Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

from headgate.core import blocks, errors

if TYPE_CHECKING:
    from headgate.client.orchestration import HeadgateClient, SyncHeadgateClient
    from headgate.client.rpc import Sending, Steps

__all__ = [
    "NOT_SET",
    "NotSet",
    "Placeholder",
    "PlaceholderType",
    "apply_values",
    "aresolve",
    "aresolve_block_document_references",
    "aresolve_variables",
    "find_placeholders",
    "resolve",
    "resolve_block_document_references",
    "resolve_variables",
]

_PLACEHOLDER = re.compile(r"({{\s*([\w.\-\[\]$]+)\s*}})")
_BLOCKS = "headgate.blocks."
_VARIABLES = "headgate.variables."
_ENVIRONMENT = "$"
_STEP = re.compile(r"([^.\[\]]+)|\[(\d+)\]")
_DEPTH_MAX = 100


class PlaceholderType(enum.Enum):
    """What a placeholder stands for."""

    STANDARD = "standard"
    BLOCK_DOCUMENT = "block_document"
    VARIABLE = "variable"
    ENV_VAR = "env_var"


class Placeholder(NamedTuple):
    """A placeholder in a text.

    Attributes:
        full_match: All of it, with its braces.
        name: What is between the braces.
        type: What it stands for.
    """

    full_match: str
    name: str
    type: PlaceholderType


class NotSet(enum.Enum):
    """The type of ``NOT_SET``."""

    NOT_SET = enum.auto()


#: What a placeholder becomes for which there is no value.
NOT_SET: Final = NotSet.NOT_SET

#: Gives the value of a placeholder; ``NOT_SET``: there is none; the placeholder itself: it stays.
_Lookup = Callable[[Placeholder], Any]


def find_placeholders(template: Any) -> set[Placeholder]:
    """Return all placeholders of a template."""
    return set(_walk(template))


def apply_values(template: Any, values: Mapping[str, Any], remove_notset: bool = True) -> Any:
    """Replace the placeholders for given values and for variables of the environment.

    Args:
        template: What to fill in.
        values: Values by name; ``a.b`` and ``a[0]`` lead into one.
        remove_notset: Whether an entry of a dictionary or list goes where its placeholder has no
            value, and such a placeholder in a text becomes nothing. Otherwise they stay.

    Returns:
        The template, filled in; ``NOT_SET`` where it is a single placeholder without a value.
    """

    def look_up(placeholder: Placeholder) -> Any:
        match placeholder.type:
            case PlaceholderType.STANDARD:
                found = _follow(values, placeholder.name)
            case PlaceholderType.ENV_VAR:
                found = os.environ.get(placeholder.name.lstrip(_ENVIRONMENT), NOT_SET)
            case _:
                return placeholder
        return placeholder if found is NOT_SET and not remove_notset else found

    return _fill(template, look_up)


def resolve(template: Any, client: SyncHeadgateClient | None = None) -> Any:
    """Replace the placeholders and references for blocks and variables of the server.

    Args:
        template: What to fill in.
        client: A client that is open. Default: one of its own, if one is needed.

    Raises:
        BlockNotFoundError: There is no such block.
        TemplateError: A placeholder is none, or leads to nothing.
    """
    return _run(_resolve(template, _WANTED), client)


async def aresolve(template: Any, client: HeadgateClient | None = None) -> Any:
    """Replace the placeholders for blocks and variables; see ``resolve``."""
    return await _arun(_resolve(template, _WANTED), client)


def resolve_block_document_references(
    template: Any, client: SyncHeadgateClient | None = None
) -> Any:
    """Replace ``{{ headgate.blocks.type.name }}`` and ``{"$ref": {"block_document_id": id}}``.

    A block becomes a dictionary of its data, one with a ``value`` that value; behind its name a
    placeholder may lead to a part, as in ``{{ headgate.blocks.database.main.options.port }}``.

    Raises:
        BlockNotFoundError: There is no such block.
        TemplateError: A placeholder is none, or leads to nothing.
    """
    return _run(_resolve(template, {PlaceholderType.BLOCK_DOCUMENT}), client)


async def aresolve_block_document_references(
    template: Any, client: HeadgateClient | None = None
) -> Any:
    """Replace the placeholders for blocks; see ``resolve_block_document_references``."""
    return await _arun(_resolve(template, {PlaceholderType.BLOCK_DOCUMENT}), client)


def resolve_variables(template: Any, client: SyncHeadgateClient | None = None) -> Any:
    """Replace ``{{ headgate.variables.name }}``; a variable that is not there is an empty text."""
    return _run(_resolve(template, {PlaceholderType.VARIABLE}), client)


async def aresolve_variables(template: Any, client: HeadgateClient | None = None) -> Any:
    """Replace the placeholders for variables; see ``resolve_variables``."""
    return await _arun(_resolve(template, {PlaceholderType.VARIABLE}), client)


# --- Looking and filling in -------------------------------------------------------------------


def _type_of(name: str) -> PlaceholderType:
    if name.startswith(_BLOCKS):
        return PlaceholderType.BLOCK_DOCUMENT
    if name.startswith(_VARIABLES):
        return PlaceholderType.VARIABLE
    if name.startswith(_ENVIRONMENT):
        return PlaceholderType.ENV_VAR
    return PlaceholderType.STANDARD


def _in_text(text: str) -> list[Placeholder]:
    if "{{" not in text:
        return []
    return [Placeholder(whole, name, _type_of(name)) for whole, name in _PLACEHOLDER.findall(text)]


def _walk(template: Any, depth: int = 0) -> Generator[Placeholder]:
    _check_depth(depth)
    if isinstance(template, str):
        yield from _in_text(template)
    elif isinstance(template, dict):
        for value in cast("dict[Any, Any]", template).values():
            yield from _walk(value, depth + 1)
    elif isinstance(template, list):
        for value in cast("list[Any]", template):
            yield from _walk(value, depth + 1)


def _check_depth(depth: int) -> None:
    if depth > _DEPTH_MAX:
        msg = f"The template is nested more than {_DEPTH_MAX} levels deep; flatten it."
        raise errors.TemplateError(msg)


def _fill(template: Any, look_up: _Lookup) -> Any:
    if isinstance(template, str):
        return _fill_text(template, look_up)
    if isinstance(template, dict):
        pairs = (
            (key, _fill(value, look_up)) for key, value in cast("dict[Any, Any]", template).items()
        )
        return {key: value for key, value in pairs if value is not NOT_SET}
    if isinstance(template, list):
        items = (_fill(value, look_up) for value in cast("list[Any]", template))
        return [value for value in items if value is not NOT_SET]
    return template


def _fill_text(text: str, look_up: _Lookup) -> Any:
    placeholders = _in_text(text)
    if len(placeholders) == 1 and placeholders[0].full_match == text:
        value = look_up(placeholders[0])
        return text if value is placeholders[0] else value

    def replacement(found: re.Match[str]) -> str:
        placeholder = Placeholder(found[1], found[2], _type_of(found[2]))
        value = look_up(placeholder)
        if value is placeholder:
            return found[1]
        return "" if value is NOT_SET else _as_text(value)

    # All at once: what a value says is not looked at again for placeholders.
    return _PLACEHOLDER.sub(replacement, text) if placeholders else text


def _as_text(value: Any) -> str:
    return json.dumps(value) if isinstance(value, (dict, list)) else str(value)


def _follow(values: Any, path: str) -> Any:
    """Return what a path such as ``a.b[0]`` leads to; ``NOT_SET`` if nothing."""
    if isinstance(values, Mapping) and path in values:
        return cast("Mapping[str, Any]", values)[path]
    found: Any = cast("Any", values)
    for key, index in _STEP.findall(path):
        found = _step(found, key, int(index or 0))
    return found


def _step(value: Any, key: str, index: int) -> Any:
    if key:
        known = cast("Mapping[str, Any]", value if isinstance(value, Mapping) else {})
        return known.get(key, NOT_SET)
    items = cast("list[Any]", value if isinstance(value, list) else [])
    return items[index] if index < len(items) else NOT_SET


# --- What the server has ----------------------------------------------------------------------

_WANTED = {PlaceholderType.BLOCK_DOCUMENT, PlaceholderType.VARIABLE}


def _resolve(template: Any, wanted: set[PlaceholderType]) -> Steps[Any]:
    """Ask for what is wanted, each thing once, and fill it in."""
    named = {p.name: p for p in _walk(template) if p.type in wanted}
    found: dict[str, Any] = {}
    for name, placeholder in named.items():
        if placeholder.type is PlaceholderType.BLOCK_DOCUMENT:
            found[name] = yield from _read_block(placeholder)
        else:
            found[name] = yield from _read_variable(name.removeprefix(_VARIABLES))
    filled = _fill(template, lambda p: found.get(p.name, p))
    if PlaceholderType.BLOCK_DOCUMENT in wanted:
        filled = yield from _replace_references(filled)
    return filled


def _read_block(placeholder: Placeholder) -> Steps[Any]:
    from headgate.client.calls import blocks as calls

    slug, _, rest = placeholder.name.removeprefix(_BLOCKS).partition(".")
    name, dot, path = rest.partition(".")
    if not (slug and name) or (dot and not path):
        msg = (
            f"{placeholder.full_match} does not name a block; write "
            "{{ headgate.blocks.type.name }}, and a field behind it if only that is wanted."
        )
        raise errors.TemplateError(msg)
    try:
        loaded = yield from calls.read_block_document_by_name(name, slug)
    except errors.NotFound as error:
        msg = (
            f"There is no block {name!r} of the type {slug!r}, which {placeholder.full_match} "
            "means; save it first."
        )
        raise errors.BlockNotFoundError(msg) from error
    data = _data_of(loaded)
    if not path:
        return data.get("value", data)
    value = _follow(data, path)
    if value is NOT_SET:
        msg = f"Block '{slug}/{name}' has no {path!r}, which {placeholder.full_match} means."
        raise errors.TemplateError(msg)
    return value


def _read_variable(name: str) -> Steps[Any]:
    from headgate.client.calls import variables as calls

    variable = yield from calls.read_variable_by_name(name)
    return "" if variable is None else variable.value


def _replace_references(value: Any) -> Steps[Any]:
    from headgate.client.calls import blocks as calls

    document_id = blocks.referenced_id(value)
    if document_id is not None:
        try:
            loaded = yield from calls.read_block_document(document_id)
        except errors.NotFound as error:
            msg = f"There is no block {document_id}, which the template refers to; save it first."
            raise errors.BlockNotFoundError(msg) from error
        return _data_of(loaded)
    if isinstance(value, dict):
        replaced: dict[Any, Any] = {}
        for key, part in cast("dict[Any, Any]", value).items():
            replaced[key] = yield from _replace_references(part)
        return replaced
    if isinstance(value, list):
        items: list[Any] = []
        for part in cast("list[Any]", value):
            items.append((yield from _replace_references(part)))
        return items
    return value


def _data_of(loaded: blocks.LoadedBlock) -> dict[str, Any]:
    values = {field: json.loads(text) for field, text in loaded.document.data.items()}
    return {field: _expand(value, loaded) for field, value in values.items()}


def _expand(value: Any, loaded: blocks.LoadedBlock) -> Any:
    document = loaded.references.get(blocks.referenced_id(value) or "")
    if document is not None:
        return {field: _expand(json.loads(text), loaded) for field, text in document.data.items()}
    if isinstance(value, dict):
        return {key: _expand(part, loaded) for key, part in cast("dict[str, Any]", value).items()}
    if isinstance(value, list):
        return [_expand(part, loaded) for part in cast("list[Any]", value)]
    return value


def _run(steps: Steps[Any], client: SyncHeadgateClient | None) -> Any:
    """Carry out calls, or none: then no server is needed either."""
    try:
        first = next(steps)
    except StopIteration as end:
        return end.value
    from headgate.blocks import _plans  # loads pydantic, and the client

    return _plans.run(_again(first, steps), client)


async def _arun(steps: Steps[Any], client: HeadgateClient | None) -> Any:
    try:
        first = next(steps)
    except StopIteration as end:
        return end.value
    from headgate.blocks import _plans  # loads pydantic, and the client

    return await _plans.arun(_again(first, steps), client)


def _again(first: Sending, steps: Steps[Any]) -> Steps[Any]:
    """Go on with calls of which the first was taken out."""
    sending = first
    while True:
        try:
            response = yield sending
        except errors.ControlPlaneError as error:
            forward = functools.partial(steps.throw, error)
        else:
            forward = functools.partial(steps.send, response)
        try:
            sending = forward()
        except StopIteration as end:
            return end.value
