"""Storage in memory: a fake with the semantics of the real ones, public for tests.

It passes the same contract suite. It forgets everything when it goes.
"""

from __future__ import annotations

from headgate_server.storage.memory.storage import MemoryStorage

__all__ = ["MemoryStorage"]
