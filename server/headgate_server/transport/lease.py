"""LeaseService: frames of the contract to and from the server's own words."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from grpc import aio

from headgate.api.v1 import lease_service_pb2 as pb
from headgate.api.v1 import lease_service_pb2_grpc as pb_grpc
from headgate.codec import deployments as deployment_codec
from headgate.codec import flow_runs as flow_run_codec
from headgate.codec import times
from headgate.core import errors
from headgate_server.domain.leasing import Held, Outcome
from headgate_server.services import engine_frames
from headgate_server.services import lease_frames as frames
from headgate_server.services.runner_sessions import RunnerSessions
from headgate_server.transport import engine, fields, pipe

Context = aio.ServicerContext[pb.LeaseRequest, pb.LeaseResponse]

_OUTCOMES: dict[int, Outcome] = {
    pb.RELEASE_OUTCOME_FINISHED: Outcome.FINISHED,
    pb.RELEASE_OUTCOME_CRASHED: Outcome.CRASHED,
    pb.RELEASE_OUTCOME_HANDED_BACK: Outcome.HANDED_BACK,
}


class LeaseServicer(pb_grpc.LeaseServiceServicer):
    """Serves ``LeaseService``."""

    def __init__(self, sessions: RunnerSessions) -> None:
        """Make it over the use-cases."""
        self._sessions = sessions

    async def Lease(  # pyright: ignore[reportIncompatibleMethodOverride]  # read and write, not iterate: see grpc.aio
        self, request_iterator: Any, context: Context
    ) -> None:
        """Serve one stream."""
        read = pipe.reader(context, pb.LeaseRequest, decode)
        await self._sessions.serve(read, pipe.writer(context, encode))


def decode(message: pb.LeaseRequest) -> frames.Inbound:
    """Decode a frame.

    Raises:
        ProtocolViolation: It is empty.
        InvalidArgument: A field of it is wrong.
    """
    fields.refuse_nul(message)
    match message.WhichOneof("frame"):
        case "beat":
            beat = message.beat
            return frames.Beat(
                seq=beat.seq, held_count=beat.held_count, held_digest=beat.held_digest
            )
        case "accept":
            return frames.Accept(_held(message.accept))
        case "release":
            return _release(message.release)
        case "credit":
            return frames.Credit(message.credit.granted_total)
        case "decline":
            decline = message.decline
            retry_after = times.from_duration(decline.retry_after)
            return frames.Decline(_held(decline), decline.reason, max(0.0, retry_after))
        case "hello":
            return _hello(message.hello)
        case "drain":
            return frames.Drain()
        case "goodbye":
            return frames.Goodbye(message.goodbye.reason)
        case None:
            raise errors.ProtocolViolation("The frame is empty, or does not decode.", "none")


def _hello(message: pb.Hello) -> frames.Hello:
    return frames.Hello(
        name=message.name,
        instance_id=message.instance_id,
        session_id=message.session_id,
        resume_token=message.resume_token,
        work_pool_names=tuple(dict.fromkeys(message.work_pool_names)),
        work_queue_names=tuple(dict.fromkeys(message.work_queue_names)),
        slots=message.slots,
        sdk=message.sdk,
        features=frozenset(message.features),
        held=frozenset(_held(held) for held in message.held),
    )


def _release(message: pb.Release) -> frames.Release:
    outcome = _OUTCOMES.get(message.outcome)
    if outcome is None:
        raise errors.InvalidArgument.of(
            "release.outcome", f"{message.outcome} is not an outcome; say what became of the run."
        )
    return frames.Release(_held(message), outcome, message.message)


def _held(message: pb.HeldLease | pb.Accept | pb.Decline | pb.Release) -> Held:
    return Held(flow_run_id=message.flow_run_id, fencing_token=message.fencing_token)


def encode(frame: frames.Outbound) -> pb.LeaseResponse:
    """Turn a frame for a runner into a message."""
    match frame:
        case frames.Offer():
            return pb.LeaseResponse(offer=_offer(frame))
        case frames.BeatAck(seq, ttl_seconds, lost):
            return pb.LeaseResponse(
                beat_ack=pb.RunnerBeatAck(
                    seq=seq, ttl=times.to_duration(ttl_seconds), lost=_held_leases(lost)
                )
            )
        case frames.Released(held):
            return pb.LeaseResponse(
                released=pb.Released(flow_run_id=held.flow_run_id, fencing_token=held.fencing_token)
            )
        case frames.Welcome():
            return pb.LeaseResponse(welcome=_welcome(frame))
        case frames.Revoke(held=held):
            return pb.LeaseResponse(
                revoke=pb.Revoke(
                    flow_run_id=held.flow_run_id,
                    fencing_token=held.fencing_token,
                    reason=frame.reason,
                    grace=times.to_duration(frame.grace_seconds),
                )
            )
        case frames.CallHooks():
            return pb.LeaseResponse(call_hooks=_call_hooks(frame))
        case engine_frames.Cancel():
            return pb.LeaseResponse(control=engine.control(frame))
        case engine_frames.GoAway(seconds, reason):
            return pb.LeaseResponse(go_away=engine.go_away(seconds, reason))


def _offer(frame: frames.Offer) -> pb.Offer:
    message = pb.Offer(fencing_token=frame.fencing_token, attempt=frame.attempt)
    flow_run_codec.flow_run_to_proto(frame.flow_run, message.flow_run)
    if frame.deployment is not None:
        deployment_codec.deployment_to_proto(frame.deployment, message.deployment)
    return message


def _call_hooks(frame: frames.CallHooks) -> pb.CallHooks:
    message = pb.CallHooks()
    flow_run_codec.flow_run_to_proto(frame.flow_run, message.flow_run)
    deployment_codec.deployment_to_proto(frame.deployment, message.deployment)
    return message


def _welcome(frame: frames.Welcome) -> pb.Welcome:
    return pb.Welcome(
        session_id=frame.session_id,
        epoch=frame.epoch,
        resume_token=frame.resume_token,
        ttl=times.to_duration(frame.ttl_seconds),
        beat_interval=times.to_duration(frame.beat_interval_seconds),
        offer_ttl=times.to_duration(frame.offer_ttl_seconds),
        keep=_held_leases(frame.keep),
        drop=_held_leases(frame.drop),
        cancel_flow_run_ids=frame.cancel_flow_run_ids,
    )


def _held_leases(all_held: Iterable[Held]) -> list[pb.HeldLease]:
    return [
        pb.HeldLease(flow_run_id=held.flow_run_id, fencing_token=held.fencing_token)
        for held in all_held
    ]
