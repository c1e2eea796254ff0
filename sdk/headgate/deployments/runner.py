"""Deployments that are made by programs, where users of the incumbent look for them."""

from __future__ import annotations

from headgate.deployments.definition import EntrypointType, RunnerDeployment
from headgate.deployments.deploying import adeploy, deploy

__all__ = ["EntrypointType", "RunnerDeployment", "adeploy", "deploy"]
