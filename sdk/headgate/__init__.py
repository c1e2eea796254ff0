"""Headgate orchestrates Python workflows: ``from headgate import flow, task``.

Everything here is loaded when it is first used, so that ``import headgate`` costs nothing: the
pure core and the command line import this file, too.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from headgate._version import __version__
    from headgate.client.orchestration import get_client
    from headgate.context import tags
    from headgate.deployments import aserve, deploy, serve
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
    "__version__",
    "allow_failure",
    "apause_flow_run",
    "aresume_flow_run",
    "aserve",
    "asuspend_flow_run",
    "deploy",
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

_HOMES = {
    "Flow": "headgate.flows",
    "State": "headgate.states",
    "Task": "headgate.tasks",
    "Transaction": "headgate.transactions",
    "__version__": "headgate._version",
    "allow_failure": "headgate.utilities.annotations",
    "apause_flow_run": "headgate.flow_runs",
    "aresume_flow_run": "headgate.flow_runs",
    "aserve": "headgate.deployments",
    "asuspend_flow_run": "headgate.flow_runs",
    "deploy": "headgate.deployments",
    "flow": "headgate.flows",
    "get_client": "headgate.client.orchestration",
    "get_run_logger": "headgate.logging",
    "pause_flow_run": "headgate.flow_runs",
    "resume_flow_run": "headgate.flow_runs",
    "serve": "headgate.deployments",
    "suspend_flow_run": "headgate.flow_runs",
    "tags": "headgate.context",
    "task": "headgate.tasks",
    "unmapped": "headgate.utilities.annotations",
}

#: Modules that are found as attributes, as in ``headgate.runtime.flow_run.id``.
_MODULES = frozenset(
    {
        "artifacts",
        "blocks",
        "cache_policies",
        "client",
        "concurrency",
        "context",
        "deployments",
        "entrypoints",
        "events",
        "exceptions",
        "filesystems",
        "flow_engine",
        "flow_runs",
        "flows",
        "futures",
        "input",
        "locking",
        "logging",
        "main",
        "parameters",
        "results",
        "runner",
        "runtime",
        "schedules",
        "serializers",
        "settings",
        "states",
        "task_engine",
        "task_runners",
        "task_worker",
        "tasks",
        "templates",
        "testing",
        "transactions",
        "types",
        "utilities",
        "variables",
    }
)


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is not None:
        value = getattr(importlib.import_module(home), name)
        globals()[name] = value
        return value
    if name in _MODULES:
        return importlib.import_module(f"headgate.{name}")
    msg = f"module 'headgate' has no attribute {name!r}"
    raise AttributeError(msg)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_MODULES})
