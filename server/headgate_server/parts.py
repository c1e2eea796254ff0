"""The parts of a server, made and tied together."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypeAlias

from headgate.core.clock import Clock
from headgate_server.services.artifacts import ArtifactService
from headgate_server.services.block_types import BlockTypeService
from headgate_server.services.blocks import BlockService
from headgate_server.services.concurrency_limits import ConcurrencyLimitService
from headgate_server.services.deployments import DeploymentService
from headgate_server.services.encryption import Encryption, parse_keys
from headgate_server.services.event_stream import EventStream
from headgate_server.services.events import EventService
from headgate_server.services.flow_runs import FlowRunService
from headgate_server.services.flows import FlowService
from headgate_server.services.logs import LogService
from headgate_server.services.loops.cancellations import Cancellations
from headgate_server.services.loops.heartbeats import Heartbeats
from headgate_server.services.loops.late_runs import LateRuns
from headgate_server.services.loops.pauses import Pauses
from headgate_server.services.loops.scheduler import Scheduler
from headgate_server.services.notifier import Notifier
from headgate_server.services.orchestration import Orchestration
from headgate_server.services.result_storage import ResultStorageService
from headgate_server.services.run_inputs import RunInputService
from headgate_server.services.scheduling import Scheduling
from headgate_server.services.server_info import ServerInfoService, Setting
from headgate_server.services.sessions import ConnectedStreams, StreamSettings
from headgate_server.services.slot_line import SlotLine
from headgate_server.services.slots import SlotService
from headgate_server.services.streams import Streams, make_streams
from headgate_server.services.task_runs import TaskRunService
from headgate_server.services.variables import VariableService
from headgate_server.services.work_pools import WorkPoolService
from headgate_server.settings import Settings
from headgate_server.storage.interface import Storage
from headgate_server.transport.artifact import ArtifactServicer
from headgate_server.transport.block import BlockServicer
from headgate_server.transport.concurrency_limit import ConcurrencyLimitServicer
from headgate_server.transport.deployment import DeploymentServicer
from headgate_server.transport.engine import EngineServicer
from headgate_server.transport.event import EventServicer
from headgate_server.transport.flow import FlowServicer
from headgate_server.transport.flow_run import FlowRunServicer
from headgate_server.transport.lease import LeaseServicer
from headgate_server.transport.log import LogServicer
from headgate_server.transport.run_input import RunInputServicer
from headgate_server.transport.server_info import ServerServicer
from headgate_server.transport.task_run import TaskRunServicer
from headgate_server.transport.variable import VariableServicer
from headgate_server.transport.watch import WatchServicer
from headgate_server.transport.work_pool import WorkPoolServicer

_FEATURES = (
    "engine",
    "lease",
    "watch",
    "logs",
    "events",
    "schedules",
    "concurrency-limits",
    "blocks",
)

#: What runs as long as the server does.
Loop: TypeAlias = Callable[[], Coroutine[Any, Any, object]]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What the server is made of.

    Attributes:
        notifier: Passes commits on.
        connected: The streams that are open.
        loops: What runs as long as the server does.
        servicers: The services on the wire.
    """

    notifier: Notifier
    connected: ConnectedStreams
    loops: Sequence[Loop]
    servicers: Sequence[object]


def make_parts(
    settings: Settings,
    storage: Storage,
    clock: Clock,
    *,
    new_id: Callable[[], str],
    rng: random.Random,
) -> Parts:
    """Make all parts of a server and tie them together."""
    orchestration = Orchestration(storage, new_id=new_id, rng=rng, clock=clock)
    streams = make_streams(
        storage,
        orchestration=orchestration,
        clock=clock,
        settings=_stream_settings(settings),
        new_id=new_id,
        rng=rng,
    )
    scheduling = Scheduling(new_id=new_id, rng=rng)
    slot_line = SlotLine(storage, streams.notifier)
    return Parts(
        notifier=streams.notifier,
        connected=streams.connected,
        loops=(
            *streams.loops,
            slot_line.run,
            slot_line.run_tidying,
            *_unary_loops(settings, storage, orchestration, scheduling, new_id),
        ),
        servicers=(
            *_unary_servicers(
                settings, storage, clock, orchestration, scheduling, new_id=new_id, rng=rng
            ),
            *_stream_servicers(streams, storage, clock, new_id),
            ConcurrencyLimitServicer(
                ConcurrencyLimitService(storage, streams.notifier, new_id=new_id),
                SlotService(storage, streams.notifier, slot_line),
            ),
        ),
    )


