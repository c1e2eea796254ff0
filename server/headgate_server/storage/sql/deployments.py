"""Deployments in SQL."""

from __future__ import annotations

import sqlalchemy as sa

from headgate.core import deployments, errors
from headgate_server.storage.records import DeploymentFilter, Page, PageRequest
from headgate_server.storage.sql import deletion, paging, rows, tables
from headgate_server.storage.sql.work import Work

_DEPLOYMENTS = tables.deployments
_FULL_NAME = _DEPLOYMENTS.c.flow_name + "/" + _DEPLOYMENTS.c.name


class SqlDeployments:
    """See :class:`headgate_server.storage.interface.Deployments`."""

    def __init__(self, work: Work) -> None:
        self._work = work

    def get(self, deployment_id: str) -> deployments.Deployment | None:
        return self._one(_DEPLOYMENTS.c.id == deployment_id)

    def get_by_name(self, flow_name: str, name: str) -> deployments.Deployment | None:
        return self._one(
            sa.and_(_DEPLOYMENTS.c.flow_name == flow_name, _DEPLOYMENTS.c.name == name)
        )

    def insert(self, deployment: deployments.Deployment) -> None:
        if self.get_by_name(deployment.flow_name, deployment.name) is not None:
            raise errors.AlreadyExists("deployment", deployment.full_name)
        self._work.execute(sa.insert(_DEPLOYMENTS), rows.deployment_values(deployment))

    def replace(self, deployment: deployments.Deployment, *, expected_etag: str) -> bool:
        values = rows.deployment_values(deployment)
        result = self._work.execute(
            sa.update(_DEPLOYMENTS).where(
                _DEPLOYMENTS.c.id == deployment.id, _DEPLOYMENTS.c.etag == expected_etag
            ),
            values,
        )
        # It may have been unpaused, or its limit raised.
        self._work.changes.ready = True
        return result.rowcount == 1

    def delete(self, deployment_id: str) -> None:
        deletion.delete_deployments(self._work, _DEPLOYMENTS.c.id == deployment_id)

    def list(self, where: DeploymentFilter, page: PageRequest) -> Page[deployments.Deployment]:
        query = sa.select(_DEPLOYMENTS).where(
            *paging.has_tags(self._work, _DEPLOYMENTS.c.tags, where.tags)
        )
        if where.flow_ids:
            query = query.where(_DEPLOYMENTS.c.flow_id.in_(where.flow_ids))
        if where.name_contains:
            query = query.where(paging.name_contains(_FULL_NAME, where.name_contains))
        if where.work_pool_name:
            query = query.where(_DEPLOYMENTS.c.work_pool_name == where.work_pool_name)
        if where.paused is not None:
            query = query.where(_DEPLOYMENTS.c.paused == where.paused)
        key = [_DEPLOYMENTS.c.flow_name, _DEPLOYMENTS.c.name]
        return paging.fetch_page(self._work, query, key, page, rows.deployment, heavy=True)

    def list_scheduled(self, page: PageRequest) -> Page[deployments.Deployment]:
        query = sa.select(_DEPLOYMENTS).where(_DEPLOYMENTS.c.is_scheduled)
        return paging.fetch_page(self._work, query, [_DEPLOYMENTS.c.id], page, rows.deployment)

    def _one(self, condition: sa.ColumnElement[bool]) -> deployments.Deployment | None:
        row = self._work.execute(sa.select(_DEPLOYMENTS).where(condition)).first()
        return None if row is None else rows.deployment(row)
