"""Both ends of the streams, frame by frame, for tests."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import anyio
from google.protobuf import timestamp_pb2
from google.rpc import status_pb2
from grpc import aio

from headgate.api.v1 import (
    engine_service_pb2,
    engine_service_pb2_grpc,
    lease_service_pb2,
    lease_service_pb2_grpc,
    state_pb2,
    task_run_pb2,
)
from headgate.codec import errors as error_codec
from headgate.core import errors, ids, leases
from headgate.core.clock import ManualClock
from headgate.core.deployments import (
    CRASH_ON_LOSS,
    Deployment,
    InfrastructureLossPolicy,
)
from headgate.core.runs import FlowRun, RetryPolicy, TaskRun
from headgate.core.states import StateDetails, StateType, new_state
from headgate_server.services.streams import Streams
from headgate_server.storage.interface import Storage, Transaction

WAIT_SECONDS = 5.0
EOF: Any = vars(aio)["EOF"]  # not in the stubs

epb, lpb = engine_service_pb2, lease_service_pb2


@dataclasses.dataclass(frozen=True)
class World:
    """A server within the test, and what surrounds it."""

    storage: Storage
    streams: Streams
    clock: ManualClock
    channel: aio.Channel
    orchestration: Any

    async def flow_run(self, flow_run_id: str) -> FlowRun:
        run = await self.storage.read(lambda tx: tx.flow_runs.get(flow_run_id))
        assert run is not None
        return run

    async def task_run(self, task_run_id: str) -> TaskRun | None:
        return await self.storage.read(lambda tx: tx.task_runs.get(task_run_id))

    async def deploy(
        self,
        *,
        name: str = "nightly",
        on_loss: InfrastructureLossPolicy = CRASH_ON_LOSS,
        queue: str = "default",
    ) -> Deployment:
        now = self.clock.now()
        id = ids.new_id()

        def change(tx: Transaction) -> Deployment:
            flow = tx.flows.ensure("etl", new_id=ids.new_id())
            deployment = Deployment(
                id=id,
                name=name,
                flow_id=flow.id,
                flow_name=flow.name,
                entrypoint="flows.py:etl",
                work_queue_name=queue,
                on_infrastructure_loss=on_loss,
                create_time=now,
                update_time=now,
                etag="1",
            )
            tx.deployments.insert(deployment)
            return deployment

        return await self.storage.write(change)

    async def ask_for_run(self, deployment: Deployment, *, priority: int = 0) -> FlowRun:
        now, id = self.clock.now(), ids.new_id()
        run = FlowRun(
            id=id,
            name=f"run-{id[-6:]}",
            flow_id=deployment.flow_id,
            flow_name=deployment.flow_name,
            deployment_id=deployment.id,
            deployment_name=deployment.full_name,
            state=new_state(
                StateType.SCHEDULED,
                id=ids.new_id(),
                now=now,
                details=StateDetails(scheduled_time=now),
            ),
            retry_policy=RetryPolicy(),
            expected_start_time=now,
            root_flow_run_id=id,
            work_pool_name="default",
            work_queue_name=deployment.work_queue_name,
            priority=priority,
            create_time=now,
        )
        await self.storage.write(lambda tx: tx.flow_runs.insert(run))
        return run

    async def cancel(self, flow_run_id: str) -> None:
        state = new_state(StateType.CANCELLING, id=ids.new_id(), now=self.clock.now(), message="x")
        await self.orchestration.propose(flow_run_id, state, fencing_token=None)

    async def expire_sessions(self, seconds: float = 32.0) -> None:
        """Let time pass without a beat, then let the reaper look."""
        await self.streams.reaper.step()
        self.clock.advance(seconds)
        await self.streams.reaper.step()


class Stream:
    """One end of a stream."""

    def __init__(self, call: Any, frame: type[Any]) -> None:
        self._call, self._frame = call, frame

    async def send(self, **frame: Any) -> None:
        await self._call.write(self._frame(**frame))

    async def done_writing(self) -> None:
        await self._call.done_writing()

    async def next(self) -> Any:
        """Return the content of the next frame."""
        with anyio.fail_after(WAIT_SECONDS):
            message = await self._call.read()
        assert message is not EOF, await self.end()
        return getattr(message, message.WhichOneof("frame"))

    async def expect(self, kind: str) -> Any:
        """Return the next frame of this kind; others before it are passed over."""
        with anyio.fail_after(WAIT_SECONDS):
            while True:
                message = await self._call.read()
                assert message is not EOF, await self.end()
                if message.WhichOneof("frame") == kind:
                    return getattr(message, kind)

    async def end(self) -> errors.HeadgateError | None:
        """Wait for the end; return the error that it ended with, None for OK."""
        with anyio.fail_after(WAIT_SECONDS):
            try:
                while await self._call.read() is not EOF:
                    pass
                if (await self._call.code()).value[0] == 0:
                    return None
            except aio.AioRpcError:
                pass
            for key, value in await self._call.trailing_metadata():
                if key == "grpc-status-details-bin":
                    return error_codec.from_status(status_pb2.Status.FromString(value))
        return errors.Unavailable(str(await self._call.details()))

    def cut(self) -> None:
        """Break the stream."""
        self._call.cancel()


def state(type: str, **fields: Any) -> state_pb2.State:
    """Make a state with an id of its own."""
    time = timestamp_pb2.Timestamp(seconds=1_800_000_000)
    value = state_pb2.StateType.Value(f"STATE_TYPE_{type}")
    return state_pb2.State(id=ids.new_id(), type=value, timestamp=time, **fields)


def create(flow_name: str = "etl", **fields: Any) -> Any:
    flow_run = engine_service_pb2.FlowRunCreation(flow_name=flow_name)
    for name, value in fields.items():
        setattr(flow_run.flow_run, name, value)
    return epb.Item(create_flow_run=flow_run)


def propose(type: str, task_run_id: str = "", **fields: Any) -> Any:
    transition = epb.Transition(task_run_id=task_run_id, state=state(type, **fields))
    return epb.Item(propose=transition)


def report(type: str, task_run_id: str = "", **fields: Any) -> Any:
    transition = epb.Transition(task_run_id=task_run_id, state=state(type, **fields))
    return epb.Item(report=transition)


def create_task(task_run_id: str, type: str = "RUNNING", **fields: Any) -> Any:
    task_run = task_run_pb2.TaskRun(
        id=task_run_id, name="t-0", task_key="t", dynamic_key="0", state=state(type), **fields
    )
    return epb.Item(create_task_run=task_run)


class Engine(Stream):
    """An engine's end."""

    opened: Any

    async def open(self, **fields: Any) -> Any:
        await self.send(open=epb.Open(name="engine-1", **fields))
        self.opened = await self.expect("opened")
        return self.opened

    async def batch(
        self, flow_run_id: str, first_seq: int, items: Sequence[Any], *, token: int = 1
    ) -> None:
        batch = epb.Batch(
            flow_run_id=flow_run_id, fencing_token=token, first_seq=first_seq, items=items
        )
        await self.send(batch=batch)

    async def acked(self, seq: int) -> Any:
        """Wait until a number is acknowledged."""
        while True:
            ack = await self.expect("ack")
            if ack.committed_seq >= seq:
                return ack

    async def start_run(self) -> str:
        """Create a run by hand and bring it to Running; two items."""
        flow_run_id = ids.new_id()
        await self.batch(flow_run_id, 1, [create(), propose("RUNNING")])
        frame = await self.expect("verdict")
        assert frame.verdict.kind == 1
        return flow_run_id


