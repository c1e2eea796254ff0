"""File systems as blocks: places for results and code, under a name.

Every method exists twice: ``read_path`` blocks, ``aread_path`` is awaited.
"""

from __future__ import annotations

import contextlib
import functools
import os
import shutil
import tempfile
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pydantic

from headgate import _ignore_patterns, _options
from headgate._file_storage import (
    FileSystem,
    ReadableDeploymentStorage,
    ReadableFileSystem,
    WritableDeploymentStorage,
    WritableFileSystem,
)
from headgate._remote_storage import SMB, RemoteFileSystem
from headgate.blocks._awaitable import DONE, Bytes, Done, Text
from headgate.core import errors
from headgate.core.errors import FileSystemError

__all__ = [
    "SMB",
    "FileSystemError",
    "LocalFileSystem",
    "ReadableDeploymentStorage",
    "ReadableFileSystem",
    "RemoteFileSystem",
    "WritableDeploymentStorage",
    "WritableFileSystem",
]


class LocalFileSystem(FileSystem):
    """Store data as a file on a local file system.

    Attributes:
        basepath: The folder that relative paths start from, and that no path leads out of.
            Default: the working folder.

    Example:
        ```python
        from headgate.filesystems import LocalFileSystem

        local_file_system = LocalFileSystem.load("BLOCK_NAME")
        ```
    """

    _block_type_name = "Local File System"
    _block_type_slug = "local-file-system"

    basepath: str | None = pydantic.Field(
        default=None, description="Default local path for this block to write to."
    )

    @pydantic.field_validator("basepath", mode="before")
    @classmethod
    def _as_text(cls, value: Any) -> Any:
        return str(value) if isinstance(value, Path) else value

    def read_path(self, path: str) -> Bytes:
        """Return the content of a file.

        Raises:
            FileSystemError: The path does not exist, is no file, or leads out of the folder.
        """
        file = self._resolve_path(path)
        if not file.exists():
            msg = f"Path {file} does not exist; check it, or write there first."
            raise FileSystemError(msg, str(file))
        if not file.is_file():
            msg = f"Path {file} is not a file; give the path of one."
            raise FileSystemError(msg, str(file))
        return Bytes(file.read_bytes())

    def write_path(self, path: str, content: bytes) -> Text:
        """Write a file, and the folders that lead to it; others see all of it or nothing.

        Returns:
            The whole path.

        Raises:
            FileSystemError: There is something else than a file, or the path leads out of the
                folder.
        """
        file = self._resolve_path(path)
        if file == self._resolve_path(None) or (file.exists() and not file.is_file()):
            msg = f"Path {file} already exists and is not a file; choose another one."
            raise FileSystemError(msg, str(file))
        if not isinstance(content, bytes | bytearray | memoryview):
            msg = f"content is a {type(content).__name__}; use bytes, as text.encode() makes them."
            raise errors.OptionTypeError(msg)
        file.parent.mkdir(exist_ok=True, parents=True)
        with _replacing(file) as draft:
            draft.write_bytes(content)
        return Text(file)

    def delete_path(self, path: str) -> Done:
        """Delete a file, if it is there."""
        self._resolve_path(path).unlink(missing_ok=True)
        return DONE

    def exists(self, path: str) -> bool:
        """Say whether there is something at a path."""
        return self._resolve_path(path).exists()

    def get_directory(self, from_path: str | None = None, local_path: str | None = None) -> Done:
        """Copy a folder, less what its ``.headgateignore`` names.

        Args:
            from_path: Which folder. Default: all of the block's.
            local_path: Where to. Default: the working folder.
        """
        source = self._resolve_path(from_path)
        _options.checked_path(local_path, "local_path")
        target = Path(local_path or ".").expanduser().resolve()
        patterns = source / _ignore_patterns.IGNORE_FILE
        _copy(source, target, patterns if patterns.is_file() else None)
        return DONE

    def put_directory(
        self,
        local_path: str | None = None,
        to_path: str | None = None,
        ignore_file: str | None = None,
    ) -> Done:
        """Copy a folder into the block's.

        Args:
            local_path: Which folder. Default: the working folder.
            to_path: Where to. Default: the block's folder itself.
            ignore_file: A file that names, as ``.gitignore`` does, what is left out.
        """
        _options.checked_path(local_path, "local_path")
        _options.checked_path(ignore_file, "ignore_file")
        source = Path(local_path or ".").expanduser().resolve()
        _copy(source, self._resolve_path(to_path), Path(ignore_file) if ignore_file else None)
        return DONE

    def _resolve_path(self, path: str | None) -> Path:
        _options.checked_path(path, "path")
        base = Path(self.basepath or ".").expanduser().resolve()
        if path is None:
            return base
        # Not resolved: links within the folder may lead where the user wants.
        wanted = Path(os.path.normpath(base / Path(path).expanduser()))
        if wanted.is_relative_to(base):
            return wanted
        resolved = wanted.resolve()
        if resolved.is_relative_to(base):
            return resolved
        msg = f"Path {path} is outside of the base path {base}; give one within it."
        raise FileSystemError(msg, str(path))


def _copy(source: Path, target: Path, ignore_file: Path | None) -> None:
    if source == target:
        return
    if not source.is_dir():
        msg = f"Path {source} is not a folder; give the path of one."
        raise FileSystemError(msg, str(source))
    is_ignored = _ignore_patterns.read(ignore_file) if ignore_file is not None else None
    # All are found before the first is copied: the target may be within the source.
    for file in list(_ignore_patterns.included_files(source, is_ignored)):
        copy = target / file.relative_to(source)
        try:
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(file, copy)
        except OSError as problem:
            msg = f"{file} cannot be copied to {copy} ({problem.strerror}); see to that place."
            raise FileSystemError(msg, str(copy)) from problem


@contextlib.contextmanager
def _replacing(file: Path) -> Generator[Path]:
    """Give a file to write, which takes the place of the other when it is whole."""
    descriptor, name = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name[:100]}.")
    os.close(descriptor)
    draft = Path(name)
    try:
        yield draft
        draft.chmod(0o666 & ~_umask())
        draft.replace(file)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise


@functools.cache
def _umask() -> int:
    # There is no way to read it but to set it.
    value = os.umask(0o077)
    os.umask(value)
    return value
