"""A server of streams within the test's process, on a unix socket, with time moved by hand."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import pytest
from grpc import aio

from headgate.core import ids
from headgate.core.clock import ManualClock
from headgate_server.services.logs import LogService
from headgate_server.services.orchestration import Orchestration
from headgate_server.services.sessions import StreamSettings
from headgate_server.services.streams import make_streams
from headgate_server.storage.interface import Storage
from headgate_server.storage.memory import MemoryStorage
from headgate_server.storage.sql import open_storage
from headgate_server.transport.activity import Activity
from headgate_server.transport.engine import EngineServicer
from headgate_server.transport.lease import LeaseServicer
from headgate_server.transport.log import LogServicer
from headgate_server.transport.server import Server
from headgate_server.transport.watch import WatchServicer
from tests.integration.streams.wire import World


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture(params=["memory", "sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
async def storage(
    request: pytest.FixtureRequest, clock: ManualClock, tmp_path: Path
) -> AsyncIterator[Storage]:
    made: Storage
    if request.param == "memory":
        made = MemoryStorage(clock, ids.new_id)
    else:
        url = f"sqlite:///{tmp_path / 'test.db'}"
        if request.param == "postgresql":
            url = request.getfixturevalue("postgres_database_url")
        made = open_storage(url, clock=clock, ids=ids.new_id, use_database_clock=False)
    await made.start()
    yield made
    await made.close()


@pytest.fixture
async def world(storage: Storage, clock: ManualClock, tmp_path: Path) -> AsyncIterator[World]:
    rng = random.Random(1)
    orchestration = Orchestration(storage, new_id=ids.new_id, rng=rng, clock=clock)
    streams = make_streams(
        storage,
        orchestration=orchestration,
        clock=clock,
        settings=StreamSettings(drain_jitter_seconds=0.01),
        new_id=ids.new_id,
        rng=rng,
    )
    server = Server(
        [
            EngineServicer(streams.engines, clock=clock, new_id=ids.new_id),
            LeaseServicer(streams.runners),
            WatchServicer(streams.watch),
            LogServicer(LogService(storage), streams.log_tail, clock=clock),
        ],
        Activity(clock),
    )
    path = tmp_path / "s.sock"
    server.listen_unix(path)
    await server.start()
    unlisten = streams.notifier.attach(storage)
    async with anyio.create_task_group() as tasks:
        # Reaper and offers are stepped by the tests, when they have moved the clock.
        for loop in streams.loops[:2]:
            tasks.start_soon(loop)
        async with aio.insecure_channel(f"unix:{path}") as channel:
            yield World(storage, streams, clock, channel, orchestration)
        await server.stop(0)
        tasks.cancel_scope.cancel()
    unlisten()