class Runner(Stream):
    """A runner's end."""

    welcome: Any

    async def hello(self, *, slots: int = 4, credit: int | None = None, **fields: Any) -> Any:
        fields = {"work_pool_names": ["default"], "instance_id": ids.new_id(), **fields}
        await self.send(hello=lpb.Hello(name="runner-1", slots=slots, **fields))
        self.welcome = await self.expect("welcome")
        await self.send(credit=lpb.Credit(granted_total=slots if credit is None else credit))
        return self.welcome

    async def accept(self, offer: Any) -> None:
        await self.send(accept=_of(lpb.Accept, offer))

    async def release(self, offer: Any, outcome: str, message: str = "") -> None:
        release = _of(lpb.Release, offer)
        release.outcome = lpb.ReleaseOutcome.Value(f"RELEASE_OUTCOME_{outcome}")
        release.message = message
        await self.send(release=release)
        await self.expect("released")

    async def beat(self, held: Sequence[Any], seq: int = 1) -> Any:
        digest = leases.digest((o.flow_run.id, o.fencing_token) for o in held)
        await self.send(beat=lpb.RunnerBeat(seq=seq, held_count=len(held), held_digest=digest))
        return await self.expect("beat_ack")


def _of(message: Any, offer: Any) -> Any:
    return message(flow_run_id=offer.flow_run.id, fencing_token=offer.fencing_token)


def held(offer: Any) -> Any:
    return _of(lpb.HeldLease, offer)


@asynccontextmanager
async def engine(channel: aio.Channel) -> AsyncIterator[Engine]:
    call = engine_service_pb2_grpc.EngineServiceStub(channel).Session()
    try:
        yield Engine(call, epb.SessionRequest)
    finally:
        call.cancel()


@asynccontextmanager
async def runner(channel: aio.Channel) -> AsyncIterator[Runner]:
    call = lease_service_pb2_grpc.LeaseServiceStub(channel).Lease()
    try:
        yield Runner(call, lpb.LeaseRequest)
    finally:
        call.cancel()


async def eventually(probe: Any, *, what: str = "") -> Any:
    """Await a probe again and again until it returns something true."""
    with anyio.fail_after(WAIT_SECONDS):
        while not (value := await probe()):  # noqa: ASYNC110 - the probe asks a database
            await anyio.sleep(0.005)
    return value
