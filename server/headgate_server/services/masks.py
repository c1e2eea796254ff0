"""Updates by field mask: which fields of a record a request may change."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from typing import Any, TypeVar

from headgate.core import errors

T = TypeVar("T")


def apply(
    stored: T,
    given: T,
    mask: Sequence[str],
    *,
    allowed: Collection[str],
    names: Mapping[str, str] | None = None,
    required: bool = True,
) -> T:
    """Return the stored record with the masked fields of the given one.

    Args:
        stored: The record as it is.
        given: The record with the new values.
        mask: The names of the fields to change; ``*`` means all that are allowed.
        allowed: The fields that may change.
        names: Where their names in the record differ: those, by the names of the mask.
        required: Whether an empty mask is an error, or means all that are allowed.

    Raises:
        InvalidArgument: The mask names another field, or none.
    """
    if not mask and required:
        raise errors.InvalidArgument.of("update_mask", f"Name the fields: {_names(allowed)}.")
    unknown = [path for path in mask if path not in allowed and path != "*"]
    if unknown:
        raise errors.InvalidArgument.of(
            "update_mask", f"{', '.join(unknown)} cannot be changed; use {_names(allowed)}."
        )
    chosen = allowed if not mask or "*" in mask else mask
    changes: dict[str, Any] = {}
    for path in chosen:
        field = names[path] if names else path
        changes[field] = getattr(given, field)
    # T is a record of headgate.core; the stubs have no name for "any dataclass".
    record: Any = stored
    return dataclasses.replace(record, **changes)


def _names(allowed: Collection[str]) -> str:
    return ", ".join(sorted(allowed))
