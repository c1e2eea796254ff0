"""What a process says of settings that are none, and what it does not say of gRPC's affairs."""

import logging
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from headgate_server import cli, settings
from tests import processes

SCRIPT = """
from headgate import flow, get_run_logger

@flow
def etl():
    get_run_logger().info("hello")

etl()
etl()
"""


def printed(folder: Path, script: str, **environment: str) -> str:
    """Run a script to its end; return all that it prints."""
    file = folder / "script.py"
    file.write_text(script)
    process = processes.Process(
        [str(file)],
        log=folder / "log",
        env={"HEADGATE_HOME": str(folder / "home"), "PYTHONPATH": str(folder), **environment},
    )
    with processes.running(process):
        process.wait()
        return process.output()


@pytest.fixture
def web_server() -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.slow
def test_a_variable_with_a_typo_is_told_of_once_and_before_the_run(tmp_path: Path):
    said = printed(tmp_path, SCRIPT, HEADGATE_LOGING_LEVEL="DEBUG", HEADGATE_ACME="x")
    told = "HEADGATE_LOGING_LEVEL is no setting and has no effect; did you mean HEADGATE_LOGGING_"
    assert said.count(told) == 1
    assert said.index(told) < said.index("hello")
    assert "HEADGATE_ACME" not in said


@pytest.mark.slow
def test_a_handshake_that_fails_is_told_of_by_us_alone(tmp_path: Path, web_server: str):
    script = """
from headgate import get_client

with get_client(sync_client=True, httpx_settings={"timeout": 1}) as client:
    client.read_flows()
"""
    said = printed(
        tmp_path,
        script,
        HEADGATE_API_URL=f"https://{web_server}",
        HEADGATE_CLIENT_MAX_RETRIES="1",
        HEADGATE_CLIENT_SERVER_VERSION_CHECK_ENABLED="false",
    )
    assert "does not speak TLS; use http://" in said
    assert "ssl_transport_security" not in said


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HEADGATE_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("variable", ["HEADGATE_SERVER_DATABSE_URL", "HEADGATE_SEVER_DATABASE_URL"])
def test_a_server_says_which_of_its_settings_was_meant(
    folder: Path, monkeypatch: pytest.MonkeyPatch, variable: str
):
    monkeypatch.setenv(variable, "memory://")
    monkeypatch.setenv("HEADGATE_SERVER_EPHEMERAL_IDLE_TIMEOUT_SECONDS", "3")
    monkeypatch.setenv("HEADGATE_LOGGING_LEVEL", "INFO")
    assert settings.misspelled() == [
        f"The variable {variable} is no setting and has no effect; "
        "did you mean HEADGATE_SERVER_DATABASE_URL?"
    ]


def test_a_server_says_which_names_in_files_are_none_of_its_settings(folder: Path):
    (folder / "headgate.toml").write_text(
        '[server]\nprt = 4200\nhostt = "::"\n[logging]\nlevel=1\n'
    )
    assert [said.partition(": ")[2] for said in settings.misspelled()] == [
        "server_prt is no setting of the server; did you mean server_port?",
        "server_hostt is no setting of the server; did you mean server_host?",
    ]


def test_the_command_that_starts_a_server_warns_before_it_serves(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    async def serve(_settings: object) -> None: ...

    monkeypatch.setattr(cli, "_serve", serve)
    monkeypatch.setenv("HEADGATE_SERVER_PROT", "1")
    with caplog.at_level(logging.WARNING):
        assert CliRunner().invoke(cli.server, ["start"]).exit_code == 0
    assert "did you mean HEADGATE_SERVER_PORT?" in caplog.text


POOLED = """
from headgate import flow, get_run_logger, task
from headgate.task_runners import ProcessPoolTaskRunner

@task
def load():
    get_run_logger().info("hello")

@flow(task_runner=ProcessPoolTaskRunner(max_workers=1))
def etl():
    load.submit().result()

if __name__ == "__main__":
    etl()
"""


@pytest.mark.slow
def test_processes_of_a_pool_leave_it_to_the_first_one_to_tell(tmp_path: Path):
    said = printed(tmp_path, POOLED, HEADGATE_LOGING_LEVEL="DEBUG")
    assert said.count("HEADGATE_LOGING_LEVEL is no setting") == 1
    assert "hello" in said
