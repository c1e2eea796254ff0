"""Configuration in SQL."""

from __future__ import annotations

import sqlalchemy as sa

from headgate_server.storage.sql.tables import METADATA
from headgate_server.storage.sql.types import TEXT, Instant
from headgate_server.storage.sql.work import Work

configuration = sa.Table(
    "configuration",
    METADATA,
    sa.Column("name", TEXT, primary_key=True),
    sa.Column("value", TEXT, nullable=False),
    sa.Column("update_time", Instant, nullable=False),
)


class SqlConfiguration:
    """See :class:`headgate_server.storage.kinds.configuration.Configuration`."""

    def __init__(self, work: Work) -> None:
        self._work = work

    def get(self, name: str) -> str | None:
        query = sa.select(configuration.c.value).where(configuration.c.name == name)
        return self._work.execute(query).scalar()

    def set(self, name: str, value: str) -> None:
        # Writers take turns (see ``work.py``), so nobody comes in between.
        self.delete(name)
        self._work.execute(
            sa.insert(configuration),
            {"name": name, "value": value, "update_time": self._work.now()},
        )

    def delete(self, name: str) -> bool:
        statement = sa.delete(configuration).where(configuration.c.name == name)
        return self._work.execute(statement).rowcount > 0
