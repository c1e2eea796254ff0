"""From where something is called: where an event loop runs, or where none does."""

from __future__ import annotations

import sys

__all__ = ["in_event_loop"]


def in_event_loop() -> bool:
    """Say whether an event loop runs in this thread, so that a caller can await."""
    asyncio = sys.modules.get("asyncio")
    return asyncio is not None and asyncio._get_running_loop() is not None
