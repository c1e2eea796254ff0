"""How the modules of ``headgate.runtime`` find their facts."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

__all__ = ["Facts"]

_PREFIX = "HEADGATE__RUNTIME__"


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
        """Return a fact.

        Raises:
            AttributeError: There is no such fact.
        """
        entry = self._readers.get(name)
        if entry is None:
            msg = f"module 'headgate.runtime.{self._module}' has no attribute {name!r}"
            raise AttributeError(msg)
        reader, kind = entry
        override = os.environ.get(f"{_PREFIX}{self._module.upper()}__{name.upper()}")
        return reader() if override is None else _convert(override, kind)

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