def _unary_loops(
    settings: Settings,
    storage: Storage,
    orchestration: Orchestration,
    scheduling: Scheduling,
    new_id: Callable[[], str],
) -> Sequence[Loop]:
    heartbeats = settings.heartbeat_events_interval_seconds
    return (
        *([Heartbeats(storage, interval_seconds=heartbeats).run] if heartbeats else []),
        Scheduler(
            storage,
            scheduling=scheduling,
            interval_seconds=settings.scheduler_interval_seconds,
        ).run,
        LateRuns(
            storage,
            orchestration=orchestration,
            new_id=new_id,
            late_after_seconds=settings.late_after_seconds,
            interval_seconds=settings.late_interval_seconds,
        ).run,
        Pauses(
            storage,
            orchestration=orchestration,
            new_id=new_id,
            interval_seconds=settings.pause_interval_seconds,
        ).run,
        Cancellations(
            storage,
            orchestration=orchestration,
            new_id=new_id,
            # The runner has the grace; the margin is for its answer to arrive.
            grace_seconds=settings.cancel_grace_seconds + settings.lease_margin_seconds,
            interval_seconds=settings.cancel_interval_seconds,
        ).run,
    )


def _unary_servicers(
    settings: Settings,
    storage: Storage,
    clock: Clock,
    orchestration: Orchestration,
    scheduling: Scheduling,
    *,
    new_id: Callable[[], str],
    rng: random.Random,
) -> Sequence[object]:
    deployments = DeploymentService(
        storage, scheduling=scheduling, orchestration=orchestration, new_id=new_id
    )
    flow_runs = FlowRunService(storage, orchestration=orchestration, new_id=new_id, rng=rng)
    info = ServerInfoService(
        database=storage.database,
        instance_id=new_id(),
        features=_FEATURES,
        settings=[Setting(name=n, value=v, changed=c) for n, v, c in settings.public()],
        clock=clock,
    )
    return (
        FlowServicer(FlowService(storage, new_id=new_id)),
        DeploymentServicer(deployments),
        FlowRunServicer(flow_runs, clock=clock, new_id=new_id),
        TaskRunServicer(TaskRunService(storage, new_id=new_id), clock=clock, new_id=new_id),
        WorkPoolServicer(WorkPoolService(storage, new_id=new_id)),
        VariableServicer(VariableService(storage, new_id=new_id)),
        ArtifactServicer(ArtifactService(storage, new_id=new_id)),
        BlockServicer(
            BlockTypeService(storage, new_id=new_id),
            BlockService(storage, encryption=_encryption(settings, storage), new_id=new_id),
        ),
        ServerServicer(info, ResultStorageService(storage)),
    )


def _stream_servicers(
    streams: Streams, storage: Storage, clock: Clock, new_id: Callable[[], str]
) -> Sequence[object]:
    return (
        EngineServicer(streams.engines, clock=clock, new_id=new_id),
        LeaseServicer(streams.runners),
        WatchServicer(streams.watch),
        RunInputServicer(RunInputService(storage, streams.notifier, clock, new_id=new_id)),
        LogServicer(LogService(storage), streams.log_tail, clock=clock),
        EventServicer(
            EventService(storage), EventStream(storage, streams.notifier, clock), clock=clock
        ),
    )


def _encryption(settings: Settings, storage: Storage) -> Encryption:
    return Encryption(
        parse_keys(settings.encryption_key.get_secret_value()),
        # A storage that was handed in may be another one than the settings name.
        key_file=settings.key_file if storage.database == "sqlite" else None,
    )


def _stream_settings(settings: Settings) -> StreamSettings:
    return StreamSettings(
        ttl_seconds=settings.lease_ttl_seconds,
        beat_interval_seconds=settings.beat_interval_seconds,
        lease_margin_seconds=settings.lease_margin_seconds,
        offer_ttl_seconds=settings.offer_ttl_seconds,
        cancel_grace_seconds=settings.cancel_grace_seconds,
    )


__all__ = ["Loop", "Parts", "make_parts"]
