"""Follows the log lines of a run and its subflows until the run has ended."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence

import anyio

from headgate.core import errors
from headgate.core.clock import Clock
from headgate.core.runs import FlowRun, LogRecord
from headgate_server.domain.checks import Checks
from headgate_server.services.notifier import Notifier
from headgate_server.storage.interface import Storage, Transaction
from headgate_server.storage.records import (
    FlowRunFilter,
    FlowRunOrder,
    LogFilter,
    Page,
    PageRequest,
    read_pages,
)

_PAGE = 500
_PACE_SECONDS = 0.02
#: Lines of a run may arrive after its end: its process flushes them last.
LINGER_SECONDS = 1.0
#: The net under the signals; also how soon the end of a run without lines is seen.
_SWEEP_SECONDS = 1.0
_SUBFLOWS_MAX = 1_000


class LogTail:
    """Serves those who follow logs.

    Args:
        storage: Where log lines are.
        notifier: Says when there are more, and when runs end.
        clock: Measures how long to wait for the last lines.
    """

    def __init__(self, storage: Storage, notifier: Notifier, clock: Clock) -> None:
        """Make it for a storage."""
        self._storage = storage
        self._notifier = notifier
        self._clock = clock

    async def follow(
        self, flow_run_id: str, *, after_id: int, level_min: int
    ) -> AsyncGenerator[Sequence[LogRecord], None]:
        """Send lines, oldest first, until the run has ended and all its lines are sent.

        Raises:
            InvalidArgument: The id is none.
            NotFound: There is no such run.
            Unavailable: The server shuts down.
        """
        checks = Checks()
        checks.id("flow_run_id", flow_run_id)
        checks.raise_any()
        ended_at: float | None = None
        while True:
            self._notifier.refuse_when_closed()
            seen = self._notifier.any.count
            run, page = await self._storage.read(
                lambda tx, after=after_id: _read(tx, flow_run_id, after, level_min)
            )
            if page.items:
                yield page.items
                after_id = page.items[-1].id
            if page.next is not None:
                continue
            now = self._clock.monotonic()
            if not run.state.is_terminal:
                ended_at = None
            elif ended_at is None:
                ended_at = now
            elif now - ended_at >= LINGER_SECONDS:
                return
            await anyio.sleep(_PACE_SECONDS)
            left = _SWEEP_SECONDS if ended_at is None else ended_at + LINGER_SECONDS - now
            await self._notifier.any.wait(seen, timeout_seconds=max(0.0, left))


def _read(
    tx: Transaction, flow_run_id: str, after_id: int, level_min: int
) -> tuple[FlowRun, Page[LogRecord]]:
    run = tx.flow_runs.get(flow_run_id)
    if run is None:
        raise errors.NotFound("flow run", flow_run_id)
    if run.root_flow_run_id == run.id:
        where = LogFilter(root_flow_run_id=run.id, level_min=level_min)
    else:
        ids = (run.id, *_subflow_ids(tx, run.id))
        where = LogFilter(flow_run_ids=ids, level_min=level_min)
    return run, tx.logs.list(where, PageRequest(size=_PAGE, after=(after_id,)))


def _subflow_ids(tx: Transaction, flow_run_id: str) -> Sequence[str]:
    """Return the ids of all runs below one that is itself a subflow."""
    found: list[str] = []
    waiting = [flow_run_id]
    while waiting and len(found) < _SUBFLOWS_MAX:
        where = FlowRunFilter(parent_flow_run_id=waiting.pop())
        children = read_pages(
            lambda page, where=where: tx.flow_runs.list(where, FlowRunOrder.ID_DESC, page),
            most=_SUBFLOWS_MAX,
        )
        ids = [child.id for child in children]
        found.extend(ids)
        waiting.extend(ids)
    return found


__all__ = ["LINGER_SECONDS", "LogTail"]
