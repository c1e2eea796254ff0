"""Who has a database file: one process at a time, and the others can tell which.

Two files stand next to the database. ``headgate.db.lock`` is locked by the process that has the
database. ``headgate.db.holder`` is its record: who it is and where it listens. The record is
locked, too, before it appears under its name. So a record that is not locked was left behind by
a killed process and means nothing, and one that is locked is true: nobody is ever sent a signal
because a dead process had had its number.
"""

from __future__ import annotations

import contextlib
import dataclasses
import enum
import fcntl
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from headgate.core import errors


class HolderKind(enum.StrEnum):
    """What a process does with the database.

    ``EMBEDDED`` is a server that a run started for want of another; ``MAINTENANCE`` is
    ``headgate server database``.
    """

    SERVER = "server"
    EMBEDDED = "embedded"
    MAINTENANCE = "maintenance"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """A process that has a database file.

    Attributes:
        pid: Its process id.
        kind: What it does with the database.
        addresses: Where it listens; empty until it answers calls.
    """

    pid: int
    kind: HolderKind
    addresses: tuple[str, ...] = ()


class Hold:
    """This process's hold on a database file; gone with the process, however it dies.

    Args:
        database: The file.
        kind: What this process does with it.
    """

    def __init__(self, database: Path, *, kind: HolderKind = HolderKind.SERVER) -> None:
        """Make it; nothing is held yet."""
        self.database = database
        self._kind = kind
        self._lock: IO[bytes] | None = None
        self._record: IO[str] | None = None

    def acquire(self) -> None:
        """Take hold of the file.

        Raises:
            DatabaseInUse: Another process has it; the error says which.
            Unavailable: The files next to the database cannot be written.
        """
        try:
            lock = _beside(self.database, "lock").open("ab")
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                self._record = self._publish(())
            except BaseException:
                lock.close()
                raise
        except BlockingIOError:
            raise _in_use(self.database) from None
        except OSError as error:
            raise errors.Unavailable(
                f"The database {self.database} cannot be locked: {error.strerror}."
            ) from error
        self._lock = lock

    def announce(self, addresses: Sequence[str]) -> None:
        """Say where this process listens, now that it answers calls."""
        if self._record is None:
            return
        # A full disk must not stop a server that has got this far.
        with contextlib.suppress(OSError):
            former, self._record = self._record, self._publish(addresses)
            former.close()

    def release(self) -> None:
        """Let go of the file."""
        if self._lock is None or self._record is None:
            return
        # The lock's own file stays: to remove it would race with the next one to lock it. The
        # record goes while the lock is held: afterwards it may be somebody else's.
        _beside(self.database, "holder").unlink(missing_ok=True)
        self._record.close()
        self._lock.close()
        self._lock = self._record = None

    def _publish(self, addresses: Sequence[str]) -> IO[str]:
        # One that a killed process left is written over: nobody but the holder comes here.
        draft = _beside(self.database, "holder.new")
        record = draft.open("w", encoding="utf-8")
        try:
            fcntl.flock(record, fcntl.LOCK_EX | fcntl.LOCK_NB)
            json.dump(
                {"pid": os.getpid(), "kind": self._kind, "addresses": list(addresses)}, record
            )
            record.flush()
            draft.replace(_beside(self.database, "holder"))
        except BaseException:
            record.close()
            raise
        return record


def database_file(database_url: str) -> Path | None:
    """Return the file that a database URL names; None if it names none.

    ``sqlite:///relative.db``, ``sqlite:////absolute.db``, ``sqlite:///~/in/the/home.db``.
    """
    scheme, _, rest = database_url.partition("://")
    path = rest.partition("?")[0].removeprefix("/")
    if scheme.partition("+")[0] != "sqlite" or path in ("", ":memory:"):
        return None
    return Path(path).expanduser().absolute()


def find_holder(database: Path) -> Holder | None:
    """Return who has a database file.

    None means nobody, or somebody for a moment who is just beginning or just ending.
    """
    name = _beside(database, "holder")
    try:
        with name.open(encoding="utf-8") as record:
            if not _is_locked(record):
                # Its writer may have put a newer one in its place since it was opened.
                was_replaced = not os.path.samestat(os.fstat(record.fileno()), name.stat())
                return find_holder(database) if was_replaced else None
            text = record.read()
    except OSError:
        return None
    written = json.loads(text)
    return Holder(
        pid=written["pid"],
        kind=HolderKind(written["kind"]),
        addresses=tuple(written["addresses"]),
    )


def _is_locked(record: IO[str]) -> bool:
    try:
        fcntl.flock(record, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    return False


def _beside(database: Path, suffix: str) -> Path:
    return database.with_name(f"{database.name}.{suffix}")


def _in_use(database: Path) -> errors.DatabaseInUse:
    holder = find_holder(database)
    if holder is None:
        return errors.DatabaseInUse(str(database))
    if holder.kind is HolderKind.MAINTENANCE:
        return errors.DatabaseInUse(
            str(database),
            holder.pid,
            f"The database {database} is in use by `headgate server database` (process id "
            f"{holder.pid}); try again when that has ended.",
        )
    return errors.DatabaseInUse(str(database), holder.pid)


__all__ = ["Hold", "Holder", "HolderKind", "database_file", "find_holder"]
