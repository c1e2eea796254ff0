"""Frames that nobody meant: garbage, nothing, and frames that are almost right, on every RPC.

Whatever comes, the answer is a refusal that says why, never INTERNAL or UNKNOWN; and a call that
is refused has stored nothing.
"""

from __future__ import annotations

import random
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterable
from pathlib import Path
from typing import Any

import anyio
import grpc
import pytest
from google.protobuf import message_factory
from google.protobuf.descriptor import FieldDescriptor, MethodDescriptor
from google.protobuf.message import Message
from grpc import aio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headgate.api.v1 import (
    artifact_service_pb2,
    block_service_pb2,
    concurrency_limit_service_pb2,
    deployment_service_pb2,
    engine_service_pb2,
    error_pb2,
    event_service_pb2,
    flow_run_service_pb2,
    flow_service_pb2,
    lease_service_pb2,
    log_service_pb2,
    run_input_service_pb2,
    server_service_pb2,
    task_run_service_pb2,
    variable_service_pb2,
    watch_service_pb2,
    work_pool_service_pb2,
)
from headgate.core import ids
from headgate_server.app import App
from headgate_server.settings import Settings

MODULES: Iterable[Any] = (
    concurrency_limit_service_pb2,
    artifact_service_pb2,
    run_input_service_pb2,
    variable_service_pb2,
    event_service_pb2,
    block_service_pb2,
    deployment_service_pb2,
    engine_service_pb2,
    flow_run_service_pb2,
    flow_service_pb2,
    lease_service_pb2,
    log_service_pb2,
    server_service_pb2,
    task_run_service_pb2,
    watch_service_pb2,
    work_pool_service_pb2,
)
METHODS: dict[str, MethodDescriptor] = {
    f"{service.full_name}/{method.name}": method
    for module in MODULES
    for service in module.DESCRIPTOR.services_by_name.values()
    for method in service.methods
}
STREAMS = [name for name, method in METHODS.items() if method.client_streaming]
REQUESTS = [name for name in METHODS if name not in STREAMS]
OUR_FAULT = {grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN}
#: What this end's own library says, under INTERNAL, where the other one has ended the stream while
#: a frame was being written.
WROTE_TOO_LATE = "Internal error from Core"
#: How long a stream that may be followed for ever is listened to.
WAIT_SECONDS = 0.02
EOF: Any = vars(aio)["EOF"]  # not in the stubs

#: Two ids that come again and again, so that frames speak of the same things.
IDS = (ids.new_id(), ids.new_id())
TEXTS = (
    "",
    *IDS,
    ids.new_id().upper(),
    "default",
    "etl",
    "etl/nightly",
    "{}",
    '{"type": "object"}',
    "NaN",
    "[" * 5_000,
    "*/5 * * * *",
    "a\x00b",
    "\N{SNOWMAN}" * 300,
    "/%&><",
    "RRULE:FREQ=DAILY",
    "Europe/Berlin",
    "name",
    "state",
)
NUMBERS = (0, 1, 2, 3, -1, 1_000, 2**31 - 1, -(2**31), 2**32 - 1, 2**63 - 1, -(2**63), 2**64 - 1)
FLOATS = (0.0, 1.0, -1.0, 1e300, float("inf"), float("-inf"), float("nan"))
SIZES: dict[int, tuple[int, int]] = {
    FieldDescriptor.CPPTYPE_INT32: (-(2**31), 2**31 - 1),
    FieldDescriptor.CPPTYPE_UINT32: (0, 2**32 - 1),
    FieldDescriptor.CPPTYPE_INT64: (-(2**63), 2**63 - 1),
    FieldDescriptor.CPPTYPE_UINT64: (0, 2**64 - 1),
}


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'test.db'}"
    return request.getfixturevalue("postgres_database_url")


@pytest.fixture
async def app(database_url: str, tmp_path: Path) -> AsyncIterator[App]:
    """A server whose loops rest, so that nothing is stored but what callers ask for."""
    calm = Settings(
        database_url=database_url,
        unix_socket=tmp_path / "server.sock",
        late_interval_seconds=3600,
        scheduler_interval_seconds=3600,
        shutdown_grace_seconds=0,
    )
    async with App(calm).running() as running:
        yield running


