"""What clients return, where users of the incumbent look for it."""

from __future__ import annotations

from headgate.client.schemas import OrchestrationResult
from headgate.core.concurrency import ConcurrencyLimit as GlobalConcurrencyLimitResponse
from headgate.core.deployments import Deployment as DeploymentResponse
from headgate.core.runs import FlowRun as FlowRunResponse
from headgate.core.states import VerdictKind as SetStateStatus

__all__ = [
    "DeploymentResponse",
    "FlowRunResponse",
    "GlobalConcurrencyLimitResponse",
    "OrchestrationResult",
    "SetStateStatus",
]
