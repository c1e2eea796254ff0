"""The frames of the lease stream, made from and turned into the runner's own records."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence

from headgate import _version
from headgate.api.v1 import lease_service_pb2 as pb
from headgate.codec import deployments as deployment_codec
from headgate.codec import flow_runs as flow_run_codec
from headgate.codec import times
from headgate_runner import jobs, lease

SDK = f"headgate-python/{_version.__version__}"

_OUTCOMES = {
    lease.Outcome.FINISHED: pb.RELEASE_OUTCOME_FINISHED,
    lease.Outcome.CRASHED: pb.RELEASE_OUTCOME_CRASHED,
    lease.Outcome.HANDED_BACK: pb.RELEASE_OUTCOME_HANDED_BACK,
}


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Who the runner is and what it serves.

    Attributes:
        name: For people.
        instance_id: UUID text, new with every start.
        work_pool_names: At least one.
        work_queue_names: Empty: all queues of the pools.
        labels: Free key and value pairs.
    """

    name: str
    instance_id: str
    work_pool_names: Sequence[str]
    work_queue_names: Sequence[str] = ()
    labels: Mapping[str, str] = dataclasses.field(default_factory=dict[str, str])


def hello(identity: Identity, book: lease.LeaseBook, resume_token: str) -> pb.LeaseRequest:
    """Who the runner is, and what it holds."""
    return pb.LeaseRequest(
        hello=pb.Hello(
            name=identity.name,
            instance_id=identity.instance_id,
            session_id=book.session_id,
            resume_token=resume_token,
            work_pool_names=identity.work_pool_names,
            work_queue_names=identity.work_queue_names,
            labels=identity.labels,
            slots=book.slots,
            sdk=SDK,
            features=["hooks"],
            held=[_held(held) for held in book.held],
        )
    )


def standing(book: lease.LeaseBook, drain_grace_seconds: float) -> list[pb.LeaseRequest]:
    """What the server must hear when a stream stands: all that an older one may have lost.

    The first credit of a stream is without that of releases which come after it, for until then
    the server counts their leases as held.
    """
    frames = [accept(held) for held in book.unconfirmed]
    releases = [release(held, ended) for held, ended in book.releases]
    if book.draining:
        return [*frames, drain(drain_grace_seconds), *releases]
    frames += [_credit(book.granted_total - len(releases)), *releases]
    return [*frames, credit(book)] if releases else frames


def credit(book: lease.LeaseBook) -> pb.LeaseRequest:
    """How many offers the runner takes."""
    return _credit(book.granted_total)


def _credit(granted_total: int) -> pb.LeaseRequest:
    return pb.LeaseRequest(credit=pb.Credit(granted_total=granted_total))


def accept(held: lease.Held) -> pb.LeaseRequest:
    """The runner takes an offer."""
    frame = pb.Accept(flow_run_id=held.flow_run_id, fencing_token=held.fencing_token)
    return pb.LeaseRequest(accept=frame)


def decline(held: lease.Held, reason: str, retry_after_seconds: float) -> pb.LeaseRequest:
    """The runner does not take an offer."""
    return pb.LeaseRequest(
        decline=pb.Decline(
            flow_run_id=held.flow_run_id,
            fencing_token=held.fencing_token,
            reason=reason,
            retry_after=times.to_duration(retry_after_seconds),
        )
    )


def beat(made: lease.Beat, load: float) -> pb.LeaseRequest:
    """The runner lives."""
    return pb.LeaseRequest(
        beat=pb.RunnerBeat(
            seq=made.seq, held_count=made.held_count, held_digest=made.held_digest, load=load
        )
    )


def release(held: lease.Held, ended: lease.Release) -> pb.LeaseRequest:
    """A run has ended."""
    return pb.LeaseRequest(
        release=pb.Release(
            flow_run_id=held.flow_run_id,
            fencing_token=held.fencing_token,
            outcome=_OUTCOMES[ended.outcome],
            message=ended.message,
        )
    )


def drain(grace_seconds: float) -> pb.LeaseRequest:
    """The runner takes no more offers."""
    return pb.LeaseRequest(drain=pb.Drain(grace=times.to_duration(grace_seconds)))


def goodbye(reason: str) -> pb.LeaseRequest:
    """The runner ends."""
    return pb.LeaseRequest(goodbye=pb.Goodbye(reason=reason))


def _held(held: lease.Held) -> pb.HeldLease:
    return pb.HeldLease(flow_run_id=held.flow_run_id, fencing_token=held.fencing_token)


def held_of(message: pb.HeldLease | pb.Revoke | pb.Released) -> lease.Held:
    """The lease that a frame is about."""
    return lease.Held(message.flow_run_id, message.fencing_token)


def all_held(messages: Iterable[pb.HeldLease]) -> list[lease.Held]:
    """The leases that a frame lists."""
    return [held_of(message) for message in messages]


def hooks_of(message: pb.CallHooks) -> jobs.Job:
    """The run whose hooks are to be called.

    Raises:
        InvalidArgument: It is none; a fault of the server.
    """
    flow_run = flow_run_codec.flow_run_from_proto(message.flow_run)
    return jobs.Job(
        flow_run=flow_run,
        deployment=deployment_codec.deployment_from_proto(message.deployment),
        fencing_token=flow_run.fencing_token,
    )


def job_of(offer: pb.Offer) -> jobs.Job:
    """What is offered.

    Raises:
        InvalidArgument: The offer is not one; a fault of the server.
    """
    return jobs.Job(
        flow_run=flow_run_codec.flow_run_from_proto(offer.flow_run),
        deployment=deployment_codec.deployment_from_proto(offer.deployment),
        fencing_token=offer.fencing_token,
        attempt=offer.attempt,
    )
