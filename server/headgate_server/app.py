"""The composition root: the one file that knows the concrete classes."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import random
from collections.abc import AsyncGenerator, Callable, Coroutine, Sequence
from typing import Any, TypeAlias

import anyio
import anyio.abc

from headgate.core import clock as clocks
from headgate.core import ids
from headgate.core.clock import Clock
from headgate_server import settings as server_settings
from headgate_server.services.deployments import DeploymentService
from headgate_server.services.flow_runs import FlowRunService
from headgate_server.services.flows import FlowService
from headgate_server.services.logs import LogService
from headgate_server.services.loops.cancellations import Cancellations
from headgate_server.services.loops.late_runs import LateRuns
from headgate_server.services.loops.pauses import Pauses
from headgate_server.services.loops.scheduler import Scheduler
from headgate_server.services.notifier import Notifier
from headgate_server.services.orchestration import Orchestration
from headgate_server.services.scheduling import Scheduling
from headgate_server.services.server_info import ServerInfoService, Setting
from headgate_server.services.sessions import ConnectedStreams, StreamSettings
from headgate_server.services.streams import Streams, make_streams
from headgate_server.services.task_runs import TaskRunService
from headgate_server.services.work_pools import WorkPoolService
from headgate_server.settings import Settings
from headgate_server.storage.interface import Storage, Transaction
from headgate_server.transport.activity import Activity
from headgate_server.transport.deployment import DeploymentServicer
from headgate_server.transport.engine import EngineServicer
from headgate_server.transport.flow import FlowServicer
from headgate_server.transport.flow_run import FlowRunServicer
from headgate_server.transport.lease import LeaseServicer
from headgate_server.transport.log import LogServicer
from headgate_server.transport.server import Server
from headgate_server.transport.server_info import ServerServicer
from headgate_server.transport.task_run import TaskRunServicer
from headgate_server.transport.watch import WatchServicer
from headgate_server.transport.work_pool import WorkPoolServicer

_log = logging.getLogger("headgate.server")

_MEMORY = "memory://"
_FEATURES = ("engine", "lease", "watch", "logs", "schedules")


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
    return Parts(
        notifier=streams.notifier,
        connected=streams.connected,
        loops=(
            *streams.loops,
            *_unary_loops(settings, storage, orchestration, scheduling, new_id),
        ),
        servicers=(
            *_unary_servicers(
                settings, storage, clock, orchestration, scheduling, new_id=new_id, rng=rng
            ),
            *_stream_servicers(streams, storage, clock, new_id),
        ),
    )


def _unary_loops(
    settings: Settings,
    storage: Storage,
    orchestration: Orchestration,
    scheduling: Scheduling,
    new_id: Callable[[], str],
) -> Sequence[Loop]:
    return (
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
        TaskRunServicer(TaskRunService(storage)),
        WorkPoolServicer(WorkPoolService(storage, new_id=new_id)),
        ServerServicer(info),
    )


def _stream_servicers(
    streams: Streams, storage: Storage, clock: Clock, new_id: Callable[[], str]
) -> Sequence[object]:
    return (
        EngineServicer(streams.engines, clock=clock, new_id=new_id),
        LeaseServicer(streams.runners),
        WatchServicer(streams.watch),
        LogServicer(LogService(storage), streams.log_tail, clock=clock),
    )


def _stream_settings(settings: Settings) -> StreamSettings:
    return StreamSettings(
        ttl_seconds=settings.lease_ttl_seconds,
        beat_interval_seconds=settings.beat_interval_seconds,
        lease_margin_seconds=settings.lease_margin_seconds,
        offer_ttl_seconds=settings.offer_ttl_seconds,
        cancel_grace_seconds=settings.cancel_grace_seconds,
    )


class App:
    """A server: made, run, stopped. Tests run it within their own process.

    Args:
        settings: How it runs.
        clock: Where time comes from.
        new_id: Makes ids.
        rng: Where chance comes from.
        storage: Where records are kept. Default: the one that the settings name.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        clock: Clock | None = None,
        new_id: Callable[[], str] = ids.new_id,
        rng: random.Random | None = None,
        storage: Storage | None = None,
    ) -> None:
        """Make it; nothing is opened yet."""
        self.settings = settings
        self._clock = clock or clocks.SystemClock()
        self.storage = storage or _open(settings, self._clock, new_id)
        self.parts = make_parts(
            settings, self.storage, self._clock, new_id=new_id, rng=rng or random.Random()
        )
        self.activity = Activity(self._clock)
        self._stopping = anyio.Event()
        self._addresses: list[str] = []

    @property
    def addresses(self) -> list[str]:
        """The addresses that it listens on, as ``HEADGATE_API_URL`` takes them."""
        return list(self._addresses)

    @property
    def target(self) -> str:
        """One address, the first."""
        return self._addresses[0]

    def stop(self) -> None:
        """Ask it to stop; ``run`` returns soon after."""
        self._stopping.set()

    async def run(self, *, on_ready: Callable[[], object] = lambda: None) -> None:
        """Open the database, listen, and serve until ``stop`` is called.

        Args:
            on_ready: Called when calls are answered.

        Raises:
            DatabaseInUse: Another server has the database file.
            ListenError: An address cannot be listened on.
        """
        # The addresses first: who finds the port taken must not have touched the database.
        server = Server(self.parts.servicers, self.activity)
        self._listen(server)
        try:
            await self.storage.start()
            unlisten = self.parts.notifier.attach(self.storage)
            try:
                await self._serve(server, on_ready)
            finally:
                unlisten()
        finally:
            with anyio.CancelScope(shield=True):
                await server.stop(0)
                await self.storage.close()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncGenerator[App]:
        """Run it in the background of a block, for tests."""
        async with anyio.create_task_group() as tasks:
            await tasks.start(self._run_in_group)
            try:
                yield self
            finally:
                self.stop()

    async def _run_in_group(self, *, task_status: anyio.abc.TaskStatus[None]) -> None:
        await self.run(on_ready=task_status.started)

    async def _serve(self, server: Server, on_ready: Callable[[], object]) -> None:
        async with anyio.create_task_group() as tasks:
            for loop in self.parts.loops:
                tasks.start_soon(loop)
            if self.settings.idle_timeout_seconds is not None:
                tasks.start_soon(self._stop_when_idle, self.settings.idle_timeout_seconds)
            await server.start()
            on_ready()
            await self._stopping.wait()
            with anyio.CancelScope(shield=True):
                await server.say_not_serving()
                await self.parts.connected.drain()
                await server.stop(self.settings.shutdown_grace_seconds)
            tasks.cancel_scope.cancel()

    def _listen(self, server: Server) -> None:
        settings = self.settings
        if settings.unix_socket is not None:
            server.listen_unix(settings.unix_socket)
            self._addresses.append(f"unix://{settings.unix_socket}")
        if settings.listens_on_tcp:
            port = server.listen_tcp(settings.host, settings.port)
            host = f"[{settings.host}]" if ":" in settings.host else settings.host
            self._addresses.append(f"http://{host}:{port}")

    async def _stop_when_idle(self, timeout_seconds: float) -> None:
        while True:
            left = timeout_seconds - self.activity.idle_seconds
            if left > 0:
                await anyio.sleep(left)
            elif await self.storage.read(_is_in_use):
                # A runner or an engine has lost its connection and may come back.
                await anyio.sleep(timeout_seconds)
            else:
                _log.info("Nobody has used the server for %g s; it stops.", timeout_seconds)
                self.stop()
                return


