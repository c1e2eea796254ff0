"""The records that clients return, where users of the incumbent look for them."""

from __future__ import annotations

from headgate.core.artifacts import Artifact
from headgate.core.blocks import BlockDocument, BlockSchema, BlockType
from headgate.core.concurrency import ConcurrencyLimit
from headgate.core.deployments import Deployment, Runner, Schedule, WorkPool, WorkQueue
from headgate.core.runs import Flow, FlowRun, LogRecord, TaskRun
from headgate.core.states import StateDetails, StateType
from headgate.core.variables import Variable
from headgate.states import State

__all__ = [
    "Artifact",
    "BlockDocument",
    "BlockSchema",
    "BlockType",
    "ConcurrencyLimit",
    "Deployment",
    "Flow",
    "FlowRun",
    "LogRecord",
    "Runner",
    "Schedule",
    "State",
    "StateDetails",
    "StateType",
    "TaskRun",
    "Variable",
    "WorkPool",
    "WorkQueue",
]
