"""Task runs, for those who look and repair; engines write them through their streams."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

from headgate.core import errors, runs, states
from headgate_server.domain import decisions, repairs, transforms
from headgate_server.domain.checks import Checks
from headgate_server.services import masks
from headgate_server.services.flow_runs import check_state
from headgate_server.storage.interface import Storage, Transaction
from headgate_server.storage.records import Page, PageRequest, TaskRunFilter

#: As the contract has it: so many times 16 KiB is what one answer may hold.
CALLS_WITH_DATA_MAX = 200
TEXT_MAX = 1_024
RETRIES_MAX = 2**31 - 1
UPSTREAM_MAX = 1_000
_CHANGEABLE = ("name", "tags")


class TaskRunService:
    """Use-cases of task runs.

    Args:
        storage: Where they are kept.
        new_id: Makes ids.
    """

    def __init__(self, storage: Storage, *, new_id: Callable[[], str]) -> None:
        """Make it for a storage."""
        self._storage = storage
        self._new_id = new_id

    async def create(self, task_run: runs.TaskRun) -> runs.TaskRun:
        """Store a task run that no engine executes; one with its id is returned as it is.

        Raises:
            InvalidArgument: Fields are wrong.
            NotFound: There is no such flow run.
            AlreadyExists: The id is that of a task run of another flow run.
        """
        _check_new(task_run)
        asked = dataclasses.replace(task_run, id=task_run.id or self._new_id())
        return await self._storage.write(lambda tx: _insert(tx, asked))

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

    async def set_state(
        self, task_run_id: str, state: states.State
    ) -> tuple[states.Verdict, runs.TaskRun]:
        """Set the state of a task run by hand; see ``domain.repairs``.

        Raises:
            InvalidArgument: The state is malformed.
            NotFound: There is no such task run.
        """
        checks = Checks()
        checks.id("task_run_id", task_run_id)
        check_state(checks, "state", state)
        checks.raise_any()
        return await self._storage.write(lambda tx: _set_state(tx, task_run_id, state))

    async def update(self, task_run: runs.TaskRun, mask: Sequence[str]) -> runs.TaskRun:
        """Change name or tags.

        Raises:
            InvalidArgument: The mask or a field is wrong.
            NotFound: There is no such task run.
        """
        checks = Checks()
        checks.id("task_run.id", task_run.id)
        if "name" in mask or "*" in mask:
            if not task_run.name.strip():
                checks.add("task_run.name", "A name is required.")
            checks.text("task_run.name", task_run.name, TEXT_MAX)
        checks.tags("task_run.tags", task_run.tags)
        checks.raise_any()

        def change(tx: Transaction) -> runs.TaskRun:
            after = masks.apply(_get(tx, task_run.id), task_run, mask, allowed=_CHANGEABLE)
            tx.task_runs.update(after)
            return after

        return await self._storage.write(change)

    async def delete(self, task_run_id: str) -> None:
        """Delete a task run with its states and logs.

        Raises:
            NotFound: There is no such task run.
            FailedPrecondition: Its flow run is executed.
        """
        _check_id("id", task_run_id)

        def change(tx: Transaction) -> None:
            run = _get(tx, task_run_id)
            if tx.leases.get(run.flow_run_id) is not None:
                raise errors.FailedPrecondition(
                    f"The flow run of task run {run.name!r} is being executed; cancel it first.",
                    "task run",
                    run.id,
                )
            tx.task_runs.delete(run)

        await self._storage.write(change)


def _insert(tx: Transaction, asked: runs.TaskRun) -> runs.TaskRun:
    known = tx.task_runs.get(asked.id)
    if known is not None:
        if known.flow_run_id != asked.flow_run_id:
            raise errors.AlreadyExists("task run", asked.id)
        return known
    flow_run = tx.flow_runs.get(asked.flow_run_id)
    if flow_run is None:
        raise errors.NotFound("flow run", asked.flow_run_id)
    made = dataclasses.replace(
        transforms.new_task_run(asked, tx.now()), flow_run_attempt=max(flow_run.run_count, 1)
    )
    return dataclasses.replace(made, revision=tx.task_runs.insert(made))


def _check_new(task_run: runs.TaskRun) -> None:
    checks = Checks()
    checks.optional_id("task_run.id", task_run.id)
    checks.id("task_run.flow_run_id", task_run.flow_run_id)
    if not task_run.task_key:
        checks.add("task_run.task_key", "A key is required: which task it is.")
    for field in ("name", "task_key", "dynamic_key", "task_version"):
        checks.text(f"task_run.{field}", getattr(task_run, field), TEXT_MAX)
    checks.tags("task_run.tags", task_run.tags)
    if not 0 <= task_run.max_retries <= RETRIES_MAX:
        checks.add("task_run.max_retries", f"It is a number from 0 to {RETRIES_MAX}.")
    checks.optional_id("task_run.parent_task_run_id", task_run.parent_task_run_id)
    checks.ids("task_run.upstream_run_ids", task_run.upstream_run_ids[: UPSTREAM_MAX + 1])
    if len(task_run.upstream_run_ids) > UPSTREAM_MAX:
        checks.add("task_run.upstream_run_ids", f"At most {UPSTREAM_MAX} can be named.")
    check_state(checks, "task_run.state", task_run.state)
    checks.raise_any()


def _set_state(
    tx: Transaction, task_run_id: str, state: states.State
) -> tuple[states.Verdict, runs.TaskRun]:
    run = _get(tx, task_run_id)
    flow_run = tx.flow_runs.get(run.flow_run_id)
    decision = repairs.decide(
        # What was stored first may have been removed; the newest state is always there.
        [*tx.task_runs.states(task_run_id), run.state],
        state,
        flow_run_name=flow_run.name if flow_run else run.flow_run_id,
        executed=tx.leases.get(run.flow_run_id) is not None,
    )
    verdict = decisions.to_verdict(decision, current=run.state)
    if not isinstance(decision, decisions.Accept) or decision.state.id == run.state.id:
        return verdict, run
    after = transforms.apply_to_task_run(run, decision.state)
    return verdict, dataclasses.replace(after, revision=tx.task_runs.save([after]))


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
