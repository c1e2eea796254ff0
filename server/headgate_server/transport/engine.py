"""EngineService: frames of the contract to and from the server's own words."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from grpc import aio

from headgate.api.v1 import engine_service_pb2 as pb
from headgate.api.v1 import engine_service_pb2_grpc as pb_grpc
from headgate.api.v1 import task_run_pb2
from headgate.codec import errors as error_codec
from headgate.codec import flow_runs as flow_run_codec
from headgate.codec import logs as log_codec
from headgate.codec import states as state_codec
from headgate.codec import times
from headgate.core import errors, ids
from headgate.core.clock import Clock
from headgate.core.runs import LogRecord
from headgate.core.states import State
from headgate_server.domain import recording
from headgate_server.services import engine_frames as frames
from headgate_server.services.engine_sessions import EngineSessions
from headgate_server.transport import pipe

BATCH_ITEMS_MAX = 1_000
_PAYLOAD_BYTES_MAX = 16 * 1024

Context = aio.ServicerContext[pb.SessionRequest, pb.SessionResponse]


class EngineServicer(pb_grpc.EngineServiceServicer):
    """Serves ``EngineService``."""

    def __init__(
        self, sessions: EngineSessions, *, clock: Clock, new_id: Callable[[], str]
    ) -> None:
        """Make it over the use-cases."""
        self._sessions = sessions
        self._decoder = Decoder(clock, new_id)

    async def Session(  # pyright: ignore[reportIncompatibleMethodOverride]  # read and write, not iterate: see grpc.aio
        self, request_iterator: Any, context: Context
    ) -> None:
        """Serve one stream."""
        read = pipe.reader(context, pb.SessionRequest, self._decoder.frame)
        await self._sessions.serve(read, pipe.writer(context, encode))


class Decoder:
    """Turns frames from engines into the server's own words."""

    def __init__(self, clock: Clock, new_id: Callable[[], str]) -> None:
        """Make it; the clock and ids fill in what engines leave out."""
        self._clock = clock
        self._new_id = new_id

    def frame(self, message: pb.SessionRequest) -> frames.Inbound:
        """Decode a frame.

        Raises:
            ProtocolViolation: It is empty.
        """
        match message.WhichOneof("frame"):
            case "batch":
                return self._batch(message.batch)
            case "log_batch":
                return self._log_batch(message.log_batch)
            case "beat":
                return frames.Beat(message.beat.seq)
            case "open":
                return _open(message.open)
            case "close":
                return frames.Close()
            case None:
                raise errors.ProtocolViolation("The frame is empty, or does not decode.", "none")

    def _batch(self, message: pb.Batch) -> frames.Batch:
        items: Sequence[frames.Item] = ()
        error = None
        try:
            _check_size("batch.items", len(message.items), message.first_seq)
            items = self._items(message)
        except errors.InvalidArgument as invalid:
            error = invalid
        return frames.Batch(
            flow_run_id=message.flow_run_id,
            fencing_token=message.fencing_token,
            first_seq=message.first_seq,
            items=items,
            size_bytes=message.ByteSize(),
            error=error,
        )

    def _items(self, batch: pb.Batch) -> list[frames.Item]:
        flow_run_id, found = batch.flow_run_id, list[frames.Item]()
        now = self._clock.now()  # once for all that have no time of their own
        for item in batch.items:
            kind = item.WhichOneof("item")
            if kind == "report":
                found.append(self._move(item.report, now, proposed=False))
            elif kind == "create_task_run":
                found.append(self._task_run(item.create_task_run, flow_run_id, now))
            elif kind == "propose":
                found.append(self._move(item.propose, now, proposed=True))
            elif kind == "create_flow_run":
                found.append(self._creation(item.create_flow_run, flow_run_id))
            else:
                raise errors.InvalidArgument.of("batch.items.item", "The item is empty.")
        return found

    def _move(
        self, message: pb.Transition, now: datetime, *, proposed: bool
    ) -> recording.TaskMove | frames.FlowRunMove:
        state = self._state(message, now)
        if message.task_run_id:
            return recording.TaskMove(
                _id("batch.items.task_run_id", message.task_run_id),
                state,
                message.force,
                proposed,
            )
        return frames.FlowRunMove(state=state, force=message.force, proposed=proposed)

    def _task_run(
        self, message: task_run_pb2.TaskRun, flow_run_id: str, now: datetime
    ) -> recording.TaskItem:
        parent = message.parent_task_run_id
        return recording.created(
            id=_id("batch.items.create_task_run.id", message.id),
            name=message.name or message.task_key,
            flow_run_id=flow_run_id,
            task_key=message.task_key,
            dynamic_key=message.dynamic_key,
            task_version=message.task_version,
            tags=tuple(message.tags),
            state=self._state(message, now),
            max_retries=message.max_retries,
            parent_task_run_id=_id("batch.items.create_task_run.parent_task_run_id", parent)
            if parent
            else None,
            upstream_run_ids=tuple(message.upstream_run_ids),
            flow_run_attempt=message.flow_run_attempt or 1,
        )

    def _state(self, message: pb.Transition | task_run_pb2.TaskRun, now: datetime) -> State:
        given = message.state
        id = _id("state.id", given.id) if given.id else self._new_id()
        state = state_codec.state_from_proto(given, now=now, new_id=id)
        data = state.data
        if data is not None and data.inline is not None and len(data.inline) > _PAYLOAD_BYTES_MAX:
            raise errors.InvalidArgument.of(
                "state.data.inline",
                f"{len(data.inline)} bytes are too many; at most {_PAYLOAD_BYTES_MAX} fit, put "
                "more into the result storage.",
            )
        return state

    def _creation(self, message: pb.FlowRunCreation, flow_run_id: str) -> frames.FlowRunCreation:
        asked = message.flow_run
        if asked.id and asked.id != flow_run_id:
            raise errors.InvalidArgument.of(
                "batch.items.create_flow_run.flow_run.id",
                f"{asked.id!r} is not the run of the batch, {flow_run_id!r}.",
            )
        # Only what an engine may say: the rest is the server's.
        given = type(asked)(
            id=flow_run_id,
            name=asked.name,
            flow_version=asked.flow_version,
            parameters=asked.parameters,
            tags=asked.tags,
            labels=asked.labels,
            parent_task_run_id=asked.parent_task_run_id,
            parent_flow_run_id=asked.parent_flow_run_id,
            retry_policy=asked.retry_policy if asked.HasField("retry_policy") else None,
            state=asked.state if asked.HasField("state") else None,
        )
        if given.state.id:
            _id("state.id", given.state.id)
        elif given.HasField("state"):
            given.state.id = self._new_id()
        flow_run = flow_run_codec.flow_run_from_proto(
            given, now=self._clock.now(), new_state_id=self._new_id()
        )
        return frames.FlowRunCreation(flow_run=flow_run, flow_name=message.flow_name)

    def _log_batch(self, message: pb.LogBatch) -> frames.LogBatch:
        records: list[LogRecord] = []
        error = None
        try:
            _check_size("log_batch.records", len(message.records), message.first_seq)
            now = self._clock.now()
            for record in message.records:
                record.flow_run_id = message.flow_run_id
                if record.task_run_id:
                    _id("log_batch.records.task_run_id", record.task_run_id)
                records.append(log_codec.log_record_from_proto(record, now=now))
        except errors.InvalidArgument as invalid:
            error = invalid
        return frames.LogBatch(
            flow_run_id=message.flow_run_id,
            fencing_token=message.fencing_token,
            first_seq=message.first_seq,
            records=records,
            size_bytes=message.ByteSize(),
            error=error,
        )


