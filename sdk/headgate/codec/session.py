"""The frames of the session stream, as seen from an engine.

What an engine sends are items, plain tuples that cost little to make; they become messages here,
on the link's thread and not on the user's. What it receives becomes one of ``Event``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import NamedTuple

from headgate.api.v1 import engine_service_pb2 as pb
from headgate.api.v1 import task_run_pb2
from headgate.codec import errors as error_codec
from headgate.codec import flow_runs as flow_run_codec
from headgate.codec import logs as log_codec
from headgate.codec import states as state_codec
from headgate.codec import texts, times
from headgate.core import errors, runs, states

#: A frame of several items stays below it; a server takes frames of 64 MiB.
FRAME_BYTES_MAX = 8 * 1024 * 1024

# --- What an engine says ---------------------------------------------------------------------


class FlowRunCreated(NamedTuple):
    """A flow run came into being."""

    flow_run: runs.FlowRun


class TaskRunCreated(NamedTuple):
    """A task run came into being, in a state."""

    id: str
    name: str
    task_key: str
    dynamic_key: str
    task_version: str
    tags: tuple[str, ...]
    max_retries: int
    parent_task_run_id: str | None
    upstream_run_ids: tuple[str, ...]
    flow_run_attempt: int
    state_type: states.StateType
    state_name: str
    state_id: str
    time: datetime
    child_flow_run_id: str | None = None


class Reported(NamedTuple):
    """A run entered a state: a fact."""

    task_run_id: str
    state_type: states.StateType
    state_name: str
    state_id: str
    time: datetime
    message: str = ""
    details: states.StateDetails = states.NO_DETAILS
    data: states.Payload | None = None


class Proposed(NamedTuple):
    """A flow run, or a task run, asks to enter a state."""

    task_run_id: str
    state: states.State
    force: bool = False


Item = FlowRunCreated | TaskRunCreated | Reported | Proposed

#: What is sent; opaque to all but this module and the stream.
Frame = pb.SessionRequest


class Cursor(NamedTuple):
    """A run on a session, and how far it has come."""

    flow_run_id: str
    fencing_token: int
    next_seq: int
    next_log_seq: int
    claim: bool = False


def encode_open(
    cursors: Iterable[Cursor],
    *,
    session_id: str = "",
    resume_token: str = "",
    name: str = "",
    sdk: str = "",
) -> pb.SessionRequest:
    """Make the frame that opens a session, or runs on it."""
    frame = pb.SessionRequest()
    message = frame.open
    message.SetInParent()  # an Open that says nothing is one, too
    message.session_id = session_id
    message.resume_token = resume_token
    message.name = name
    message.sdk = sdk
    for cursor in cursors:
        message.runs.add(
            flow_run_id=cursor.flow_run_id,
            fencing_token=cursor.fencing_token,
            next_seq=cursor.next_seq,
            next_log_seq=cursor.next_log_seq,
            claim=cursor.claim,
        )
    return frame


def encode_batch(
    flow_run_id: str, fencing_token: int, first_seq: int, items: Sequence[Item], *, barrier: bool
) -> pb.SessionRequest:
    """Make the frame that carries items of one run. On the hot path."""
    frame = pb.SessionRequest()
    batch = frame.batch
    batch.flow_run_id = flow_run_id
    batch.fencing_token = fencing_token
    batch.first_seq = first_seq
    batch.barrier = barrier
    for item in items:
        try:
            _encode_item(item, batch)
        except UnicodeEncodeError:
            del batch.items[-1]
            _encode_item(texts.clean(item), batch)
    return frame


class Encoded(NamedTuple):
    """A frame that carries items: the number of the last, how many, and how many bytes."""

    last_seq: int
    item_count: int
    size: int
    frame: Frame


def encode_batches(
    flow_run_id: str, fencing_token: int, first_seq: int, items: Sequence[Item], *, barrier: bool
) -> Iterator[Encoded]:
    """Make the frames that carry items of one run: as a rule one, more where it is too big."""
    frame = encode_batch(flow_run_id, fencing_token, first_seq, items, barrier=barrier)
    count, size = len(items), frame.ByteSize()
    if count == 1 or size <= FRAME_BYTES_MAX:
        yield Encoded(first_seq + count - 1, count, size, frame)
        return
    half = count // 2
    yield from encode_batches(flow_run_id, fencing_token, first_seq, items[:half], barrier=barrier)
    yield from encode_batches(
        flow_run_id, fencing_token, first_seq + half, items[half:], barrier=barrier
    )


def _encode_item(item: Item, batch: pb.Batch) -> None:
    kind, message = type(item), batch.items.add()
    if kind is Reported:
        _encode_reported(item, message.report)  # pyright: ignore[reportArgumentType]  # narrowed by kind
    elif kind is TaskRunCreated:
        _encode_task_run(item, message.create_task_run, batch.flow_run_id)  # pyright: ignore[reportArgumentType]  # narrowed by kind
    elif isinstance(item, FlowRunCreated):
        creation = message.create_flow_run
        creation.flow_name = item.flow_run.flow_name
        flow_run_codec.flow_run_to_proto(item.flow_run, creation.flow_run)
    elif isinstance(item, Proposed):
        proposal = message.propose
        proposal.task_run_id = item.task_run_id
        proposal.force = item.force
        state_codec.state_to_proto(item.state, proposal.state)


def _encode_reported(item: Reported, message: pb.Transition) -> None:
    message.task_run_id = item.task_run_id
    state = message.state
    state.id = item.state_id
    state.type = state_codec.TYPE_TO_PROTO[item.state_type]
    state.name = item.state_name
    times.set_timestamp(state.timestamp, item.time)
    if item.message:
        state.message = state_codec.short(item.message)
    if item.details is not states.NO_DETAILS:
        state_codec.details_to_proto(item.details, state.details)
    if item.data is not None:
        state_codec.payload_to_proto(item.data, state.data)


def _encode_task_run(item: TaskRunCreated, run: task_run_pb2.TaskRun, flow_run_id: str) -> None:
    run.id = item.id
    run.name = item.name
    run.flow_run_id = flow_run_id
    run.task_key = item.task_key
    run.dynamic_key = item.dynamic_key
    run.flow_run_attempt = item.flow_run_attempt
    if item.task_version:
        run.task_version = item.task_version
    if item.tags:
        run.tags.extend(item.tags)
    if item.max_retries:
        run.max_retries = item.max_retries
    if item.parent_task_run_id:
        run.parent_task_run_id = item.parent_task_run_id
    if item.upstream_run_ids:
        run.upstream_run_ids.extend(item.upstream_run_ids)
    state = run.state
    state.id = item.state_id
    state.type = state_codec.TYPE_TO_PROTO[item.state_type]
    state.name = item.state_name
    times.set_timestamp(state.timestamp, item.time)
    if item.child_flow_run_id:
        state.details.child_flow_run_id = item.child_flow_run_id
    times.set_timestamp(run.create_time, item.time)


def encode_logs(
    flow_run_id: str, fencing_token: int, first_seq: int, records: Iterable[runs.LogRecord]
) -> pb.SessionRequest:
    """Make the frame that carries log lines of one run."""
    frame = pb.SessionRequest()
    batch = frame.log_batch
    batch.flow_run_id = flow_run_id
    batch.fencing_token = fencing_token
    batch.first_seq = first_seq
    for record in records:
        try:
            log_codec.log_record_to_proto(record, batch.records.add())
        except UnicodeEncodeError:
            del batch.records[-1]
            log_codec.log_record_to_proto(texts.clean(record), batch.records.add())
    return frame


def encode_beat(seq: int) -> pb.SessionRequest:
    """Make a heartbeat."""
    return pb.SessionRequest(beat=pb.Beat(seq=seq))


def encode_close() -> pb.SessionRequest:
    """Make the frame that ends the session in order."""
    return pb.SessionRequest(close=pb.Close())


# --- What the server says --------------------------------------------------------------------


class RunOpened(NamedTuple):
    """What the server has of a run."""

    flow_run_id: str
    committed_seq: int
    committed_log_seq: int
    flow_run: runs.FlowRun | None
    error: errors.ControlPlaneError | None


class SessionOpened(NamedTuple):
    """The session is open, or runs on it are."""

    session_id: str
    resume_token: str
    ttl_seconds: float
    beat_interval_seconds: float
    window_items: int
    window_bytes: int
    runs: tuple[RunOpened, ...]


class Committed(NamedTuple):
    """Items were committed, all up to the number."""

    flow_run_id: str
    seq: int


class LogsCommitted(NamedTuple):
    """Log lines were committed, all up to the number."""

    flow_run_id: str
    seq: int


class Answered(NamedTuple):
    """A proposal was answered."""

    flow_run_id: str
    seq: int
    verdict: states.Verdict
    run_count: int


class BeatAnswered(NamedTuple):
    """A heartbeat was answered."""

    seq: int


class CancelRequested(NamedTuple):
    """A run is to stop and to report itself as Cancelled."""

    flow_run_id: str
    grace_seconds: float
    reason: str


class PauseRequested(NamedTuple):
    """A run is to pause before its next task."""

    flow_run_id: str
    suspend: bool


class Reopened(NamedTuple):
    """A run goes on on a new stream; what was said meanwhile was not heard."""

    flow_run_id: str
    state: states.State


class ResumeRequested(NamedTuple):
    """A paused run may go on."""

    flow_run_id: str


class RunRefused(NamedTuple):
    """Something is wrong with one run."""

    flow_run_id: str
    error: errors.ControlPlaneError


class GoAway(NamedTuple):
    """Come again after the delay."""

    reconnect_after_seconds: float
    reason: str


Event = (
    SessionOpened
    | Committed
    | LogsCommitted
    | Answered
    | BeatAnswered
    | CancelRequested
    | PauseRequested
    | ResumeRequested
    | Reopened
    | RunRefused
    | GoAway
)


def decode(frame: pb.SessionResponse) -> Event | None:
    """Read a frame; None where a newer server says what this engine does not know."""
    match frame.WhichOneof("frame"):
        case "ack":
            return Committed(frame.ack.flow_run_id, frame.ack.committed_seq)
        case "log_ack":
            return LogsCommitted(frame.log_ack.flow_run_id, frame.log_ack.committed_log_seq)
        case "verdict":
            message = frame.verdict
            return Answered(
                message.flow_run_id,
                message.seq,
                state_codec.verdict_from_proto(message.verdict),
                message.run_count,
            )
        case "beat_ack":
            return BeatAnswered(frame.beat_ack.seq)
        case "opened":
            return _decode_opened(frame.opened)
        case "control":
            return _decode_control(frame.control)
        case "run_error":
            error = error_codec.from_run_error(frame.run_error)
            return RunRefused(frame.run_error.flow_run_id, error)
        case "go_away":
            delay = times.from_duration(frame.go_away.reconnect_after)
            return GoAway(delay, frame.go_away.reason)
        case None:
            return None


def _decode_opened(message: pb.Opened) -> SessionOpened:
    return SessionOpened(
        session_id=message.session_id,
        resume_token=message.resume_token,
        ttl_seconds=times.from_duration(message.ttl) or 30.0,
        beat_interval_seconds=times.from_duration(message.beat_interval) or 5.0,
        window_items=message.window_items,
        window_bytes=message.window_bytes,
        runs=tuple(
            RunOpened(
                flow_run_id=run.flow_run_id,
                committed_seq=run.committed_seq,
                committed_log_seq=run.committed_log_seq,
                flow_run=flow_run_codec.flow_run_from_proto(run.flow_run)
                if run.HasField("flow_run")
                else None,
                error=error_codec.from_run_error(run.error) if run.HasField("error") else None,
            )
            for run in message.runs
        ),
    )


def _decode_control(message: pb.Control) -> Event | None:
    match message.WhichOneof("action"):
        case "cancel":
            grace = times.from_duration(message.cancel.grace)
            return CancelRequested(message.flow_run_id, grace, message.cancel.reason)
        case "pause":
            return PauseRequested(message.flow_run_id, message.pause.suspend)
        case "resume":
            return ResumeRequested(message.flow_run_id)
        case None:
            return None


__all__ = [
    "Answered",
    "BeatAnswered",
    "CancelRequested",
    "Committed",
    "Cursor",
    "Event",
    "FlowRunCreated",
    "Frame",
    "GoAway",
    "Item",
    "LogsCommitted",
    "PauseRequested",
    "Proposed",
    "Reported",
    "ResumeRequested",
    "RunOpened",
    "RunRefused",
    "SessionOpened",
    "TaskRunCreated",
    "decode",
    "encode_batch",
    "encode_beat",
    "encode_close",
    "encode_logs",
    "encode_open",
]
