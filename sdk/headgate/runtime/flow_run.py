"""Facts about the flow run that is executing here.

Attributes:
    id: UUID text.
    name: For people.
    tags: As a list.
    parameters: As the flow was called with.
    run_count: How many times it entered Running.
    flow_name: The flow.
    flow_version: Its version.
    scheduled_start_time: When it should start.
    deployment_id: UUID text of its deployment.
    parent_flow_run_id: UUID text of the flow run that called it.
    parent_deployment_id: UUID text of that run's deployment.
    root_flow_run_id: UUID text of the outermost flow run.
    job_variables: Of a deployed run.
    fencing_token: The number of its newest lease. Give it to systems that can refuse the writes
        of a holder that has lost its lease.
    api_url: The server.
    ui_url: Its page in a dashboard, where there is one.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from headgate.runtime._facts import Facts

if TYPE_CHECKING:
    from headgate.core.runs import FlowRun

    api_url: str | None
    deployment_id: str | None
    fencing_token: int | None
    flow_name: str | None
    flow_version: str | None
    id: str | None
    job_variables: dict[str, Any]
    name: str | None
    parameters: dict[str, Any]
    parent_deployment_id: str | None
    parent_flow_run_id: str | None
    root_flow_run_id: str | None
    run_count: int
    scheduled_start_time: datetime
    tags: list[str]
    ui_url: str | None

__all__ = [
    "api_url",
    "deployment_id",
    "fencing_token",
    "flow_name",
    "flow_version",
    "id",
    "job_variables",
    "name",
    "parameters",
    "parent_deployment_id",
    "parent_flow_run_id",
    "root_flow_run_id",
    "run_count",
    "scheduled_start_time",
    "tags",
    "ui_url",
]


def _context() -> Any:
    from headgate.context import FlowRunContext

    return FlowRunContext.get()


def _run() -> FlowRun | None:
    context = _context()
    if context is not None:
        return context.flow_run
    from headgate.context import TaskRunContext

    # In a task on another thread, whose flow is known by what the task carries along.
    task_context = TaskRunContext.get()
    flow_context = None if task_context is None else task_context.flow
    if flow_context is None or flow_context.flow.is_task_root:
        return None
    return flow_context.flow_run


def _id() -> str | None:
    run = _run()
    return run.id if run is not None else os.environ.get("HEADGATE__FLOW_RUN_ID")


def _name() -> str | None:
    run = _run()
    return run.name if run is not None else None


def _tags() -> list[str]:
    run = _run()
    return list(run.tags) if run is not None else []


def _parameters() -> dict[str, Any]:
    context = _context()
    if context is not None:
        return dict(context.parameters or {})
    run = _run()
    return _decoded(run.parameters) if run is not None else {}


def _run_count() -> int:
    run = _run()
    return run.run_count if run is not None else 0


def _flow_name() -> str | None:
    context = _context()
    if context is not None and context.flow is not None:
        return context.flow.name
    run = _run()
    return run.flow_name if run is not None else None


def _flow_version() -> str | None:
    context = _context()
    if context is not None and context.flow is not None:
        return context.flow.version
    run = _run()
    return (run.flow_version or None) if run is not None else None


def _scheduled_start_time() -> datetime:
    run = _run()
    if run is not None and run.expected_start_time is not None:
        return run.expected_start_time
    from headgate.core.clock import process_clock

    return run.create_time if run is not None else process_clock.now().astimezone(UTC)


def _deployment_id() -> str | None:
    run = _run()
    return run.deployment_id if run is not None else None


def _parent_flow_run_id() -> str | None:
    run = _run()
    return run.parent_flow_run_id if run is not None else None


def _parent_deployment_id() -> str | None:
    parent_id = _parent_flow_run_id()
    if parent_id is None:
        return None
    from headgate.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        return client.read_flow_run(parent_id).deployment_id


def _root_flow_run_id() -> str | None:
    run = _run()
    return run.root_flow_run_id if run is not None else None


def _job_variables() -> dict[str, Any]:
    run = _run()
    return _decoded(run.job_variables) if run is not None else {}


def _decoded(texts: Any) -> dict[str, Any]:
    from headgate import parameters as codec

    return codec.decode(texts)


def _fencing_token() -> int | None:
    run = _run()
    return run.fencing_token if run is not None else None


def _api_url() -> str | None:
    from headgate import settings

    return settings.current().api_url


def _ui_url() -> str | None:
    # No dashboard has an address that a run could know.
    return None


_facts = Facts(
    "flow_run",
    {
        "api_url": (_api_url, str),
        "deployment_id": (_deployment_id, str),
        "fencing_token": (_fencing_token, int),
        "flow_name": (_flow_name, str),
        "flow_version": (_flow_version, str),
        "id": (_id, str),
        "job_variables": (_job_variables, dict),
        "name": (_name, str),
        "parameters": (_parameters, dict),
        "parent_deployment_id": (_parent_deployment_id, str),
        "parent_flow_run_id": (_parent_flow_run_id, str),
        "root_flow_run_id": (_root_flow_run_id, str),
        "run_count": (_run_count, int),
        "scheduled_start_time": (_scheduled_start_time, datetime),
        "tags": (_tags, list),
        "ui_url": (_ui_url, str),
    },
)


if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        return _facts.read(name)


def __dir__() -> list[str]:
    return _facts.names()
