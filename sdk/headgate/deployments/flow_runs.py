"""Runs of deployments, where users of the incumbent look for them."""

from __future__ import annotations

from headgate.deployments.running import arun_deployment, run_deployment

__all__ = ["arun_deployment", "run_deployment"]
