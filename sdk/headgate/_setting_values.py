"""How the text of a setting becomes its value, and the value text again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias, cast

from headgate.core import errors

__all__ = ["Pairs", "invalid", "parse", "to_text"]

#: A mapping that can be a default: names and values.
Pairs: TypeAlias = tuple[tuple[str, str], ...]

_TRUE = frozenset({"1", "true", "t", "yes", "y", "on"})
_FALSE = frozenset({"0", "false", "f", "no", "n", "off"})
_EXPECTED: Mapping[str, str] = {
    "bool": "true or false",
    "int": "a whole number",
    "float": "a number",
    "str": "text",
    "Path": "a path",
    "Pairs": 'a JSON object of texts, e.g. {"x-team": "data"}',
}


def parse(variable: str, annotation: str, raw: Any, choices: frozenset[str] | None) -> Any:
    """Turn text into the type of a setting; a value of that type stays as it is.

    Args:
        variable: The name of the setting, for the error.
        annotation: Its type, e.g. ``int | None``.
        raw: What was given.
        choices: The legal values, where there are few.

    Raises:
        InvalidArgument: It does not fit.
    """
    kind, _, optional = annotation.partition(" | ")
    if optional and raw in (None, ""):
        return None
    if raw is None:
        raise invalid(variable, "needs a value")
    try:
        value = _convert(kind, raw)
    except (TypeError, ValueError):
        raise invalid(variable, f"must be {_EXPECTED[kind]}, not {raw!r}") from None
    if choices is None:
        return value
    for choice in choices:
        if choice.lower() == str(value).lower():
            return choice
    raise invalid(variable, f"must be one of {', '.join(sorted(choices))}, not {raw!r}")


def to_text(value: Any) -> str:
    """Write a value as ``parse`` reads it."""
    if isinstance(value, tuple):
        return json.dumps(dict(cast("Pairs", value)))
    return str(value)


def invalid(field: str, description: str) -> errors.InvalidArgument:
    """Make an error about a setting."""
    return errors.InvalidArgument.of(field, description)


def _convert(kind: str, raw: Any) -> Any:
    match kind:
        case "bool":
            text = str(raw).lower()
            if text not in _TRUE | _FALSE:
                raise ValueError(text)
            return text in _TRUE
        case "int":
            return int(raw)
        case "float":
            return float(raw)
        case "Path":
            return Path(raw).expanduser()
        case "Pairs":
            return _pairs(raw)
        case _:
            if isinstance(raw, list | tuple):
                return ",".join(str(item) for item in cast("list[object]", raw))
            return str(raw)


def _pairs(raw: Any) -> Pairs:
    if isinstance(raw, tuple):
        return cast("Pairs", raw)
    found: Any = json.loads(raw) if isinstance(raw, str) and raw else raw or {}
    if not isinstance(found, Mapping):
        raise TypeError(raw)
    return tuple(
        (str(name), str(value)) for name, value in cast("Mapping[Any, Any]", found).items()
    )
