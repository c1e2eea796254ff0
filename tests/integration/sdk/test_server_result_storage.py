"""The server's default for where results are kept."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click.testing
import pytest

from headgate import _server_result_storage, flow, results, settings, task
from headgate.cache_policies import INPUTS
from headgate.cli import main
from headgate.client.orchestration import SyncHeadgateClient
from headgate.client.schemas import ServerDefaultResultStorage
from headgate.core import errors
from headgate.filesystems import LocalFileSystem

SCRIPT = Path(__file__).with_name("kept_results.py")


@pytest.fixture(autouse=True)
def new_process(server: SyncHeadgateClient) -> Iterator[None]:
    """Begin, and end, as a process that has not asked yet, on a server where none is chosen."""
    _server_result_storage._answers.clear()
    yield
    server.clear_server_default_result_storage()
    _server_result_storage._answers.clear()


@pytest.fixture
def folder(server: SyncHeadgateClient, tmp_path: Path) -> Path:
    """The folder of the block that is chosen."""
    path = tmp_path / "chosen"
    LocalFileSystem(basepath=str(path)).save("chosen", overwrite=True)
    block = server.read_block_document_by_name("chosen", "local-file-system")
    chosen = server.update_server_default_result_storage(block.document.id)
    assert chosen.block == "local-file-system/chosen"
    return path


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Counts how often the server is asked."""
    counted: list[int] = []
    ask = _server_result_storage._ask

    def counting() -> Any:
        counted.append(1)
        return ask()

    monkeypatch.setattr(_server_result_storage, "_ask", counting)
    return counted


def files(path: Path) -> list[str]:
    return sorted(file.name for file in path.glob("*") if file.is_file())


@task(persist_result=True, result_storage_key="task-{parameters[x]}")
def kept(x: int) -> int:
    return x


@flow(persist_result=True)
def keeping(count: int) -> int:
    return sum(kept(x) for x in range(count))


def test_results_go_to_the_block_and_the_server_is_asked_once(
    server: SyncHeadgateClient, folder: Path, asked: list[int]
):
    state = keeping(3, return_state=True)
    assert state.result() == 3
    assert {"task-0", "task-1", "task-2"} < set(files(folder))
    assert len(files(folder)) == 4  # the flow's own, too
    keeping(2)
    assert asked == [1]
    stored = server.read_flow_run(state.flow_run_id or "").state
    assert stored.result() == 3
    assert stored.data is not None
    assert str(folder) in (stored.data.storage_key or "")
    assert results.get_default_result_storage().identity() == str(folder)


async def test_flows_on_a_loop_keep_them_there_too(folder: Path, asked: list[int]):
    @task(persist_result=True, result_storage_key="a")
    async def one() -> int:
        return 1

    @flow(persist_result=True)
    async def parent() -> int:
        return await one()

    assert await parent() == 1
    assert "a" in files(folder)
    assert asked == [1]


def test_a_cached_result_is_found_there(folder: Path, tmp_path: Path):
    calls: list[int] = []

    @task(cache_policy=INPUTS, persist_result=True)
    def cached(x: int) -> int:
        calls.append(x)
        return x

    @flow
    def parent() -> int:
        return cached(1) + cached(1)

    assert parent() == 2
    _server_result_storage._answers.clear()
    assert parent() == 2
    assert calls == [1]


def test_who_says_otherwise_is_not_asked_about(folder: Path, tmp_path: Path, asked: list[int]):
    elsewhere = tmp_path / "elsewhere"
    LocalFileSystem(basepath=str(tmp_path / "named")).save("named", overwrite=True)

    @task(persist_result=True, result_storage=elsewhere, result_storage_key="a")
    def own() -> int:
        return 1

    @flow
    def parent() -> int:
        return own()

    parent()
    assert files(elsewhere) == ["a"]
    block = "local-file-system/named"
    with settings.temporary_settings({"results_default_storage_block": block}):
        keeping(1)
    assert "task-0" in files(tmp_path / "named")
    assert (files(folder), asked) == ([], [])


def test_nothing_is_asked_where_nothing_is_kept(folder: Path, asked: list[int]):
    @flow
    def parent() -> int:
        return task(lambda: 1)()

    assert parent() == 1
    assert asked == []


