"""Code that is elsewhere is got by commit or content, and its flows are loaded."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest

from headgate import flow, settings
from headgate.core import deployments, errors
from headgate.deployments import RunnerDeployment, steps
from headgate.flows import Flow
from headgate.runner import _git
from headgate.runner.storage import GitRepository, LocalStorage, RemoteStorage
from tests import git_repositories

pytestmark = pytest.mark.slow

FLOW = """
from headgate import flow
from lib import told

@flow
def etl():
    return told.WORD
"""


@pytest.fixture(autouse=True)
def home(tmp_path: Path) -> Iterator[Path]:
    with settings.temporary_settings({"home": tmp_path / "home"}):
        yield tmp_path / "home"


@pytest.fixture
def repository(tmp_path: Path) -> git_repositories.Repository:
    made = git_repositories.Repository(tmp_path / "etl")
    made.commit(flows=FLOW, lib__told="WORD = 'one'", lib____init="")
    return made


def step(name: str, **inputs: object) -> deployments.PullStep:
    from headgate import parameters

    return deployments.PullStep(name=name, inputs=parameters.encode(inputs, plain=True))


def word_in(folder: Path | str) -> str:
    return Path(folder, "lib/told.py").read_text()


def test_a_flow_is_loaded_from_a_repository_and_its_deployment_knows_it(repository):
    loaded = Flow.from_source(GitRepository(repository.url, branch="main"), "flows.py:etl")
    assert loaded.fn() == "one"
    described = RunnerDeployment.from_flow(loaded, "daily")
    record = described.record()
    assert (record.entrypoint, record.path) == ("flows.py:etl", "")
    assert record.pull_steps == (step("git_clone", repository=repository.url, branch="main"),)
    assert loaded.with_options(name="other").origin is loaded.origin
    by_storage = RunnerDeployment.from_storage(repository.url + "/.git", "flows.py:etl", "daily")
    assert by_storage.record().pull_steps[0].name == "git_clone"


async def test_the_decorator_and_a_coroutine_find_flows_too(repository):
    assert flow.from_source(str(repository.folder), "flows.py:etl").name == "etl"
    loaded = await flow.afrom_source(Path(repository.folder), "flows.py:etl")
    assert loaded.origin is not None
    assert loaded.origin.storage == LocalStorage(repository.folder)


def test_a_waiting_run_is_executed_by_hand_with_the_code_of_its_deployment(
    repository, server, api_url, home
):
    storage = GitRepository(repository.url)
    described = RunnerDeployment.from_storage(storage, "flows.py:etl", "by-hand")
    run = server.create_flow_run_from_deployment(described.apply())
    done = subprocess.run(
        [sys.executable, "-m", "headgate.cli", "flow-run", "execute", run.id],
        env={**os.environ, "HEADGATE_API_URL": api_url, "HEADGATE_HOME": str(home)},
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert server.read_flow_run(run.id).state.name == "Completed"


def test_a_place_of_ones_own_may_have_coroutines(repository):
    class Mine:
        pull_interval = None
        destination = repository.folder

        def set_base_path(self, path):
            pass

        async def pull_code(self):
            await asyncio.sleep(0)

        def to_pull_step(self):
            return {"mine.pull": {}}

    assert Flow.from_source(Mine(), "flows.py:etl").fn() == "one"


def test_no_place_and_no_flow_are_told(repository):
    with pytest.raises(TypeError, match="source is 3"):
        Flow.from_source(3, "flows.py:etl")
    with pytest.raises(errors.MissingFlowError, match="GitRepository"):
        Flow.from_source(GitRepository(repository.url), "flows.py:nothing")


def test_a_commit_is_got_once(repository, monkeypatch, home):
    first = steps.git_clone(repository.url)["directory"]
    monkeypatch.setattr(_git, "populate", lambda *_: pytest.fail("it is there"))
    assert steps.git_clone(repository.url)["directory"] == first
    monkeypatch.undo()
    commit = repository.commit(lib__told="WORD = 'two'")
    second = steps.git_clone(repository.url, branch="main")["directory"]
    assert (word_in(first), word_in(second)) == ("WORD = 'one'", "WORD = 'two'")
    repository.folder.rename(repository.folder.with_name("gone"))
    # The commit is known by its hash: nobody is asked.
    assert steps.git_clone(repository.url, commit_sha=commit)["directory"] == second
    assert Path(second).is_relative_to(home)
    assert [file for file in Path(second).parent.iterdir() if file.name.startswith(".")] == []


def test_branches_tags_and_commits_are_told_apart(repository):
    first = repository.git("rev-parse", "HEAD")
    repository.git("tag", "--annotate", "v1", "--message", "One")
    repository.git("checkout", "--quiet", "-b", "feature/x")
    repository.commit(lib__told="WORD = 'x'")
    repository.git("checkout", "--quiet", "main")
    repository.commit(lib__told="WORD = 'two'")

    def got(**options: Any) -> str:
        return word_in(steps.git_clone(repository.url, **options)["directory"])

    assert got() == "WORD = 'two'"
    assert got(branch="v1") == "WORD = 'one'"
    assert got(branch="feature/x") == "WORD = 'x'"
    assert got(commit_sha=first) == "WORD = 'one'"
    assert got(commit_sha=first[:9]) == "WORD = 'one'"
    with pytest.raises(errors.StorageError, match="branch or tag 'none'"):
        got(branch="none")
    with pytest.raises(errors.StorageError, match="failed"):
        got(commit_sha="0" * 40)


def test_only_some_folders_are_got(repository):
    repository.commit(docs__big="'''long'''", lib__deep__x="")
    folder = Path(steps.git_clone(repository.url, directories=["lib"])["directory"])
    assert not (folder / "docs").exists()
    assert (folder / "lib/deep/x.py").exists()


def test_submodules_come_along(repository, tmp_path, monkeypatch):
    # git lets a submodule on this very machine in only where it is told to.
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    monkeypatch.setenv("GIT_CONFIG_KEY_0", "protocol.file.allow")
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", "always")
    inner = git_repositories.Repository(tmp_path / "inner")
    inner.commit(deep="1")
    repository.git("submodule", "--quiet", "add", inner.url, "sub")
    repository.commit()
    without = steps.git_clone(repository.url)["directory"]
    assert not Path(without, "sub/deep.py").exists()
    along = steps.git_clone(repository.url, include_submodules=True)["directory"]
    assert Path(along, "sub/deep.py").exists()


def test_a_folder_is_brought_up_to_date(repository, tmp_path):
    storage = GitRepository(repository.url)
    storage.set_base_path(tmp_path / "base")
    storage.pull_code()
    repository.commit(lib__told="WORD = 'two'")
    storage.pull_code()
    assert word_in(storage.destination) == "WORD = 'two'"
    other = GitRepository(repository.url + "/", name="etl")
    other.set_base_path(tmp_path / "base")
    with pytest.raises(errors.StorageError, match="has code of"):
        other.pull_code()
    (tmp_path / "base/mine").mkdir()
    (tmp_path / "base/mine/notes.txt").touch()
    third = GitRepository(repository.url, name="mine")
    third.set_base_path(tmp_path / "base")
    with pytest.raises(errors.StorageError, match="no git repository"):
        third.pull_code()


def test_a_password_opens_a_repository_and_is_found_nowhere(repository, home):
    with git_repositories.served(repository.folder.parent, "ann", "hush-hush") as url:
        remote = f"{url}/etl/.git"
        good = {"username": "ann", "password": "hush-hush"}
        folder = Path(steps.git_clone(remote, credentials=good)["directory"])
        assert word_in(folder) == "WORD = 'one'"
        in_url = remote.replace("http://", "http://ann:hush-hush@")
        assert steps.git_clone(in_url)["directory"] == str(folder)
        for file in home.rglob("*"):
            assert not file.is_file() or b"hush-hush" not in file.read_bytes()
        with pytest.raises(errors.StorageError) as caught:
            steps.git_clone(remote, access_token="wrong-token")
        assert "wrong-token" not in str(caught.value)
        with pytest.raises(errors.StorageError, match="failed"):
            steps.git_clone(remote)


def test_files_elsewhere_are_got_where_they_have_changed(home):
    files = fsspec.filesystem("memory")
    files.pipe("/bucket/flows/lib/told.py", b"one")
    storage = RemoteStorage("memory://bucket/flows")
    storage._scheme, storage._url = "memory", "memory:///bucket/flows"
    first = storage.fetch(home)
    assert storage.fetch(home) == first
    files.pipe("/bucket/flows/lib/told.py", b"two")
    second = storage.fetch(home)
    assert (word_in(first), word_in(second)) == ("one", "two")
    storage.set_base_path(home / "base")
    storage.pull_code()
    assert word_in(storage.destination) == "two"


# --- Steps ------------------------------------------------------------------------------------


def test_a_later_step_uses_what_an_earlier_one_found(repository, tmp_path, capfd):
    clone = step("git_clone", id="clone", repository=repository.url)
    script = step(
        "run_shell_script",
        id="told",
        script="cat lib/told.py\n\npwd",
        env={"A": "b"},
        directory="{{ clone.directory }}",
    )
    echo = step("run_shell_script", script="echo said {{ told.stdout }}")
    folder = steps.run_steps([clone, script, echo])
    assert folder is not None
    assert word_in(folder) == "WORD = 'one'"
    assert f"said WORD = one{folder}" in capfd.readouterr().out.replace("\n", "")


def test_commands_are_no_shell_and_variables_are_replaced_when_asked(tmp_path, capfd):
    run = steps.run_shell_script
    assert run("echo $WORD '|' cat", env={"WORD": "x"})["stdout"] == "$WORD | cat"
    told = run("echo $WORD ${WORD}s", env={"WORD": "x"}, expand_env_vars=True)
    assert told["stdout"] == "x xs"
    capfd.readouterr()
    assert run("bash -c 'echo hidden >&2'", stream_output=False)["stderr"] == "hidden"
    assert capfd.readouterr() == ("", "")
    assert run("pwd", directory=str(tmp_path))["stdout"] == os.path.realpath(tmp_path)


@pytest.mark.parametrize(
    ("failing", "said"),
    [
        (step("summon"), "does not know it"),
        (step("no.such.module.fn"), "not there"),
        (step("os.path.nothing"), "does not know it"),
        (step("run_shell_script", script="bash -c 'echo oh no >&2; exit 3'"), "code 3: oh no"),
        (step("run_shell_script", script="no-such-command"), "no-such-command"),
        (step("run_shell_script", wrong=1), "wrong"),
        (step("set_working_directory", directory="/no/such"), "no folder /no/such"),
        (step("git_clone", repository="file:///no/such"), "git ls-remote"),
        (step("git_clone", repository="x", branch="--x"), "branch is '--x'"),
        (step("os.kill", id="x"), "os.kill"),
    ],
    ids=str,
)
def test_a_failing_step_is_told_in_its_own_words(failing, said):
    with pytest.raises(errors.PullStepError, match=said) as caught:
        steps.run_steps([failing])
    assert failing.name in str(caught.value)
    assert caught.value.__cause__ is None


def test_any_function_may_be_a_step():
    assert steps.run_steps([step("os.getcwd")], directory="/there") == "/there"
    assert steps.run_steps([], directory="/there") == "/there"
