"""What blocks of one kind have in common, so that code can take any of them."""

from __future__ import annotations

import contextlib
import logging
from abc import ABC, abstractmethod
from collections.abc import Generator
from typing import Any, Generic, Self, TypeAlias, TypeVar

import pydantic

from headgate.blocks.core import Block
from headgate.core.errors import MissingContextError, NotificationError
from headgate.logging import get_logger, get_run_logger

__all__ = [
    "CredentialsBlock",
    "DatabaseBlock",
    "JobBlock",
    "JobRun",
    "NotificationBlock",
    "NotificationError",
    "ObjectStorageBlock",
    "SecretBlock",
]

T = TypeVar("T")
#: What ``get_run_logger`` returns.
Logger: TypeAlias = "logging.Logger | logging.LoggerAdapter[Any]"


def _logger(of: object) -> Logger:
    try:
        return get_run_logger()
    except MissingContextError:
        return get_logger(type(of).__name__)


class CredentialsBlock(Block, ABC):
    """Credentials that make a client."""

    @property
    def logger(self) -> Logger:
        """The logger of the run, or one of this class outside of runs."""
        return _logger(self)

    @abstractmethod
    def get_client(self, *args: Any, **kwargs: Any) -> Any:
        """Return a client that uses these credentials."""


class NotificationBlock(Block, ABC):
    """Tells people something."""

    _raise_on_failure: bool = pydantic.PrivateAttr(False)

    @property
    def logger(self) -> Logger:
        """The logger of the run, or one of this class outside of runs."""
        return _logger(self)

    @abstractmethod
    def notify(self, body: str, subject: str | None = None) -> Any:
        """Send a notification.

        Args:
            body: What it says.
            subject: Its heading.
        """

    @contextlib.contextmanager
    def raise_on_failure(self) -> Generator[None]:
        """Let notifications that fail within the block raise ``NotificationError``.

        Otherwise they are logged, for a run should not fail because nobody could be told.
        """
        before, self._raise_on_failure = self._raise_on_failure, True
        try:
            yield
        finally:
            self._raise_on_failure = before


class JobRun(ABC, Generic[T]):
    """A job that runs elsewhere."""

    @property
    def logger(self) -> Logger:
        """The logger of the run, or one of this class outside of runs."""
        return _logger(self)

    @abstractmethod
    def wait_for_completion(self) -> Any:
        """Wait until the job has ended."""

    @abstractmethod
    def fetch_result(self) -> T:
        """Return what the job resulted in."""


class JobBlock(Block, ABC, Generic[T]):
    """Starts jobs elsewhere."""

    @property
    def logger(self) -> Logger:
        """The logger of the run, or one of this class outside of runs."""
        return _logger(self)

    @abstractmethod
    def trigger(self) -> JobRun[T]:
        """Start a job."""


class DatabaseBlock(Block, ABC):
    """A database; use it in a ``with`` block, so that its connection is closed."""

    @property
    def logger(self) -> Logger:
        """The logger of the run, or one of this class outside of runs."""
        return _logger(self)

    @abstractmethod
    def fetch_one(
        self, operation: str, parameters: dict[str, Any] | None = None, **options: Any
    ) -> Any:
        """Return the first row of a query."""

    @abstractmethod
    def fetch_many(
        self,
        operation: str,
        parameters: dict[str, Any] | None = None,
        size: int | None = None,
        **options: Any,
    ) -> Any:
        """Return the next rows of a query."""

    @abstractmethod
    def fetch_all(
        self, operation: str, parameters: dict[str, Any] | None = None, **options: Any
    ) -> Any:
        """Return all rows of a query."""

    @abstractmethod
    def execute(
        self, operation: str, parameters: dict[str, Any] | None = None, **options: Any
    ) -> Any:
        """Run a statement that returns no rows."""

    @abstractmethod
    def execute_many(
        self, operation: str, seq_of_parameters: list[dict[str, Any]], **options: Any
    ) -> Any:
        """Run a statement once for each of some parameters."""

    async def __aenter__(self) -> Self:
        """Open the connection."""
        raise self._no_context("async with")

    async def __aexit__(self, *arguments: object) -> None:
        """Close the connection."""
        raise self._no_context("async with")

    def __enter__(self) -> Self:
        """Open the connection."""
        raise self._no_context("with")

    def __exit__(self, *arguments: object) -> None:
        """Close the connection."""
        raise self._no_context("with")

    def _no_context(self, statement: str) -> NotImplementedError:
        return NotImplementedError(f"{type(self).__name__} cannot be used by `{statement}`.")


class ObjectStorageBlock(Block, ABC):
    """A place for files under keys."""

    @property
    def logger(self) -> Logger:
        """The logger of the run, or one of this class outside of runs."""
        return _logger(self)

    @abstractmethod
    def download_object_to_path(self, from_path: str, to_path: str, **options: Any) -> Any:
        """Download an object to a file."""

    @abstractmethod
    def download_object_to_file_object(
        self, from_path: str, to_file_object: Any, **options: Any
    ) -> Any:
        """Download an object to a file that is open."""

    @abstractmethod
    def download_folder_to_path(self, from_folder: str, to_folder: str, **options: Any) -> Any:
        """Download all objects of a folder."""

    @abstractmethod
    def upload_from_path(self, from_path: str, to_path: str, **options: Any) -> Any:
        """Upload a file."""

    @abstractmethod
    def upload_from_file_object(self, from_file_object: Any, to_path: str, **options: Any) -> Any:
        """Upload a file that is open."""

    @abstractmethod
    def upload_from_folder(self, from_folder: str, to_folder: str, **options: Any) -> Any:
        """Upload all files of a folder."""


class SecretBlock(Block, ABC):
    """A secret that is kept elsewhere."""

    @property
    def logger(self) -> Logger:
        """The logger of the run, or one of this class outside of runs."""
        return _logger(self)

    @abstractmethod
    def read_secret(self) -> Any:
        """Return the secret."""

    @abstractmethod
    def write_secret(self, secret_data: Any) -> Any:
        """Store the secret; return where."""
