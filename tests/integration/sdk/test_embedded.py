"""The embedded server is found or started, once, whoever needs it first.

What is started here is a stand-in that only listens: how the real server starts is its own test.
"""

import fcntl
import os
import signal
import socket
import textwrap
from collections.abc import Iterator
from concurrent import futures
from pathlib import Path

import psutil
import pytest

from headgate import settings
from headgate.client import embedded
from headgate.core import errors
from tests import processes

STAND_IN = """
import os, pathlib, socket, sys, threading
here = pathlib.Path(os.environ["HEADGATE_HOME"])
path = sys.argv[sys.argv.index("--unix-socket") + 1]
with open(here / "starts", "a") as file:
    print(os.getpid(), os.environ.get("HEADGATE_SERVER_IDLE_TIMEOUT_SECONDS"), file=file)
pathlib.Path(path).unlink(missing_ok=True)
server = socket.socket(socket.AF_UNIX)
server.bind(path)
server.listen(64)
threading.Event().wait()
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A home folder; what was started in it is ended."""
    folder = tmp_path / "home"
    monkeypatch.setenv("HEADGATE_HOME", str(folder))
    monkeypatch.delenv("HEADGATE_API_URL", raising=False)
    yield folder
    for pid in started(folder):
        process = psutil.Process(pid)
        process.kill()
        process.wait()


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The program that is started in place of the server."""
    package = tmp_path / "path" / "headgate_server"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    program = package / "__main__.py"
    program.write_text(textwrap.dedent(STAND_IN))
    monkeypatch.setenv("PYTHONPATH", str(package.parent))
    return program


def started(home: Path) -> list[int]:
    starts = home / "starts"
    lines = starts.read_text().splitlines() if starts.exists() else []
    return [pid for line in lines if psutil.pid_exists(pid := int(line.split()[0]))]


def test_it_is_started_and_found_again(home: Path, stand_in: Path):
    url = embedded.ensure_server()
    assert url == f"unix://{home / 'server.sock'}"
    assert embedded.ensure_server() == url
    assert len(started(home)) == 1
    assert "300.0" in (home / "starts").read_text()


def test_it_lives_in_a_session_of_its_own(home: Path, stand_in: Path):
    embedded.ensure_server()
    (pid,) = started(home)
    assert os.getsid(pid) == pid


def test_racing_starters_start_one(home: Path, stand_in: Path):
    with futures.ThreadPoolExecutor(8) as pool:
        urls = set(pool.map(lambda _: embedded.ensure_server(), range(8)))
    assert len(urls) == 1
    assert len(started(home)) == 1


def test_it_is_known_as_an_embedded_one(home: Path, stand_in: Path):
    embedded.ensure_server()
    (pid,) = started(home)
    assert "--embedded" in psutil.Process(pid).cmdline()


def test_a_server_that_somebody_else_is_starting_is_waited_for(home: Path, stand_in: Path):
    home.mkdir()
    with (home / "server.lock").open("w") as other, futures.ThreadPoolExecutor(1) as pool:
        fcntl.flock(other, fcntl.LOCK_EX)
        found = pool.submit(embedded.ensure_server)
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(str(home / "server.sock"))
            server.listen()
            # Still locked: whoever listens is there, whatever else goes on.
            assert found.result(10) == f"unix://{home / 'server.sock'}"
    assert started(home) == []


def test_a_start_of_somebody_else_that_does_not_end_is_named(home: Path, stand_in: Path):
    home.mkdir()
    with (
        (home / "server.lock").open("w") as other,
        settings.temporary_settings({"server_ephemeral_startup_timeout_seconds": 0.05}),
    ):
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(errors.ServerStartError, match="Another process has been starting"):
            embedded.ensure_server()
    assert started(home) == []


def test_a_server_that_ends_because_another_listens_is_no_failure(home: Path, stand_in: Path):
    # As one that was started in vain: the database is taken, and soon the socket is, too.
    stand_in.write_text(
        "import os, pathlib, threading\n"
        "here = pathlib.Path(os.environ['HEADGATE_HOME'])\n"
        "(here / 'starts').write_text(str(os.getpid()))\n"
        "while not (here / 'server.sock').exists(): threading.Event().wait(0.01)\n"
        "raise SystemExit('The database is in use.')\n"
    )
    with futures.ThreadPoolExecutor(1) as pool, socket.socket(socket.AF_UNIX) as server:
        found = pool.submit(embedded.ensure_server)
        processes.eventually((home / "starts").exists)
        server.bind(str(home / "bound.sock"))
        server.listen()
        (home / "bound.sock").rename(home / "server.sock")
        assert found.result(10) == f"unix://{home / 'server.sock'}"


def test_what_a_killed_server_leaves_is_no_server(home: Path, stand_in: Path):
    embedded.ensure_server()
    (first,) = started(home)
    os.kill(first, signal.SIGKILL)
    os.waitpid(first, 0)
    assert (home / "server.sock").exists()
    embedded.ensure_server()
    assert len(started(home)) == 1
    assert started(home) != [first]


def test_a_server_that_ends_tells_its_last_words(home: Path, stand_in: Path):
    stand_in.write_text("raise SystemExit('The database is in use.')")
    with pytest.raises(errors.ServerStartError, match="The database is in use") as caught:
        embedded.ensure_server()
    assert str(home / "server.log") in str(caught.value)
    assert "HEADGATE_API_URL" in str(caught.value)


def test_a_server_that_does_not_answer_is_ended(home: Path, stand_in: Path):
    stand_in.write_text(
        "import os, threading\n"
        "open(os.environ['HEADGATE_HOME'] + '/starts', 'a').write(f'{os.getpid()}\\n')\n"
        "threading.Event().wait()\n"
    )
    with (
        settings.temporary_settings({"server_ephemeral_startup_timeout_seconds": 0.1}),
        pytest.raises(errors.ServerStartError, match=r"within 0\.1 s"),
    ):
        embedded.ensure_server()
    os.waitpid(int((home / "starts").read_text()), 0)


def test_it_is_not_started_where_that_is_turned_off(home: Path, stand_in: Path):
    with (
        settings.temporary_settings({"server_ephemeral_enabled": False}),
        pytest.raises(errors.ServerStartError, match="HEADGATE_API_URL"),
    ):
        embedded.ensure_server()
    assert not home.exists()


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("HEADGATE_HOME", str(tmp_path / "file" / "home"))
    with pytest.raises(errors.ServerStartError, match="HEADGATE_HOME to another"):
        embedded.ensure_server()


def test_a_home_with_a_long_name_has_its_socket_elsewhere(tmp_path: Path):
    short, long = tmp_path / "h", tmp_path / ("h" * 150)
    assert len(os.fsencode(short)) > 80 or embedded.socket_path(short) == short / "server.sock"
    path = embedded.socket_path(long)
    assert not path.is_relative_to(long)
    assert path == embedded.socket_path(long)
    assert path != embedded.socket_path(long / "other")
    with socket.socket(socket.AF_UNIX) as probe, pytest.raises((FileNotFoundError, OSError)):
        probe.connect(str(path))
