"""A real runner gets the code of a run before it loads the flow, in the process of the run."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import anyio.to_thread
import pydantic
import pytest

from headgate import settings
from headgate.blocks.system import Secret
from headgate.client import orchestration
from headgate.client.orchestration import HeadgateClient
from headgate.core import runs
from headgate.core.states import StateType
from headgate.deployments import RunnerDeployment
from headgate.engine import process as engine_process
from headgate.runner.storage import GitRepository
from headgate_runner import runner
from headgate_runner.executors import inline, process
from headgate_server.app import App
from headgate_server.settings import Settings
from tests import git_repositories, processes

pytestmark = pytest.mark.slow

PATIENCE_SECONDS = 30
FLOW = """
import os
import signal
import pathlib
from headgate import flow
from lib.told import WORD

def note(flow, run, state):
    pathlib.Path(os.environ["NOTES"]).write_text(f"{WORD} {state.name}")

@flow(log_prints=True, on_crashed=[note])
def etl(die: bool = False):
    if die:
        os.kill(os.getpid(), signal.SIGKILL)
    print("word", WORD, "in", sorted(os.listdir()))
"""


class Stage:
    """A server, a runner, and a repository."""

    def __init__(self, client: HeadgateClient, folder: Path) -> None:
        self.client = client
        self.repository = git_repositories.Repository(folder / "etl")
        self.repository.commit(flows=FLOW, lib__told="WORD = 'one'", lib____init="")

    async def run(self, described: RunnerDeployment, **parameters: object) -> runs.FlowRun:
        """Ask for a run, and wait until it has ended."""
        stored = await described.aapply()
        run = await self.client.create_flow_run_from_deployment(stored, parameters=parameters)
        with anyio.fail_after(PATIENCE_SECONDS):
            async for _event in self.client.watch(after_revision=0, flow_run_ids=[run.id]):
                found = await self.client.read_flow_run(run.id)
                if found.state.is_terminal:
                    return found
        raise AssertionError

    async def hears(self, run: runs.FlowRun, text: str) -> str:
        """Wait until the run has said something; lines may be on their way when it has ended."""

        def said() -> str:
            lines = client.read_logs(flow_run_ids=[run.id])
            told = "\n".join(record.message for record in lines)
            return told if text in told else ""

        with orchestration.get_client(sync_client=True) as client:
            return await anyio.to_thread.run_sync(lambda: processes.eventually(said, what=text))


@contextlib.asynccontextmanager
async def running(folder: Path, open_executor) -> AsyncIterator[Stage]:
    options = Settings(unix_socket=folder / "s", database_url=f"sqlite:///{folder / 'headgate.db'}")
    api_url = f"unix://{options.unix_socket}"
    with settings.temporary_settings({"api_url": api_url, "home": folder / "home"}):
        async with (
            App(options).running(),
            HeadgateClient(api_url) as client,
            anyio.create_task_group() as tasks,
        ):
            made = runner.Runner(api_url, write=None, open_executor=open_executor)
            tasks.start_soon(lambda: made.run(handle_signals=False))
            with anyio.fail_after(PATIENCE_SECONDS):
                await made.ready.wait()
            yield Stage(client, folder)
            # While the server is there to hear of it.
            await anyio.to_thread.run_sync(engine_process.stop_links)
            tasks.cancel_scope.cancel()


@pytest.fixture
async def stage(tmp_path):
    async with running(tmp_path, process.open_executor) as made:
        yield made


def described(stage: Stage, **options) -> RunnerDeployment:
    storage = GitRepository(stage.repository.url, **options)
    return RunnerDeployment.from_storage(storage, "flows.py:etl", "daily")


async def test_each_run_gets_the_newest_commit_and_works_in_its_folder(stage):
    daily = described(stage)
    first = await stage.run(daily)
    assert first.state.type is StateType.COMPLETED, first.state.message
    assert await stage.hears(first, "word one in ['.git', ")
    stage.repository.commit(lib__told="WORD = 'two'")
    second = await stage.run(daily)
    assert await stage.hears(second, "word two in")


async def test_a_step_that_fails_ends_the_run_in_its_own_words(stage):
    daily = described(stage)
    daily.pull_steps = [{"run_shell_script": {"script": "bash -c 'echo oh no >&2; exit 3'"}}]
    ended = await stage.run(daily)
    assert ended.state.type is StateType.CRASHED
    assert "run_shell_script" in ended.state.message
    assert "exit code 3: oh no" in ended.state.message
    assert await stage.hears(ended, "oh no")


async def test_a_token_in_a_block_opens_a_repository_and_stays_secret(stage):
    await Secret(value=pydantic.SecretStr("hush-hush")).asave("git-token")
    token = await Secret.aload("git-token")
    folder = stage.repository.folder.parent
    with git_repositories.served(folder, "x-access-token", "hush-hush") as url:
        storage = GitRepository(f"{url}/etl/.git", {"access_token": token})
        described = await anyio.to_thread.run_sync(
            lambda: RunnerDeployment.from_storage(storage, "flows.py:etl", "daily")
        )
        ended = await stage.run(described)
        assert ended.state.type is StateType.COMPLETED, ended.state.message
        await Secret(value=pydantic.SecretStr("wrong-one")).asave("git-token", overwrite=True)
        stage.repository.commit(lib__told="WORD = 'two'")
        refused = await stage.run(described)
    assert refused.state.type is StateType.CRASHED
    lines = await stage.client.read_logs(flow_run_ids=[refused.id])
    told = "\n".join([refused.state.message, *(record.message for record in lines)])
    assert "git ls-remote" in told
    assert "wrong-one" not in told


async def test_the_hooks_of_a_killed_run_get_the_code_too(stage, tmp_path):
    daily = described(stage)
    daily.job_variables = {"env": {"NOTES": str(tmp_path / "notes")}}
    ended = await stage.run(daily, die=True)
    assert ended.state.type is StateType.CRASHED
    notes = tmp_path / "notes"
    await anyio.to_thread.run_sync(
        lambda: processes.eventually(lambda: notes.exists() and notes.read_text())
    )
    assert notes.read_text() == "one Crashed"


async def test_a_run_in_the_runner_itself_gets_the_code_and_moves_nobody(tmp_path):
    here = Path.cwd()
    async with running(tmp_path, inline.open_executor) as stage:
        ended = await stage.run(described(stage))
    assert ended.state.type is StateType.COMPLETED, ended.state.message
    assert Path.cwd() == here
