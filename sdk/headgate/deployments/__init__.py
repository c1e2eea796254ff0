"""Deployments: flows that the server knows how to start.

``serve`` runs them in this process, ``deploy`` leaves them to the runners of a work pool, and
``run_deployment`` asks for a run.
"""

from headgate.deployments.definition import EntrypointType, RunnerDeployment
from headgate.deployments.deploying import adeploy, adeploy_flow, deploy, deploy_flow
from headgate.deployments.running import arun_deployment, run_deployment
from headgate.deployments.serving import aserve, aserve_flow, serve, serve_flow

__all__ = [
    "EntrypointType",
    "RunnerDeployment",
    "adeploy",
    "adeploy_flow",
    "arun_deployment",
    "aserve",
    "aserve_flow",
    "deploy",
    "deploy_flow",
    "run_deployment",
    "serve",
    "serve_flow",
]
