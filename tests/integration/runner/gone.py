"""Waiting for the end of processes that are nobody's children here."""

from __future__ import annotations

import contextlib

import anyio.to_thread
import psutil

_PATIENCE_SECONDS = 10


async def wait_until_gone(pid: int) -> None:
    """Wait until there is no such process; a zombie that nobody reaps has ended, too."""
    with contextlib.suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        try:
            await anyio.to_thread.run_sync(process.wait, _PATIENCE_SECONDS)
        except psutil.TimeoutExpired:
            assert process.status() == psutil.STATUS_ZOMBIE
