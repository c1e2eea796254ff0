"""Asks the server something in the middle of a step, blocking or awaiting."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ["Ask"]


class Ask:
    """An effect: a call of a client.

    Args:
        call: Calls one method of the client that it is given; the sync and the async client have
            the same ones.
    """

    __slots__ = ("_call",)

    def __init__(self, call: Callable[[Any], Any]) -> None:
        """Make it; nothing is asked yet."""
        self._call = call

    def perform(self) -> Any:
        """Ask, blocking."""
        from headgate.client.orchestration import get_client

        with get_client(sync_client=True) as client:
            return self._call(client)

    async def perform_async(self) -> Any:
        """Ask, awaiting."""
        from headgate.client.orchestration import get_client

        async with get_client() as client:
            return await self._call(client)