def _open(message: pb.Open) -> frames.Open:
    return frames.Open(
        session_id=message.session_id,
        resume_token=message.resume_token,
        name=message.name,
        sdk=message.sdk,
        runs=[
            frames.RunCursor(
                flow_run_id=run.flow_run_id, fencing_token=run.fencing_token, claim=run.claim
            )
            for run in message.runs
        ],
    )


def _check_size(field: str, count: int, first_seq: int) -> None:
    if not 0 < count <= BATCH_ITEMS_MAX:
        raise errors.InvalidArgument.of(
            field, f"{count} are not between 1 and {BATCH_ITEMS_MAX}; send another batch."
        )
    if not 0 < first_seq < 2**62:
        raise errors.InvalidArgument.of(
            field.partition(".")[0] + ".first_seq", "Sequence numbers start at 1."
        )


def _id(field: str, text: str) -> str:
    if not ids.is_id(text):
        raise errors.InvalidArgument.of(field, f"{text[:80]!r} is not UUID text in lower case.")
    return text


def encode(frame: frames.Outbound) -> pb.SessionResponse:
    """Turn a frame for an engine into a message."""
    match frame:
        case frames.Ack(flow_run_id, committed_seq, revision):
            ack = pb.Ack(flow_run_id=flow_run_id, committed_seq=committed_seq, revision=revision)
            return pb.SessionResponse(ack=ack)
        case frames.VerdictFrame():
            return pb.SessionResponse(verdict=_verdict(frame))
        case frames.LogAck(flow_run_id, committed_log_seq):
            return pb.SessionResponse(
                log_ack=pb.LogAck(flow_run_id=flow_run_id, committed_log_seq=committed_log_seq)
            )
        case frames.Opened():
            return pb.SessionResponse(opened=_opened(frame))
        case frames.BeatAck(seq, server_time):
            return pb.SessionResponse(
                beat_ack=pb.BeatAck(seq=seq, server_time=times.to_timestamp(server_time))
            )
        case frames.RunError(flow_run_id, error):
            return pb.SessionResponse(run_error=error_codec.to_run_error(flow_run_id, error))
        case frames.GoAway(seconds, reason):
            return pb.SessionResponse(go_away=go_away(seconds, reason))
        case frames.Cancel() | frames.Pause() | frames.Resume():
            return pb.SessionResponse(control=control(frame))


