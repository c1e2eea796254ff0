from __future__ import annotations

import signal
import socket
from pathlib import Path

import pytest
from click.testing import CliRunner

from headgate_server.cli import server
from tests import processes


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home folder of the test's own."""
    monkeypatch.setenv("HEADGATE_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def test_a_server_says_where_it_is_and_ends_in_order_when_told_to(tmp_path: Path):
    process = processes.Server(tmp_path)
    with processes.running(process):
        assert f"ready at {process.api_url} (database sqlite:///" in process.output()
        assert process.terminate(timeout=10) == 0
        assert process.output().endswith("Headgate server stopped.\n")
        assert not process.socket.exists()


def test_a_second_server_on_the_same_file_names_the_first_and_the_remedy(tmp_path: Path):
    first = processes.Server(tmp_path)
    with processes.running(first):
        database_url = f"sqlite:///{tmp_path / 'headgate.db'}"
        result = CliRunner().invoke(
            server, ["start", "--port", "0", "--database-url", database_url]
        )
        assert result.exit_code == 1
        (line,) = result.output.strip().splitlines()
        assert f"process id {first.pid}" in line
        assert "--database-url" in line
        # The one that is killed leaves nothing behind that keeps the next one out.
        first.kill()
        second = processes.Server(tmp_path)
        with processes.running(second):
            second.signal(signal.SIGINT)
            assert second.wait(10) == 0


def test_a_port_in_use_is_one_sentence():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        result = CliRunner().invoke(
            server, ["start", "--port", port, "--database-url", "memory://"]
        )
    assert result.exit_code == 1
    assert result.output.startswith(f"Error: Cannot listen on 127.0.0.1:{port}")
    assert "--port" in result.output


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--port", "70000"], "--port"),
        (["--log-level", "loud"], "--log-level"),
        (["--idle-timeout", "-1"], "--idle-timeout"),
    ],
)
def test_a_setting_that_cannot_be_is_named(arguments: list[str], named: str):
    result = CliRunner().invoke(server, ["start", *arguments])
    assert result.exit_code == 2
    assert named in result.output


def test_a_setting_in_the_environment_that_cannot_be_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HEADGATE_SERVER_LEASE_TTL_SECONDS", "soon")
    result = CliRunner().invoke(server, ["start"])
    assert result.exit_code == 2
    assert "HEADGATE_SERVER_LEASE_TTL_SECONDS" in result.output


@pytest.mark.parametrize("url", ["mysql://x/y", "nonsense", "sqlite://"])
def test_a_database_that_cannot_be_is_refused(url: str):
    result = CliRunner().invoke(server, ["start", "--port", "0", "--database-url", url])
    assert result.exit_code == 1
    assert "postgresql://" in result.output


def test_the_schema_is_brought_up_taken_back_and_made_anew(home: Path):
    def run(*arguments: str) -> str:
        result = CliRunner().invoke(server, ["database", *arguments], input="y\n")
        assert result.exit_code == 0, result.output
        return result.output

    assert "at revision 0006" in run("upgrade")
    assert (home / "headgate.db").exists()
    assert "at revision 0006" in run("upgrade")
    assert "is at revision base" in run("downgrade", "--revision", "base", "--yes")
    assert "empty, at revision 0006" in run("reset")


def test_nothing_is_reset_without_a_yes(home: Path):
    result = CliRunner().invoke(server, ["database", "reset"], input="n\n")
    assert result.exit_code == 1
    assert not home.exists()
