"""Places of code: what they refuse, what they guess, what they tell a deployment."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pydantic
import pytest

from headgate.blocks.system import Secret
from headgate.core import errors
from headgate.runner import _git
from headgate.runner.storage import (
    BlockStorageAdapter,
    GitRepository,
    LocalStorage,
    RemoteStorage,
    RunnerStorage,
    create_storage_from_source,
)

URL = "https://github.com/org/etl.git"


def saved(name: str, value: str = "hush") -> Secret:
    block = Secret(value=pydantic.SecretStr(value))
    block._block_document_name = name
    return block


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"url": "--upload-pack=touch /tmp/x"}, "url"),
        ({"url": ""}, "url"),
        ({"branch": "--upload-pack=touch /tmp/x"}, "branch"),
        ({"branch": "-b"}, "branch"),
        ({"branch": ""}, "branch"),
        ({"branch": "a b"}, "branch"),
        ({"branch": "a..b"}, "branch"),
        ({"branch": "a:b"}, "branch"),
        ({"branch": "a\nb"}, "branch"),
        ({"commit_sha": "--all"}, "commit_sha"),
        ({"commit_sha": "HEAD"}, "commit_sha"),
        ({"branch": "main", "commit_sha": "abcdef"}, "Both"),
        ({"directories": ["--stdin"]}, "directories"),
        ({"directories": ["../.."]}, "directories"),
        ({"directories": ["/etc"]}, "directories"),
        ({"directories": [""]}, "directories"),
        ({"name": "../elsewhere"}, "name"),
        ({"name": ".."}, "name"),
        ({"name": ""}, "name"),
        ({"credentials": {"username": "ann"}}, "credentials"),
    ],
    ids=repr,
)
def test_what_git_could_take_for_something_else_is_refused(options: dict[str, Any], field):
    given: dict[str, Any] = {"url": URL, **options}
    with pytest.raises(errors.StorageError, match=field):
        GitRepository(**given)


def test_the_folder_is_named_after_repository_and_branch():
    repository = GitRepository(URL, branch="feature/x")
    repository.set_base_path(Path("/base"))
    assert repository.destination == Path("/base/etl-feature-x")
    assert GitRepository("git@github.com:org/etl.git").destination.name == "etl"
    assert GitRepository(URL, name="mine").destination.name == "mine"


@pytest.mark.parametrize(
    ("host", "user"),
    [
        ("github.com", "x-access-token"),
        ("gitlab.example.com", "oauth2"),
        ("bitbucket.org", "x-token-auth"),
    ],
)
def test_a_token_goes_with_the_user_that_the_host_wants(host, user):
    source = GitRepository(f"https://{host}/a/b", {"access_token": "t"})._source
    assert source.login == (user, "t")


def test_credentials_in_a_url_are_taken_out_of_it():
    assert _git.split_url("https://ann:p%40ss@host/a") == ("https://host/a", ("ann", "p@ss"))
    assert _git.split_url("https://tok@host/a") == ("https://host/a", ("x-access-token", "tok"))
    repository = GitRepository("https://ann:hush@host/a")
    assert "hush" not in repr(repository) + repr(repository._source) + repository.url


def test_a_step_names_blocks_in_the_place_of_secrets():
    repository = GitRepository(
        URL,
        {"username": "ann", "access_token": saved("git-token")},
        branch="main",
        include_submodules=True,
        directories=["flows"],
    )
    assert repository.to_pull_step() == {
        "headgate.deployments.steps.git_clone": {
            "repository": URL,
            "branch": "main",
            "include_submodules": True,
            "directories": ["flows"],
            "credentials": {
                "username": "ann",
                "access_token": "{{ headgate.blocks.secret.git-token }}",
            },
        }
    }
    as_block = GitRepository(URL, saved("git-token"), commit_sha="ABCDEF").to_pull_step()
    inputs = as_block["headgate.deployments.steps.git_clone"]
    assert inputs["credentials"] == "{{ headgate.blocks.secret.git-token }}"
    assert inputs["commit_sha"] == "abcdef"


@pytest.mark.parametrize(
    "repository",
    [
        GitRepository(URL, {"access_token": "hush"}),
        GitRepository(URL, {"access_token": pydantic.SecretStr("hush")}),
        GitRepository(URL, {"access_token": Secret(value=pydantic.SecretStr("hush"))}),
        GitRepository("https://ann:hush@github.com/org/etl"),
    ],
    ids=["text", "secret", "unsaved-block", "url"],
)
def test_a_step_with_a_bare_secret_is_refused_without_naming_it(repository):
    with pytest.raises(errors.StorageError, match="Secret") as caught:
        repository.to_pull_step()
    assert "hush" not in str(caught.value)


def test_other_places_tell_their_steps():
    local = LocalStorage("/flows")
    assert local.destination == Path("/flows")
    assert local.pull_code() is not None
    assert local.to_pull_step() == {
        "headgate.deployments.steps.set_working_directory": {"directory": "/flows"}
    }
    remote = RemoteStorage("s3://bucket/flows", key="k", secret=saved("s3"))
    assert remote.to_pull_step() == {
        "headgate.deployments.steps.pull_from_remote_storage": {
            "url": "s3://bucket/flows",
            "key": "k",
            "secret": "{{ headgate.blocks.secret.s3 }}",
        }
    }


def test_a_block_with_files_is_a_place():
    class Bucket(Secret):
        def get_directory(self, from_path=None, local_path=None):
            Path(str(local_path), "flows.py").touch()

    bucket = Bucket(value=pydantic.SecretStr("x"))
    with pytest.raises(errors.StorageError, match="save"):
        BlockStorageAdapter(bucket).to_pull_step()
    bucket._block_document_name = "code"
    assert BlockStorageAdapter(bucket).to_pull_step() == {
        "headgate.deployments.steps.pull_with_block": {
            "block_type_slug": "secret",
            "block_document_name": "code",
        }
    }
    with pytest.raises(errors.StorageError, match="get_directory"):
        BlockStorageAdapter(saved("x"))


def test_the_files_of_a_block_are_got(tmp_path):
    class Bucket(Secret):
        def get_directory(self, from_path=None, local_path=None):
            Path(str(local_path), "flows.py").touch()

    adapter = BlockStorageAdapter(Bucket(value=pydantic.SecretStr("x")))
    adapter.set_base_path(tmp_path)
    adapter.pull_code()
    assert (adapter.destination / "flows.py").exists()


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("https://github.com/org/etl", GitRepository("https://github.com/org/etl")),
        ("https://git.example.com/etl.git", GitRepository("https://git.example.com/etl.git")),
        ("git+https://example.com/etl", GitRepository("https://example.com/etl")),
        ("git@github.com:org/etl.git", GitRepository("git@github.com:org/etl.git")),
        ("ssh://git@host/etl", GitRepository("ssh://git@host/etl")),
        ("file:///repos/etl.git", GitRepository("file:///repos/etl.git")),
        ("s3://bucket/flows", RemoteStorage("s3://bucket/flows")),
        ("file:///flows", LocalStorage("/flows")),
        ("./flows", LocalStorage("./flows")),
        ("/flows", LocalStorage("/flows")),
    ],
)
def test_a_text_tells_which_kind_of_place_it_means(source, expected):
    made = create_storage_from_source(source)
    assert made == expected
    assert hash(made) == hash(expected)
    assert isinstance(made, RunnerStorage)


@pytest.mark.parametrize(
    "different",
    [GitRepository(URL, branch="x"), LocalStorage("/x"), RemoteStorage("s3://x/y")],
    ids=repr,
)
def test_places_of_other_code_differ(different):
    assert different not in (
        GitRepository(URL),
        LocalStorage("/flows"),
        RemoteStorage("s3://x/y", key="k"),
    )


def test_a_remote_place_needs_a_scheme():
    with pytest.raises(errors.StorageError, match="scheme"):
        RemoteStorage("bucket/flows")


def test_an_unreachable_place_is_told_without_secrets(tmp_path):
    remote = RemoteStorage("nowhere://bucket/flows", password="hushhush")
    remote.set_base_path(tmp_path)
    with pytest.raises(errors.StorageError, match="nowhere") as caught:
        remote.pull_code()
    assert "hushhush" not in str(caught.value)
