"""What the live streams of engines and of runners have in common."""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
import random
import secrets
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, Generic, TypeVar, TypeVarTuple

import anyio
from anyio.abc import TaskGroup

from headgate.core.clock import Clock
from headgate.core.errors import HeadgateError, SessionSuperseded, Unavailable

InT = TypeVar("InT")
OutT = TypeVar("OutT")
Args = TypeVarTuple("Args")

#: Frames that may wait for a slow reader at the other end before its own frames wait too.
OUTBOX_FRAMES_MAX = 1_000
#: How long a stream that ends in order may take to send what it still has.
FLUSH_SECONDS = 5.0
#: How long the frame that is being written may take when a stream is ended: a call whose frame is
#: half written cannot be given a status, and its other end would not learn of the end.
LAST_FRAME_SECONDS = 1.0


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class StreamSettings:
    """The times and limits of streams.

    Attributes:
        ttl_seconds: How long a session lives without a sign of life.
        beat_interval_seconds: How often the other end shall beat.
        lease_margin_seconds: How long after the ttl the server acts on a loss.
        offer_ttl_seconds: How long an offer waits to be accepted.
        cancel_grace_seconds: How long a cancelled run may take to stop.
        window_items: Items that an engine may send ahead of their acknowledgement.
        window_bytes: Bytes that an engine may send ahead of their acknowledgement.
        drain_jitter_seconds: Over which time the other ends come again when we shut down.
    """

    ttl_seconds: float = 30.0
    beat_interval_seconds: float = 5.0
    lease_margin_seconds: float = 1.0
    offer_ttl_seconds: float = 10.0
    cancel_grace_seconds: float = 30.0
    window_items: int = 10_000
    window_bytes: int = 8 * 1024 * 1024
    drain_jitter_seconds: float = 2.0


def new_token() -> str:
    """Make a resume token."""
    return secrets.token_urlsafe(24)


def hash_token(token: str) -> str:
    """Return what is stored of a resume token."""
    return hashlib.sha256(token.encode()).hexdigest()


class Outbox(Generic[OutT]):
    """Frames on their way out."""

    def __init__(self) -> None:
        """Make an empty one."""
        self._frames: deque[OutT] = deque()
        self._latest: dict[str, OutT] = {}
        self._closed = False
        # Of asyncio, because they can be cleared: making one for each frame costs more than it.
        self._filled = asyncio.Event()
        self._taken = asyncio.Event()

    def put(self, frame: OutT) -> None:
        """Send a frame."""
        self._frames.append(frame)
        self._filled.set()

    def put_latest(self, key: str, frame: OutT) -> None:
        """Send a frame in the place of an unsent one with this key."""
        self._latest[key] = frame
        self._filled.set()

    def put_behind(self, frame: OutT) -> None:
        """Send a frame behind those that a newer one would have replaced."""
        self._frames.extend(self._latest.values())
        self._latest.clear()
        self.put(frame)

    def close(self) -> None:
        """Say that nothing more comes."""
        self._closed = True
        self._filled.set()

    async def take(self) -> list[OutT]:
        """Wait for frames and take them; an empty list when closed."""
        while not (self._frames or self._latest or self._closed):
            self._filled.clear()
            await self._filled.wait()
        frames = [*self._frames, *self._latest.values()]
        self._frames.clear()
        self._latest.clear()
        self._taken.set()
        return frames

    @property
    def is_full(self) -> bool:
        """Whether too many frames are on their way."""
        return len(self._frames) >= OUTBOX_FRAMES_MAX

    async def room(self) -> None:
        """Wait until not too many frames are on their way: a slow reader is slowed."""
        while self.is_full:
            self._taken.clear()
            await self._taken.wait()


