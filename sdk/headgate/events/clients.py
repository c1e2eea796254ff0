"""Clients that emit events: to the server, to nowhere, or into a list for tests."""

from __future__ import annotations

import abc
import asyncio
import contextlib
from collections.abc import Generator, Mapping, Sequence
from types import TracebackType
from typing import Any, ClassVar, Self

from headgate import settings
from headgate.core import errors
from headgate.core.clock import process_clock
from headgate.events import emitting
from headgate.events.schemas import Event
from headgate.events.sending import EventSender
from headgate.events.subscribers import EventSubscriber, get_events_subscriber

__all__ = [
    "AssertingEventsClient",
    "EventSubscriber",
    "EventsClient",
    "HeadgateEventsClient",
    "NullEventsClient",
    "capture_events",
    "get_events_client",
    "get_events_subscriber",
]


def get_events_client(
    checkpoint_every: int = 700,
    checkpoint_interval: float = 30,
    reconnection_attempts: int = 10,
) -> EventsClient:
    """Return a client that emits events to the server; enter it to use it.

    Args:
        checkpoint_every: After how many events it waits until they are stored.
        checkpoint_interval: After how many seconds it does.
        reconnection_attempts: How often in a row the server may fail.
    """
    return HeadgateEventsClient(
        checkpoint_every=checkpoint_every,
        checkpoint_interval=checkpoint_interval,
        reconnection_attempts=reconnection_attempts,
    )


class EventsClient(abc.ABC):
    """Emits events; an async context manager."""

    async def __aenter__(self) -> Self:
        """Begin."""
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End; what was emitted is stored then."""
        return None

    @abc.abstractmethod
    async def emit(self, event: Event) -> Event:
        """Emit an event.

        Raises:
            InvalidArgument: It is too large, or a part is missing or wrong; the part is named.
        """


class NullEventsClient(EventsClient):
    """Sends events nowhere."""

    async def emit(self, event: Event) -> Event:
        """Do nothing."""
        return event


class HeadgateEventsClient(EventsClient):
    """Sends events to the server.

    They leave at once, in batches; from time to time, and at the end of the block, it waits until
    they are stored. What was not confirmed is sent again over a new connection.

    Args:
        api_url: The address of the server. Default: the configured one, else the embedded server.
        checkpoint_every: After how many events it waits until they are stored.
        checkpoint_interval: After how many seconds it does.
        reconnection_attempts: How often in a row the server may fail.
    """

    def __init__(
        self,
        api_url: str | None = None,
        *,
        checkpoint_every: int = 700,
        checkpoint_interval: float = 30,
        reconnection_attempts: int = 10,
    ) -> None:
        """Make a client; nothing is opened yet."""
        self._api_url = api_url or settings.current().api_url
        self._every = checkpoint_every
        self._interval_seconds = checkpoint_interval
        self._attempts = reconnection_attempts
        self._sender: EventSender | None = None
        self._unconfirmed = 0
        self._confirmed_at = 0.0

    async def __aenter__(self) -> Self:
        """Begin; a thread sends from the first event on."""
        self._sender = EventSender(emitting.connector(self._api_url), attempts_max=self._attempts)
        self._confirmed_at = process_clock.monotonic()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Wait until all is stored, then end.

        Raises:
            HeadgateError: Something could not be stored.
        """
        sender, self._sender = self._sender, None
        assert sender is not None
        await asyncio.to_thread(sender.flush)
        await asyncio.to_thread(sender.stop, emitting.EXIT_SECONDS)
        if sender.failure is not None and error is None:
            raise sender.failure

    async def emit(self, event: Event) -> Event:
        """Send an event.

        Raises:
            InvalidArgument: It is too large, or a part is missing or wrong; the part is named.
            HeadgateError: At a checkpoint: something could not be stored.
        """
        sender = self._sender
        if sender is None:
            msg = "This events client is not open; use it in an `async with` block."
            raise errors.UsageError(msg)
        sender.emit(event.record())
        self._unconfirmed += 1
        late = process_clock.monotonic() - self._confirmed_at >= self._interval_seconds
        if late or self._unconfirmed >= self._every:
            await asyncio.to_thread(sender.flush)
            self._unconfirmed, self._confirmed_at = 0, process_clock.monotonic()
        if sender.failure is not None:
            raise sender.failure
        return event


class AssertingEventsClient(EventsClient):
    """Keeps events in a list, for tests; see ``capture_events``.

    Attributes:
        all: All clients that were made since ``reset``, in order.
        last: The one that was made last.
        events: What was emitted to this one, in order.
    """

    all: ClassVar[list[AssertingEventsClient]] = []
    last: ClassVar[AssertingEventsClient | None] = None

    def __init__(self) -> None:
        """Make a client without events."""
        self.events: list[Event] = []
        type(self).all.append(self)
        type(self).last = self

    @classmethod
    def reset(cls) -> None:
        """Forget all clients; at the start of a test."""
        cls.all = []
        cls.last = None

    async def emit(self, event: Event) -> Event:
        """Keep an event."""
        event.record()  # which refuses what the server would
        self.events.append(event)
        return event

    @classmethod
    def emitted_events_count(cls) -> int:
        """Return how many events all clients were given."""
        return sum(len(client.events) for client in cls.all)

    @classmethod
    def assert_emitted_event_count(cls, count: int) -> None:
        """Assert that all clients together were given so many events."""
        found = cls.emitted_events_count()
        assert found == count, f"{found} events were emitted, not {count}: {_listed(cls.all)}"

    @classmethod
    def assert_emitted_event_with(
        cls,
        event: str | None = None,
        resource: Mapping[str, str] | None = None,
        related: Sequence[Mapping[str, str]] | None = None,
        payload: Mapping[str, Any] | None = None,
    ) -> None:
        """Assert that an event was emitted that has all of what is given.

        Args:
            event: Its name.
            resource: Labels that its resource has, maybe beside others.
            related: For each of these, a related resource that has its labels.
            payload: What its payload has, maybe beside other keys.
        """
        for client in cls.all:
            for each in client.events:
                if (
                    (event is None or each.event == event)
                    and _has(each.resource, resource)
                    and all(
                        any(_has(have, want) for have in each.related) for want in related or ()
                    )
                    and _has(each.payload, payload)
                ):
                    return
        wanted = {"event": event, "resource": resource, "related": related, "payload": payload}
        told = {name: value for name, value in wanted.items() if value is not None}
        raise AssertionError(f"No event was emitted with {told!r}: {_listed(cls.all)}")


@contextlib.contextmanager
def capture_events() -> Generator[AssertingEventsClient]:
    """Keep the events that are emitted in a ``with`` block, on all threads; send none.

    Yields:
        The client that keeps them.
    """
    client = AssertingEventsClient()
    before = emitting.receive_with(client.events.append)
    try:
        yield client
    finally:
        emitting.receive_with(before)


def _has(have: Mapping[str, Any], want: Mapping[str, Any] | None) -> bool:
    return all(key in have and have[key] == value for key, value in (want or {}).items())


def _listed(clients: Sequence[AssertingEventsClient]) -> str:
    names = [f"{each.event} of {each.resource.id}" for one in clients for each in one.events]
    return ", ".join(names) or "there was none"
