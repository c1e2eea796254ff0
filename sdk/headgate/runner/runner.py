"""The runner, where users of the incumbent look for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from headgate_runner.runner import Runner

__all__ = ["Runner"]


def __getattr__(name: str) -> Any:
    if name == "Runner":
        from headgate.runner import Runner

        return Runner
    msg = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(msg)
