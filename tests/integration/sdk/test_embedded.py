"""The embedded server is found or started, once, whoever needs it first.

What is started here is a stand-in that only listens: how the real server starts is its own test.
"""

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
