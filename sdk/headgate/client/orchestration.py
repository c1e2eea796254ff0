"""The clients of the control plane: one for coroutines, one for code that blocks.

Both offer the same methods, and neither has any of its own: each call is described once, in
``headgate.client.calls`` and ``headgate.client.following``, and carried out by either client::

    async with get_client() as client:
        run = await client.read_flow_run(flow_run_id)

    with get_client(sync_client=True) as client:
        run = client.read_flow_run(flow_run_id)

What is returned are the records of ``headgate.core`` (see ``headgate.client.schemas``), what is
raised the errors of ``headgate.core.errors``.
"""

from __future__ import annotations

from typing import Literal, overload

from headgate.client import following
from headgate.client.calls import (
    deployments,
    flow_runs,
    flows,
    logs,
    server,
    task_runs,
    work_pools,
)
from headgate.client.carriers import (
    AsyncCarrier,
    AsyncMethod,
    AsyncStream,
    SyncCarrier,
    SyncMethod,
    SyncStream,
)


class HeadgateClient(AsyncCarrier):
    """A client for coroutines; use it as an async context manager.

    Args:
        api_url: The address of the server. Default: the configured one, else the embedded
            server, which is started if need be.
    """

    server_info = AsyncMethod(server.server_info)
    hello = AsyncMethod(server.server_info)
    read_server_settings = AsyncMethod(server.read_server_settings)

    create_flow = AsyncMethod(flows.create_flow)
    read_flow = AsyncMethod(flows.read_flow)
    read_flow_by_name = AsyncMethod(flows.read_flow_by_name)
    read_flows = AsyncMethod(flows.read_flows)
    update_flow = AsyncMethod(flows.update_flow)
    delete_flow = AsyncMethod(flows.delete_flow)

    create_deployment = AsyncMethod(deployments.create_deployment)
    apply_deployment = AsyncMethod(deployments.apply_deployment)
    update_deployment = AsyncMethod(deployments.update_deployment)
    read_deployment = AsyncMethod(deployments.read_deployment)
    read_deployment_by_name = AsyncMethod(deployments.read_deployment_by_name)
    read_deployments = AsyncMethod(deployments.read_deployments)
    pause_deployment = AsyncMethod(deployments.pause_deployment)
    resume_deployment = AsyncMethod(deployments.resume_deployment)
    delete_deployment = AsyncMethod(deployments.delete_deployment)

    create_flow_run_from_deployment = AsyncMethod(flow_runs.create_flow_run_from_deployment)
    read_flow_run = AsyncMethod(flow_runs.read_flow_run)
    read_flow_runs = AsyncMethod(flow_runs.read_flow_runs)
    count_flow_runs = AsyncMethod(flow_runs.count_flow_runs)
    read_flow_run_states = AsyncMethod(flow_runs.read_flow_run_states)
    update_flow_run = AsyncMethod(flow_runs.update_flow_run)
    set_flow_run_state = AsyncMethod(flow_runs.set_flow_run_state)
    cancel_flow_run = AsyncMethod(flow_runs.cancel_flow_run)
    resume_flow_run = AsyncMethod(flow_runs.resume_flow_run)
    delete_flow_run = AsyncMethod(flow_runs.delete_flow_run)

    read_task_run = AsyncMethod(task_runs.read_task_run)
    read_task_runs = AsyncMethod(task_runs.read_task_runs)
    count_task_runs = AsyncMethod(task_runs.count_task_runs)
    read_task_run_states = AsyncMethod(task_runs.read_task_run_states)

    create_work_pool = AsyncMethod(work_pools.create_work_pool)
    read_work_pool = AsyncMethod(work_pools.read_work_pool)
    read_work_pools = AsyncMethod(work_pools.read_work_pools)
    update_work_pool = AsyncMethod(work_pools.update_work_pool)
    delete_work_pool = AsyncMethod(work_pools.delete_work_pool)
    create_work_queue = AsyncMethod(work_pools.create_work_queue)
    read_work_queues = AsyncMethod(work_pools.read_work_queues)
    update_work_queue = AsyncMethod(work_pools.update_work_queue)
    delete_work_queue = AsyncMethod(work_pools.delete_work_queue)
    read_runners = AsyncMethod(work_pools.read_runners)

    write_logs = AsyncMethod(logs.write_logs)
    read_logs = AsyncMethod(logs.read_logs)
    tail_logs = AsyncStream(following.tail_logs)

    watch = AsyncStream(following.watch)