def test_small_results_ride_with_the_state_where_no_block_is_chosen(
    server: SyncHeadgateClient, asked: list[int]
):
    state = keeping(1, return_state=True)
    stored = server.read_flow_run(state.flow_run_id or "").state
    assert stored.data is not None
    assert stored.data.inline is not None
    assert asked == [1]


def test_a_server_that_does_not_answer_costs_a_warning_and_is_asked_again_later(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    def fail(_self: Any) -> ServerDefaultResultStorage:
        msg = "away"
        raise errors.Unavailable(msg)

    with monkeypatch.context() as patch:
        patch.setattr(SyncHeadgateClient, "read_server_default_result_storage", fail)
        with settings.temporary_settings({"results_local_storage_path": str(tmp_path / "here")}):
            store = results.ResultStore()
            store.write(1, "a")
            results.ResultStore().write(1, "b")
    assert files(tmp_path / "here") == ["a", "b"]
    address = settings.current().api_url or ""
    _, until = _server_result_storage._answers[address]
    assert until is not None
    _server_result_storage._answers[address] = (None, until - 60)
    results.ResultStore().write(1, "c")
    assert files(folder) == ["c"]


def test_an_older_server_is_asked_once(
    asked: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def fail(_self: Any) -> ServerDefaultResultStorage:
        raise errors.Unsupported("GetResultStorage")

    monkeypatch.setattr(SyncHeadgateClient, "read_server_default_result_storage", fail)
    with settings.temporary_settings({"results_local_storage_path": str(tmp_path)}):
        for key in "ab":
            results.ResultStore().write(1, key)
    assert files(tmp_path) == ["a", "b"]
    assert asked == [1]


def test_without_any_server_nothing_is_started_to_ask(
    tmp_path: Path, asked: list[int], monkeypatch: pytest.MonkeyPatch
):
    with settings.temporary_settings({"api_url": None, "home": str(tmp_path)}):
        results.ResultStore().write(1, "a")
    assert files(tmp_path / "storage") == ["a"]
    assert asked == []


def test_the_command_chooses_shows_and_clears(
    server: SyncHeadgateClient, api_url: str, tmp_path: Path
):
    def run(*arguments: str, code: int = 0) -> str:
        with settings.temporary_settings({"api_url": api_url}):
            done = click.testing.CliRunner().invoke(main.cli, ["result-storage", *arguments])
        if isinstance(done.exception, errors.HeadgateError):
            raise done.exception
        assert done.exit_code == code, done.output
        return done.output

    assert "No block was chosen" in run("inspect")
    LocalFileSystem(basepath=str(tmp_path)).save("mine", overwrite=True)
    assert "'local-file-system/mine'" in run("set", "local-file-system/mine")
    assert "local-file-system/mine" in run("inspect")
    chosen = server.read_server_default_result_storage().default_result_storage_block_id
    assert str(chosen) in run("inspect", "-o", "json")
    assert "No block is chosen" in run("clear")
    assert "mine" in run("set", "--id", str(chosen))
    with pytest.raises(errors.FailedPrecondition, match="result-storage clear"):
        server.delete_block_document(str(chosen))
    run("clear")
    run("set", code=2)
    with pytest.raises(errors.NotFound):
        run("set", "local-file-system/none")
    with pytest.raises(errors.InvalidArgument, match=r"write e\.g\. local-file-system/results"):
        run("set", "results")


@pytest.mark.slow
def test_another_process_finds_what_was_kept(
    server: SyncHeadgateClient, api_url: str, folder: Path, tmp_path: Path
):
    def run(*args: str, home: str) -> str:
        return subprocess.run(
            [sys.executable, str(SCRIPT), *args],
            env={**os.environ, "HEADGATE_API_URL": api_url, "HEADGATE_HOME": home},
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        ).stderr

    assert run("run", "1", home=str(tmp_path / "a")).count("called\n") == 1
    assert run("run", "1", home=str(tmp_path / "b")).count("called\n") == 0


def test_a_fork_while_another_thread_asks_does_not_wait_for_it_for_ever(tmp_path: Path):
    code = (
        "import os\n"
        "from headgate import _server_result_storage as storage\n"
        "storage._lock.acquire()\n"  # as a thread does while it asks
        "child = os.fork()\n"
        "if not child: os._exit(0 if storage._lock.acquire(timeout=5) else 1)\n"
        "raise SystemExit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))\n"
    )
    environment = {**os.environ, "HEADGATE_HOME": str(tmp_path)}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True, timeout=60)
