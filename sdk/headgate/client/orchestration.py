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

from collections.abc import Mapping
from typing import Any, Literal, overload

from headgate import _options
from headgate._explaining import explained
from headgate.client import following
from headgate.client.calls import (
    artifacts,
    blocks,
    concurrency_limits,
    deployments,
    events,
    flow_runs,
    flows,
    logs,
    run_inputs,
    server,
    task_runs,
    variables,
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
from headgate.core import errors


class HeadgateClient(AsyncCarrier):
    """A client for coroutines; use it as an async context manager.

    Args:
        api_url: The address of the server. Default: the configured one, else the embedded
            server, which is started if need be.
    """

    server_info = AsyncMethod(server.server_info)
    hello = AsyncMethod(server.server_info)
    read_server_settings = AsyncMethod(server.read_server_settings)
    api_healthcheck = AsyncMethod(server.api_healthcheck)
    api_version = AsyncMethod(server.api_version)
    raise_for_api_version_mismatch = AsyncMethod(server.raise_for_api_version_mismatch)
    read_server_default_result_storage = AsyncMethod(server.read_server_default_result_storage)
    update_server_default_result_storage = AsyncMethod(server.update_server_default_result_storage)
    clear_server_default_result_storage = AsyncMethod(server.clear_server_default_result_storage)

    create_flow = AsyncMethod(flows.create_flow)
    create_flow_from_name = AsyncMethod(flows.create_flow_from_name)
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
    set_deployment_paused_state = AsyncMethod(deployments.set_deployment_paused_state)
    read_deployment_schedules = AsyncMethod(deployments.read_deployment_schedules)
    delete_deployment = AsyncMethod(deployments.delete_deployment)

    create_flow_run = AsyncMethod(flow_runs.create_flow_run)
    create_flow_run_from_deployment = AsyncMethod(flow_runs.create_flow_run_from_deployment)
    read_flow_run = AsyncMethod(flow_runs.read_flow_run)
    read_flow_runs = AsyncMethod(flow_runs.read_flow_runs)
    count_flow_runs = AsyncMethod(flow_runs.count_flow_runs)
    read_flow_run_states = AsyncMethod(flow_runs.read_flow_run_states)
    update_flow_run = AsyncMethod(flow_runs.update_flow_run)
    set_flow_run_name = AsyncMethod(flow_runs.set_flow_run_name)
    update_flow_run_labels = AsyncMethod(flow_runs.update_flow_run_labels)
    set_flow_run_state = AsyncMethod(flow_runs.set_flow_run_state)
    cancel_flow_run = AsyncMethod(flow_runs.cancel_flow_run)
    retry_flow_run = AsyncMethod(flow_runs.retry_flow_run)
    resume_flow_run = AsyncMethod(flow_runs.resume_flow_run)
    delete_flow_run = AsyncMethod(flow_runs.delete_flow_run)

    create_task_run = AsyncMethod(task_runs.create_task_run)
    read_task_run = AsyncMethod(task_runs.read_task_run)
    read_task_runs = AsyncMethod(task_runs.read_task_runs)
    count_task_runs = AsyncMethod(task_runs.count_task_runs)
    read_task_run_states = AsyncMethod(task_runs.read_task_run_states)
    read_recorded_calls = AsyncMethod(task_runs.read_recorded_calls)
    set_task_run_state = AsyncMethod(task_runs.set_task_run_state)
    set_task_run_name = AsyncMethod(task_runs.set_task_run_name)
    delete_task_run = AsyncMethod(task_runs.delete_task_run)

    create_work_pool = AsyncMethod(work_pools.create_work_pool)
    read_work_pool = AsyncMethod(work_pools.read_work_pool)
    read_work_pools = AsyncMethod(work_pools.read_work_pools)
    update_work_pool = AsyncMethod(work_pools.update_work_pool)
    delete_work_pool = AsyncMethod(work_pools.delete_work_pool)
    create_work_queue = AsyncMethod(work_pools.create_work_queue)
    read_work_queues = AsyncMethod(work_pools.read_work_queues)
    read_work_queue_by_name = AsyncMethod(work_pools.read_work_queue_by_name)
    update_work_queue = AsyncMethod(work_pools.update_work_queue)
    delete_work_queue = AsyncMethod(work_pools.delete_work_queue)
    read_runners = AsyncMethod(work_pools.read_runners)

    register_block_type = AsyncMethod(blocks.register_block_type)
    read_block_type_by_slug = AsyncMethod(blocks.read_block_type_by_slug)
    read_block_types = AsyncMethod(blocks.read_block_types)
    delete_block_type = AsyncMethod(blocks.delete_block_type)
    read_block_schema = AsyncMethod(blocks.read_block_schema)
    read_block_schema_by_checksum = AsyncMethod(blocks.read_block_schema_by_checksum)
    read_block_schemas = AsyncMethod(blocks.read_block_schemas)
    create_block_document = AsyncMethod(blocks.create_block_document)
    read_block_document = AsyncMethod(blocks.read_block_document)
    read_block_document_by_name = AsyncMethod(blocks.read_block_document_by_name)
    read_block_documents = AsyncMethod(blocks.read_block_documents)
    read_block_documents_by_type = AsyncMethod(blocks.read_block_documents_by_type)
    update_block_document = AsyncMethod(blocks.update_block_document)
    delete_block_document = AsyncMethod(blocks.delete_block_document)

    create_flow_run_input = AsyncMethod(run_inputs.create_flow_run_input)
    read_flow_run_input = AsyncMethod(run_inputs.read_flow_run_input)
    filter_flow_run_input = AsyncMethod(run_inputs.filter_flow_run_input)
    receive_flow_run_input = AsyncMethod(run_inputs.receive_flow_run_input)
    delete_flow_run_input = AsyncMethod(run_inputs.delete_flow_run_input)

    create_variable = AsyncMethod(variables.create_variable)
    set_variable = AsyncMethod(variables.set_variable)
    read_variable_by_name = AsyncMethod(variables.read_variable_by_name)
    read_variables = AsyncMethod(variables.read_variables)
    update_variable = AsyncMethod(variables.update_variable)
    delete_variable_by_name = AsyncMethod(variables.delete_variable_by_name)

    create_artifact = AsyncMethod(artifacts.create_artifact)
    read_artifact = AsyncMethod(artifacts.read_artifact)
    read_latest_artifact = AsyncMethod(artifacts.read_latest_artifact)
    read_artifacts = AsyncMethod(artifacts.read_artifacts)
    read_latest_artifacts = AsyncMethod(artifacts.read_latest_artifacts)
    count_artifacts = AsyncMethod(artifacts.count_artifacts)
    update_artifact = AsyncMethod(artifacts.update_artifact)
    delete_artifact = AsyncMethod(artifacts.delete_artifact)
    delete_artifacts_of_key = AsyncMethod(artifacts.delete_artifacts_of_key)

    create_global_concurrency_limit = AsyncMethod(
        concurrency_limits.create_global_concurrency_limit
    )
    read_global_concurrency_limit_by_name = AsyncMethod(
        concurrency_limits.read_global_concurrency_limit_by_name
    )
    read_global_concurrency_limits = AsyncMethod(concurrency_limits.read_global_concurrency_limits)
    update_global_concurrency_limit = AsyncMethod(
        concurrency_limits.update_global_concurrency_limit
    )
    upsert_global_concurrency_limit_by_name = AsyncMethod(
        concurrency_limits.upsert_global_concurrency_limit_by_name
    )
    delete_global_concurrency_limit_by_name = AsyncMethod(
        concurrency_limits.delete_global_concurrency_limit_by_name
    )
    reset_global_concurrency_limit_by_name = AsyncMethod(
        concurrency_limits.reset_global_concurrency_limit_by_name
    )
    create_concurrency_limit = AsyncMethod(concurrency_limits.create_concurrency_limit)
    read_concurrency_limit_by_tag = AsyncMethod(concurrency_limits.read_concurrency_limit_by_tag)
    read_concurrency_limits = AsyncMethod(concurrency_limits.read_concurrency_limits)
    reset_concurrency_limit_by_tag = AsyncMethod(concurrency_limits.reset_concurrency_limit_by_tag)
    delete_concurrency_limit_by_tag = AsyncMethod(
        concurrency_limits.delete_concurrency_limit_by_tag
    )
    acquire_slots = AsyncMethod(concurrency_limits.acquire_slots)
    renew_slots = AsyncMethod(concurrency_limits.renew_slots)
    release_slots = AsyncMethod(concurrency_limits.release_slots)
    read_slot_leases = AsyncMethod(concurrency_limits.read_slot_leases)
    watch_active_limits = AsyncStream(following.watch_active_limits)

    write_logs = AsyncMethod(logs.write_logs)
    create_logs = AsyncMethod(logs.create_logs)
    read_logs = AsyncMethod(logs.read_logs)
    tail_logs = AsyncStream(following.tail_logs)

    write_events = AsyncMethod(events.write_events)
    read_events = AsyncMethod(events.read_events)
    count_events = AsyncMethod(events.count_events)
    subscribe_events = AsyncStream(following.subscribe_events)

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
    api_healthcheck = SyncMethod(server.api_healthcheck)
    api_version = SyncMethod(server.api_version)
    raise_for_api_version_mismatch = SyncMethod(server.raise_for_api_version_mismatch)
    read_server_default_result_storage = SyncMethod(server.read_server_default_result_storage)
    update_server_default_result_storage = SyncMethod(server.update_server_default_result_storage)
    clear_server_default_result_storage = SyncMethod(server.clear_server_default_result_storage)

    create_flow = SyncMethod(flows.create_flow)
    create_flow_from_name = SyncMethod(flows.create_flow_from_name)
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
    set_deployment_paused_state = SyncMethod(deployments.set_deployment_paused_state)
    read_deployment_schedules = SyncMethod(deployments.read_deployment_schedules)
    delete_deployment = SyncMethod(deployments.delete_deployment)

    create_flow_run = SyncMethod(flow_runs.create_flow_run)
    create_flow_run_from_deployment = SyncMethod(flow_runs.create_flow_run_from_deployment)
    read_flow_run = SyncMethod(flow_runs.read_flow_run)
    read_flow_runs = SyncMethod(flow_runs.read_flow_runs)
    count_flow_runs = SyncMethod(flow_runs.count_flow_runs)
    read_flow_run_states = SyncMethod(flow_runs.read_flow_run_states)
    update_flow_run = SyncMethod(flow_runs.update_flow_run)
    set_flow_run_name = SyncMethod(flow_runs.set_flow_run_name)
    update_flow_run_labels = SyncMethod(flow_runs.update_flow_run_labels)
    set_flow_run_state = SyncMethod(flow_runs.set_flow_run_state)
    cancel_flow_run = SyncMethod(flow_runs.cancel_flow_run)
    retry_flow_run = SyncMethod(flow_runs.retry_flow_run)
    resume_flow_run = SyncMethod(flow_runs.resume_flow_run)
    delete_flow_run = SyncMethod(flow_runs.delete_flow_run)

    create_task_run = SyncMethod(task_runs.create_task_run)
    read_task_run = SyncMethod(task_runs.read_task_run)
    read_task_runs = SyncMethod(task_runs.read_task_runs)
    count_task_runs = SyncMethod(task_runs.count_task_runs)
    read_task_run_states = SyncMethod(task_runs.read_task_run_states)
    read_recorded_calls = SyncMethod(task_runs.read_recorded_calls)
    set_task_run_state = SyncMethod(task_runs.set_task_run_state)
    set_task_run_name = SyncMethod(task_runs.set_task_run_name)
    delete_task_run = SyncMethod(task_runs.delete_task_run)

    create_work_pool = SyncMethod(work_pools.create_work_pool)
    read_work_pool = SyncMethod(work_pools.read_work_pool)
    read_work_pools = SyncMethod(work_pools.read_work_pools)
    update_work_pool = SyncMethod(work_pools.update_work_pool)
    delete_work_pool = SyncMethod(work_pools.delete_work_pool)
    create_work_queue = SyncMethod(work_pools.create_work_queue)
    read_work_queues = SyncMethod(work_pools.read_work_queues)
    read_work_queue_by_name = SyncMethod(work_pools.read_work_queue_by_name)
    update_work_queue = SyncMethod(work_pools.update_work_queue)
    delete_work_queue = SyncMethod(work_pools.delete_work_queue)
    read_runners = SyncMethod(work_pools.read_runners)

    register_block_type = SyncMethod(blocks.register_block_type)
    read_block_type_by_slug = SyncMethod(blocks.read_block_type_by_slug)
    read_block_types = SyncMethod(blocks.read_block_types)
    delete_block_type = SyncMethod(blocks.delete_block_type)
    read_block_schema = SyncMethod(blocks.read_block_schema)
    read_block_schema_by_checksum = SyncMethod(blocks.read_block_schema_by_checksum)
    read_block_schemas = SyncMethod(blocks.read_block_schemas)
    create_block_document = SyncMethod(blocks.create_block_document)
    read_block_document = SyncMethod(blocks.read_block_document)
    read_block_document_by_name = SyncMethod(blocks.read_block_document_by_name)
    read_block_documents = SyncMethod(blocks.read_block_documents)
    read_block_documents_by_type = SyncMethod(blocks.read_block_documents_by_type)
    update_block_document = SyncMethod(blocks.update_block_document)
    delete_block_document = SyncMethod(blocks.delete_block_document)

    create_flow_run_input = SyncMethod(run_inputs.create_flow_run_input)
    read_flow_run_input = SyncMethod(run_inputs.read_flow_run_input)
    filter_flow_run_input = SyncMethod(run_inputs.filter_flow_run_input)
    receive_flow_run_input = SyncMethod(run_inputs.receive_flow_run_input)
    delete_flow_run_input = SyncMethod(run_inputs.delete_flow_run_input)

    create_variable = SyncMethod(variables.create_variable)
    set_variable = SyncMethod(variables.set_variable)
    read_variable_by_name = SyncMethod(variables.read_variable_by_name)
    read_variables = SyncMethod(variables.read_variables)
    update_variable = SyncMethod(variables.update_variable)
    delete_variable_by_name = SyncMethod(variables.delete_variable_by_name)

    create_artifact = SyncMethod(artifacts.create_artifact)
    read_artifact = SyncMethod(artifacts.read_artifact)
    read_latest_artifact = SyncMethod(artifacts.read_latest_artifact)
    read_artifacts = SyncMethod(artifacts.read_artifacts)
    read_latest_artifacts = SyncMethod(artifacts.read_latest_artifacts)
    count_artifacts = SyncMethod(artifacts.count_artifacts)
    update_artifact = SyncMethod(artifacts.update_artifact)
    delete_artifact = SyncMethod(artifacts.delete_artifact)
    delete_artifacts_of_key = SyncMethod(artifacts.delete_artifacts_of_key)

    create_global_concurrency_limit = SyncMethod(concurrency_limits.create_global_concurrency_limit)
    read_global_concurrency_limit_by_name = SyncMethod(
        concurrency_limits.read_global_concurrency_limit_by_name
    )
    read_global_concurrency_limits = SyncMethod(concurrency_limits.read_global_concurrency_limits)
    update_global_concurrency_limit = SyncMethod(concurrency_limits.update_global_concurrency_limit)
    upsert_global_concurrency_limit_by_name = SyncMethod(
        concurrency_limits.upsert_global_concurrency_limit_by_name
    )
    delete_global_concurrency_limit_by_name = SyncMethod(
        concurrency_limits.delete_global_concurrency_limit_by_name
    )
    reset_global_concurrency_limit_by_name = SyncMethod(
        concurrency_limits.reset_global_concurrency_limit_by_name
    )
    create_concurrency_limit = SyncMethod(concurrency_limits.create_concurrency_limit)
    read_concurrency_limit_by_tag = SyncMethod(concurrency_limits.read_concurrency_limit_by_tag)
    read_concurrency_limits = SyncMethod(concurrency_limits.read_concurrency_limits)
    reset_concurrency_limit_by_tag = SyncMethod(concurrency_limits.reset_concurrency_limit_by_tag)
    delete_concurrency_limit_by_tag = SyncMethod(concurrency_limits.delete_concurrency_limit_by_tag)
    acquire_slots = SyncMethod(concurrency_limits.acquire_slots)
    renew_slots = SyncMethod(concurrency_limits.renew_slots)
    release_slots = SyncMethod(concurrency_limits.release_slots)
    read_slot_leases = SyncMethod(concurrency_limits.read_slot_leases)
    watch_active_limits = SyncStream(following.watch_active_limits)

    write_logs = SyncMethod(logs.write_logs)
    create_logs = SyncMethod(logs.create_logs)
    read_logs = SyncMethod(logs.read_logs)
    tail_logs = SyncStream(following.tail_logs)

    write_events = SyncMethod(events.write_events)
    read_events = SyncMethod(events.read_events)
    count_events = SyncMethod(events.count_events)
    subscribe_events = SyncStream(following.subscribe_events)

    watch = SyncStream(following.watch)


@overload
def get_client(
    httpx_settings: Mapping[str, Any] | None = None,
    sync_client: Literal[False] = False,
    *,
    api_url: str | None = None,
) -> HeadgateClient: ...


@overload
def get_client(
    httpx_settings: Mapping[str, Any] | None = None,
    *,
    sync_client: Literal[True],
    api_url: str | None = None,
) -> SyncHeadgateClient: ...


@explained
def get_client(
    httpx_settings: Mapping[str, Any] | None = None,
    sync_client: bool = False,
    *,
    api_url: str | None = None,
) -> HeadgateClient | SyncHeadgateClient:
    """Return a client; enter it to use it.

    Args:
        httpx_settings: ``timeout`` in seconds and ``headers``, for this client alone. The name is
            the one that users know; calls travel by gRPC.
        sync_client: Whether its calls block, rather than being awaited.
        api_url: The address of the server. Default: the configured one, else the embedded
            server, which is started if need be.

    Raises:
        InvalidArgument: ``httpx_settings`` has something else, or a header that cannot be sent.
    """
    given = _options.checked_mapping(httpx_settings, "httpx_settings")
    timeout_seconds, headers = given.pop("timeout", None), given.pop("headers", None)
    if given:
        raise errors.InvalidArgument.of(
            f"httpx_settings.{next(iter(given))}",
            "has no meaning for gRPC; give timeout and headers here, certificates by "
            "HEADGATE_API_TLS_CA_FILE and its like.",
        )
    kind = SyncHeadgateClient if sync_client else HeadgateClient
    return kind(api_url, timeout_seconds=timeout_seconds, headers=headers)


__all__ = ["HeadgateClient", "SyncHeadgateClient", "get_client"]
