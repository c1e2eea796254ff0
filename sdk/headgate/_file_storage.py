"""What file systems have in common; ``headgate.filesystems`` has them."""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, TypeVar

import anyio.to_thread

from headgate.blocks.core import Block

__all__ = [
    "FileSystem",
    "ReadableDeploymentStorage",
    "ReadableFileSystem",
    "WritableDeploymentStorage",
    "WritableFileSystem",
]

T = TypeVar("T")


async def _in_thread(function: Callable[..., T], *args: Any, **kwargs: Any) -> T:
    return await anyio.to_thread.run_sync(functools.partial(function, *args, **kwargs))


class ReadableFileSystem(Block, ABC):
    """A place that bytes can be read from."""

    _block_schema_capabilities = ["read-path"]  # noqa: RUF012 - a ClassVar of Block

    @abstractmethod
    def read_path(self, path: str) -> Any:
        """Return the bytes at a path."""


class WritableFileSystem(Block, ABC):
    """A place that bytes can be written to and read from."""

    _block_schema_capabilities = ["read-path", "write-path"]  # noqa: RUF012 - a ClassVar of Block

    @abstractmethod
    def read_path(self, path: str) -> Any:
        """Return the bytes at a path."""

    @abstractmethod
    def write_path(self, path: str, content: bytes) -> Any:
        """Write bytes to a path."""


class ReadableDeploymentStorage(Block, ABC):
    """A place that folders can be fetched from."""

    _block_schema_capabilities = ["get-directory"]  # noqa: RUF012 - a ClassVar of Block

    @abstractmethod
    def get_directory(self, from_path: str | None = None, local_path: str | None = None) -> Any:
        """Copy a folder from there to this machine."""


class WritableDeploymentStorage(Block, ABC):
    """A place that folders can be put to and fetched from."""

    _block_schema_capabilities = ["get-directory", "put-directory"]  # noqa: RUF012 - as above

    @abstractmethod
    def get_directory(self, from_path: str | None = None, local_path: str | None = None) -> Any:
        """Copy a folder from there to this machine."""

    @abstractmethod
    def put_directory(
        self,
        local_path: str | None = None,
        to_path: str | None = None,
        ignore_file: str | None = None,
    ) -> Any:
        """Copy a folder from this machine to there."""


class FileSystem(WritableFileSystem, WritableDeploymentStorage, ABC):
    """What Headgate's own file systems have: also the methods to be awaited."""

    @abstractmethod
    def delete_path(self, path: str) -> Any:
        """Delete a file, if it is there."""

    async def aread_path(self, path: str) -> bytes:
        """Return the bytes at a path; see ``read_path``."""
        return bytes(await _in_thread(self.read_path, path))

    async def awrite_path(self, path: str, content: bytes) -> str:
        """Write bytes to a path; see ``write_path``."""
        return str(await _in_thread(self.write_path, path, content))

    async def adelete_path(self, path: str) -> None:
        """Delete a file; see ``delete_path``."""
        await _in_thread(self.delete_path, path)

    async def aget_directory(
        self, from_path: str | None = None, local_path: str | None = None
    ) -> None:
        """Copy a folder to this machine; see ``get_directory``."""
        await _in_thread(self.get_directory, from_path, local_path)

    async def aput_directory(
        self,
        local_path: str | None = None,
        to_path: str | None = None,
        ignore_file: str | None = None,
    ) -> Any:
        """Copy a folder from this machine; see ``put_directory``."""
        return await _in_thread(self.put_directory, local_path, to_path, ignore_file)
