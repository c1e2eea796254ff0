"""``run_deployment``: ask for a run of a deployment, and wait for its end."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, cast

from headgate import _calling, _options, context
from headgate import parameters as codec
from headgate import states as user_states
from headgate._explaining import explained
from headgate.core import runs

__all__ = ["arun_deployment", "run_deployment"]


@explained
def run_deployment(
    name: str,
    parameters: Mapping[str, Any] | None = None,
    *,
    scheduled_time: datetime | None = None,
    flow_run_name: str | None = None,
    timeout: float | None = None,
    poll_interval: float | None = None,
    tags: Iterable[str] | None = None,
    idempotency_key: str | None = None,
    work_queue_name: str | None = None,
    as_subflow: bool = True,
    job_variables: Mapping[str, Any] | None = None,
    priority: int = 0,
) -> runs.FlowRun:
    """Ask for a run of a deployment, and wait until it has ended.

    The end is pushed by the server: nothing is polled. Where an event loop runs in this thread
    the call returns a coroutine to await, like ``arun_deployment``.

    Args:
        name: ``flow name/deployment name``, or the id of the deployment.
        parameters: Merged over those of the deployment.
        scheduled_time: When to start. Default: now.
        flow_run_name: For people. Default: an adjective and an animal.
        timeout: How long to wait, in seconds; 0: not at all. Default: until it has ended.
        poll_interval: Without effect, since nothing is polled; taken so that code which gives it
            goes on to work.
        tags: Beside those of the deployment.
        idempotency_key: A request with a key that the flow has seen returns the run of that
            request.
        work_queue_name: Another queue of the deployment's pool.
        as_subflow: Whether a run that is asked for within a flow run becomes its child, and
            ends with it.
        job_variables: Merged over those of the deployment.
        priority: Among the runs of a queue the higher one goes first.

    Returns:
        The run, as it is when the wait is over; its ``state.result()`` raises what the run failed
        with.

    Raises:
        NotFound: There is no such deployment.
        InvalidArgument: The parameters do not fit its schema.
        ParameterTypeError: A parameter has no JSON form.
    """
    options: dict[str, Any] = {
        "scheduled_time": scheduled_time,
        "flow_run_name": flow_run_name,
        "timeout": timeout,
        "tags": tags,
        "idempotency_key": idempotency_key,
        "work_queue_name": work_queue_name,
        "as_subflow": as_subflow,
        "job_variables": job_variables,
        "priority": priority,
    }
    if _calling.in_event_loop():
        # Flows written with `await run_deployment(...)` go on to work.
        return cast("runs.FlowRun", arun_deployment(name, parameters, **options))
    return _run(name, parameters, options)


@explained
async def arun_deployment(
    name: str,
    parameters: Mapping[str, Any] | None = None,
    *,
    scheduled_time: datetime | None = None,
    flow_run_name: str | None = None,
    timeout: float | None = None,
    poll_interval: float | None = None,
    tags: Iterable[str] | None = None,
    idempotency_key: str | None = None,
    work_queue_name: str | None = None,
    as_subflow: bool = True,
    job_variables: Mapping[str, Any] | None = None,
    priority: int = 0,
) -> runs.FlowRun:
    """Do what ``run_deployment`` does, in a coroutine."""
    from headgate.client import ending, orchestration  # the channel, and grpc with it

    request = _request(
        parameters,
        scheduled_time=scheduled_time,
        flow_run_name=flow_run_name,
        tags=tags,
        idempotency_key=idempotency_key,
        work_queue_name=work_queue_name,
        as_subflow=as_subflow,
        job_variables=job_variables,
        priority=priority,
    )
    async with orchestration.get_client() as client:
        run = await client.create_flow_run_from_deployment(name, **request)
        if timeout != 0 and not run.state.is_terminal:
            run = await ending.wait(client, run, timeout)
    return _with_result(run)


def _run(name: str, parameters: Mapping[str, Any] | None, options: dict[str, Any]) -> runs.FlowRun:
    from headgate.client import ending, orchestration  # the channel, and grpc with it

    timeout = options.pop("timeout")
    request = _request(parameters, **options)
    with orchestration.get_client(sync_client=True) as client:
        run = client.create_flow_run_from_deployment(name, **request)
        if timeout != 0 and not run.state.is_terminal:
            run = ending.wait_blocking(client, run, timeout)
    return _with_result(run)


def _with_result(run: runs.FlowRun) -> runs.FlowRun:
    """Return the run with a state that can be asked for its result, as those of calls can."""
    state = user_states.from_record(run.state, flow_run_id=run.id)
    return dataclasses.replace(run, state=state)


def _request(
    parameters: Mapping[str, Any] | None,
    *,
    scheduled_time: datetime | None,
    flow_run_name: str | None,
    tags: Iterable[str] | None,
    idempotency_key: str | None,
    work_queue_name: str | None,
    as_subflow: bool,
    job_variables: Mapping[str, Any] | None,
    priority: int,
) -> dict[str, Any]:
    """Return what the client is to ask for, as the arguments of its method."""
    _options.checked_time(scheduled_time, "scheduled_time")
    if scheduled_time is not None and scheduled_time.tzinfo is None:
        scheduled_time = scheduled_time.replace(tzinfo=UTC)
    from headgate.engine import tracing

    parent = context.current_flow() if as_subflow else None
    return {
        "parameters": codec.encode(_options.checked_mapping(parameters, "parameters")),
        "scheduled_time": scheduled_time,
        "name": flow_run_name,
        "tags": sorted(_options.checked_tags(tags) | context.current_tags()),
        "labels": tracing.labels(),
        "idempotency_key": idempotency_key,
        "work_queue_name": work_queue_name,
        "job_variables": codec.encode(
            _options.checked_mapping(job_variables, "job_variables"), plain=True
        ),
        "priority": priority,
        "parent_flow_run_id": parent.flow_run.id if parent is not None else None,
    }
