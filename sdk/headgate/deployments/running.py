"""``run_deployment``: ask for a run of a deployment, and wait for its end."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import queue
import threading
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast

from headgate import context
from headgate import parameters as codec
from headgate import states as user_states
from headgate.core import errors, runs, states

if TYPE_CHECKING:
    from headgate.client.orchestration import HeadgateClient, SyncHeadgateClient

__all__ = ["arun_deployment", "run_deployment"]


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
    if _in_event_loop():
        # Flows written with `await run_deployment(...)` go on to work.
        return cast("runs.FlowRun", arun_deployment(name, parameters, **options))
    return _run(name, parameters, options)


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
    from headgate.client import orchestration  # the channel, and grpc with it

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
            run = await _wait(client, run, timeout)
    return _with_result(run)


def _run(name: str, parameters: Mapping[str, Any] | None, options: dict[str, Any]) -> runs.FlowRun:
    from headgate.client import orchestration  # the channel, and grpc with it

    timeout = options.pop("timeout")
    request = _request(parameters, **options)
    with orchestration.get_client(sync_client=True) as client:
        run = client.create_flow_run_from_deployment(name, **request)
        if timeout != 0 and not run.state.is_terminal:
            run = _wait_blocking(client, run, timeout)
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
    if scheduled_time is not None and scheduled_time.tzinfo is None:
        scheduled_time = scheduled_time.replace(tzinfo=UTC)
    parent = context.FlowRunContext.get() if as_subflow else None
    return {
        "parameters": codec.encode(parameters or {}),
        "scheduled_time": scheduled_time,
        "name": flow_run_name,
        "tags": sorted({*(tags or ()), *context.current_tags()}),
        "idempotency_key": idempotency_key,
        "work_queue_name": work_queue_name,
        "job_variables": codec.encode(job_variables or {}),
        "priority": priority,
        "parent_flow_run_id": parent.flow_run.id if parent is not None else None,
    }


async def _wait(client: HeadgateClient, run: runs.FlowRun, timeout: float | None) -> runs.FlowRun:
    import anyio  # only who waits pays

    with anyio.move_on_after(timeout):
        async with contextlib.aclosing(client.watch(**_end_of(run))) as transitions:
            async for _transition in transitions:
                break
    return await client.read_flow_run(run.id)


def _wait_blocking(
    client: SyncHeadgateClient, run: runs.FlowRun, timeout: float | None
) -> runs.FlowRun:
    if timeout is None:
        with contextlib.closing(client.watch(**_end_of(run))) as transitions:
            next(transitions, None)
        return client.read_flow_run(run.id)
    # A stream that blocks knows no timeout. The thread ends with the run, or when the client is
    # closed, which is right after this wait.
    ended = queue.SimpleQueue[errors.HeadgateError | None]()

    def follow() -> None:
        try:
            with contextlib.closing(client.watch(**_end_of(run))) as transitions:
                next(transitions, None)
        except errors.HeadgateError as problem:
            ended.put(problem)
        except RuntimeError:
            return  # the client was closed before the stream was opened
        else:
            ended.put(None)

    threading.Thread(target=follow, name="headgate-wait", daemon=True).start()
    with contextlib.suppress(queue.Empty):
        problem = ended.get(timeout=max(0.0, timeout))
        if problem is not None:
            raise problem
    return client.read_flow_run(run.id)


def _end_of(run: runs.FlowRun) -> dict[str, Any]:
    """Return what to watch for: the end of a run, from where it is known to stand."""
    return {
        "after_revision": run.revision,
        "flow_run_ids": [run.id],
        "kind": runs.RunKind.FLOW_RUN,
        "state_types": sorted(states.TERMINAL),
    }


def _in_event_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
