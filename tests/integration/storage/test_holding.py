"""One process at a time has a database file, and the others can tell which."""

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from headgate.core import errors
from headgate.core.clock import SystemClock
from headgate_server.storage.holding import Hold, Holder, HolderKind, database_file, find_holder
from headgate_server.storage.sql import maintenance
from headgate_server.storage.sql.opening import open_database

_HOLD = """
import sys
from pathlib import Path
from headgate_server.storage.holding import Hold, HolderKind
hold = Hold(Path(sys.argv[1]), kind=HolderKind.EMBEDDED)
hold.acquire()
hold.announce(["unix:///s"])
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "headgate.db"


@contextlib.contextmanager
def held_by_another(file: Path) -> Iterator["subprocess.Popen[str]"]:
    with subprocess.Popen(
        [sys.executable, "-c", _HOLD, str(file)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        try:
            yield process
        finally:
            process.kill()


def test_who_has_a_file_is_told_with_where_it_listens(file: Path) -> None:
    assert find_holder(file) is None
    hold = Hold(file)
    hold.acquire()
    assert find_holder(file) == Holder(pid=os.getpid(), kind=HolderKind.SERVER)
    hold.announce(["http://a", "unix:///b"])
    assert find_holder(file) == Holder(
        pid=os.getpid(), kind=HolderKind.SERVER, addresses=("http://a", "unix:///b")
    )
    with pytest.raises(errors.DatabaseInUse, match="process id") as refused:
        Hold(file).acquire()
    assert refused.value.pid == os.getpid()
    hold.release()
    hold.release()
    assert find_holder(file) is None
    hold.acquire()
    hold.release()


@pytest.mark.slow
def test_what_a_killed_holder_wrote_names_nobody(file: Path) -> None:
    with held_by_another(file) as process:
        expected = Holder(pid=process.pid, kind=HolderKind.EMBEDDED, addresses=("unix:///s",))
        assert find_holder(file) == expected
        process.kill()
        process.wait()
    record = file.with_name("headgate.db.holder")
    assert json.loads(record.read_text())["pid"] == process.pid
    assert find_holder(file) is None
    hold = Hold(file)
    hold.acquire()
    assert find_holder(file) == Holder(pid=os.getpid(), kind=HolderKind.SERVER)
    hold.release()


def test_a_holder_killed_before_its_record_leaves_nothing_in_the_way(file: Path) -> None:
    file.with_name("headgate.db.lock").touch()
    file.with_name("headgate.db.holder.new").write_text('{"pid": ')
    assert find_holder(file) is None
    hold = Hold(file)
    hold.acquire()
    assert find_holder(file) is not None
    hold.release()


def test_maintenance_is_called_by_its_name(file: Path) -> None:
    hold = Hold(file, kind=HolderKind.MAINTENANCE)
    hold.acquire()
    with pytest.raises(errors.DatabaseInUse, match=r"headgate server database.*try again"):
        maintenance.upgrade(f"sqlite:///{file}")
    hold.release()


def test_a_folder_that_cannot_be_written_is_unavailable(tmp_path: Path) -> None:
    with pytest.raises(errors.Unavailable, match="cannot be locked"):
        Hold(tmp_path / "missing" / "headgate.db").acquire()


@pytest.mark.parametrize(
    "url",
    [
        "sqlite:///headgate.db",
        "sqlite:////srv/headgate.db",
        "sqlite:///~/headgate.db",
        "sqlite+pysqlite:////srv/headgate.db",
        "sqlite:////srv/headgate.db?timeout=3",
        "sqlite:////srv/100% new.db",
    ],
)
def test_a_url_names_the_file_that_is_opened(url: str) -> None:
    database = open_database(url, clock=SystemClock())
    assert getattr(database, "_path") == database_file(url)  # noqa: B009  # as an attribute it is an error


@pytest.mark.parametrize(
    "url", ["sqlite://", "sqlite:///:memory:", "postgresql://a/b", "memory://"]
)
def test_a_url_without_a_file_names_none(url: str) -> None:
    assert database_file(url) is None
