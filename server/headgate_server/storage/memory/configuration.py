"""Configuration in memory."""

from __future__ import annotations

from headgate_server.storage.memory.tables import Tables


class MemoryConfiguration:
    """See :class:`headgate_server.storage.kinds.configuration.Configuration`."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables

    def get(self, name: str) -> str | None:
        return self._tables.configuration.get(name)

    def set(self, name: str, value: str) -> None:
        self._tables.configuration[name] = value

    def delete(self, name: str) -> bool:
        return self._tables.configuration.remove(name)