def control(frame: frames.Control) -> pb.Control:
    """Turn something to do with a run into a message; runners get the same one."""
    message = pb.Control(flow_run_id=frame.flow_run_id)
    match frame:
        case frames.Cancel():
            message.cancel.reason = frame.reason
            times.set_duration(message.cancel.grace, frame.grace_seconds)
        case frames.Pause():
            message.pause.suspend = frame.suspend
        case frames.Resume():
            message.resume.SetInParent()
    return message


def go_away(seconds: float, reason: str) -> pb.GoAway:
    """Make a message that tells the other end to come again; runners get the same one."""
    return pb.GoAway(reconnect_after=times.to_duration(seconds), reason=reason)


def _verdict(frame: frames.VerdictFrame) -> pb.VerdictFrame:
    return pb.VerdictFrame(
        flow_run_id=frame.flow_run_id,
        seq=frame.seq,
        verdict=state_codec.verdict_to_proto(frame.verdict),
        run_count=frame.run_count,
    )


def _opened(frame: frames.Opened) -> pb.Opened:
    return pb.Opened(
        session_id=frame.session_id,
        resume_token=frame.resume_token,
        ttl=times.to_duration(frame.ttl_seconds),
        beat_interval=times.to_duration(frame.beat_interval_seconds),
        window_items=frame.window_items,
        window_bytes=frame.window_bytes,
        runs=[_opened_run(run) for run in frame.runs],
    )


def _opened_run(run: frames.OpenedRun) -> pb.OpenedRun:
    message = pb.OpenedRun(flow_run_id=run.flow_run_id)
    if run.flow_run is not None:
        message.committed_seq = run.flow_run.committed_seq
        message.committed_log_seq = run.flow_run.committed_log_seq
        flow_run_codec.flow_run_to_proto(run.flow_run, message.flow_run)
    if run.error is not None:
        error_codec.to_run_error(run.flow_run_id, run.error, message.error)
    return message
