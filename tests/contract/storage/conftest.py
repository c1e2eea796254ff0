"""The three storages, each new and empty for each test, with a clock that is moved by hand."""

import contextlib
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa

from headgate.core import ids
from headgate.core.clock import ManualClock
from headgate_server.storage.interface import Storage
from headgate_server.storage.memory import MemoryStorage
from headgate_server.storage.sql import maintenance, open_storage
from headgate_server.storage.sql.tables import METADATA

BACKENDS = ("memory", "sqlite", "postgresql")


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database file with all tables: to copy it is quicker than to migrate."""
    path = tmp_path_factory.mktemp("template") / "headgate.db"
    maintenance.upgrade(f"sqlite:///{path}")
    return path


@pytest.fixture
def sqlite_url(sqlite_template: Path, tmp_path: Path) -> str:
    path = tmp_path / "headgate.db"
    shutil.copy(sqlite_template, path)
    return f"sqlite:///{path}"


@pytest.fixture(scope="session")
def shared_postgresql_url(postgres_url: str) -> Iterator[str]:
    """A database with all tables, for all tests that only want it empty."""
    name = "headgate_contract"
    admin = sa.make_url(postgres_url).set(drivername="postgresql")
    conninfo = admin.render_as_string(hide_password=False)
    url = admin.set(database=name, drivername="postgresql+psycopg")
    with psycopg.connect(conninfo, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)".encode())
        connection.execute(f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'UTF8'".encode())
    maintenance.upgrade(url.render_as_string(hide_password=False))
    yield url.render_as_string(hide_password=False)
    with psycopg.connect(conninfo, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


@pytest.fixture
def empty_postgresql_url(shared_postgresql_url: str) -> str:
    url = sa.make_url(shared_postgresql_url).set(drivername="postgresql")
    with psycopg.connect(url.render_as_string(hide_password=False)) as connection:
        for name in METADATA.tables:
            if name != "heads":
                connection.execute(f"DELETE FROM {name}".encode())  # quicker than TRUNCATE
        connection.execute("UPDATE heads SET journal = 0, logs = 0")
    return shared_postgresql_url


@contextlib.asynccontextmanager
async def opened(storage: Storage) -> AsyncIterator[Storage]:
    await storage.start()
    try:
        yield storage
    finally:
        await storage.close()


@pytest.fixture(params=BACKENDS)
async def storage(
    request: pytest.FixtureRequest, clock: ManualClock, anyio_backend: str
) -> AsyncIterator[Storage]:
    if request.param == "memory":
        made: Storage = MemoryStorage(clock, ids.new_id)
    else:
        fixture = "sqlite_url" if request.param == "sqlite" else "empty_postgresql_url"
        url: str = request.getfixturevalue(fixture)
        made = open_storage(
            url, clock=clock, ids=ids.new_id, migrate=False, use_database_clock=False
        )
    async with opened(made):
        yield made
