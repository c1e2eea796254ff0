"""Pull steps: what a runner does before it loads a flow, in the process of the run.

A deployment lists them by name; ``git_clone`` and the others here need no module in front. Any
other function is named in full, ``package.module.function``, and is called with the inputs of the
step. A step returns a dictionary: a ``directory`` in it is the folder that the entrypoint is
relative to, and later steps may use the others as ``{{ id.key }}`` where the step has an ``id``.
"""

from __future__ import annotations

import contextlib
import importlib
import inspect
import json
import os
import shlex
import subprocess
import sys
import threading
from collections.abc import Callable, Generator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, cast

from headgate import _options, templates
from headgate._explaining import explained
from headgate.core import deployments, errors
from headgate.runner import storage

__all__ = [
    "git_clone",
    "pip_install_requirements",
    "pull_from_remote_storage",
    "pull_with_block",
    "run_shell_script",
    "run_steps",
    "set_working_directory",
]

_QUOTED_CHARACTERS_MAX = 4_000


@explained
def set_working_directory(directory: str) -> dict[str, str]:
    """Use the code in a folder of this machine.

    Args:
        directory: The folder.

    Raises:
        PullStepError: It is not there.
    """
    folder = Path(_folder(directory)).expanduser().absolute()
    if not folder.is_dir():
        msg = f"There is no folder {folder} on this machine; correct the deployment."
        raise errors.PullStepError(msg)
    return {"directory": str(folder)}


@explained
def git_clone(
    repository: str,
    branch: str | None = None,
    commit_sha: str | None = None,
    include_submodules: bool = False,
    access_token: str | None = None,
    credentials: Any = None,
    directories: Sequence[str] | None = None,
    clone_directory_name: str | None = None,
) -> dict[str, str]:
    """Get one commit of a git repository, unless it was got before.

    Args:
        repository: Its URL.
        branch: A branch or a tag. Default: the default branch.
        commit_sha: A commit, in the place of a branch.
        include_submodules: Whether submodules come along.
        access_token: Who is let in.
        credentials: The same: ``access_token``, or ``username`` and ``password``.
        directories: The only folders that are wanted.
        clone_directory_name: A folder for the code within the working folder, in the place of the
            one that runs share.

    Raises:
        StorageError: git failed; what it said is quoted, without secrets.
    """
    repo = storage.GitRepository(
        repository,
        {"access_token": access_token} if access_token else credentials,
        name=clone_directory_name,
        branch=branch,
        commit_sha=commit_sha,
        include_submodules=include_submodules,
        directories=list(directories) if directories else None,
    )
    if clone_directory_name is not None:
        repo.pull_code()
        return {"directory": str(repo.destination)}
    return {"directory": str(repo.fetch(storage.folder_of_pulled_code() / "git"))}


@explained
def pull_from_remote_storage(url: str, **settings: Any) -> dict[str, str]:
    """Get the files of a folder that fsspec reaches, unless they were got before.

    Args:
        url: Where it is, e.g. ``s3://bucket/folder``.
        **settings: Options of the file system.

    Raises:
        StorageError: They cannot be reached.
    """
    remote = storage.RemoteStorage(url, **settings)
    return {"directory": str(remote.fetch(storage.folder_of_pulled_code() / "remote"))}


@explained
def pull_with_block(block_document_name: str, block_type_slug: str) -> dict[str, str]:
    """Get the files of a saved block into the working folder.

    Args:
        block_document_name: The name of the block.
        block_type_slug: The slug of its type.

    Raises:
        BlockNotFoundError: There is no such block.
    """
    from headgate.blocks.core import Block  # loads pydantic

    adapter = storage.BlockStorageAdapter(Block.load(f"{block_type_slug}/{block_document_name}"))
    _finish(adapter.pull_code())
    return {"directory": str(adapter.destination)}


@explained
def pip_install_requirements(
    directory: str | None = None,
    requirements_file: str = "requirements.txt",
    stream_output: bool = True,
) -> dict[str, str]:
    """Install the packages that a file lists.

    Args:
        directory: The folder of the file. Default: the working folder.
        requirements_file: Its name.
        stream_output: Whether to print what pip says.

    Raises:
        PullStepError: pip failed, or there is no such file.
    """
    file = Path(directory or ".") / requirements_file
    if not file.is_file():
        msg = f"There is no file {file.absolute()} on this machine; correct the step, or its place."
        raise errors.PullStepError(msg)
    command = [sys.executable, "-m", "pip", "install", "-r", requirements_file]
    return _run(command, directory, None, stream_output)


@explained
def run_shell_script(
    script: str,
    directory: str | None = None,
    env: Mapping[str, str] | None = None,
    stream_output: bool = True,
    expand_env_vars: bool = False,
) -> dict[str, str]:
    """Run commands, one per line; not by a shell: write ``bash -c '...'`` for pipes and such.

    Args:
        script: The commands.
        directory: The folder to run them in. Default: the working folder.
        env: Variables of the environment beside those of the run.
        stream_output: Whether to print what they print.
        expand_env_vars: Whether ``$NAME`` in the commands is replaced.

    Returns:
        What they printed: ``stdout`` and ``stderr``.

    Raises:
        PullStepError: A command failed, and its last words are quoted; or it is not there.
    """
    script = _options.checked_text(script, "script") or ""
    for name, value in _options.checked_mapping(env, "env").items():
        if not isinstance(value, str):
            msg = f"env has {value!r} for {name}; use texts."
            raise errors.OptionTypeError(msg)
    _options.checked_path(directory, "directory")
    environment = {**os.environ, **(env or {})}
    printed: dict[str, str] = {"stdout": "", "stderr": ""}
    for line in script.splitlines():
        command = _words(_expanded(line, environment) if expand_env_vars else line)
        if not command:
            continue
        for stream, text in _run(command, directory, environment, stream_output).items():
            printed[stream] += text
    return {stream: text.strip() for stream, text in printed.items()}


