"""Inputs of flow runs in SQL."""

from __future__ import annotations

import dataclasses

import sqlalchemy as sa

from headgate.core import errors
from headgate.core.run_inputs import RunInput
from headgate_server.storage.kinds import run_inputs as kind
from headgate_server.storage.kinds.run_inputs import RunInputFilter
from headgate_server.storage.records import Page, PageRequest
from headgate_server.storage.sql import paging
from headgate_server.storage.sql.rows import Row
from headgate_server.storage.sql.tables import METADATA
from headgate_server.storage.sql.types import SERIAL, TEXT, UID, Instant
from headgate_server.storage.sql.work import Work

#: Places are those of the database's own counter: writers take turns (see ``work.py``), so they
#: grow in the order of commits. AUTOINCREMENT, or SQLite would give the last one again after it
#: was deleted, and whoever waits behind it would miss what comes. A row without value, which is no
#: JSON text, is that of an input that was deleted: it remembers the request that had made it.
run_inputs = sa.Table(
    "run_inputs",
    METADATA,
    sa.Column("place", SERIAL, primary_key=True),
    sa.Column("id", UID, nullable=False),
    sa.Column("flow_run_id", UID, nullable=False),
    sa.Column("key", TEXT, nullable=False),
    sa.Column("value", TEXT, nullable=False),
    sa.Column("sender", TEXT),
    sa.Column("create_time", Instant, nullable=False),
    sa.UniqueConstraint("flow_run_id", "key"),
    sa.Index(None, "flow_run_id", "place"),
    sqlite_autoincrement=True,
)

_COLUMNS = run_inputs.c


class SqlRunInputs:
    """See :class:`headgate_server.storage.kinds.run_inputs.RunInputs`."""

    def __init__(self, work: Work) -> None:
        self._work = work

    def get(self, flow_run_id: str, key: str) -> RunInput | None:
        return self._one(flow_run_id, key, _COLUMNS.value != "")

    def get_deleted(self, flow_run_id: str, key: str) -> RunInput | None:
        return self._one(flow_run_id, key, _COLUMNS.value == "")

    def _one(
        self, flow_run_id: str, key: str, condition: sa.ColumnElement[bool]
    ) -> RunInput | None:
        query = sa.select(run_inputs).where(
            _COLUMNS.flow_run_id == flow_run_id, _COLUMNS.key == key, condition
        )
        row = self._work.execute(query).first()
        return None if row is None else _read(row)

    def insert(self, run_input: RunInput) -> RunInput:
        if self.get(run_input.flow_run_id, run_input.key) is not None:
            raise errors.AlreadyExists("run input", run_input.key)
        forget = sa.delete(run_inputs).where(
            _COLUMNS.flow_run_id == run_input.flow_run_id, _COLUMNS.key == run_input.key
        )
        self._work.execute(forget)
        values = {
            "id": run_input.id,
            "flow_run_id": run_input.flow_run_id,
            "key": run_input.key,
            "value": run_input.value,
            "sender": run_input.sender,
            "create_time": run_input.create_time,
        }
        statement = sa.insert(run_inputs).values(values).returning(_COLUMNS.place)
        place = self._work.execute(statement).scalar_one()
        self._work.changes.topics.add(kind.topic(run_input.flow_run_id))
        return dataclasses.replace(run_input, place=place)

    def delete(self, flow_run_id: str, key: str) -> bool:
        statement = (
            sa.update(run_inputs)
            .where(_COLUMNS.flow_run_id == flow_run_id, _COLUMNS.key == key, _COLUMNS.value != "")
            .values(value="")
        )
        if self._work.execute(statement).rowcount == 0:
            return False
        deleted = sa.and_(_COLUMNS.flow_run_id == flow_run_id, _COLUMNS.value == "")
        query = (
            sa.select(_COLUMNS.place)
            .where(deleted)
            .order_by(_COLUMNS.place.desc())
            .offset(kind.DELETED_MAX)
            .limit(1)
        )
        oldest = self._work.execute(query).scalar()
        if oldest is not None:
            self._work.execute(sa.delete(run_inputs).where(deleted, _COLUMNS.place <= oldest))
        return True

    def list(self, where: RunInputFilter, page: PageRequest) -> Page[RunInput]:
        query = sa.select(run_inputs).where(
            _COLUMNS.flow_run_id == where.flow_run_id,
            _COLUMNS.place > where.after_place,
            _COLUMNS.value != "",
        )
        if where.key_prefix:
            query = query.where(paging.starts_with(_COLUMNS.key, where.key_prefix))
        if where.exclude_keys:
            query = query.where(_COLUMNS.key.not_in(where.exclude_keys))
        return paging.fetch_page(self._work, query, [_COLUMNS.place], page, _read, heavy=True)


def _read(row: Row) -> RunInput:
    return RunInput(
        id=row.id,
        flow_run_id=row.flow_run_id,
        key=row.key,
        value=row.value,
        sender=row.sender,
        place=row.place,
        create_time=row.create_time,
    )


def delete_of_runs(work: Work, doomed: sa.ScalarSelect[str]) -> None:
    """Delete the inputs of flow runs that are about to be deleted."""
    work.execute(sa.delete(run_inputs).where(_COLUMNS.flow_run_id.in_(doomed)))
