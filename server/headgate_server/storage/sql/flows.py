"""Flows in SQL."""

from __future__ import annotations

import sqlalchemy as sa

from headgate.core import runs
from headgate_server.storage.records import FlowFilter, Page, PageRequest
from headgate_server.storage.sql import deletion, paging, rows, tables
from headgate_server.storage.sql.work import Work

_FLOWS = tables.flows

_GET_BY_NAME = sa.select(_FLOWS).where(_FLOWS.c.name == sa.bindparam("name"))


class SqlFlows:
    """See :class:`headgate_server.storage.interface.Flows`."""

    def __init__(self, work: Work) -> None:
        self._work = work

    def get(self, flow_id: str) -> runs.Flow | None:
        return self._one(_FLOWS.c.id == flow_id)

    def get_by_name(self, name: str) -> runs.Flow | None:
        row = self._work.execute(_GET_BY_NAME, {"name": name}).first()
        return None if row is None else rows.flow(row)

    def ensure(self, name: str, *, new_id: str) -> runs.Flow:
        flow = self.get_by_name(name)
        if flow is None:
            now = self._work.now()
            flow = runs.Flow(id=new_id, name=name, create_time=now, update_time=now)
            self._work.execute(sa.insert(_FLOWS), rows.flow_values(flow))
        return flow

    def update(self, flow: runs.Flow) -> runs.Flow:
        values = rows.flow_values(flow)
        changed = {name: values[name] for name in ("labels", "tags")}
        changed["update_time"] = self._work.now()
        self._work.execute(sa.update(_FLOWS).where(_FLOWS.c.id == flow.id), changed)
        return self.get(flow.id) or flow

    def delete(self, flow_id: str) -> None:
        deletion.delete_flow(self._work, flow_id)

    def list(self, where: FlowFilter, page: PageRequest) -> Page[runs.Flow]:
        query = sa.select(_FLOWS)
        if where.name_contains:
            query = query.where(paging.name_contains(_FLOWS.c.name, where.name_contains))
        query = query.where(*paging.has_tags(self._work, _FLOWS.c.tags, where.tags))
        return paging.fetch_page(self._work, query, [_FLOWS.c.name], page, rows.flow)

    def _one(self, condition: sa.ColumnElement[bool]) -> runs.Flow | None:
        row = self._work.execute(sa.select(_FLOWS).where(condition)).first()
        return None if row is None else rows.flow(row)
