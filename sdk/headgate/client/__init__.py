"""Clients of the control plane: channels, unary calls, watching."""

from __future__ import annotations

import os

# Read when gRPC is loaded, which the modules of this package do. Its handlers around fork() do not
# work while calls are under way, which is always, and crash the child: a task that uses
# multiprocessing would die. Without them the child is well as long as it makes no calls itself.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
