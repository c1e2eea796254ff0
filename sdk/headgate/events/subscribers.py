"""Hearing of events as they happen."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack
from datetime import timedelta
from types import TracebackType
from typing import Self

from headgate.core import errors
from headgate.core import events as core_events
from headgate.events.filters import EventFilter
from headgate.events.schemas import Event

__all__ = ["EventSubscriber", "get_events_subscriber"]

#: How far back a subscription begins that does not say: what was emitted just before is heard of.
BACKFILL = timedelta(minutes=1)


def get_events_subscriber(
    filter: EventFilter | None = None, reconnection_attempts: int = 10
) -> EventSubscriber:
    """Return a subscriber: an async context manager, and within it an async iterator of events.

    ::

        async with get_events_subscriber(
            EventFilter(event=EventNameFilter(prefix="acme."))
        ) as heard:
            async for event in heard:
                ...

    Args:
        filter: Which events. Without ``occurred.since`` it begins a minute ago; what is stored
            comes first, then what happens.
        reconnection_attempts: How often in a row the connection may fail.
    """
    return EventSubscriber(filter, reconnection_attempts=reconnection_attempts)


class EventSubscriber:
    """Gives events in the order in which they were committed, each once, without end.

    Args:
        filter: Which events. Default: all, states of runs included.
        api_url: The address of the server. Default: the configured one, else the embedded server.
        after_revision: Begin after this event. Default: as the filter says.
        reconnection_attempts: How often in a row the connection may fail.
    """

    def __init__(
        self,
        filter: EventFilter | None = None,
        *,
        api_url: str | None = None,
        after_revision: int | None = None,
        reconnection_attempts: int = 10,
    ) -> None:
        """Make a subscriber; nothing is opened yet."""
        self._filter = filter or EventFilter()
        self._api_url = api_url
        self._after_revision = after_revision
        self._attempts = reconnection_attempts
        self._stack = AsyncExitStack()
        self._stream: AsyncGenerator[core_events.Event] | None = None

    async def __aenter__(self) -> Self:
        """Connect."""
        from headgate.client import orchestration  # loads grpc

        where = self._filter.record()
        client = await self._stack.enter_async_context(
            orchestration.get_client(api_url=self._api_url)
        )
        self._stream = client.subscribe_events(
            where,
            after_revision=self._after_revision,
            backfill=BACKFILL if where.since is None else None,
            reconnection_attempts=self._attempts,
        )
        self._stack.push_async_callback(self._stream.aclose)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Disconnect."""
        self._stream = None
        await self._stack.aclose()

    def __aiter__(self) -> Self:
        """Return itself."""
        return self

    async def __anext__(self) -> Event:
        """Wait for the next event.

        Raises:
            Unavailable: The server is away for too long.
            RevisionCompacted: The server no longer has what came after ``after_revision``.
        """
        if self._stream is None:
            msg = "This subscriber is not open; use it in an `async with` block."
            raise errors.UsageError(msg)
        async for record in self._stream:
            event = Event.of_record(record)
            if self._filter.fits_finely(event):
                return event
        raise StopAsyncIteration