def _is_in_use(tx: Transaction) -> bool:
    return tx.leases.next_expiry() is not None


def _open(settings: Settings, clock: Clock, new_id: Callable[[], str]) -> Storage:
    url = settings.database
    if url == _MEMORY:
        from headgate_server.storage.memory import MemoryStorage

        return MemoryStorage(clock, new_id)
    # Imported here: SQLAlchemy is most of what a start takes, and a fake needs none of it.
    from headgate_server.storage.sql import open_storage

    if not settings.database_url:
        server_settings.home().mkdir(parents=True, exist_ok=True)
    return open_storage(url, clock=clock, ids=new_id, migrate=settings.migrate_on_start)


def upgrade_database(settings: Settings, revision: str = "head") -> str | None:
    """Bring the schema up to a revision; return the one it is at then."""
    from headgate_server.storage.sql import maintenance

    return maintenance.upgrade(settings.database, revision)


def downgrade_database(settings: Settings, revision: str) -> str | None:
    """Take the schema back to a revision; return the one it is at then."""
    from headgate_server.storage.sql import maintenance

    return maintenance.downgrade(settings.database, revision)


def reset_database(settings: Settings) -> str | None:
    """Remove all tables and make them anew; return the revision they are at."""
    from headgate_server.storage.sql import maintenance

    return maintenance.reset(settings.database)


def write_database_revision(settings: Settings, message: str) -> None:
    """Write a revision file with what the tables in the code have and the database has not."""
    from headgate_server.storage.sql import maintenance

    maintenance.new_revision(settings.database, message)


__all__ = [
    "App",
    "downgrade_database",
    "reset_database",
    "upgrade_database",
    "write_database_revision",
]
