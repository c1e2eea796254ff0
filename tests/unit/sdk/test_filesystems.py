"""File systems: what is read, written and copied, and what is refused."""

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pydantic
import pytest

from headgate import filesystems
from headgate.core import errors
from headgate.filesystems import LocalFileSystem, RemoteFileSystem


def local(folder: Path) -> LocalFileSystem:
    return LocalFileSystem(basepath=folder)  # pyright: ignore[reportArgumentType]  # a Path is taken


def remote(folder: Path) -> RemoteFileSystem:
    return RemoteFileSystem(basepath=f"memory://{folder.name}")


KINDS = pytest.mark.parametrize("make", [local, remote])


@KINDS
def test_what_was_written_is_read_and_deleted(
    make: Callable[[Path], LocalFileSystem | RemoteFileSystem], tmp_path: Path
):
    system = make(tmp_path)
    where = system.write_path("a/b.txt", b"hello")
    assert where.endswith("/a/b.txt")
    assert system.exists("a/b.txt")
    assert system.read_path("a/b.txt") == b"hello"
    assert system.read_path(where) == b"hello", "The whole path is taken, too."
    system.write_path("a/b.txt", b"other")
    assert system.read_path("a/b.txt") == b"other"
    system.delete_path("a/b.txt")
    system.delete_path("a/b.txt")
    assert not system.exists("a/b.txt")


@KINDS
async def test_every_method_can_be_awaited_in_one_way_or_the_other(
    make: Callable[[Path], LocalFileSystem | RemoteFileSystem], tmp_path: Path
):
    system = make(tmp_path)
    assert (await system.awrite_path("x", b"1")).endswith("/x")
    assert await system.aread_path("x") == b"1"
    # As async flows of the incumbent have it.
    assert (await system.write_path("x", b"2")).endswith("/x")
    assert await system.read_path("x") == b"2"
    await system.adelete_path("x")
    assert not system.exists("x")


@KINDS
@pytest.mark.parametrize("path", ["../x", "a/../../x", "/etc/passwd/../../x"])
def test_no_path_leads_out(
    make: Callable[[Path], LocalFileSystem | RemoteFileSystem], path: str, tmp_path: Path
):
    system = make(tmp_path / "inside")
    with pytest.raises(errors.FileSystemError, match="outside of the base path"):
        system.write_path(path, b"")
    assert list(tmp_path.iterdir()) == []


def test_a_local_path_that_is_not_there_or_no_file_is_named(tmp_path: Path):
    system = local(tmp_path)
    (tmp_path / "folder").mkdir()
    with pytest.raises(errors.FileSystemError, match="x does not exist") as caught:
        system.read_path("x")
    assert caught.value.path == str(tmp_path / "x")
    with pytest.raises(ValueError, match="folder is not a file"):
        system.read_path("folder")
    with pytest.raises(ValueError, match="already exists and is not a file"):
        system.write_path("folder", b"")


def test_a_local_file_is_written_whole_and_as_the_user_writes_files(tmp_path: Path):
    umask = os.umask(0o022)
    os.umask(umask)
    local(tmp_path).write_path("x", b"1")
    assert [file.name for file in tmp_path.iterdir()] == ["x"]
    assert stat.S_IMODE((tmp_path / "x").stat().st_mode) == 0o666 & ~umask


def test_without_a_base_path_the_working_folder_is_meant(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    LocalFileSystem().write_path("x", b"1")
    assert (tmp_path / "x").read_bytes() == b"1"


def files_of(folder: Path) -> list[str]:
    found = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return sorted(found)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    for name in ("flow.py", "data/a.csv", "data/b.log", ".venv/lib.py"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    (folder / ".headgateignore").write_text(".venv/\n*.log\n")
    return folder


KEPT = [".headgateignore", "data/a.csv", "flow.py"]


@KINDS
async def test_a_folder_is_put_and_fetched_without_what_is_to_be_left_out(
    make: Callable[[Path], LocalFileSystem | RemoteFileSystem], project: Path, tmp_path: Path
):
    system = make(tmp_path / "storage")
    system.put_directory(str(project), "v1", ignore_file=str(project / ".headgateignore"))
    system.get_directory("v1", str(tmp_path / "copy"))
    assert files_of(tmp_path / "copy") == KEPT
    assert (tmp_path / "copy/data/a.csv").read_text() == "data/a.csv"
    await system.aput_directory(str(project), "v2")
    await system.aget_directory("v2", str(tmp_path / "all"))
    assert len(files_of(tmp_path / "all")) == (3 if isinstance(system, LocalFileSystem) else 5)


def test_files_that_are_there_are_replaced_unless_that_is_not_wanted(project: Path):
    system = remote(project)
    assert system.put_directory(str(project), "x") == 5
    (project / "flow.py").write_text("new")
    assert system.put_directory(str(project), "x", overwrite=False) == 0
    assert system.read_path("x/flow.py") == b"flow.py"
    assert system.put_directory(str(project), "x") == 5
    assert system.read_path("x/flow.py") == b"new"


def test_a_folder_that_is_not_there_is_named(tmp_path: Path):
    with pytest.raises(errors.FileSystemError, match="is not a folder"):
        local(tmp_path).get_directory("nothing", str(tmp_path / "copy"))


@pytest.mark.parametrize(
    ("basepath", "reason"),
    [
        ("bucket/x", "must start with a scheme"),
        ("file:///x", "cannot be 'file'"),
        ("s3:///x", "must include a location"),
    ],
)
def test_a_base_path_that_cannot_be_is_refused_at_once(basepath: str, reason: str):
    with pytest.raises(errors.BlockError, match=reason):
        RemoteFileSystem(basepath=basepath)


def test_a_scheme_that_fsspec_does_not_have_is_named():
    with pytest.raises(errors.FileSystemError, match="nonsense://x cannot be opened"):
        RemoteFileSystem(basepath="nonsense://x").read_path("y")


def test_a_remote_url_of_another_place_is_refused():
    with pytest.raises(errors.FileSystemError, match="outside"):
        RemoteFileSystem(basepath="memory://x").read_path("memory://xy/z")


def test_an_smb_share_is_reached_by_its_url_with_its_secrets():
    block = filesystems.SMB(
        share_path="/SHARE/dir",
        smb_host="host",
        smb_username=pydantic.SecretStr("me"),
        smb_password=pydantic.SecretStr("x"),
        smb_port=446,
    )
    assert block.basepath == "smb://host/SHARE/dir"
    options = {"host": "host", "username": "me", "password": "x", "port": 446}
    assert block._location() == (block.basepath, options)


def test_what_a_file_system_can_do_is_said_by_its_class():
    assert LocalFileSystem.get_block_capabilities() == {
        "get-directory",
        "put-directory",
        "read-path",
        "write-path",
    }
