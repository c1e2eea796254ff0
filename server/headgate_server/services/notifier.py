"""Wakes those who wait for commits: watchers, log tails, the matcher, the hub."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Collection, Generator

import anyio

from headgate.core.errors import Unavailable
from headgate_server.storage.interface import Storage
from headgate_server.storage.records import ALL_TOPICS, Commit


class Signal:
    """Something that many wait for and that happens again and again."""

    def __init__(self) -> None:
        """Make a signal that has not been given."""
        self._event: anyio.Event | None = None
        self.count = 0

    def give(self) -> None:
        """Wake all who wait."""
        self.count += 1
        if self._event is not None:
            self._event.set()
            self._event = None

    async def wait(self, seen: int, *, timeout_seconds: float | None = None) -> bool:
        """Wait until it was given after ``seen`` (a former ``count``).

        Returns:
            False if the timeout came first.
        """
        if self.count != seen:
            return True
        with anyio.move_on_after(timeout_seconds):
            while self.count == seen:
                event = self._event = self._event or anyio.Event()
                await event.wait()
        return self.count != seen


@dataclasses.dataclass(slots=True)
class _Topic:
    signal: Signal
    users: int = 0


class Notifier:
    """Turns the storage's announcements into signals.

    Attributes:
        journal: Given when the journal has grown.
        logs: Given when log lines were stored.
        ready: Given when there may be work for the matcher.
        any: Given at every commit.
        revision: The newest journal revision that was announced to this process.
    """

    def __init__(self) -> None:
        """Make a notifier that hears nothing yet; see ``attach``."""
        self.journal = Signal()
        self.logs = Signal()
        self.ready = Signal()
        self.any = Signal()
        self.revision = 0
        self._closed = False
        self._listeners: list[Callable[[Commit], None]] = []
        self._topics: dict[str, _Topic] = {}

    def attach(self, storage: Storage) -> Callable[[], None]:
        """Listen to a storage; returns what stops it."""
        return storage.listen(self.on_commit)

    def listen(self, on_commit: Callable[[Commit], None]) -> Callable[[], None]:
        """Hear each commit itself; returns what stops it. The callee must be quick."""
        self._listeners.append(on_commit)

        def unlisten() -> None:
            with contextlib.suppress(ValueError):  # twice does no harm
                self._listeners.remove(on_commit)

        return unlisten

    @contextlib.contextmanager
    def topic(self, name: str) -> Generator[Signal]:
        """Hear of the commits of one topic: the signal is given by each, within the block."""
        topic = self._topics.setdefault(name, _Topic(Signal()))
        topic.users += 1
        try:
            yield topic.signal
        finally:
            topic.users -= 1
            if not topic.users:
                del self._topics[name]

    def close(self) -> None:
        """Wake all who wait, so that they see that the server shuts down."""
        self._closed = True
        for signal in (self.journal, self.logs, self.any):
            signal.give()
        self._give_topics({ALL_TOPICS})

    def refuse_when_closed(self) -> None:
        """End what follows commits when the server shuts down.

        Raises:
            Unavailable: It does.
        """
        if self._closed:
            raise Unavailable("The server is shutting down; resume at once.", 0.0)

    def on_commit(self, commit: Commit) -> None:
        """Pass a commit on."""
        self.revision = max(self.revision, commit.revision)
        if commit.revision:
            self.journal.give()
        if commit.logs:
            self.logs.give()
        if commit.ready:
            self.ready.give()
        if commit.topics and self._topics:
            self._give_topics(commit.topics)
        self.any.give()
        for listener in self._listeners:
            listener(commit)

    def _give_topics(self, names: Collection[str]) -> None:
        chosen = self._topics if ALL_TOPICS in names else self._topics.keys() & names
        for name in chosen:
            self._topics[name].signal.give()


__all__ = ["Notifier", "Signal"]
