"""The lease stream: held for as long as the runner lives, made anew when it breaks.

The stream decides nothing. What is held stands in the lease book; what to do is told to the
runner; what a broken stream has swallowed is said again from the book when the next one stands.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import math
import os
import random
from collections import deque
from typing import Protocol

import anyio
import grpc.aio
import tenacity

from headgate.api.v1 import engine_service_pb2, lease_service_pb2_grpc
from headgate.api.v1 import lease_service_pb2 as pb
from headgate.client import channel as channels
from headgate.client import metadata
from headgate.codec import times
from headgate.core import clock, errors, leases
from headgate_runner import jobs, lease
from headgate_runner.stream import frames

Identity = frames.Identity

_HELLO_SECONDS_MAX = 10.0
_GOODBYE_SECONDS_MAX = 3.0
_BACKOFF_SECONDS_MAX = 5.0
#: After a stream that stood; spread, for a server that restarts has many runners.
_RECONNECT_SECONDS = (0.05, 0.5)
#: A stream on which nothing was heard for so many beat intervals is dead.
_SILENT_BEATS_MAX = 3
#: How long not to be offered again what was declined.
_DECLINE_SECONDS = 2.0
#: How long a run whose lease is lost may take to end before it is killed: the server gives the
#: run to others a margin after the ttl, and the runner fences itself a margin before it.
_LOST_GRACE_SECONDS = 1.0

#: What no reconnecting helps against.
_FATAL = (
    errors.InvalidArgument,
    errors.NotFound,
    errors.Unauthenticated,
    errors.PermissionDenied,
    errors.Unsupported,
)

_Call = grpc.aio.StreamStreamCall[pb.LeaseRequest, pb.LeaseResponse]


class Duties(Protocol):
    """What the stream has the runner do. None of it may wait."""

    def start(self, job: jobs.Job) -> None:
        """Execute an accepted offer."""
        ...

    def cancel(self, flow_run_id: str, *, grace_seconds: float | None, reason: str) -> None:
        """Stop a run that somebody has cancelled."""
        ...

    def abandon(self, held: lease.Held, *, grace_seconds: float, reason: str) -> None:
        """Stop a run whose lease is lost; nothing is to be reported."""
        ...

    def call_hooks(self, job: jobs.Job) -> None:
        """Call the hooks of a run whose own runner is lost."""
        ...

    def connected(self, *, resumed: bool) -> None:
        """A stream stands."""
        ...

    def disconnected(self, problem: Exception, *, retry_seconds: float) -> None:
        """A stream broke, or none could be made."""
        ...


@dataclasses.dataclass(frozen=True, slots=True)
class _Break:
    """A stream that stood has ended: why, and when to make the next."""

    problem: Exception
    delay_seconds: float


class LeaseStream:
    """Holds the stream.

    Args:
        api_url: The server.
        identity: Who the runner is.
        book: What it holds.
        duties: What it does.
        time: Where time comes from.
        rng: Where chance comes from.
    """

    def __init__(
        self,
        api_url: str,
        *,
        identity: Identity,
        book: lease.LeaseBook,
        duties: Duties,
        time: clock.Clock,
        rng: random.Random,
    ) -> None:
        self._api_url = api_url
        self._identity = identity
        self._book = book
        self._duties = duties
        self._time = time
        self._rng = rng
        self._resume_token = ""
        self._beat_interval = 5.0
        self._drain_grace = 0.0
        self._farewell: str | None = None
        self._farewell_said = anyio.Event()
        #: None while no stream stands: what is said then is said from the book later.
        self._outbox: deque[pb.LeaseRequest] | None = None
        self._outbox_filled = anyio.Event()
        self._released = anyio.Event()
        self._lease_taken = anyio.Event()

    # What the runner says

    def release(self, held: lease.Held, ended: lease.Release) -> None:
        """Say that the run of a lease has ended; said again until the server has it."""
        if self._book.release(held, ended):
            self._send(frames.release(held, ended))
            self._send_credit()

    def drain(self, grace_seconds: float) -> None:
        """Say that the runner takes no more offers."""
        self._book.drain()
        self._drain_grace = grace_seconds
        self._send(frames.drain(grace_seconds))

    async def all_released(self) -> None:
        """Wait until the server has committed all releases."""
        for held, _release in self._book.releases:
            await self.released(held)

    async def released(self, held: lease.Held) -> None:
        """Wait until the server has committed a release."""
        while held in self._book.held:
            self._released = self._released if not self._released.is_set() else anyio.Event()
            await self._released.wait()

    def goodbye(self, reason: str) -> None:
        """End the stream, and with it ``run``."""
        self._farewell = reason
        self._farewell_said.set()
        self._send(frames.goodbye(reason))

    # The stream

    async def run(self) -> None:
        """Hold the stream until ``goodbye``.

        Raises:
            ExceptionGroup: Of a HeadgateError: the server refuses the runner, e.g. because there
                is no such pool.
        """
        async with (
            channels.open_channel(self._api_url) as channel,
            anyio.create_task_group() as tasks,
        ):
            tasks.start_soon(self._watch_expiry)
            await self._keep_connected(lease_service_pb2_grpc.LeaseServiceStub(channel))
            tasks.cancel_scope.cancel()

    async def _keep_connected(self, stub: lease_service_pb2_grpc.LeaseServiceAsyncStub) -> None:
        while self._farewell is None:
            broken: _Break | None = None
            async for attempt in tenacity.AsyncRetrying(
                wait=tenacity.wait_exponential_jitter(
                    multiplier=0.1, max=_BACKOFF_SECONDS_MAX, jitter=0.3
                ),
                retry=tenacity.retry_if_exception(self._may_pass),
                before_sleep=self._tell_failure,
                sleep=self._pause,
                reraise=True,
            ):
                with attempt:
                    broken = await self._hold(stub)
            if broken is None:
                return
            self._duties.disconnected(broken.problem, retry_seconds=broken.delay_seconds)
            await self._pause(broken.delay_seconds)

    def _may_pass(self, problem: BaseException) -> bool:
        return (
            isinstance(problem, errors.HeadgateError)
            and not isinstance(problem, _FATAL)
            and self._farewell is None
        )

    def _tell_failure(self, state: tenacity.RetryCallState) -> None:
        problem = state.outcome.exception() if state.outcome is not None else None
        if isinstance(problem, Exception):
            delay = state.next_action.sleep if state.next_action is not None else 0.0
            self._duties.disconnected(problem, retry_seconds=delay)

    async def _pause(self, seconds: float) -> None:
        with anyio.move_on_after(seconds):
            await self._farewell_said.wait()

    async def _hold(self, stub: lease_service_pb2_grpc.LeaseServiceAsyncStub) -> _Break | None:
        """Make a stream and hold it; None: the runner has said goodbye.

        Raises:
            HeadgateError: No stream stands.
        """
        if self._farewell is not None:
            return None
        call = stub.Lease(metadata=metadata.of_process())
        broken: _Break | None = None
        try:
            await self._greet(call)
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._write, call)
                tasks.start_soon(self._beat)
                broken = await self._listen(call)
                tasks.cancel_scope.cancel()
            return broken if self._farewell is None else None
        except grpc.aio.AioRpcError as error:
            raise channels.error_of(error, self._api_url) from error
        except TimeoutError:
            msg = f"The server at {self._api_url} did not answer within {_HELLO_SECONDS_MAX:g} s."
            raise errors.Unavailable(msg) from None
        finally:
            self._outbox = None
            call.cancel()

    async def _greet(self, call: _Call) -> None:
        """Say hello, and put the book in line with the answer."""
        hello_sent_at = self._time.monotonic()
        resuming = self._book.session_id
        with anyio.fail_after(_HELLO_SECONDS_MAX):
            await _write(call, frames.hello(self._identity, self._book, self._resume_token))
            answer = await _read(call)
        if answer is None or not answer.HasField("welcome"):
            msg = f"The server at {self._api_url} did not welcome the runner."
            raise errors.Unavailable(msg)
        welcome = answer.welcome
        self._resume_token = welcome.resume_token
        if welcome.HasField("beat_interval"):
            self._beat_interval = times.from_duration(welcome.beat_interval)
        lost = self._book.welcome(
            welcome.session_id,
            hello_sent_at=hello_sent_at,
            ttl_seconds=times.from_duration(welcome.ttl),
            keep=frames.all_held(welcome.keep),
        )
        self._released.set()  # whoever waits for one looks again
        self._outbox = deque(frames.standing(self._book, self._drain_grace))
        self._outbox_filled.set()
        self._duties.connected(resumed=resuming == welcome.session_id)
        for held in lost:
            self._abandon(held, "the server has given it up")
        for flow_run_id in welcome.cancel_flow_run_ids:
            self._duties.cancel(flow_run_id, grace_seconds=None, reason="")

    # Writing

    def _send(self, frame: pb.LeaseRequest) -> None:
        if self._outbox is not None:
            self._outbox.append(frame)
            self._outbox_filled.set()

    def _send_credit(self) -> None:
        if not self._book.draining:
            self._send(frames.credit(self._book))

    async def _write(self, call: _Call) -> None:
        while (outbox := self._outbox) is not None:
            if not outbox:
                self._outbox_filled = anyio.Event()
                await self._outbox_filled.wait()
                continue
            frame = outbox.popleft()
            if not await _write(call, frame):
                return  # the stream is broken, which the reader finds out, too
            if frame.HasField("goodbye"):
                await call.done_writing()
                return

    async def _beat(self) -> None:
        while True:
            self._send(frames.beat(self._book.beat(self._time.monotonic()), _load()))
            await anyio.sleep(leases.next_beat_in(self._beat_interval, random=self._rng.random()))

    # Reading

    async def _listen(self, call: _Call) -> _Break:
        """Do what the server says, until the stream ends."""
        while True:
            limit = self._beat_interval * _SILENT_BEATS_MAX
            if self._farewell is not None:
                limit = _GOODBYE_SECONDS_MAX
            try:
                with anyio.fail_after(limit):
                    frame = await _read(call)
            except grpc.aio.AioRpcError as error:
                return self._broken(channels.error_of(error, self._api_url))
            except TimeoutError:
                msg = f"The server at {self._api_url} was silent for {limit:g} s."
                return self._broken(errors.Unavailable(msg))
            if frame is None:
                return self._broken(errors.Unavailable("The server ended the stream."))
            if frame.HasField("go_away"):
                reason = frame.go_away.reason or "The server asked the runner to come again."
                delay = times.from_duration(frame.go_away.reconnect_after)
                return _Break(errors.Unavailable(reason), min(delay, self._patience()))
            self._obey(frame)

    def _patience(self) -> float:
        """How long the runner may stay away without danger for what it holds."""
        fence_at = self._book.fence_at
        return math.inf if fence_at is None else max(0.0, fence_at - self._time.monotonic()) / 3

    def _broken(self, problem: Exception) -> _Break:
        return _Break(problem, self._rng.uniform(*_RECONNECT_SECONDS))

    def _obey(self, frame: pb.LeaseResponse) -> None:
        match frame.WhichOneof("frame"):
            case "offer":
                self._consider(frame.offer)
            case "beat_ack":
                ack = frame.beat_ack
                self._book.acknowledge(ack.seq, ttl_seconds=times.from_duration(ack.ttl))
                for held in frames.all_held(ack.lost):
                    self._lose(held, "the server has given it up")
            case "revoke":
                revoke = frame.revoke
                grace = times.from_duration(revoke.grace) if revoke.HasField("grace") else None
                self._lose(frames.held_of(revoke), revoke.reason, grace)
            case "control":
                self._control(frame.control)
            case "released":
                self._book.confirm_release(frames.held_of(frame.released))
                self._released.set()
            case "call_hooks":
                with contextlib.suppress(errors.InvalidArgument):  # a fault of the server
                    self._duties.call_hooks(frames.hooks_of(frame.call_hooks))
            case _:
                pass  # a second Welcome, a Throttle, or news from a newer server

    def _control(self, control: engine_service_pb2.Control) -> None:
        # Pausing and resuming is between the server and the engine in the child.
        if control.HasField("cancel"):
            cancel = control.cancel
            grace = times.from_duration(cancel.grace) if cancel.HasField("grace") else None
            self._duties.cancel(control.flow_run_id, grace_seconds=grace, reason=cancel.reason)

    def _consider(self, offer: pb.Offer) -> None:
        held = lease.Held(offer.flow_run.id, offer.fencing_token)
        try:
            job = frames.job_of(offer)
        except errors.InvalidArgument as error:
            self._send(frames.decline(held, f"The offer is not valid: {error}", 60.0))
            return
        older = self._book.older(held)
        if older is not None:
            self._lose(older, "the run was given out anew")
        match self._book.take(held):
            case lease.Taken.YES:
                self._send(frames.accept(held))
                self._lease_taken.set()
                self._duties.start(job)
            case lease.Taken.AGAIN:
                self._send(frames.accept(held))
            case refusal:
                self._send(frames.decline(held, _REFUSALS[refusal], _DECLINE_SECONDS))

    def _lose(self, held: lease.Held, reason: str, grace_seconds: float | None = None) -> None:
        is_live = self._book.lose(held)
        self._released.set()
        if is_live:
            self._send_credit()
            self._abandon(held, reason, grace_seconds)

    def _abandon(self, held: lease.Held, reason: str, grace_seconds: float | None = None) -> None:
        # No time at all would be no chance to clean up.
        self._duties.abandon(
            held, grace_seconds=grace_seconds or _LOST_GRACE_SECONDS, reason=reason
        )

    # Fencing itself

    async def _watch_expiry(self) -> None:
        """Give up, on this machine's own clock, what the server may give to others soon."""
        while True:
            fence_at = self._book.fence_at
            if fence_at is None:
                self._lease_taken = anyio.Event()
                await self._lease_taken.wait()
                continue
            left = fence_at - self._time.monotonic()
            if left > 0:
                await anyio.sleep(left)
                continue
            for held in self._book.fence(self._time.monotonic()):
                self._abandon(held, "no heartbeat was acknowledged for too long")


_REFUSALS = {
    lease.Taken.FULL: "All slots of the runner are taken.",
    lease.Taken.STALE: "The runner has had a newer lease of this run.",
    lease.Taken.DRAINING: "The runner is about to end.",
}


async def _read(call: _Call) -> pb.LeaseResponse | None:
    """Read a frame; None at the end of the stream."""
    frame = await call.read()
    return frame if isinstance(frame, pb.LeaseResponse) else None


async def _write(call: _Call, frame: pb.LeaseRequest) -> bool:
    """Write a frame; False if the stream is broken."""
    try:
        await call.write(frame)
    except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
        return False
    return True


def _load() -> float:
    try:
        return os.getloadavg()[0] / (os.cpu_count() or 1)
    except OSError:
        return 0.0
