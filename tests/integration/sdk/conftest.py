"""A real server in this process, for flows that really run."""

from collections.abc import Iterator
from pathlib import Path

import anyio.from_thread
import pytest

from headgate import settings
from headgate.client import orchestration
from headgate.engine import process
from headgate_server.app import App
from headgate_server.settings import Settings


@pytest.fixture(scope="module")
def api_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a server that remembers nothing; one for all tests of a file."""
    socket: Path = tmp_path_factory.mktemp("server") / "s"
    app = App(Settings(database_url="memory://", unix_socket=socket))
    with (
        anyio.from_thread.start_blocking_portal() as portal,
        portal.wrap_async_context_manager(app.running()),
    ):
        yield app.target
        # While the server is there to hear of it.
        process.stop_links()


@pytest.fixture
def server(api_url: str) -> Iterator[orchestration.SyncHeadgateClient]:
    """A client of the server that flows of this test run against."""
    with (
        settings.temporary_settings({"api_url": api_url}),
        orchestration.get_client(sync_client=True) as client,
    ):
        yield client
