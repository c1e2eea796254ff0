from __future__ import annotations

import asyncio

import anyio

from headgate.core import clock, errors
from headgate_runner import output


def reader_of(*chunks: bytes) -> asyncio.StreamReader:
    reader = asyncio.StreamReader()
    for chunk in chunks:
        reader.feed_data(chunk)
    reader.feed_eof()
    return reader


async def lines_of(*chunks: bytes) -> list[str]:
    found: list[str] = []
    await output.Lines(reader_of(*chunks), found.append).read()
    return found


async def test_lines_are_found_however_they_arrive():
    assert await lines_of(b"on", b"e\ntwo\n", b"\nlast") == ["one", "two", "", "last"]


async def test_what_a_progress_bar_overwrote_is_dropped():
    assert await lines_of(b" 10%\r 50%\r100%\n", b"next\r\n") == ["100%", "next"]


async def test_bytes_that_are_no_text_do_not_stop_the_reader():
    assert await lines_of(b"a\xff\x00b\n") == ["a�b"]


async def test_a_line_without_an_end_is_cut():
    found = await lines_of(b"x" * (output.LINE_LENGTH_MAX + 5))
    assert [len(line) for line in found] == [output.LINE_LENGTH_MAX, 5]


class Store:
    def __init__(self) -> None:
        self.records = []
        self.problem: Exception | None = None

    async def __call__(self, records) -> None:
        if self.problem is not None:
            raise self.problem
        self.records += records


async def pumped(buffer: output.LogBuffer) -> None:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(buffer.pump)
        await buffer.drained(5)
        tasks.cancel_scope.cancel()


async def test_lines_are_stored_in_order():
    store = Store()
    buffer = output.LogBuffer(store, clock.ManualClock())
    for number in range(2_500):
        buffer.add("run", 20, "headgate.runner.stdout", str(number))
    await pumped(buffer)
    assert [record.message for record in store.records] == [str(n) for n in range(2_500)]


async def test_lines_beyond_the_bound_are_dropped_and_counted(monkeypatch):
    monkeypatch.setattr(output, "WAITING_MAX", 3)
    store = Store()
    buffer = output.LogBuffer(store, clock.ManualClock())
    for number in range(5):
        buffer.add("run", 20, "headgate.runner.stdout", str(number))
    await pumped(buffer)
    *kept, confession = [record.message for record in store.records]
    assert kept == ["2", "3", "4"]
    assert confession.startswith("2 lines of output were dropped")


async def test_lines_wait_while_the_server_cannot_be_reached(monkeypatch):
    monkeypatch.setattr(output, "_RETRY_SECONDS", 0)
    store = Store()
    store.problem = errors.Unavailable("no server")
    buffer = output.LogBuffer(store, clock.ManualClock())
    buffer.add("run", 20, "headgate.runner.stdout", "one")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(buffer.pump)
        await anyio.lowlevel.checkpoint()
        await anyio.lowlevel.checkpoint()
        assert store.records == []
        store.problem = None
        await buffer.drained(5)
        tasks.cancel_scope.cancel()
    assert [record.message for record in store.records] == ["one"]


async def test_lines_that_are_refused_do_not_hold_up_the_others():
    store = Store()
    store.problem = errors.NotFound("flow run", "gone")
    buffer = output.LogBuffer(store, clock.ManualClock())
    buffer.add("gone", 20, "headgate.runner.stdout", "one")
    await pumped(buffer)
    store.problem = None
    buffer.add("run", 20, "headgate.runner.stdout", "two")
    await pumped(buffer)
    assert [record.message for record in store.records] == ["two"]
