"""A lease service that says what a test has it say, over a real unix socket."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import anyio
import grpc.aio

from headgate.api.v1 import lease_service_pb2 as pb
from headgate.api.v1 import lease_service_pb2_grpc, log_service_pb2, log_service_pb2_grpc
from headgate.codec import deployments as deployment_codec
from headgate.codec import errors as error_codec
from headgate.codec import flow_runs as flow_run_codec
from headgate.codec import times
from headgate.core import deployments, errors, ids, runs, states

NOW = datetime(2026, 1, 1, tzinfo=UTC)
PATIENCE_SECONDS = 10


def offer(
    *, name: str = "brave-otter", token: int = 1, run_id: str = "", **of_deployment
) -> pb.Offer:
    """An offer of a run."""
    run_id = run_id or ids.new_id()
    run = runs.FlowRun(
        id=run_id,
        name=name,
        flow_id="f1",
        flow_name="hello",
        deployment_id="d1",
        deployment_name="hello/daily",
        state=states.new_state(states.StateType.SCHEDULED, id=ids.new_id(), now=NOW),
        root_flow_run_id=run_id,
        create_time=NOW,
        fencing_token=token,
    )
    deployment = deployments.Deployment(
        id="d1",
        name="daily",
        flow_id="f1",
        flow_name="hello",
        create_time=NOW,
        update_time=NOW,
        etag="1",
        **of_deployment,
    )
    return pb.Offer(
        fencing_token=token,
        flow_run=flow_run_codec.flow_run_to_proto(run),
        deployment=deployment_codec.deployment_to_proto(deployment),
        attempt=1,
    )


class FakeStream:
    """One stream, seen from the server."""

    def __init__(self, context: grpc.aio.ServicerContext) -> None:
        self._context = context
        self.over = anyio.Event()
        self.problem: errors.HeadgateError | None = None
        self.beats: list[pb.RunnerBeat] = []

    async def read(self, kind: str) -> pb.LeaseRequest:
        """Read the next frame that is no beat; it must be of this kind."""
        with anyio.fail_after(PATIENCE_SECONDS):
            while True:
                frame = await self._context.read()
                assert frame is not grpc.aio.EOF, f"the stream ended before {kind}"
                found = frame.WhichOneof("frame")
                if found == "beat" and kind != "beat":
                    self.beats.append(frame.beat)
                    continue
                assert found == kind, f"{found} instead of {kind}: {frame}"
                return frame

    async def send(self, **frame) -> None:
        await self._context.write(pb.LeaseResponse(**frame))

    async def welcome(
        self,
        *,
        session_id: str = "s1",
        ttl: float = 30.0,
        beat_interval: float = 5.0,
        keep=(),
        cancel=(),
    ) -> pb.Hello:
        """Read the hello and answer it."""
        hello = (await self.read("hello")).hello
        await self.send(
            welcome=pb.Welcome(
                session_id=session_id,
                epoch=1,
                resume_token="token",
                ttl=times.to_duration(ttl),
                beat_interval=times.to_duration(beat_interval),
                offer_ttl=times.to_duration(10),
                keep=keep,
                cancel_flow_run_ids=cancel,
            )
        )
        return hello

    async def acknowledge_beat(self, ttl: float = 30.0, lost=()) -> pb.RunnerBeat:
        beat = self.beats.pop(0) if self.beats else (await self.read("beat")).beat
        await self.send(
            beat_ack=pb.RunnerBeatAck(seq=beat.seq, ttl=times.to_duration(ttl), lost=lost)
        )
        return beat

    def end(self, problem: errors.HeadgateError | None = None) -> None:
        """End the stream, in order or with an error."""
        self.problem = problem
        self.over.set()


class FakeServer(
    lease_service_pb2_grpc.LeaseServiceServicer, log_service_pb2_grpc.LogServiceServicer
):
    """Hands each stream to the test, and keeps the log lines."""

    def __init__(self, socket: Path) -> None:
        self.api_url = f"unix://{socket}"
        self.lines: list[str] = []
        self._lines_came = anyio.Event()
        self._streams, self._opened = anyio.create_memory_object_stream[FakeStream](100)
        self._server: grpc.aio.Server | None = None

    async def Lease(self, request_iterator, context: grpc.aio.ServicerContext):
        stream = FakeStream(context)
        self._streams.send_nowait(stream)
        await stream.over.wait()
        if stream.problem is not None:
            state = error_codec.to_status(stream.problem)
            await context.abort(
                next(code for code in grpc.StatusCode if code.value[0] == state.code),
                state.message,
                (("grpc-status-details-bin", state.SerializeToString()),),
            )

    async def WriteLogs(self, request, context):
        self.lines += [record.message for record in request.records]
        self._lines_came.set()
        return log_service_pb2.WriteLogsResponse()

    async def ListLogs(self, request, context):
        raise NotImplementedError

    def TailLogs(self, request, context):
        raise NotImplementedError

    async def wait_for_line(self, line: str) -> None:
        """Wait until a line was stored."""
        with anyio.fail_after(PATIENCE_SECONDS):
            while line not in self.lines:
                self._lines_came = anyio.Event()
                await self._lines_came.wait()

    async def stream(self) -> FakeStream:
        """The next stream that a runner opens."""
        with anyio.fail_after(PATIENCE_SECONDS):
            return await self._opened.receive()

    async def start(self) -> None:
        self._server = grpc.aio.server()
        lease_service_pb2_grpc.add_LeaseServiceServicer_to_server(self, self._server)
        log_service_pb2_grpc.add_LogServiceServicer_to_server(self, self._server)
        self._server.add_insecure_port(self.api_url)
        await self._server.start()

    async def stop(self) -> None:
        if self._server is not None:
            await self._server.stop(0)
            self._server = None

    def close(self) -> None:
        self._streams.close()
        self._opened.close()


@contextlib.asynccontextmanager
async def fake_server(socket: Path, *, started: bool = True) -> AsyncIterator[FakeServer]:
    server = FakeServer(socket)
    if started:
        await server.start()
    try:
        yield server
    finally:
        with anyio.CancelScope(shield=True):
            await server.stop()
        server.close()
