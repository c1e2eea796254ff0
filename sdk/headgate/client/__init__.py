"""Clients of the control plane: channels, unary calls, watching."""

from __future__ import annotations

from headgate.core import grpc_environment

# The modules of this package load gRPC.
grpc_environment.prepare()
