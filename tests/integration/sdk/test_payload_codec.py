"""With a payload codec the server's database holds nothing of what users' code deals with."""

import os
import pathlib
from collections.abc import Iterator

import anyio.from_thread
import pytest

from headgate import flow, settings, task
from headgate.client import orchestration
from headgate.core import errors
from headgate.engine import claimed, process
from headgate.states import from_record
from headgate_server.app import App
from headgate_server.settings import Settings

SECRETS = ("parameter-secret", "result-secret", "flow-secret", "exception-secret", "big-secret")
CODEC = "tests.examples.payload_codec:Encrypted"

fails: list[str] = []


class Refused(Exception):
    """Keeps what it is about where its message does not say it."""

    def __init__(self, about: str) -> None:
        super().__init__("refused")
        self.about = about

    def __reduce__(self) -> tuple[type["Refused"], tuple[str]]:
        return Refused, (self.about,)


@task
def look_up(name: str) -> str:
    return f"result-secret of {name}"


@task
def look_up_much(name: str) -> str:
    return f"big-secret of {name}" * 2_000


@flow(durable=True)
def diagnose(name: str) -> str:
    found = look_up(name)
    look_up_much(name)
    if fails:
        # Not a literal: the log shows the line that raised.
        raise Refused(fails[0])
    return f"flow-secret {found}"


@pytest.fixture
def server(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[orchestration.SyncHeadgateClient]:
    """A client of a server with a database file; all in this process have the codec's key."""
    monkeypatch.setenv("PAYLOAD_KEY", os.urandom(32).hex())
    database = f"sqlite:///{tmp_path / 'headgate.db'}"
    app = App(Settings(database_url=database, unix_socket=tmp_path / "s"))
    with (
        anyio.from_thread.start_blocking_portal() as portal,
        portal.wrap_async_context_manager(app.running()),
        settings.temporary_settings(
            {
                "api_url": app.target,
                "results_payload_codec": CODEC,
                "results_local_storage_path": str(tmp_path / "results"),
            }
        ),
        orchestration.get_client(sync_client=True) as client,
    ):
        yield client
        process.stop_links()


def files(folder: pathlib.Path) -> Iterator[bytes]:
    """The content of all files: the database, its write-ahead log, the stored results."""
    for path in folder.rglob("*"):
        if path.is_file() and not path.is_socket():
            yield path.read_bytes()


def test_no_file_of_the_server_or_the_storage_holds_plaintext(
    server: orchestration.SyncHeadgateClient, tmp_path: pathlib.Path
):
    fails[:] = ["exception-secret"]
    failed = diagnose("parameter-secret", return_state=True)
    run_id = failed.flow_run_id or ""
    stored = server.read_flow_run(run_id)
    with pytest.raises(Refused) as raised:
        from_record(stored.state).result()
    assert "exception-secret" in raised.value.about

    fails.clear()
    server.retry_flow_run(run_id)
    expected = "flow-secret result-secret of parameter-secret"
    assert claimed.execute(diagnose, run_id).result() == expected
    stored = server.read_flow_run(run_id)
    assert from_record(stored.state).result() == expected
    assert [run.run_count for run in server.read_task_runs(flow_run_ids=[run_id])] == [1, 1]

    contents = list(files(tmp_path))
    assert len(contents) >= 3
    for secret in SECRETS:
        assert not any(secret.encode() in content for content in contents), secret
    with (
        settings.temporary_settings({"results_payload_codec": None}),
        pytest.raises(errors.ConfigurationError, match="HEADGATE_RESULTS_PAYLOAD_CODEC"),
    ):
        from_record(stored.state).result()


def test_encoded_parameters_pass_the_schema_of_a_deployment(
    server: orchestration.SyncHeadgateClient, tmp_path: pathlib.Path
):
    from headgate.deployments import run_deployment

    diagnose.to_deployment("test", enforce_parameter_schema=True).apply()
    run = run_deployment("diagnose/test", {"name": "parameter-secret"}, timeout=0)
    assert run.parameters == {"name": "parameter-secret"}  # who has the codec reads it
    with pytest.raises(errors.InvalidArgument, match="no parameter"):
        run_deployment("diagnose/test", {"unknown": 1}, timeout=0)
    assert not any(b"parameter-secret" in content for content in files(tmp_path))