class LiveStream(Generic[InT, OutT]):
    """One live stream: reads frames, sends frames, owns its tasks, ends for one reason.

    Subclasses say what a frame does (``receive``) and what is left to do when the other end
    has said all (``settle``).
    """

    def __init__(self, clock: Clock, settings: StreamSettings) -> None:
        """Make a stream that does not run yet."""
        self.session_id = ""
        self.outbox: Outbox[OutT] = Outbox()
        self.ended = anyio.Event()
        self._written = anyio.Event()
        self._cut_off = False
        self._clock = clock
        self._settings = settings
        self._failure: HeadgateError | None = None
        self._finishing = False
        self._reading: anyio.CancelScope = anyio.CancelScope()
        self._writing: anyio.CancelScope = anyio.CancelScope()
        self._tasks: TaskGroup | None = None
        self.last_heard = clock.monotonic()

    async def receive(self, frame: InT) -> None:
        """Act on a frame. A HeadgateError that it raises ends the stream."""
        raise NotImplementedError

    async def settle(self) -> None:
        """Finish what was received: the other end says no more."""

    async def run(
        self,
        read: Callable[[], Awaitable[InT | None]],
        write: Callable[[OutT], Awaitable[None]],
    ) -> None:
        """Live until the other end, or we, have ended the stream.

        Args:
            read: Returns the next frame; None when the other end has said all.
            write: Sends a frame.

        Raises:
            HeadgateError: What ended the stream, where it did not end in order.
        """
        try:
            async with anyio.create_task_group() as tasks:
                self._tasks = tasks
                tasks.start_soon(self._guarded, self._write_all, write)
                tasks.start_soon(self._guarded, self._watch_silence)
                try:
                    await self._guarded(self._read_all, read)
                    with anyio.move_on_after(FLUSH_SECONDS):
                        await self._guarded(self.settle)
                        self.outbox.close()
                        await self._written.wait()
                finally:
                    self._cancel(tasks)
        finally:
            self._tasks = None
            self.ended.set()
        if self._failure is not None:
            raise self._failure

    def start(self, work: Callable[[*Args], Awaitable[None]], *args: *Args) -> None:
        """Start a task of this stream; it ends with the stream."""
        if self._tasks is not None:
            self._tasks.start_soon(self._guarded, work, *args)

    def fail(self, error: HeadgateError) -> None:
        """End the stream now, for this reason."""
        if self._failure is None:
            self._failure = error
        if self._tasks is not None:
            self._cancel(self._tasks)

    def _cancel(self, tasks: TaskGroup) -> None:
        self._cut_off = True
        self.outbox.close()
        self._writing.deadline = anyio.current_time() + LAST_FRAME_SECONDS
        tasks.cancel_scope.cancel()

    def finish(self) -> None:
        """End the stream in order: read no more, finish what was received, send it."""
        self._finishing = True
        self._reading.cancel()

    def supersede(self) -> None:
        """End the stream because a newer one of its session is there."""
        self.fail(SessionSuperseded(self.session_id))

    def go_away(self, reconnect_after_seconds: float, reason: str) -> None:
        """Tell the other end to come again later, then end the stream in order."""
        raise NotImplementedError

    async def _guarded(self, work: Callable[[*Args], Awaitable[None]], *args: *Args) -> None:
        try:
            await work(*args)
        except HeadgateError as error:
            self.fail(error)

    async def _read_all(self, read: Callable[[], Awaitable[InT | None]]) -> None:
        with self._reading:
            while not self._finishing:
                if self.outbox.is_full:
                    await self.outbox.room()
                frame = await read()
                if frame is None:
                    return
                self.last_heard = self._clock.monotonic()
                await self.receive(frame)

    async def _write_all(self, write: Callable[[OutT], Awaitable[None]]) -> None:
        # Cancelled between frames only, so it looks for the end itself. A shield for each frame
        # would take as long as writing it.
        with anyio.CancelScope(shield=True) as self._writing:
            while not self._cut_off and (frames := await self.outbox.take()):
                for frame in frames:
                    await write(frame)
                    if self._cut_off:
                        return
        self._written.set()

    async def _watch_silence(self) -> None:
        ttl = self._settings.ttl_seconds
        while (left := self.last_heard + ttl - self._clock.monotonic()) > 0:  # noqa: ASYNC110 - waits for time, not for an event
            await anyio.sleep(left)
        msg = f"Nothing was heard for {ttl:g} s; the stream has ended, open a new one to resume."
        self.fail(Unavailable(msg, retry_after_seconds=0.0))


class ConnectedStreams:
    """The streams that this process has open, by session."""

    def __init__(
        self,
        rng: random.Random,
        settings: StreamSettings,
        *,
        on_drain: Callable[[], None] = lambda: None,
    ) -> None:
        """Make it for streams that are yet to come."""
        self._on_drain = on_drain
        self._streams: dict[str, LiveStream[Any, Any]] = {}
        self._rng = rng
        self._settings = settings
        self.draining = False

    def __len__(self) -> int:
        """How many streams are open."""
        return len(self._streams)

    def refuse_while_draining(self) -> None:
        """Send new streams to another server while this one shuts down.

        Raises:
            Unavailable: This server shuts down.
        """
        if self.draining:
            raise Unavailable("The server is shutting down; connect again.", 1.0)

    async def add(self, stream: LiveStream[Any, Any]) -> None:
        """Note a stream; an older one of its session ends first."""
        older = self._streams.get(stream.session_id)
        self._streams[stream.session_id] = stream
        if older is not None and older is not stream:
            older.supersede()
            with anyio.move_on_after(FLUSH_SECONDS):
                await older.ended.wait()

    def remove(self, stream: LiveStream[Any, Any]) -> None:
        """Forget a stream that has ended."""
        if self._streams.get(stream.session_id) is stream:
            del self._streams[stream.session_id]

    async def drain(self) -> None:
        """Tell all streams to come again, spread over a while, and wait until they ended."""
        self.draining = True
        self._on_drain()
        streams = list(self._streams.values())
        for stream in streams:
            delay = self._rng.random() * self._settings.drain_jitter_seconds
            stream.go_away(delay, "The server is shutting down.")
        with anyio.move_on_after(FLUSH_SECONDS):
            for stream in streams:
                await stream.ended.wait()


__all__ = [
    "ConnectedStreams",
    "LiveStream",
    "Outbox",
    "StreamSettings",
    "hash_token",
    "new_token",
]
