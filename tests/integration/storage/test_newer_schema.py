"""A database that a newer version of Headgate has made is left alone, and named as such."""

import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from headgate.core import errors
from headgate_server.app import App
from headgate_server.settings import Settings
from headgate_server.storage.sql import maintenance, schema


@pytest.fixture
def newer(tmp_path: Path) -> str:
    url = f"sqlite:///{tmp_path}/a.db"
    maintenance.upgrade(url)
    with sqlite3.connect(tmp_path / "a.db") as database:
        database.execute("UPDATE alembic_version SET version_num = '0999'")
    database.close()
    return url


SAID = rf"revision 0999, of a newer version .* up to {schema.HEAD}\. Install the newer version"


@pytest.mark.parametrize("change", [maintenance.upgrade, maintenance.reset, maintenance.downgrade])
def test_a_schema_of_a_newer_version_is_not_changed(newer: str, change: Callable[..., object]):
    arguments = ("base",) if change is maintenance.downgrade else ()
    with pytest.raises(errors.FailedPrecondition, match=SAID):
        change(newer, *arguments)
    assert maintenance.current(newer) == "0999"


async def test_a_server_on_a_newer_database_says_which_version_is_needed(
    newer: str, tmp_path: Path
):
    problem: BaseException | None = None
    try:
        async with App(Settings(database_url=newer, unix_socket=tmp_path / "s")).running():
            pass
    except Exception as raised:
        problem = raised
    while isinstance(problem, ExceptionGroup):
        problem = problem.exceptions[0]
    assert isinstance(problem, errors.FailedPrecondition)
    assert "Install the newer version" in str(problem)
