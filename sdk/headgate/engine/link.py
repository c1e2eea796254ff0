"""The link: how a process tells the server what happens in its flow runs.

One thread per process with an event loop of its own, one session stream, all runs. User code never
runs here, and no event loop of the user's is touched. The link connects again for as long as it
takes; what was not acknowledged is sent again, so nothing is lost and nothing is there twice.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import deque
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Protocol

import tenacity

from headgate._version import __version__
from headgate.codec import session as frames
from headgate.core import errors
from headgate.engine import outbox as outboxes
from headgate.engine.window import Window

__all__ = ["Connect", "Link", "Stream"]

SDK = f"headgate-python/{__version__}"
#: How long an item may wait for others to travel with, when nobody waits for it.
LINGER_SECONDS = 0.001
#: The same for what follows something awaited: step by step, more will be awaited at once.
STEP_LINGER_SECONDS = 0.005
#: How long the answer to Open may take.
OPEN_SECONDS = 20.0
#: Errors that trying again may mend.
_PASSING = (
    errors.Unavailable,
    errors.DeadlineExceeded,
    errors.ResourceExhausted,
    errors.SessionSuperseded,
    errors.Internal,
)
#: Errors about one item of a run; the run goes on.
_ITEM_ERRORS = (errors.FailedPrecondition, errors.AlreadyExists)
#: What a server says to a session that it does not know any more.
_SESSION_ERRORS = (
    errors.NotFound,
    errors.FailedPrecondition,
    errors.PermissionDenied,
    errors.Unauthenticated,
)


class Stream(Protocol):
    """One stream to a server. Its methods raise ``HeadgateError`` only."""

    async def write(self, frame: frames.Frame) -> None:
        """Send a frame; returns when it is on its way."""
        ...

    async def read(self) -> frames.Event | None:
        """Return the next event; None when the server has ended the stream in order."""
        ...

    async def finish(self) -> None:
        """Say that nothing more is sent."""
        ...


#: Connects to the server; raises ``HeadgateError``.
Connect = Callable[[], AbstractAsyncContextManager[Stream]]


class Link:
    """The connection of a process to the server.

    Args:
        connect: Opens a stream.
        name: The process, for people.
        connect_timeout_seconds: How long the first connection may take; None: for ever. Later
            ones may always take as long as they need.
    """

    def __init__(
        self, connect: Connect, *, name: str, connect_timeout_seconds: float | None = 30.0
    ) -> None:
        """Make a link; ``start`` starts it."""
        self._connect = connect
        self._name = name
        self._connect_timeout_seconds = connect_timeout_seconds
        self._thread = threading.Thread(target=self._main, name="headgate-link", daemon=True)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._started = threading.Event()
        #: Runs that have something to send, from any thread.
        self._ready: deque[outboxes.Outbox] = deque()
        self._signalled = False
        self._lingering: asyncio.TimerHandle | None = None
        #: Whether somebody waits for what was sent last: more of the kind will come soon.
        self._is_awaited = False
        self._outboxes: dict[str, outboxes.Outbox] = {}
        self._to_open: deque[outboxes.Outbox] = deque()
        self._session_id = self._resume_token = ""
        self._beat_interval_seconds, self._ttl_seconds = 5.0, 30.0
        #: By the loop's clock: when a frame was sent last, and when one came last.
        self._last_sent = self._last_heard = 0.0
        self._is_beat_due = False
        self._window = Window()
        self._was_connected = False
        #: Streams in a row that broke as soon as they were open.
        self._short_streams = 0
        self._stopping = False
        self.failure: errors.HeadgateError | None = None

    # --- Called from any thread ---

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()
        self._started.wait()

    def create_run(self, flow_run_id: str) -> outboxes.Outbox:
        """Return the outbox of a run that comes into being here."""
        return self._add(outboxes.Outbox(flow_run_id, fencing_token=1, link=self, created=True))

    def open_run(self, flow_run_id: str, fencing_token: int) -> outboxes.Outbox:
        """Return the outbox of a run that was leased to this process; see its ``opened``."""
        return self._open_later(
            outboxes.Outbox(flow_run_id, fencing_token=fencing_token, link=self, created=False)
        )

    def claim_run(self, flow_run_id: str) -> outboxes.Outbox:
        """Return the outbox of a run that waits, and that this process takes; see ``opened``."""
        return self._open_later(
            outboxes.Outbox(flow_run_id, fencing_token=0, link=self, created=False, claims=True)
        )

    def _open_later(self, outbox: outboxes.Outbox) -> outboxes.Outbox:
        self._add(outbox)
        self._to_open.append(outbox)
        self.wake(outbox, urgent=True)
        return outbox

    def close_run(self, outbox: outboxes.Outbox) -> None:
        """Forget a run that has ended here, when all that it said is committed."""
        outbox.is_closed = True
        if outbox.is_settled or outbox.failure is not None:
            self._outboxes.pop(outbox.flow_run_id, None)

    def outbox(self, flow_run_id: str) -> outboxes.Outbox | None:
        """Return the outbox of a run of this process."""
        return self._outboxes.get(flow_run_id)

    def wake(self, outbox: outboxes.Outbox, *, urgent: bool) -> None:
        """Send what an outbox has, soon or at once."""
        if not outbox.queued:
            outbox.queued = True
            self._ready.append(outbox)
        if urgent or not self._signalled:
            # Once per batch: the loop clears it when it sends.
            self._signalled = True
            self._call(self._on_wake, urgent)

    def stop(self, timeout_seconds: float) -> bool:
        """Send what is left, end the session in order, end the thread.

        Returns:
            Whether all was committed in time.
        """
        self._stopping = True
        self._call(self._on_wake, True)
        self._thread.join(timeout_seconds)
        return not self._thread.is_alive() and all(
            outbox.is_settled for outbox in self._outboxes.values()
        )

    def detach(self) -> None:
        """Let go of all runs, without a word: this process is a fork."""
        self.failure = errors.MissingContextError("The link belongs to another process.")
        for outbox in list(self._outboxes.values()):
            outbox.detach()

    def _add(self, outbox: outboxes.Outbox) -> outboxes.Outbox:
        self._outboxes[outbox.flow_run_id] = outbox
        if self.failure is not None:
            outbox.fail(self.failure)
        return outbox

    def _call(self, callback: Callable[[bool], None], urgent: bool) -> None:
        loop = self._loop
        if loop is None or loop.is_closed():
            return
        try:
            loop.call_soon_threadsafe(callback, urgent)
        except RuntimeError:
            # The loop was closed in between; whoever waits was told by _fail_all.
            return

    # --- The thread ---

    def _main(self) -> None:
        try:
            asyncio.run(self._run())
        except BaseException as error:  # the thread's end: those who wait must not wait for ever
            failure = errors.HeadgateError(
                f"The link to the server failed: {error!r}; please report it."
            )
            self._fail_all(failure)
            raise
        finally:
            self._started.set()

    async def _run(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._wake_event = asyncio.Event()
        self._started.set()
        try:
            while not self._is_done():
                delay = await self._stay_connected()
                if delay and not self._stopping:
                    await asyncio.sleep(delay)
        except errors.HeadgateError as error:
            self._fail_all(error)

    def _is_done(self) -> bool:
        outboxes_ = list(self._outboxes.values())
        return self._stopping and all(o.is_settled or o.failure for o in outboxes_)

    async def _stay_connected(self) -> float:
        """Connect, however often it takes, and talk until the stream ends.

        Returns:
            How long to wait before connecting again.
        """
        async for attempt in tenacity.AsyncRetrying(
            retry=tenacity.retry_if_exception_type(_PASSING),
            wait=tenacity.wait_random_exponential(multiplier=0.05, max=2.0),
            stop=self._should_stop_connecting,
            before_sleep=self._on_connection_failed,
            reraise=True,
        ):
            with attempt:
                async with self._connect() as stream:
                    await self._open(stream)
                    opened = asyncio.get_running_loop().time()
                    try:
                        return await self._talk(stream)
                    except _PASSING as error:
                        # It was connected: begin anew, with short delays; not in a hot loop
                        # where the server breaks every stream that it opens.
                        _logger().debug("The session stream broke: %s", error)
                        lasted = asyncio.get_running_loop().time() - opened
                        self._short_streams = 0 if lasted > 1.0 else self._short_streams + 1
                        return min(0.01 * 2**self._short_streams, 1.0)
        return 0.0

    def _should_stop_connecting(self, state: tenacity.RetryCallState) -> bool:
        if self._is_done():
            return True
        limit = self._connect_timeout_seconds
        elapsed = state.seconds_since_start or 0.0
        return not self._was_connected and limit is not None and elapsed > limit

    def _on_connection_failed(self, state: tenacity.RetryCallState) -> None:
        # Once per outage, and not for the blink of a restart.
        if state.attempt_number == 5 and state.outcome is not None:
            limit = None if self._was_connected else self._connect_timeout_seconds
            _logger().warning(
                "The server cannot be reached; trying again %s. %s",
                "until it is back" if limit is None else f"for {limit:g} s",
                state.outcome.exception(),
            )

    async def _open(self, stream: Stream) -> None:
        """Open the session, or resume it, and learn what of it is committed."""
        self._to_open.clear()
        outboxes_ = [o for o in self._outboxes.values() if o.failure is None]
        opening = frames.encode_open(
            (o.cursor for o in outboxes_),
            session_id=self._session_id,
            resume_token=self._resume_token,
            name=self._name,
            sdk=SDK,
        )
        try:
            async with asyncio.timeout(OPEN_SECONDS):
                await stream.write(opening)
                event = await stream.read()
                while event is not None and not isinstance(event, frames.SessionOpened):
                    event = await stream.read()
        except TimeoutError:
            msg = f"The server did not open the session within {OPEN_SECONDS:g} s."
            raise errors.Unavailable(msg) from None
        except _SESSION_ERRORS as error:
            if not self._session_id:
                raise
            self._session_id = self._resume_token = ""
            msg = f"The server does not know the session any more: {error}"
            raise errors.Unavailable(msg) from error
        if event is None:
            msg = "The server ended the session before it was open."
            raise errors.Unavailable(msg)
        self._window = Window(event.window_items, event.window_bytes)
        self._was_connected = True
        self._on_opened(event)
        # Runs that were added while the answer was on its way.
        known = {o.flow_run_id for o in outboxes_}
        for outbox in list(self._outboxes.values()):
            if not outbox.is_open and outbox.flow_run_id not in known:
                self._to_open.append(outbox)

    def _on_opened(self, event: frames.SessionOpened) -> None:
        self._session_id, self._resume_token = event.session_id, event.resume_token
        self._ttl_seconds = event.ttl_seconds
        self._beat_interval_seconds = event.beat_interval_seconds
        for run in event.runs:
            outbox = self._outboxes.get(run.flow_run_id)
            if outbox is None:
                continue
            if run.error is not None:
                outbox.fail(run.error)
                continue
            if run.flow_run is not None:
                outbox.accept_token(run.flow_run.fencing_token)
            outbox.resume(run.committed_seq, run.committed_log_seq)
            if not outbox.opened.done():
                # What was sent under a former lease, and was refused, is acknowledged by nobody.
                self._free_all(run.flow_run_id)
                outbox.opened.set_result(run)
            if run.flow_run is not None:
                outbox.on_control(frames.Reopened(run.flow_run_id, run.flow_run.state))
            self._ready.append(outbox)
        self._wake_event.set()

    async def _talk(self, stream: Stream) -> float:
        """Send and receive until the stream ends; returns as ``_stay_connected``."""
        delay, problem = 0.0, None

        async def send() -> None:
            nonlocal problem
            try:
                await self._send(stream)
            except errors.HeadgateError as error:
                problem = problem or error
                receiver.cancel()

        async def receive() -> None:
            nonlocal delay, problem
            try:
                delay = await self._receive(stream)
            except errors.HeadgateError as error:
                problem = problem or error
            sender.cancel()

        async def watch() -> None:
            nonlocal problem
            try:
                await self._keep_time()
            except errors.HeadgateError as error:
                problem = problem or error
                receiver.cancel()
                sender.cancel()

        self._last_sent = self._last_heard = asyncio.get_running_loop().time()
        async with asyncio.TaskGroup() as tasks:
            watcher = tasks.create_task(watch())
            sender = tasks.create_task(send())
            receiver = tasks.create_task(receive())
            await asyncio.wait((sender, receiver))
            watcher.cancel()
        if problem is not None:
            raise problem
        return delay

    async def _keep_time(self) -> None:
        """Have a beat sent where nothing else was; notice silence. One timer, not one per frame.

        Raises:
            Unavailable: The server was silent for too long.
        """
        loop = asyncio.get_running_loop()
        while True:
            now = loop.time()
            # Beats are answered, so silence means that nobody is there.
            silence = self._last_heard + self._ttl_seconds - now
            if silence <= 0:
                msg = f"The server was silent for {self._ttl_seconds:g} s."
                raise errors.Unavailable(msg)
            beat = self._last_sent + self._beat_interval_seconds - now
            if beat <= 0:
                self._is_beat_due = True
                self._wake_event.set()
                beat = self._beat_interval_seconds
            await asyncio.sleep(min(silence, beat))

    async def _receive(self, stream: Stream) -> float:
        clock = asyncio.get_running_loop().time
        while True:
            event = await stream.read()
            self._last_heard = clock()
            if event is None:
                return 0.0 if self._stopping else LINGER_SECONDS
            if isinstance(event, frames.GoAway):
                _logger().debug("The server asks to come again: %s", event.reason)
                return event.reconnect_after_seconds
            self._handle(event)

    def _handle(self, event: frames.Event) -> None:
        if isinstance(event, frames.Committed):
            self._on_committed(event)
            return
        if isinstance(event, frames.SessionOpened):
            self._on_opened(event)
            return
        if isinstance(event, frames.BeatAnswered | frames.GoAway):
            return
        outbox = self._outboxes.get(event.flow_run_id)
        if outbox is None:
            return
        match event:
            case frames.LogsCommitted():
                outbox.commit_logs(event.seq)
                self._free("log:" + event.flow_run_id, event.seq)
                self._forget_if_closed(outbox)
            case frames.Answered():
                outbox.answer(event)
                self._free(event.flow_run_id, event.seq)
                self._forget_if_closed(outbox)
            case frames.RunRefused():
                if not _is_of_former_lease(event.error, outbox.fencing_token):
                    self._refuse(outbox, event.error)
            case _:
                outbox.on_control(event)

    def _on_committed(self, event: frames.Committed) -> None:
        outbox = self._outboxes.get(event.flow_run_id)
        # None: the last acknowledgements of a run that is closed here.
        self._free(event.flow_run_id, event.seq)
        if outbox is not None:
            outbox.commit_items(event.seq)
            self._forget_if_closed(outbox)

    def _forget_if_closed(self, outbox: outboxes.Outbox) -> None:
        if outbox.is_closed and outbox.is_settled:
            self._outboxes.pop(outbox.flow_run_id, None)
            if self._stopping:
                self._wake_event.set()

    def _refuse(self, outbox: outboxes.Outbox, error: errors.ControlPlaneError) -> None:
        # About the flow run itself they end it: the server takes nothing more of it.
        if isinstance(error, _ITEM_ERRORS) and error.resource != "flow run":
            _logger().warning("The server refused a state: %s", error)
            return
        self._drop(outbox, error)

    def _drop(self, outbox: outboxes.Outbox, error: errors.HeadgateError) -> None:
        outbox.fail(error)
        # What is on its way of it is not acknowledged any more.
        self._free_all(outbox.flow_run_id)
        if outbox.is_closed:
            self._outboxes.pop(outbox.flow_run_id, None)

    def _give_up(self, outbox: outboxes.Outbox, problem: Exception) -> None:
        """Fail a run that has something to tell that cannot be said."""
        error = errors.SerializationError(
            f"What flow run {outbox.flow_run_id} has to tell cannot be sent: {problem!r}; a state "
            "that was made by hand may have a value of a wrong type."
        )
        error.__cause__ = problem
        self._drop(outbox, error)

    def _free(self, key: str, seq: int) -> None:
        freed = self._window.acknowledge(key, seq)
        # Only where somebody waits for room: each needless turn of the loop costs every run.
        if freed and (self._ready or self._stopping):
            self._wake_event.set()

    def _free_all(self, flow_run_id: str) -> None:
        self._free(flow_run_id, outboxes.NUMBER_MAX)
        self._free("log:" + flow_run_id, outboxes.NUMBER_MAX)

    # --- Sending ---

    def _on_wake(self, urgent: bool) -> None:
        if urgent:
            self._wake_event.set()
        elif self._lingering is None:
            loop = asyncio.get_running_loop()
            self._lingering = loop.call_later(LINGER_SECONDS, self._wake_event.set)

    async def _send(self, stream: Stream) -> None:
        loop = asyncio.get_running_loop()
        beat = 0
        while True:
            await self._wake_event.wait()
            self._wake_event.clear()
            if self._lingering is not None:
                # What was to wait for others travels now; what comes next waits anew.
                self._lingering.cancel()
                self._lingering = None
            self._signalled = False
            self._is_awaited = False
            if await self._send_what_is_ready(stream):
                self._last_sent = loop.time()
            elif self._is_beat_due:
                beat += 1
                await stream.write(frames.encode_beat(beat))
                self._last_sent = loop.time()
            self._is_beat_due = False
            if self._is_awaited and self._lingering is None:
                # Step by step: what is recorded next need not wake this thread to be seen.
                self._signalled = True
                self._lingering = loop.call_later(STEP_LINGER_SECONDS, self._wake_event.set)
            if self._is_done():
                await stream.write(frames.encode_close())
                await stream.finish()
                return

    async def _send_what_is_ready(self, stream: Stream) -> bool:
        sent = False
        waiting: list[outboxes.Outbox] = []
        while self._ready:
            outbox = self._ready.popleft()
            # Cleared before it is looked into: what comes later queues it again.
            outbox.queued = False
            if not outbox.is_open or outbox.failure is not None:
                continue
            while (room := self._window.room) > 0:
                if not await self._send_batch(stream, outbox, room):
                    break
                sent = True
            else:
                waiting.append(outbox)
        # The window is full; an acknowledgement wakes the sender again.
        self._ready.extend(waiting)
        # Last: a run that is claimed anew still has log lines of its former lease to tell.
        if self._to_open:
            opening = [self._to_open.popleft() for _ in range(len(self._to_open))]
            await stream.write(frames.encode_open(o.cursor for o in opening))
            sent = True
        return sent

    async def _send_batch(self, stream: Stream, outbox: outboxes.Outbox, room: int) -> bool:
        run_id, token = outbox.flow_run_id, outbox.fencing_token
        sent = False
        if (batch := outbox.take_items(room)) is not None:
            self._is_awaited = self._is_awaited or batch.barrier
            try:
                encoded = frames.encode_batches(
                    run_id, token, batch.first_seq, batch.items, barrier=batch.barrier
                )
                parts = list(encoded)
            except Exception as problem:  # of a wrong type, most likely: the other runs go on
                self._give_up(outbox, problem)
                return False
            for part in parts:
                self._window.send(run_id, part.last_seq, part.item_count, part.size)
                await stream.write(part.frame)
            sent = True
        # After the items: a run must be there before its lines.
        if outbox.has_logs and (lines := outbox.take_logs(room)) is not None:
            try:
                frame = frames.encode_logs(run_id, token, lines.first_seq, lines.records)
            except Exception as problem:  # as above
                self._give_up(outbox, problem)
                return sent
            last = lines.first_seq + len(lines.records) - 1
            self._window.send("log:" + run_id, last, len(lines.records), frame.ByteSize())
            await stream.write(frame)
            sent = True
        return sent

    def _fail_all(self, error: errors.HeadgateError) -> None:
        self.failure = error
        for outbox in list(self._outboxes.values()):
            outbox.fail(error)


def _is_of_former_lease(error: errors.ControlPlaneError, fencing_token: int) -> bool:
    """Say whether it is about what was sent before this process took the run up again."""
    return isinstance(error, errors.LeaseFenced) and 0 < error.token != fencing_token


def _logger() -> logging.Logger:
    from headgate.logging import get_logger  # sets the handlers up; rarely needed here

    return get_logger("headgate.link")
