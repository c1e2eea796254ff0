"""The records that clients return, where users of the incumbent look for them."""

from __future__ import annotations

from headgate.core.artifacts import Artifact
from headgate.core.blocks import BlockDocument, BlockSchema, BlockType
from headgate.core.concurrency import ConcurrencyLimit
from headgate.core.concurrency import ConcurrencyLimit as GlobalConcurrencyLimit
from headgate.core.deployments import Deployment, Runner, Schedule, WorkPool, WorkQueue
from headgate.core.run_inputs import RunInput as FlowRunInput
from headgate.core.runs import Flow, FlowRun, LogRecord, TaskRun
from headgate.core.runs import LogRecord as Log
from headgate.core.states import TERMINAL, StateDetails, StateType
from headgate.core.variables import Variable
from headgate.states import State

#: The types of states that end a run.
TERMINAL_STATES = TERMINAL

__all__ = [
    "TERMINAL_STATES",
    "Artifact",
    "BlockDocument",
    "BlockSchema",
    "BlockType",
    "ConcurrencyLimit",
    "Deployment",
    "Flow",
    "FlowRun",
    "FlowRunInput",
    "GlobalConcurrencyLimit",
    "Log",
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
