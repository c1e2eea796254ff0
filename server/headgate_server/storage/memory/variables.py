"""Variables in memory."""

from __future__ import annotations

import dataclasses
from datetime import datetime

from headgate.core import errors
from headgate.core.variables import Variable
from headgate_server.storage.kinds.variables import VariableFilter
from headgate_server.storage.memory import paging
from headgate_server.storage.memory.tables import Tables
from headgate_server.storage.records import Page, PageRequest


class MemoryVariables:
    """See :class:`headgate_server.storage.kinds.variables.Variables`."""

    def __init__(self, tables: Tables, now: datetime) -> None:
        self._tables = tables
        self._now = now

    def get(self, name: str) -> Variable | None:
        return self._tables.variables.get(name)

    def insert(self, variable: Variable) -> None:
        if variable.name in self._tables.variables:
            raise errors.AlreadyExists("variable", variable.name)
        self._tables.variables[variable.name] = variable

    def update(self, variable: Variable) -> Variable:
        stored = self._tables.variables.get(variable.name)
        if stored is None:
            return variable
        changed = dataclasses.replace(
            stored, value_json=variable.value_json, tags=variable.tags, update_time=self._now
        )
        self._tables.variables[variable.name] = changed
        return changed

    def delete(self, name: str) -> bool:
        return self._tables.variables.remove(name)

    def list(self, where: VariableFilter, page: PageRequest) -> Page[Variable]:
        fitting = [
            variable
            for variable in self._tables.variables
            if paging.contains(variable.name, where.name_contains)
            and paging.has_tags(variable.tags, where.tags)
        ]
        return paging.cut_page(fitting, lambda variable: (variable.name,), page)
