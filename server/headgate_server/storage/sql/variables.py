"""Variables in SQL."""

from __future__ import annotations

import sqlalchemy as sa

from headgate.core import errors
from headgate.core.variables import Variable
from headgate_server.storage.kinds.variables import VariableFilter
from headgate_server.storage.records import Page, PageRequest
from headgate_server.storage.sql import json_text, paging
from headgate_server.storage.sql.rows import Row
from headgate_server.storage.sql.tables import METADATA
from headgate_server.storage.sql.types import TEXT, UID, Instant
from headgate_server.storage.sql.work import Work

variables = sa.Table(
    "variables",
    METADATA,
    sa.Column("id", UID, primary_key=True),
    sa.Column("name", TEXT, nullable=False),
    sa.Column("value", TEXT, nullable=False),
    sa.Column("tags", TEXT, nullable=False),
    sa.Column("create_time", Instant, nullable=False),
    sa.Column("update_time", Instant, nullable=False),
    sa.UniqueConstraint("name"),
)


class SqlVariables:
    """See :class:`headgate_server.storage.kinds.variables.Variables`."""

    def __init__(self, work: Work) -> None:
        self._work = work

    def get(self, name: str) -> Variable | None:
        row = self._work.execute(sa.select(variables).where(variables.c.name == name)).first()
        return None if row is None else _read(row)

    def insert(self, variable: Variable) -> None:
        if self.get(variable.name) is not None:
            raise errors.AlreadyExists("variable", variable.name)
        values = {
            "id": variable.id,
            "name": variable.name,
            "value": variable.value_json,
            "tags": json_text.dump_texts(variable.tags),
            "create_time": variable.create_time,
            "update_time": variable.update_time,
        }
        self._work.execute(sa.insert(variables), values)

    def update(self, variable: Variable) -> Variable:
        self._work.execute(
            sa.update(variables).where(variables.c.name == variable.name),
            {
                "value": variable.value_json,
                "tags": json_text.dump_texts(variable.tags),
                "update_time": self._work.now(),
            },
        )
        return self.get(variable.name) or variable

    def delete(self, name: str) -> bool:
        return self._work.execute(sa.delete(variables).where(variables.c.name == name)).rowcount > 0

    def list(self, where: VariableFilter, page: PageRequest) -> Page[Variable]:
        query = sa.select(variables)
        if where.name_contains:
            query = query.where(paging.name_contains(variables.c.name, where.name_contains))
        query = query.where(*paging.has_tags(self._work, variables.c.tags, where.tags))
        return paging.fetch_page(self._work, query, [variables.c.name], page, _read)


def _read(row: Row) -> Variable:
    return Variable(
        id=row.id,
        name=row.name,
        value_json=row.value,
        tags=json_text.load_texts(row.tags),
        create_time=row.create_time,
        update_time=row.update_time,
    )
