"""What filters on other kinds of records say about runs: the ids that are left to ask for."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from headgate.client import choosing
from headgate.codec import states as state_codec
from headgate.core import states

if TYPE_CHECKING:
    from headgate.api.v1 import (
        deployment_service_pb2,
        flow_run_service_pb2,
        task_run_service_pb2,
    )
    from headgate.client.choosing import Keep
    from headgate.client.rpc import Steps
    from headgate.client.schemas import filters


#: The class of the filter on each kind of record.
_KINDS = {
    "flow": "FlowFilter",
    "flow_run": "FlowRunFilter",
    "task_run": "TaskRunFilter",
    "deployment": "DeploymentFilter",
    "work_pool": "WorkPoolFilter",
    "work_queue": "WorkQueueFilter",
}


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Filters by the kind of record that they are about; None: any."""

    flow: filters.FlowFilter | None = None
    flow_run: filters.FlowRunFilter | None = None
    task_run: filters.TaskRunFilter | None = None
    deployment: filters.DeploymentFilter | None = None
    work_pool: filters.WorkPoolFilter | None = None
    work_queue: filters.WorkQueueFilter | None = None

    def __post_init__(self) -> None:
        """Refuse what is no filter, or one that is about other records."""
        for name, kind in _KINDS.items():
            choosing.check(getattr(self, name), kind)


def _types(names: list[str] | None) -> list[Any] | None:
    if names is None:
        return None
    return [state_codec.TYPE_TO_PROTO[states.StateType(name)] for name in names]


def _narrow_run(
    where: flow_run_service_pb2.FlowRunFilter | task_run_service_pb2.TaskRunFilter,
    wanted: filters.FlowRunFilter | filters.TaskRunFilter | None,
) -> bool:
    """Let the server leave out what a filter on runs does; returns whether anything can fit."""
    where.tags.extend(choosing.pushed(wanted, "tags.all_") or ())
    where.name_contains = where.name_contains or choosing.pushed(wanted, "name.like_") or ""
    return (
        choosing.narrowed(where.ids, choosing.pushed(wanted, "id.any_"))
        and choosing.narrowed(where.state_types, _types(choosing.pushed(wanted, "state.type.any_")))
        and choosing.narrowed(where.state_names, choosing.pushed(wanted, "state.name.any_"))
    )


def narrow_flow_runs(
    where: flow_run_service_pb2.FlowRunFilter, wanted: Wanted
) -> Steps[Keep | None]:
    """Ask for the flow runs that fit; returns what else is to be looked at, in each of them."""
    from headgate.client.calls import deployments, flows, task_runs, work_pools

    run = wanted.flow_run
    keeps = [choosing.holds(run)]
    fits = _narrow_run(where, run)
    fits &= choosing.narrowed(where.deployment_ids, choosing.pushed(run, "deployment_id.any_"))
    if wanted.flow is not None:
        of_flows = yield from choosing.ids(flows.read_flows(flow_filter=wanted.flow, limit=None))
        fits &= choosing.narrowed(where.flow_ids, of_flows)
        keeps.append(lambda record: record.flow_id in of_flows)
    if wanted.deployment is not None:
        reading = deployments.read_deployments(deployment_filter=wanted.deployment, limit=None)
        of_deployments = yield from choosing.ids(reading)
        fits &= choosing.narrowed(where.deployment_ids, of_deployments)
        keeps.append(lambda record: record.deployment_id in of_deployments)
    if wanted.task_run is not None:
        found = yield from task_runs.read_task_runs(task_run_filter=wanted.task_run, limit=None)
        having = {task_run.flow_run_id for task_run in found}
        fits &= choosing.narrowed(where.ids, having)
        keeps.append(lambda record: record.id in having)
    if wanted.work_pool is not None:
        pools = yield from work_pools.read_work_pools(work_pool_filter=wanted.work_pool)
        in_pools = {pool.name for pool in pools}
        fits &= bool(in_pools)
        keeps.append(lambda record: record.work_pool_name in in_pools)
    if wanted.work_queue is not None:
        in_queues = yield from _queues(wanted.work_queue)
        fits &= bool(in_queues)
        keeps.append(lambda record: (record.work_pool_name, record.work_queue_name) in in_queues)
    return choosing.all_of(keeps) if fits else choosing.nothing


def _queues(wanted: filters.WorkQueueFilter) -> Steps[set[tuple[str, str]]]:
    """Return the work queues that fit, by the names that runs know them by: pool and queue."""
    from headgate.client.calls import work_pools

    found: set[tuple[str, str]] = set()
    for pool in (yield from work_pools.read_work_pools()):
        queues = yield from work_pools.read_work_queues(pool.name)
        found.update((queue.work_pool_name, queue.name) for queue in queues if wanted.holds(queue))
    return found


def narrow_deployments(
    where: deployment_service_pb2.DeploymentFilter, wanted: Wanted
) -> Steps[Keep | None]:
    """Ask for the deployments that fit; returns what else is to be looked at, in each of them."""
    from headgate.client.calls import flows, work_pools

    keeps = [choosing.holds(wanted.deployment)]
    fits = True
    if wanted.flow is not None:
        of_flows = yield from choosing.ids(flows.read_flows(flow_filter=wanted.flow, limit=None))
        fits &= choosing.narrowed(where.flow_ids, of_flows)
        keeps.append(lambda record: record.flow_id in of_flows)
    if wanted.work_pool is not None:
        pools = yield from work_pools.read_work_pools(work_pool_filter=wanted.work_pool)
        in_pools = {pool.name for pool in pools}
        fits &= bool(in_pools)
        keeps.append(lambda record: record.work_pool_name in in_pools)
    return choosing.all_of(keeps) if fits else choosing.nothing


def narrow_task_runs(
    where: task_run_service_pb2.TaskRunFilter, wanted: Wanted
) -> Steps[Keep | None]:
    """Ask for the task runs that fit; returns what else is to be looked at, in each of them."""
    from headgate.client.calls import flow_runs

    run = wanted.task_run
    keeps = [choosing.holds(run)]
    fits = _narrow_run(where, run)
    fits &= choosing.narrowed(where.flow_run_ids, choosing.pushed(run, "flow_run_id.any_"))
    if wanted.flow or wanted.flow_run or wanted.deployment:
        reading = flow_runs.read_flow_runs(
            flow_filter=wanted.flow,
            flow_run_filter=wanted.flow_run,
            deployment_filter=wanted.deployment,
            limit=None,
        )
        of_runs = yield from choosing.ids(reading)
        fits &= choosing.narrowed(where.flow_run_ids, of_runs)
        keeps.append(lambda record: record.flow_run_id in of_runs)
    return choosing.all_of(keeps) if fits else choosing.nothing


__all__ = ["Wanted", "narrow_deployments", "narrow_flow_runs", "narrow_task_runs"]
