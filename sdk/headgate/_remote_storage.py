"""File systems that fsspec reaches; ``headgate.filesystems`` has them."""

from __future__ import annotations

import contextlib
import urllib.parse
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

import pydantic

from headgate import _ignore_patterns
from headgate._file_storage import FileSystem
from headgate.blocks._awaitable import DONE, Bytes, Done, Text
from headgate.core.errors import FileSystemError

__all__ = ["SMB", "RemoteFileSystem"]


class _FsspecFileSystem(FileSystem, ABC):
    """What file systems have that fsspec reaches."""

    _cached_filesystem: Any = pydantic.PrivateAttr(None)

    @abstractmethod
    def _location(self) -> tuple[str, dict[str, Any]]:
        """Return the URL that paths start from, and the options of its file system."""

    @property
    def filesystem(self) -> Any:
        """The file system, as fsspec has it.

        Raises:
            FileSystemError: What it needs is not installed.
        """
        if self._cached_filesystem is None:
            base, options = self._location()
            self._cached_filesystem = _open_filesystem(base, options)
        return self._cached_filesystem

    def read_path(self, path: str) -> Bytes:
        """Return the content of a file.

        Raises:
            FileNotFoundError: There is none.
            FileSystemError: The path leads out of the base path.
        """
        return Bytes(self.filesystem.cat_file(self._resolve_path(path)))

    def write_path(self, path: str, content: bytes) -> Text:
        """Write a file, and the folders that lead to it; returns its URL."""
        url = self._resolve_path(path)
        self.filesystem.makedirs(url.rpartition("/")[0], exist_ok=True)
        self.filesystem.pipe_file(url, content)
        return Text(url)

    def delete_path(self, path: str) -> Done:
        """Delete a file, if it is there."""
        with contextlib.suppress(FileNotFoundError):
            self.filesystem.rm_file(self._resolve_path(path))
        return DONE

    def exists(self, path: str) -> bool:
        """Say whether there is something at a path."""
        return bool(self.filesystem.exists(self._resolve_path(path)))

    def get_directory(self, from_path: str | None = None, local_path: str | None = None) -> Done:
        """Download a folder.

        Args:
            from_path: Which folder. Default: all of the block's.
            local_path: Where to. Default: the working folder.
        """
        source = self._resolve_path(from_path or "").rstrip("/") + "/"
        target = Path(local_path or ".").expanduser().resolve()
        target.mkdir(parents=True, exist_ok=True)
        self.filesystem.get(source, f"{target}/", recursive=True)
        return DONE

    def put_directory(
        self,
        local_path: str | None = None,
        to_path: str | None = None,
        ignore_file: str | None = None,
        overwrite: bool = True,
    ) -> int:
        """Upload a folder; returns how many files that were.

        Args:
            local_path: Which folder. Default: the working folder.
            to_path: Where to. Default: the base path.
            ignore_file: A file that names, as ``.gitignore`` does, what is left out.
            overwrite: Whether files that are there already are replaced.
        """
        root = Path(local_path or ".").expanduser().resolve()
        base = self._resolve_path(to_path or "").rstrip("/")
        is_ignored = _ignore_patterns.read(Path(ignore_file)) if ignore_file else None
        count = 0
        for file in _ignore_patterns.included_files(root, is_ignored):
            url = f"{base}/{file.relative_to(root).as_posix()}"
            if not overwrite and self.filesystem.exists(url):
                continue
            self.filesystem.makedirs(url.rpartition("/")[0], exist_ok=True)
            self.filesystem.put_file(str(file), url)
            count += 1
        return count

    def _resolve_path(self, path: str) -> str:
        base = self._location()[0].rstrip("/")
        rest = path
        if "://" in path:
            if path.rstrip("/") == base:
                return base
            if not path.startswith(f"{base}/"):
                raise _outside(path, base)
            rest = path.removeprefix(f"{base}/")
        if ".." in rest.split("/"):
            raise _outside(path, base)
        rest = rest.lstrip("/")
        return f"{base}/{rest}" if rest else base


