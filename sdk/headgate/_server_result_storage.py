"""The block in which the server says that results are kept; asked for once per process."""

from __future__ import annotations

import os
import threading
from pathlib import Path

from headgate import settings
from headgate.core import errors, homes
from headgate.core.clock import process_clock as _clock

__all__ = ["block_id"]

#: After the server did not answer, results go to the folder, and it is asked again.
_AGAIN_AFTER_SECONDS = 30.0

_lock = threading.Lock()
#: By the address of the server: its answer, and until when that holds; None: for good.
_answers: dict[str, tuple[str | None, float | None]] = {}


def block_id() -> str | None:
    """Return the id of the block; None where none was chosen, or no server says so.

    Blocks until the server has answered. It is asked when a result is first kept, or looked for,
    that neither flow, task nor settings name a storage for.
    """
    now = settings.current()
    if now.api_url is None and not _is_there(now.home):
        return None
    address = now.api_url or str(now.home)
    with _lock:
        known = _answers.get(address)
        if known is None or (known[1] is not None and known[1] <= _clock.monotonic()):
            known = _answers[address] = _ask()
        return known[0]


def _forget() -> None:
    """In a child after a fork: the thread that held the lock is not there."""
    global _lock
    _lock = threading.Lock()


os.register_at_fork(after_in_child=_forget)


def _is_there(home: Path) -> bool:
    """Say whether an embedded server has ever run here: else nothing can have been chosen."""
    return (home / homes.DATABASE_FILE).exists() or homes.socket_path(home).exists()


def _ask() -> tuple[str | None, float | None]:
    from headgate.client.orchestration import get_client  # loads grpc

    try:
        with get_client(sync_client=True) as client:
            return client.read_server_default_result_storage().default_result_storage_block_id, None
    except errors.Unsupported:
        return None, None  # an older server
    except errors.HeadgateError as problem:
        from headgate.logging.loggers import get_logger

        get_logger("results").warning(
            "The server does not say where results are kept, so they go to this machine's folder: "
            "%s",
            problem,
        )
        return None, _clock.monotonic() + _AGAIN_AFTER_SECONDS
