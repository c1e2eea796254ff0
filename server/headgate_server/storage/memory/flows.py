"""Flows and deployments in memory."""

from __future__ import annotations

import dataclasses
from datetime import datetime

from headgate.core import errors
from headgate.core.deployments import Deployment
from headgate.core.runs import Flow
from headgate_server.storage.memory import paging
from headgate_server.storage.memory.tables import Tables
from headgate_server.storage.records import DeploymentFilter, FlowFilter, Page, PageRequest


class MemoryFlows:
    """See :class:`headgate_server.storage.interface.Flows`."""

    def __init__(self, tables: Tables, now: datetime) -> None:
        self._tables = tables
        self._now = now

    def get(self, flow_id: str) -> Flow | None:
        return self._tables.flows.get(flow_id)

    def get_by_name(self, name: str) -> Flow | None:
        return next((flow for flow in self._tables.flows if flow.name == name), None)

    def ensure(self, name: str, *, new_id: str) -> Flow:
        flow = self.get_by_name(name)
        if flow is None:
            flow = Flow(id=new_id, name=name, create_time=self._now, update_time=self._now)
            self._tables.flows[flow.id] = flow
        return flow

    def update(self, flow: Flow) -> Flow:
        stored = self._tables.flows.get(flow.id)
        if stored is None:
            return flow
        changed = dataclasses.replace(
            stored, labels=flow.labels, tags=flow.tags, update_time=self._now
        )
        self._tables.flows[flow.id] = changed
        return changed

    def delete(self, flow_id: str) -> None:
        for run in self._tables.flow_runs:
            if run.flow_id == flow_id:
                self._tables.delete_flow_run(run.id)
        for deployment in self._tables.deployments:
            if deployment.flow_id == flow_id:
                self._tables.deployments.remove(deployment.id)
        self._tables.flows.remove(flow_id)

    def list(self, where: FlowFilter, page: PageRequest) -> Page[Flow]:
        fitting = [
            flow
            for flow in self._tables.flows
            if paging.contains(flow.name, where.name_contains)
            and paging.has_tags(flow.tags, where.tags)
        ]
        return paging.cut_page(fitting, lambda flow: (flow.name,), page)


class MemoryDeployments:
    """See :class:`headgate_server.storage.interface.Deployments`."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables

    def get(self, deployment_id: str) -> Deployment | None:
        return self._tables.deployments.get(deployment_id)

    def get_by_name(self, flow_name: str, name: str) -> Deployment | None:
        return next(
            (
                deployment
                for deployment in self._tables.deployments
                if (deployment.flow_name, deployment.name) == (flow_name, name)
            ),
            None,
        )

    def insert(self, deployment: Deployment) -> None:
        if self.get_by_name(deployment.flow_name, deployment.name) is not None:
            raise errors.AlreadyExists("deployment", deployment.full_name)
        self._tables.deployments[deployment.id] = deployment

    def replace(self, deployment: Deployment, *, expected_etag: str) -> bool:
        self._tables.ready_changed = True
        stored = self._tables.deployments.get(deployment.id)
        if stored is None or stored.etag != expected_etag:
            return False
        self._tables.deployments[deployment.id] = deployment
        return True

    def delete(self, deployment_id: str) -> None:
        self._tables.deployments.remove(deployment_id)
        for run in self._tables.flow_runs:
            if run.deployment_id == deployment_id:
                self._tables.flow_runs[run.id] = dataclasses.replace(run, deployment_id=None)

    def list(self, where: DeploymentFilter, page: PageRequest) -> Page[Deployment]:
        fitting = [
            deployment
            for deployment in self._tables.deployments
            if (not where.flow_ids or deployment.flow_id in where.flow_ids)
            and paging.contains(deployment.full_name, where.name_contains)
            and paging.has_tags(deployment.tags, where.tags)
            and where.work_pool_name in ("", deployment.work_pool_name)
            and where.paused in (None, deployment.paused)
        ]
        return paging.cut_page(fitting, lambda found: (found.flow_name, found.name), page)

    def list_scheduled(self, page: PageRequest) -> Page[Deployment]:
        fitting = [
            deployment
            for deployment in self._tables.deployments
            if not deployment.paused
            and any(not schedule.paused for schedule in deployment.schedules)
        ]
        return paging.cut_page(fitting, lambda found: (found.id,), page)
