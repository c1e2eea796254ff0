"""What all live streams have in common, with frames that are texts."""

from __future__ import annotations

import anyio
import pytest

from headgate.core import errors
from headgate.core.clock import ManualClock
from headgate_server.services import sessions
from headgate_server.services.sessions import LiveStream, StreamSettings


class Stream(LiveStream[str, str]):
    """Answers the first frame, and refuses the second."""

    def __init__(self) -> None:
        super().__init__(ManualClock(), StreamSettings())

    async def receive(self, frame: str) -> None:
        if frame == "second":
            raise errors.ProtocolViolation("No second frame.", "second")
        self.outbox.put("answer")


class Wire:
    """Another end that takes its time to take a frame."""

    def __init__(self) -> None:
        self.taken: list[str] = []
        self.is_writing = anyio.Event()
        self.may_take = anyio.Event()
        self._frames = ["second", "first"]

    async def read(self) -> str | None:
        frame = self._frames.pop()
        if frame == "second":
            await self.is_writing.wait()
        return frame

    async def write(self, frame: str) -> None:
        self.is_writing.set()
        await self.may_take.wait()
        self.taken.append(frame)


async def test_a_stream_that_fails_ends_after_the_frame_that_is_being_written() -> None:
    """A call cannot be ended while a frame is half written; its other end would wait for ever."""
    stream, wire = Stream(), Wire()
    async with anyio.create_task_group() as tasks:

        async def run() -> None:
            with pytest.raises(errors.ProtocolViolation):
                await stream.run(wire.read, wire.write)

        tasks.start_soon(run)
        await wire.is_writing.wait()
        await anyio.wait_all_tasks_blocked()
        assert not stream.ended.is_set()
        wire.may_take.set()
    assert wire.taken == ["answer"]
    assert stream.ended.is_set()


async def test_a_stream_that_fails_does_not_wait_for_ever_for_who_takes_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sessions, "LAST_FRAME_SECONDS", 0.0)
    stream, wire = Stream(), Wire()
    with anyio.fail_after(5), pytest.raises(errors.ProtocolViolation):
        await stream.run(wire.read, wire.write)
    assert wire.taken == []


async def test_a_frame_put_behind_comes_after_those_that_wait_to_be_replaced() -> None:
    outbox = sessions.Outbox[str]()
    outbox.put_latest("run", "acknowledged 1")
    outbox.put_latest("run", "acknowledged 2")
    outbox.put_behind("opened anew")
    outbox.put_latest("run", "acknowledged 1, of the new lease")
    assert await outbox.take() == [
        "acknowledged 2",
        "opened anew",
        "acknowledged 1, of the new lease",
    ]
