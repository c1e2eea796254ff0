"""What storage keeps of variables."""

from __future__ import annotations

import dataclasses
from typing import Protocol

from headgate.core.variables import Variable
from headgate_server.storage.records import Page, PageRequest


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class VariableFilter:
    """Which variables; empty fields do not filter."""

    name_contains: str = ""
    tags: tuple[str, ...] = ()


class Variables(Protocol):
    """Variables, by unique name."""

    def get(self, name: str) -> Variable | None:
        """Return the variable, or None."""
        ...

    def insert(self, variable: Variable) -> None:
        """Store a new one. Raises AlreadyExists if the name is taken."""
        ...

    def update(self, variable: Variable) -> Variable:
        """Store value and tags of the one with this name; set update_time by the database clock."""
        ...

    def delete(self, name: str) -> bool:
        """Delete it; say whether there was one."""
        ...

    def list(self, where: VariableFilter, page: PageRequest) -> Page[Variable]:
        """List variables by name."""
        ...


__all__ = ["VariableFilter", "Variables"]
