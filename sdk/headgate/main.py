"""What ``headgate`` itself offers, where users of the incumbent find it as well."""

from __future__ import annotations

from headgate.client.orchestration import get_client
from headgate.context import tags
from headgate.deployments import aserve, serve
from headgate.flow_runs import (
    apause_flow_run,
    aresume_flow_run,
    asuspend_flow_run,
    pause_flow_run,
    resume_flow_run,
    suspend_flow_run,
)
from headgate.flows import Flow, flow
from headgate.logging import get_run_logger
from headgate.states import State
from headgate.tasks import Task, task
from headgate.transactions import Transaction
from headgate.utilities.annotations import allow_failure, unmapped

__all__ = [
    "Flow",
    "State",
    "Task",
    "Transaction",
    "allow_failure",
    "apause_flow_run",
    "aresume_flow_run",
    "aserve",
    "asuspend_flow_run",
    "flow",
    "get_client",
    "get_run_logger",
    "pause_flow_run",
    "resume_flow_run",
    "serve",
    "suspend_flow_run",
    "tags",
    "task",
    "unmapped",
]
