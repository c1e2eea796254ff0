"""Limits by tag, as code for older versions of the incumbent has them; new code needs them not."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Sequence
from typing import TYPE_CHECKING

from headgate.concurrency.asyncio import concurrency as _concurrency
from headgate.core.concurrency import TAG_PREFIX

if TYPE_CHECKING:
    import uuid

__all__ = ["concurrency"]


@contextlib.asynccontextmanager
async def concurrency(
    names: str | Sequence[str],
    task_run_id: str | uuid.UUID,
    timeout_seconds: float | None = None,
) -> AsyncGenerator[None]:
    """Hold a slot of the limit of each tag for the length of an ``async with`` block.

    Args:
        names: The tags.
        task_run_id: The task run that holds the slots.
        timeout_seconds: How long to wait for them; None: for as long as it takes.

    Raises:
        AcquireConcurrencySlotTimeoutError: The slots were not free in time.
        ConcurrencySlotAcquisitionError: The slots cannot be had.
    """
    tags = [names] if isinstance(names, str) else list(names)
    async with _concurrency(
        [TAG_PREFIX + tag for tag in tags],
        timeout_seconds=timeout_seconds,
        holder={"type": "task_run", "id": str(task_run_id)},
    ):
        yield
