"""A server's end of the session stream, without a wire, that misbehaves when it is told to."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Callable
from typing import Any

from headgate.api.v1 import engine_service_pb2 as pb
from headgate.codec import session as frames
from headgate.core import errors, states

ACCEPT = states.VerdictKind.ACCEPT


class FakeSession:
    """Keeps what it is sent, in order and once, as the contract has it."""

    def __init__(self, *, window_items: int = 10_000) -> None:
        self.items: dict[str, list[pb.Item]] = {}
        self.logs: dict[str, list[str]] = {}
        self.opens: list[pb.Open] = []
        self.batches: list[pb.Batch] = []
        self.beats = 0
        self.closed = threading.Event()
        self.window_items = window_items
        self.beat_interval_seconds = 60.0
        self.refuse: list[errors.HeadgateError] = []
        #: Acknowledgements are lost while it is set.
        self.deaf = False
        self.fence: set[str] = set()
        self.verdict: Callable[[pb.Transition], states.Verdict | None] = lambda _proposal: None
        self._streams: list[FakeStream] = []

    @contextlib.asynccontextmanager
    async def connect(self) -> AsyncIterator[FakeStream]:
        if self.refuse:
            raise self.refuse.pop(0)
        stream = FakeStream(self)
        self._streams.append(stream)
        yield stream

    def cut(self) -> None:
        """Break the newest stream."""
        self._streams[-1].push(errors.Unavailable("cut"))

    def say(self, event: frames.Event) -> None:
        """Send something on the newest stream."""
        self._streams[-1].push(event)

    # --- What it does with frames ---

    def take(self, stream: FakeStream, frame: pb.SessionRequest) -> None:
        match frame.WhichOneof("frame"):
            case "open":
                self.opens.append(frame.open)
                stream.push(self._opened(frame.open))
            case "batch":
                self.batches.append(frame.batch)
                self._commit(stream, frame.batch)
            case "log_batch":
                batch = frame.log_batch
                known = self.logs.setdefault(batch.flow_run_id, [])
                assert batch.first_seq <= len(known) + 1
                known.extend(r.message for r in batch.records[len(known) + 1 - batch.first_seq :])
                self._answer(stream, frames.LogsCommitted(batch.flow_run_id, len(known)))
            case "beat":
                self.beats += 1
                stream.push(frames.BeatAnswered(frame.beat.seq))
            case "close":
                self.closed.set()
                stream.push(None)
            case None:
                stream.push(errors.ProtocolViolation("an empty frame"))

    def _opened(self, message: pb.Open) -> frames.SessionOpened:
        runs = tuple(
            frames.RunOpened(
                run.flow_run_id,
                len(self.items.get(run.flow_run_id, ())),
                len(self.logs.get(run.flow_run_id, ())),
                None,
                errors.LeaseFenced(run.flow_run_id, 1, 2)
                if run.flow_run_id in self.fence
                else None,
            )
            for run in message.runs
        )
        return frames.SessionOpened(
            "session", "token", 60.0, self.beat_interval_seconds, self.window_items, 0, runs
        )

    def _commit(self, stream: FakeStream, batch: pb.Batch) -> None:
        known = self.items.setdefault(batch.flow_run_id, [])
        assert batch.first_seq <= len(known) + 1, "a gap"
        new = batch.items[len(known) + 1 - batch.first_seq :]
        for item in new:
            known.append(item)
            if item.WhichOneof("item") == "propose":
                verdict = self.verdict(item.propose) or _accept(item.propose)
                answered = frames.Answered(batch.flow_run_id, len(known), verdict, 1)
                self._answer(stream, answered)
        self._answer(stream, frames.Committed(batch.flow_run_id, len(known)))

    def _answer(self, stream: FakeStream, event: frames.Event) -> None:
        if not self.deaf:
            stream.push(event)


class FakeStream:
    """One stream to it."""

    def __init__(self, session: FakeSession) -> None:
        self._session = session
        self._loop = asyncio.get_running_loop()
        self._events: asyncio.Queue[Any] = asyncio.Queue()
        self._broken = False

    def push(self, event: Any) -> None:
        self._broken = self._broken or isinstance(event, errors.HeadgateError)
        self._loop.call_soon_threadsafe(self._events.put_nowait, event)

    async def write(self, frame: pb.SessionRequest) -> None:
        await asyncio.sleep(0)
        if self._broken:
            raise errors.Unavailable("broken")
        self._session.take(self, frame)

    async def read(self) -> frames.Event | None:
        event = await self._events.get()
        if isinstance(event, errors.HeadgateError):
            raise event
        return event

    async def finish(self) -> None:
        await asyncio.sleep(0)


def _accept(proposal: pb.Transition) -> states.Verdict:
    from headgate.codec import states as state_codec

    return states.Verdict(kind=ACCEPT, state=state_codec.state_from_proto(proposal.state))
