"""Task runs, for those who look; engines write them through their streams."""

from __future__ import annotations

from collections.abc import Sequence

from headgate.core import errors, runs, states
from headgate_server.domain.checks import Checks
from headgate_server.storage.interface import Storage, Transaction
from headgate_server.storage.records import Page, PageRequest, TaskRunFilter

#: As the contract has it: so many times 16 KiB is what one answer may hold.
CALLS_WITH_DATA_MAX = 200


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

    async def list_calls(
        self, flow_run_id: str, task_run_ids: Sequence[str], page: PageRequest
    ) -> Page[runs.RecordedCall]:
        """List the calls of a durable flow run that have completed, oldest first.

        Args:
            flow_run_id: The flow run.
            task_run_ids: These alone, with what they returned; empty: all, without.
            page: Which page.

        Raises:
            InvalidArgument: An id is none, or there are too many.
            NotFound: There is no such flow run.
        """
        checks = Checks()
        checks.id("flow_run_id", flow_run_id)
        checks.ids("task_run_ids", task_run_ids[: CALLS_WITH_DATA_MAX + 1])
        if len(task_run_ids) > CALLS_WITH_DATA_MAX:
            checks.add("task_run_ids", f"At most {CALLS_WITH_DATA_MAX} can be asked for at once.")
        checks.raise_any()

        def query(tx: Transaction) -> Page[runs.RecordedCall]:
            if tx.flow_runs.get(flow_run_id) is None:
                raise errors.NotFound("flow run", flow_run_id)
            return tx.task_runs.list_calls(flow_run_id, task_run_ids, page)

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
