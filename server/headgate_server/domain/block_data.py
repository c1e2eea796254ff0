"""What is done with the data of blocks: secrets are masked, masks are filled in again."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

from headgate.core.blocks import MASK, find_references

_ANY = "*"
#: How deeply values may be nested.
DEPTH_MAX = 100


def mask(data: Mapping[str, str], secret_fields: Iterable[str]) -> dict[str, str]:
    """Return data with what is at the paths of secrets replaced; null stays null.

    Args:
        data: Field to JSON text.
        secret_fields: Paths such as ``password``, ``headers.*`` and ``database.password``; a path
            goes through lists, too.
    """
    values: Any = load(data)
    for path in secret_fields:
        values = _mask(values, path.split("."))
    return dump(values)


def unmask(
    data: Mapping[str, str], stored: Mapping[str, str], secret_fields: Iterable[str]
) -> dict[str, str]:
    """Return new data in which a secret that was sent masked is what it was before.

    Whoever edits a block without its secrets sends back what was shown.
    """
    values: Any = load(data)
    before = load(stored)
    for path in secret_fields:
        values = _unmask(values, before, path.split("."))
    return dump(values)


def referenced_ids(data: Mapping[str, str]) -> list[str]:
    """Return the ids of the blocks that data refer to, each once, in order."""
    found: dict[str, None] = {}
    for value in load(data).values():
        found.update(dict.fromkeys(find_references(value)))
    return list(found)


def is_too_deep(value: Any) -> bool:
    """Say whether a value is nested more deeply than is walked through here."""
    level = [value]
    for _ in range(DEPTH_MAX):
        level = [part for item in level for part in _parts(item)]
        if not level:
            return False
    return True


def _parts(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return list(cast("dict[str, Any]", value).values())
    return cast("list[Any]", value) if isinstance(value, list) else []


def load(data: Mapping[str, str]) -> dict[str, Any]:
    """Parse the JSON texts of data."""
    return {field: json.loads(text) for field, text in data.items()}


def dump(values: Mapping[str, Any]) -> dict[str, str]:
    """Write values as JSON texts."""
    return {
        field: json.dumps(value, ensure_ascii=False, separators=(",", ":"))
        for field, value in values.items()
    }


def _mask(value: Any, path: Sequence[str]) -> Any:
    if path and isinstance(value, list):
        return [_mask(item, path) for item in cast("list[Any]", value)]
    if not path or not isinstance(value, dict):
        # A secret; or something else than the schema says, which had better not be shown.
        return value if value is None else MASK
    head, *rest = path
    return {
        key: _mask(item, rest) if head in (key, _ANY) else item
        for key, item in cast("dict[str, Any]", value).items()
    }


def _unmask(value: Any, before: Any, path: Sequence[str]) -> Any:
    if value == MASK:
        return value if before is None else before
    if not path:
        return value
    if isinstance(value, list):
        items = cast("list[Any]", value)
        old = cast("list[Any]", before) if isinstance(before, list) else []
        padded = [*old, *[None] * (len(items) - len(old))]
        return [_unmask(item, was, path) for item, was in zip(items, padded, strict=False)]
    if not isinstance(value, dict):
        return value
    known = cast("dict[str, Any]", value)
    old_values = cast("dict[str, Any]", before) if isinstance(before, dict) else {}
    head, *rest = path
    return {
        key: _unmask(item, old_values.get(key), rest) if head in (key, _ANY) else item
        for key, item in known.items()
    }


__all__ = ["DEPTH_MAX", "dump", "is_too_deep", "load", "mask", "referenced_ids", "unmask"]
