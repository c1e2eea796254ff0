"""Task runs, for those who look; engines write them through their streams."""

from __future__ import annotations

from collections.abc import Sequence

from headgate.core import errors, runs, states
from headgate_server.domain.checks import Checks
from headgate_server.storage.interface import Storage, Transaction
from headgate_server.storage.records import Page, PageRequest, TaskRunFilter


class TaskRunService:
    """Use-cases of task runs.

    Args:
        storage: Where they are kept.
    """

    def __init__(self, storage: Storage) -> None:
        """Make it for a storage."""
        self._storage = storage

    async def get(self, task_run_id: str) -> runs.TaskRun:
        """Return a task run.

        Raises:
            NotFound: There is none.
        """
        _check_id("id", task_run_id)
        return await self._storage.read(lambda tx: _get(tx, task_run_id))

    async def list(
        self, where: TaskRunFilter, page: PageRequest, *, descending: bool = False
    ) -> Page[runs.TaskRun]:
        """List task runs by id."""
        _check_filter(where)
        return await self._storage.read(
            lambda tx: tx.task_runs.list(where, page, descending=descending)
        )

    async def count(self, where: TaskRunFilter) -> Sequence[runs.StateCount]:
        """Count task runs by state."""
        _check_filter(where)
        return await self._storage.read(lambda tx: tx.task_runs.count(where))

    async def states(self, task_run_id: str) -> Sequence[states.State]:
        """Return all states of a task run, oldest first.

        Raises:
            NotFound: There is no such task run.
        """
        _check_id("task_run_id", task_run_id)

        def query(tx: Transaction) -> Sequence[states.State]:
            _get(tx, task_run_id)
            return tx.task_runs.states(task_run_id)

        return await self._storage.read(query)


def _get(tx: Transaction, task_run_id: str) -> runs.TaskRun:
    run = tx.task_runs.get(task_run_id)
    if run is None:
        raise errors.NotFound("task run", task_run_id)
    return run


def _check_id(field: str, value: str) -> None:
    checks = Checks()
    checks.id(field, value)
    checks.raise_any()


def _check_filter(where: TaskRunFilter) -> None:
    checks = Checks()
    checks.ids("filter.ids", where.ids)
    checks.ids("filter.flow_run_ids", where.flow_run_ids)
    checks.raise_any()
