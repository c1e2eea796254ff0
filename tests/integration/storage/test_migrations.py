"""The schema by migrations is the schema that the code knows, in both databases."""

from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.config import Config
from alembic.script import ScriptDirectory

from headgate.codec.times import EPOCH
from headgate.core import errors, ids
from headgate_server.storage.sql import maintenance, schema
from headgate_server.storage.sql.run_inputs import run_inputs

_DRIVERS = {"sqlite": "sqlite", "postgr": "postgresql+psycopg"}


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/100% new.db"
    return request.getfixturevalue("postgres_database_url")


def test_migrations_and_tables_do_not_differ(database_url: str) -> None:
    maintenance.upgrade(database_url)
    assert maintenance.differences(database_url) == []


def test_the_schema_goes_up_and_down(database_url: str) -> None:
    assert maintenance.current(database_url) is None
    maintenance.upgrade(database_url)
    assert maintenance.current(database_url) == schema.HEAD
    maintenance.upgrade(database_url)
    maintenance.reset(database_url)
    assert maintenance.current(database_url) == schema.HEAD
    maintenance.downgrade(database_url, "base")
    assert maintenance.current(database_url) is None


def test_on_the_way_down_nothing_is_left_of_inputs_that_were_deleted(database_url: str) -> None:
    maintenance.upgrade(database_url)
    engine = sa.create_engine(sa.make_url(database_url).set(drivername=_DRIVERS[database_url[:6]]))
    row = {"flow_run_id": ids.new_id(), "sender": None, "create_time": EPOCH}
    with engine.begin() as connection:
        for key, value in (("received", ""), ("waits", '"x"')):
            values = {**row, "id": ids.new_id(), "key": key, "value": value}
            connection.execute(sa.insert(run_inputs), values)
    maintenance.downgrade(database_url, "0005")
    with engine.connect() as connection:
        assert connection.execute(sa.select(run_inputs.c.key)).scalars().all() == ["waits"]
    engine.dispose()


def test_the_newest_revision_is_the_one_the_server_asks_for() -> None:
    config = Config()
    config.set_main_option("path_separator", "os")
    config.set_main_option("script_location", str(Path(schema.__file__).parent / "migrations"))
    assert ScriptDirectory.from_config(config).get_current_head() == schema.HEAD


@pytest.mark.parametrize("url", ["nonsense", "mysql://host/x", "sqlite://", "sqlite:///:memory:"])
def test_a_url_that_names_no_usable_database_is_refused(url: str) -> None:
    with pytest.raises(errors.InvalidArgument, match="sqlite:///path"):
        maintenance.current(url)
