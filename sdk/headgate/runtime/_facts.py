"""How the modules of ``headgate.runtime`` find their facts."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from headgate.core import errors

__all__ = ["Facts"]

_PREFIX = "HEADGATE__RUNTIME__"
_EXPECTED: Mapping[type, str] = {
    int: "a whole number",
    datetime: "a time in ISO format",
    dict: "a JSON object",
}


class Facts:
    """The facts of one module of ``headgate.runtime``.

    Args:
        module: The name of the module, e.g. ``flow_run``.
        readers: Per fact, how it is read, and what type a value from the environment gets.
    """

    def __init__(self, module: str, readers: Mapping[str, tuple[Callable[[], Any], type]]) -> None:
        """Make the facts of a module."""
        self._module = module
        self._readers = readers

    def read(self, name: str) -> Any:
        """Return a fact; one that only the environment knows is a text.

        Raises:
            AttributeError: There is no such fact.
            InvalidArgument: What the environment says it is does not fit it.
        """
        entry = self._readers.get(name)
        variable = f"{_PREFIX}{self._module.upper()}__{name.upper()}"
        override = None if name.startswith("_") else os.environ.get(variable)
        if entry is None:
            if override is not None:
                return override
            msg = f"module 'headgate.runtime.{self._module}' has no attribute {name!r}"
            raise AttributeError(msg)
        reader, kind = entry
        if override is None:
            return reader()
        try:
            return _convert(override, kind)
        except ValueError:
            raise errors.InvalidArgument.of(
                variable, f"must be {_EXPECTED[kind]}, not {override!r}"
            ) from None

    def names(self) -> list[str]:
        """Return the names of all facts."""
        return sorted(self._readers)


def _convert(text: str, kind: type) -> Any:
    if kind is int:
        return int(text)
    if kind is datetime:
        moment = datetime.fromisoformat(text)
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    if kind is list:
        return [part.strip() for part in text.split(",") if part.strip()]
    if kind is dict:
        return json.loads(text)
    return text