class RemoteFileSystem(_FsspecFileSystem):
    """Store data as a file on a remote file system, any that fsspec reaches.

    Which one says the scheme of the base path: ``s3://my-bucket/my-folder/`` is Amazon's, and needs
    the package ``s3fs``.

    Attributes:
        basepath: The URL that paths start from, and that no path leads out of.
        settings: Options of the file system.

    Example:
        ```python
        from headgate.filesystems import RemoteFileSystem

        remote_file_system = RemoteFileSystem.load("BLOCK_NAME")
        ```
    """

    _block_type_name = "Remote File System"
    _block_type_slug = "remote-file-system"

    basepath: str = pydantic.Field(
        description="Default path for this block to write to.",
        examples=["s3://my-bucket/my-folder/"],
    )
    settings: dict[str, Any] = pydantic.Field(
        default_factory=dict,
        description="Additional settings to pass through to fsspec.",
    )

    @pydantic.field_validator("basepath")
    @classmethod
    def _check_basepath(cls, value: str) -> str:
        parts = urllib.parse.urlsplit(value)
        if not parts.scheme:
            msg = f"Base path must start with a scheme, as s3:// does. Got {value!r}."
            raise ValueError(msg)
        if parts.scheme == "file":
            msg = "Base path scheme cannot be 'file'. Use LocalFileSystem for local files."
            raise ValueError(msg)
        if not parts.netloc:
            msg = f"Base path must include a location after the scheme. Got {value!r}."
            raise ValueError(msg)
        return value

    def _location(self) -> tuple[str, dict[str, Any]]:
        return self.basepath, self.settings


class SMB(_FsspecFileSystem):
    """Store data as a file on an SMB share.

    Attributes:
        share_path: The share, and the folder in it.
        smb_username: The user; default: that of this machine.
        smb_password: The user's password.
        smb_host: The server.
        smb_port: Its port; default: 445.

    Example:
        ```python
        from headgate.filesystems import SMB

        smb = SMB.load("BLOCK_NAME")
        ```
    """

    _block_type_name = "SMB"
    _block_type_slug = "smb"

    share_path: str = pydantic.Field(
        description="SMB target (requires <SHARE>, followed by <PATH>).",
        examples=["/SHARE/dir/subdir"],
    )
    smb_username: pydantic.SecretStr | None = pydantic.Field(
        default=None,
        title="SMB Username",
        description="Username with access to the target SMB SHARE.",
    )
    smb_password: pydantic.SecretStr | None = pydantic.Field(
        default=None, title="SMB Password", description="Password for SMB access."
    )
    smb_host: str = pydantic.Field(title="SMB server/hostname", description="SMB server/hostname.")
    smb_port: int | None = pydantic.Field(
        default=None, title="SMB port", description="SMB port (default: 445)."
    )

    @property
    def basepath(self) -> str:
        """The URL that paths start from."""
        return f"smb://{self.smb_host.rstrip('/')}/{self.share_path.strip('/')}"

    def _location(self) -> tuple[str, dict[str, Any]]:
        options: dict[str, Any] = {"host": self.smb_host}
        if self.smb_username is not None:
            options["username"] = self.smb_username.get_secret_value()
        if self.smb_password is not None:
            options["password"] = self.smb_password.get_secret_value()
        if self.smb_port is not None:
            options["port"] = self.smb_port
        return self.basepath, options


def _open_filesystem(base: str, options: dict[str, Any]) -> Any:
    scheme = urllib.parse.urlsplit(base).scheme
    try:
        import fsspec  # an extra, and only for those who use it
    except ImportError as problem:
        msg = f"The file system of {base} needs fsspec; run pip install 'headgate[storage]'."
        raise FileSystemError(msg, base) from problem
    try:
        return fsspec.filesystem(scheme, **options)
    except (ImportError, ValueError) as problem:
        msg = (
            f"The file system of {base} cannot be opened: {problem}; install the package that "
            f"fsspec needs for {scheme}://, or check the scheme."
        )
        raise FileSystemError(msg, base) from problem


def _outside(path: str, base: str) -> FileSystemError:
    return FileSystemError(
        f"Path {path!r} is outside of the base path {base!r}; give one within it.", path
    )
