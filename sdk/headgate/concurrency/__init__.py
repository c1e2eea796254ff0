"""Limits on how many of something are used at once, across processes and machines.

``headgate.concurrency.sync`` has ``concurrency`` and ``rate_limit`` for code that blocks,
``headgate.concurrency.asyncio`` the same for coroutines.
"""

from __future__ import annotations