class Fuzzer:
    """Makes messages of any type, by chance, that are almost what is meant."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def message(self, type: type[Message], depth: int = 0) -> Message:
        made, chance = type(), self._random
        for field in type.DESCRIPTOR.fields:
            if depth < 6 and chance.random() < (0.75 if depth < 3 else 0.4):
                self._fill(made, field, depth)
        return made

    def frames(self, type: type[Message], first: str | None = None) -> list[bytes]:
        """Make frames of a stream; the first is meant well where its name is given."""
        found: list[bytes] = []
        if first is not None:
            found.append(_opening(first).SerializeToString())
        for _ in range(self._random.randint(1, 4)):
            made = self.message(type)
            found.append(self.spoil(made.SerializeToString()))
        return found

    def spoil(self, data: bytes) -> bytes:
        """Change a few bytes, or cut some off, in one of three frames."""
        chance = self._random
        if not data or chance.random() < 0.67:
            return data
        if chance.random() < 0.3:
            return data[: chance.randrange(len(data))]
        spoiled = bytearray(data)
        for _ in range(chance.randint(1, 3)):
            spoiled[chance.randrange(len(spoiled))] = chance.randrange(256)
        return bytes(spoiled)

    def _fill(self, message: Message, field: Any, depth: int) -> None:
        target, chance = getattr(message, field.name), self._random
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            of = field.message_type.fields_by_name["value"]
            for _ in range(chance.randint(0, 2)):
                target[chance.choice(TEXTS)] = self._value(of)
        elif field.is_repeated and field.message_type is not None:
            for _ in range(chance.randint(0, 3)):
                target.add().CopyFrom(self._part(field, depth))
        elif field.is_repeated:
            target.extend(self._value(field) for _ in range(chance.randint(0, 3)))
        elif field.message_type is not None:
            target.CopyFrom(self._part(field, depth))
        else:
            setattr(message, field.name, self._value(field))

    def _part(self, field: Any, depth: int) -> Message:
        type = message_factory.GetMessageClass(field.message_type)
        return self.message(type, depth + 1)

    def _value(self, field: Any) -> Any:
        chance, kind = self._random, field.cpp_type
        if kind in SIZES:
            low, high = SIZES[kind]
            return chance.choice([n for n in NUMBERS if low <= n <= high])
        if kind == FieldDescriptor.CPPTYPE_ENUM:
            return chance.choice([value.number for value in field.enum_type.values] + [99, -1])
        if kind == FieldDescriptor.CPPTYPE_BOOL:
            return chance.random() < 0.5
        if field.type == FieldDescriptor.TYPE_BYTES:
            return chance.randbytes(chance.choice((0, 3, 20_000)))
        if kind == FieldDescriptor.CPPTYPE_STRING:
            if field.name.endswith("id") and chance.random() < 0.8:
                return chance.choice(IDS)
            return chance.choice(TEXTS)
        return chance.choice(FLOATS)


def _opening(method: str) -> Message:
    if "Engine" in method:
        return engine_service_pb2.SessionRequest(open=engine_service_pb2.Open(name="e"))
    hello = lease_service_pb2.Hello(
        name="r", instance_id=ids.new_id(), work_pool_names=["default"], slots=2
    )
    return lease_service_pb2.LeaseRequest(hello=hello)


def _types(method: str) -> tuple[type[Message], type[Message]]:
    found = METHODS[method]
    return (
        message_factory.GetMessageClass(found.input_type),
        message_factory.GetMessageClass(found.output_type),
    )


async def _ask(
    channel: aio.Channel, method: str, data: bytes, *, patience_seconds: float = WAIT_SECONDS
) -> grpc.StatusCode:
    """Make a call with one request; return how it ended.

    A stream that has not ended after ``patience_seconds`` is taken for one that was accepted.
    """
    if METHODS[method].server_streaming:
        call: Any = channel.unary_stream(f"/{method}")(data)
        with anyio.move_on_after(patience_seconds):
            try:
                while await call.read() is not EOF:
                    pass
            except aio.AioRpcError as error:
                return error.code()
        call.cancel()
        return grpc.StatusCode.OK
    try:
        await channel.unary_unary(f"/{method}")(data)
    except aio.AioRpcError as error:
        return error.code()
    return grpc.StatusCode.OK


async def _talk(
    channel: aio.Channel, method: str, frames: Iterable[bytes]
) -> tuple[grpc.StatusCode, list[Any]]:
    """Send frames on a stream; return how it ended, and what was answered."""
    answer_type = _types(method)[1]
    call: Any = channel.stream_stream(f"/{method}", response_deserializer=answer_type.FromString)()
    answers: list[Any] = []
    try:
        for frame in frames:
            await call.write(frame)
        await call.done_writing()
        with anyio.fail_after(10):
            while (answer := await call.read()) is not EOF:
                answers.append(answer)
        return await call.code(), answers
    except (aio.AioRpcError, aio.UsageError):
        if await call.details() == WROTE_TOO_LATE:
            return grpc.StatusCode.CANCELLED, answers
        return await call.code(), answers


def _incidents(answers: Iterable[Any]) -> list[str]:
    internal = error_pb2.ERROR_REASON_INTERNAL
    errors = [answer.run_error for answer in answers if answer.WhichOneof("frame") == "run_error"]
    opened = [answer.opened.runs for answer in answers if answer.WhichOneof("frame") == "opened"]
    errors += [run.error for runs in opened for run in runs]
    return [error.message for error in errors if error.reason == internal]


@pytest.fixture
def stored(database_url: str) -> Callable[[], object]:
    """Return a function that reads all that is stored, but for sessions and what tells of them."""

    def read() -> object:
        if not database_url.startswith("sqlite"):
            return None
        connection = sqlite3.connect(database_url.removeprefix("sqlite:///"))
        try:
            tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
            found = {
                name: connection.execute(f"SELECT * FROM {name}").fetchall()
                for (name,) in tables.fetchall()
                if name not in {"sessions", "heads", "event_related"}
            }
            found["events"] = [row for row in found["events"] if not row[2].startswith("headgate.")]
            return found
        finally:
            connection.close()

    return read


FEW = settings(
    max_examples=15,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@pytest.mark.parametrize("method", REQUESTS)
@FEW
@given(garbage=st.binary(max_size=40))
async def test_garbage_is_refused_and_stores_nothing(
    channel: aio.Channel, stored: Callable[[], object], method: str, garbage: bytes
) -> None:
    before = stored()
    spoiled = b"\x0f" + garbage  # a wire type that there is not
    # It must be refused, so how long a busy machine takes to say so does not matter.
    code = await _ask(channel, method, spoiled, patience_seconds=30.0)
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert stored() == before


@pytest.mark.parametrize("method", REQUESTS)
@FEW
@given(seed=st.integers(0, 2**32))
async def test_a_request_that_is_almost_right_is_never_our_fault(
    channel: aio.Channel, stored: Callable[[], object], method: str, seed: int
) -> None:
    fuzzer = Fuzzer(seed)
    before = stored()
    data = fuzzer.spoil(fuzzer.message(_types(method)[0]).SerializeToString())
    code = await _ask(channel, method, data)
    assert code not in OUR_FAULT, data
    if code is not grpc.StatusCode.OK:
        assert stored() == before


@pytest.mark.parametrize("method", STREAMS)
@pytest.mark.parametrize("is_open", [False, True], ids=["first", "later"])
@FEW
@given(garbage=st.binary(max_size=40))
async def test_a_frame_of_garbage_ends_the_stream_and_stores_nothing(
    channel: aio.Channel,
    stored: Callable[[], object],
    method: str,
    is_open: bool,
    garbage: bytes,
) -> None:
    before = stored()
    frames = [_opening(method).SerializeToString()] if is_open else []
    for frame in (b"", b"\x0f" + garbage):
        code, _ = await _talk(channel, method, [*frames, frame])
        assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert stored() == before


@pytest.mark.parametrize("method", STREAMS)
@settings(FEW, max_examples=80)
@given(seed=st.integers(0, 2**32))
async def test_frames_that_are_almost_right_are_never_our_fault(
    channel: aio.Channel, method: str, seed: int
) -> None:
    fuzzer = Fuzzer(seed)
    first = method if seed % 10 else None
    code, answers = await _talk(channel, method, fuzzer.frames(_types(method)[0], first))
    assert code not in OUR_FAULT
    assert not _incidents(answers)