def run_steps(steps: Sequence[deployments.PullStep], *, directory: str | None = None) -> str | None:
    """Carry out pull steps, in order.

    Args:
        steps: The steps.
        directory: The folder to begin with; the working folder of commands, too.

    Returns:
        The folder that the entrypoint is relative to.

    Raises:
        PullStepError: A step failed; its own words are quoted.
    """
    outputs: dict[str, Any] = {}
    for step in steps:
        try:
            output = _run_step(step, outputs, directory)
        except Exception as error:  # steps are anybody's code and raise anything
            said = str(error) or type(error).__name__
            msg = f"The pull step {step.name!r} failed: {said}"
            # Not its cause: what a step was given may be secret, and is in its traceback.
            raise errors.PullStepError(msg) from None
        if output.get("directory"):
            directory = str(output["directory"])
    return directory


def _run_step(
    step: deployments.PullStep, outputs: dict[str, Any], directory: str | None
) -> Mapping[str, Any]:
    inputs = {name: json.loads(text) for name, text in step.inputs.items()}
    id = inputs.pop("id", None)
    filled = templates.resolve(templates.apply_values(inputs, outputs, remove_notset=False))
    fn = _function(step.name)
    if fn in _IN_FOLDER and directory is not None:
        filled.setdefault("directory", directory)
    output = _finish(fn(**filled))
    known = cast("Mapping[str, Any]", output if isinstance(output, Mapping) else {})
    if id is not None:
        outputs[str(id)] = known
    # What commands print is no folder for the code, even if they are run in one.
    return {} if fn in _IN_FOLDER else known


_OURS: dict[str, Callable[..., Any]] = {
    fn.__name__: fn
    for fn in (
        git_clone,
        pip_install_requirements,
        pull_from_remote_storage,
        pull_with_block,
        run_shell_script,
        set_working_directory,
    )
}
_IN_FOLDER = (pip_install_requirements, run_shell_script)


def _function(name: str) -> Callable[..., Any]:
    module, _, function = name.rpartition(".")
    if module in ("", __name__):
        found = _OURS.get(function)
    else:
        try:
            found = getattr(importlib.import_module(module), function, None)
        except ImportError as error:
            msg = f"it is not there ({error}); install it where the runner is."
            raise errors.PullStepError(msg) from None
    if found is None:
        msg = f"this runner does not know it; it knows {', '.join(sorted(_OURS))}, and functions "
        raise errors.PullStepError(msg + "that are named as package.module.function.")
    return found


def _finish(result: Any) -> Any:
    if not inspect.isawaitable(result):
        return result
    import anyio  # only who has async steps pays

    async def wait() -> Any:
        return await result

    return anyio.run(wait)


def _run(
    command: Sequence[str],
    directory: str | None,
    environment: Mapping[str, str] | None,
    stream_output: bool,
) -> dict[str, str]:
    """Run a command; returns what it printed.

    Raises:
        PullStepError: It failed, or is not there.
    """
    if directory is not None and not Path(directory).is_dir():
        msg = f"There is no folder {directory} to run {command[0]} in; correct the step."
        raise errors.PullStepError(msg)
    try:
        started = subprocess.Popen(
            command,
            cwd=directory,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
        )
    except (OSError, ValueError) as problem:
        reason = getattr(problem, "strerror", None) or problem
        msg = (
            f"{command[0]!a} cannot be run here ({reason}); install it where the runner "
            "is, or correct the command."
        )
        raise errors.PullStepError(msg) from None
    with started as process:
        assert process.stdout is not None
        assert process.stderr is not None
        printed: dict[str, str] = {}
        echoes = (sys.stdout, sys.stderr) if stream_output else (None, None)
        with (
            _read(process.stdout, printed, "stdout", echoes[0]),
            _read(process.stderr, printed, "stderr", echoes[1]),
        ):
            code = process.wait()
    if code != 0:
        said = (printed["stderr"].strip() or printed["stdout"].strip())[-_QUOTED_CHARACTERS_MAX:]
        msg = f"{command[0]} ended with exit code {code}: {said or 'it said nothing'}"
        raise errors.PullStepError(msg)
    return printed


def _folder(directory: Any) -> str:
    if directory is None:
        msg = "directory is None; use the path of a folder."
        raise errors.OptionTypeError(msg)
    return str(_options.checked_path(directory, "directory"))


def _words(line: str) -> list[str]:
    try:
        return shlex.split(line)
    except ValueError as problem:
        msg = f"{line!r} is no command ({problem}); close what is opened in it."
        raise errors.PullStepError(msg) from None


@contextlib.contextmanager
def _read(
    pipe: IO[str], printed: dict[str, str], stream: str, echo: IO[str] | None
) -> Generator[None]:
    """Read what a command prints beside what goes on here."""

    def read() -> None:
        lines: list[str] = []
        for line in pipe:
            lines.append(line)
            if echo is not None:
                print(line, end="", file=echo, flush=True)
        printed[stream] = "".join(lines)

    thread = threading.Thread(target=read, name=f"headgate-step-{stream}")
    thread.start()
    try:
        yield
    finally:
        thread.join()


def _expanded(line: str, environment: Mapping[str, str]) -> str:
    import string

    return string.Template(line).safe_substitute(environment)
