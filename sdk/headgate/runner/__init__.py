"""The runner, for programs that execute runs themselves; ``serve`` is one of them.

This is the SDK's one door to ``headgate_runner``, and nothing behind it is loaded until it is
used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from headgate.deployments import serve
    from headgate_runner.executors.inline import open_executor as open_inline_executor
    from headgate_runner.runner import Runner

__all__ = ["Runner", "open_inline_executor", "serve"]


def __getattr__(name: str) -> Any:
    if name == "Runner":
        from headgate_runner.runner import Runner

        return Runner
    if name == "open_inline_executor":
        from headgate_runner.executors.inline import open_executor

        return open_executor
    if name == "serve":
        from headgate.deployments import serve

        return serve
    msg = f"module 'headgate.runner' has no attribute {name!r}"
    raise AttributeError(msg)