class SyncHeadgateClient(SyncCarrier):
    """A client for code that blocks; use it as a context manager.

    Args:
        api_url: The address of the server. Default: the configured one, else the embedded
            server, which is started if need be.
    """

    server_info = SyncMethod(server.server_info)
    hello = SyncMethod(server.server_info)
    read_server_settings = SyncMethod(server.read_server_settings)

    create_flow = SyncMethod(flows.create_flow)
    read_flow = SyncMethod(flows.read_flow)
    read_flow_by_name = SyncMethod(flows.read_flow_by_name)
    read_flows = SyncMethod(flows.read_flows)
    update_flow = SyncMethod(flows.update_flow)
    delete_flow = SyncMethod(flows.delete_flow)

    create_deployment = SyncMethod(deployments.create_deployment)
    apply_deployment = SyncMethod(deployments.apply_deployment)
    update_deployment = SyncMethod(deployments.update_deployment)
    read_deployment = SyncMethod(deployments.read_deployment)
    read_deployment_by_name = SyncMethod(deployments.read_deployment_by_name)
    read_deployments = SyncMethod(deployments.read_deployments)
    pause_deployment = SyncMethod(deployments.pause_deployment)
    resume_deployment = SyncMethod(deployments.resume_deployment)
    delete_deployment = SyncMethod(deployments.delete_deployment)

    create_flow_run_from_deployment = SyncMethod(flow_runs.create_flow_run_from_deployment)
    read_flow_run = SyncMethod(flow_runs.read_flow_run)
    read_flow_runs = SyncMethod(flow_runs.read_flow_runs)
    count_flow_runs = SyncMethod(flow_runs.count_flow_runs)
    read_flow_run_states = SyncMethod(flow_runs.read_flow_run_states)
    update_flow_run = SyncMethod(flow_runs.update_flow_run)
    set_flow_run_state = SyncMethod(flow_runs.set_flow_run_state)
    cancel_flow_run = SyncMethod(flow_runs.cancel_flow_run)
    resume_flow_run = SyncMethod(flow_runs.resume_flow_run)
    delete_flow_run = SyncMethod(flow_runs.delete_flow_run)

    read_task_run = SyncMethod(task_runs.read_task_run)
    read_task_runs = SyncMethod(task_runs.read_task_runs)
    count_task_runs = SyncMethod(task_runs.count_task_runs)
    read_task_run_states = SyncMethod(task_runs.read_task_run_states)

    create_work_pool = SyncMethod(work_pools.create_work_pool)
    read_work_pool = SyncMethod(work_pools.read_work_pool)
    read_work_pools = SyncMethod(work_pools.read_work_pools)
    update_work_pool = SyncMethod(work_pools.update_work_pool)
    delete_work_pool = SyncMethod(work_pools.delete_work_pool)
    create_work_queue = SyncMethod(work_pools.create_work_queue)
    read_work_queues = SyncMethod(work_pools.read_work_queues)
    update_work_queue = SyncMethod(work_pools.update_work_queue)
    delete_work_queue = SyncMethod(work_pools.delete_work_queue)
    read_runners = SyncMethod(work_pools.read_runners)

    write_logs = SyncMethod(logs.write_logs)
    read_logs = SyncMethod(logs.read_logs)
    tail_logs = SyncStream(following.tail_logs)

    watch = SyncStream(following.watch)


@overload
def get_client(
    *, sync_client: Literal[False] = False, api_url: str | None = None
) -> HeadgateClient: ...


@overload
def get_client(*, sync_client: Literal[True], api_url: str | None = None) -> SyncHeadgateClient: ...


def get_client(
    *, sync_client: bool = False, api_url: str | None = None
) -> HeadgateClient | SyncHeadgateClient:
    """Return a client; enter it to use it.

    Args:
        sync_client: Whether its calls block, rather than being awaited.
        api_url: The address of the server. Default: the configured one, else the embedded
            server, which is started if need be.
    """
    return SyncHeadgateClient(api_url) if sync_client else HeadgateClient(api_url)


__all__ = ["HeadgateClient", "SyncHeadgateClient", "get_client"]
