"""Pull steps that bring packages and files: as a runner carries them out, by their names."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from headgate import parameters, settings
from headgate.client.orchestration import SyncHeadgateClient
from headgate.core import deployments, errors
from headgate.deployments import steps
from headgate.filesystems import LocalFileSystem
from headgate.runner import storage

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    with settings.temporary_settings({"home": tmp_path / "home"}):
        yield tmp_path / "home"


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    folder = tmp_path / "elsewhere"
    (folder / "lib").mkdir(parents=True)
    (folder / "flows.py").write_text("one")
    (folder / "lib" / "told.py").write_text("told")
    return folder


def step(name: str, **inputs: object) -> deployments.PullStep:
    return deployments.PullStep(name=name, inputs=parameters.encode(inputs, plain=True))


def make_wheel(folder: Path, name: str) -> None:
    """Write the smallest package that pip takes."""
    info = f"{name}-1.0.dist-info"
    with zipfile.ZipFile(folder / f"{name}-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr(f"{name}.py", "WORD = 'installed'\n")
        wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        wheel.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr(f"{info}/RECORD", f"{name}.py,,\n{info}/METADATA,,\n{info}/WHEEL,,\n")


def test_packages_are_installed_from_the_file_in_the_folder_of_the_code(
    tmp_path: Path, elsewhere: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture
):
    make_wheel(elsewhere, "q_told")
    (elsewhere / "requirements.txt").write_text("./q_told-1.0-py3-none-any.whl\n")
    target = tmp_path / "packages"
    monkeypatch.setenv("PIP_TARGET", str(target))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    folder = steps.run_steps(
        [step("set_working_directory", directory=str(elsewhere)), step("pip_install_requirements")]
    )
    assert folder == str(elsewhere), "where pip runs is not where the code is"
    program = "import q_told; print(q_told.WORD)"
    told = subprocess.run(
        [sys.executable, "-c", program],
        env={"PYTHONPATH": str(target)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert told.stdout.strip() == "installed"
    assert "q_told" in capfd.readouterr().out.replace("-", "_")


def test_what_pip_says_of_a_package_that_is_nowhere_is_quoted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    (tmp_path / "packages.txt").write_text("q_no_such_package\n")
    inputs = {"directory": str(tmp_path), "requirements_file": "packages.txt"}
    failing = step("pip_install_requirements", **inputs, stream_output=False)
    with pytest.raises(errors.PullStepError, match="q_no_such_package"):
        steps.run_steps([failing])
    with pytest.raises(errors.PullStepError, match=r"no file .*requirements\.txt"):
        steps.run_steps([step("pip_install_requirements", directory=str(tmp_path))])


def test_a_folder_that_fsspec_reaches_is_got_once_per_content(elsewhere: Path):
    pull = step("pull_from_remote_storage", url=f"file://{elsewhere}", auto_mkdir=False)
    first = steps.run_steps([pull])
    assert first is not None
    assert Path(first, "lib", "told.py").read_text() == "told"
    assert steps.run_steps([pull]) == first
    (elsewhere / "flows.py").write_text("another")
    second = steps.run_steps([pull])
    assert second is not None
    assert second != first
    assert Path(second, "flows.py").read_text() == "another"
    assert Path(first, "flows.py").read_text() == "one", "a run that has begun keeps its code"


def test_a_folder_that_nobody_reaches_is_told_of(tmp_path: Path):
    with pytest.raises(errors.PullStepError, match="pull_from_remote_storage"):
        steps.run_steps([step("pull_from_remote_storage", url=f"file://{tmp_path}/none")])
    with pytest.raises(errors.PullStepError, match="scheme"):
        steps.run_steps([step("pull_from_remote_storage", url="no-scheme")])


def test_the_files_of_a_saved_block_come_into_a_folder_of_its_name(
    server: SyncHeadgateClient, elsewhere: Path, tmp_path: Path
):
    block = LocalFileSystem(basepath=str(elsewhere))
    block.save("q-code")
    described = storage.BlockStorageAdapter(LocalFileSystem.load("q-code")).to_pull_step()
    ((name, inputs),) = described.items()
    folder = steps.run_steps([step(name, **inputs)])
    assert folder is not None
    assert Path(folder) == tmp_path / "work" / "q-code"
    assert Path(folder, "lib", "told.py").read_text() == "told"


def test_a_block_that_is_not_there_is_told_of(server: SyncHeadgateClient):
    missing = step(
        "pull_with_block", block_type_slug="local-file-system", block_document_name="q-none"
    )
    with pytest.raises(errors.PullStepError, match="q-none"):
        steps.run_steps([missing])
