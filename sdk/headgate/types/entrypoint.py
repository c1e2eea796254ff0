"""How a deployment says where its flow is."""

from __future__ import annotations

from headgate.deployments.definition import EntrypointType

__all__ = ["EntrypointType"]
