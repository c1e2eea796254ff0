"""A server within the test's own process, on a unix socket, and channels to it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from grpc import aio

from headgate_server.app import App
from headgate_server.settings import Settings


@pytest.fixture(params=["memory", "sqlite"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a fresh database."""
    return "memory://" if request.param == "memory" else f"sqlite:///{tmp_path / 'test.db'}"


@pytest.fixture
async def app(database_url: str, tmp_path: Path) -> AsyncIterator[App]:
    """A running server."""
    settings = Settings(
        database_url=database_url,
        unix_socket=tmp_path / "server.sock",
        late_after_seconds=0,
        late_interval_seconds=0.05,
        shutdown_grace_seconds=0,
    )
    async with App(settings).running() as running:
        yield running


@pytest.fixture
async def channel(app: App) -> AsyncIterator[aio.Channel]:
    """A channel to the server."""
    async with aio.insecure_channel(app.target.replace("unix://", "unix:")) as opened:
        yield opened
