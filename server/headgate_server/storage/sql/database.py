"""What the committer and the readers ask of a kind of database."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Protocol

import sqlalchemy as sa

from headgate.core import errors
from headgate_server.storage.records import Commit
from headgate_server.storage.sql.driver import Driver

if TYPE_CHECKING:
    from headgate_server.storage.sql.lane import Lane


class Database(Protocol):
    """SQLite or PostgreSQL."""

    @property
    def name(self) -> str:
        """``sqlite`` or ``postgresql``."""
        ...

    @property
    def driver(self) -> Driver:
        """How the committer speaks to it."""
        ...

    def open(self) -> None:
        """Take hold of it. Raises DatabaseInUse or Unavailable."""
        ...

    def close(self) -> None:
        """Let go of it."""
        ...

    def connect_writer(self) -> sa.Connection:
        """Return a new connection for the committer, without a transaction of its own."""
        ...

    def be_patient(self, connection: sa.Connection, *, patient: bool) -> bool:
        """Say whether transactions of the writer, from now on, may wait: for a lock, for the disk.

        New connections may. One that may not raises what means that it would have to.

        Returns:
            Whether it is so now; this database may be unable not to wait.
        """
        ...

    def open_lane(self) -> Lane | None:
        """Return a connection of the event loop's own, if the database gains by that."""
        ...

    def connect_reader(self) -> sa.Connection:
        """Return a connection whose transactions are snapshots that cannot write."""
        ...

    def now(self, connection: sa.Connection) -> datetime:
        """Return the time by the database clock."""
        ...

    def follow(self, on_commit: Callable[[Commit], None]) -> Callable[[], None]:
        """Call back, in some thread, on commits of other replicas; returns a stop."""
        ...

    def unavailable(self, error: Exception) -> errors.Unavailable | None:
        """Return how to say it if the error means that the database cannot be used now."""
        ...
