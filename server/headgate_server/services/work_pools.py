"""Work pools, their queues, and the runners that serve them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

from headgate.core import deployments, errors
from headgate_server.domain import checks as domain_checks
from headgate_server.domain.checks import Checks
from headgate_server.domain.requests import id_of_made
from headgate_server.services import masks
from headgate_server.services.lifecycle import Lifecycle, state_verb
from headgate_server.storage.interface import Storage, Transaction
from headgate_server.storage.records import Page, PageRequest

DEFAULT = "default"
_POOL_FIELDS = ("description", "concurrency_limit", "paused", "base_job_template")
_QUEUE_FIELDS = ("description", "priority", "concurrency_limit", "paused")


class WorkPoolService:
    """Use-cases of work pools.

    Args:
        storage: Where they are kept.
        new_id: Makes ids.
    """

    def __init__(self, storage: Storage, *, new_id: Callable[[], str]) -> None:
        """Make it for a storage."""
        self._storage = storage
        self._new_id = new_id
        self._lifecycle = Lifecycle(new_id)

    async def create(
        self, pool: deployments.WorkPool, *, request_id: str = ""
    ) -> deployments.WorkPool:
        """Make a pool with a queue "default".

        Raises:
            InvalidArgument: Fields are wrong.
            AlreadyExists: There is one of this name, and not by this request.
        """
        checks = Checks()
        checks.optional_id("request_id", request_id)
        checks.name("work_pool.name", pool.name)
        checks.name("work_pool.type", pool.type)
        _check_pool(checks, pool)
        checks.raise_any()
        new_id = id_of_made(request_id, pool.name) if request_id else self._new_id()

        def change(tx: Transaction) -> deployments.WorkPool:
            known = tx.work_pools.get(pool.name)
            if known is not None and known.id == new_id:
                return known
            now = tx.now()
            made = dataclasses.replace(pool, id=new_id, create_time=now, update_time=now)
            queue = deployments.WorkQueue(
                id=self._new_id(),
                name=DEFAULT,
                work_pool_name=pool.name,
                priority=1,
                create_time=now,
            )
            tx.work_pools.insert(made, queue)
            self._lifecycle.work_pool(tx, "created", made)
            self._lifecycle.work_queue(tx, "created", queue)
            return _get(tx, pool.name)

        return await self._storage.write(change)

    async def get(self, name: str) -> deployments.WorkPool:
        """Return a pool.

        Raises:
            NotFound: There is none.
        """
        return await self._storage.read(lambda tx: _get(tx, name))

    async def list(self, page: PageRequest) -> Page[deployments.WorkPool]:
        """List pools by name."""
        return await self._storage.read(lambda tx: tx.work_pools.list(page))

    async def update(self, pool: deployments.WorkPool, mask: Sequence[str]) -> deployments.WorkPool:
        """Change a pool.

        Raises:
            InvalidArgument: The mask or a field is wrong.
            NotFound: There is no such pool.
        """
        checks = Checks()
        _check_pool(checks, pool)
        checks.raise_any()

        def change(tx: Transaction) -> deployments.WorkPool:
            stored = _get(tx, pool.name)
            tx.work_pools.update(masks.apply(stored, pool, mask, allowed=_POOL_FIELDS))
            updated = _get(tx, pool.name)
            self._lifecycle.work_pool(tx, "updated", updated)
            if updated.state is not stored.state:
                self._lifecycle.work_pool(tx, state_verb(updated.state), updated)
            return updated

        return await self._storage.write(change)

    async def delete(self, name: str) -> None:
        """Delete a pool with its queues.

        Raises:
            NotFound: There is no such pool.
            FailedPrecondition: It is used, or it is the pool "default".
        """
        if name == DEFAULT:
            raise errors.FailedPrecondition(
                "The work pool 'default' is always there; pause it instead.", "work pool", name
            )

        def change(tx: Transaction) -> None:
            pool = _get(tx, name)
            if tx.work_pools.is_used(name):
                raise errors.FailedPrecondition(
                    f"Work pool {name!r} is used by deployments or by runs that are being "
                    "executed; move or delete those first.",
                    "work pool",
                    name,
                )
            tx.work_pools.delete(name)
            self._lifecycle.work_pool(tx, "deleted", pool)

        await self._storage.write(change)

    async def create_queue(
        self, queue: deployments.WorkQueue, *, request_id: str = ""
    ) -> deployments.WorkQueue:
        """Make a queue; priority 0 puts it behind all others of the pool.

        Raises:
            InvalidArgument: Fields are wrong.
            NotFound: There is no such pool.
            AlreadyExists: The pool has a queue of this name, and not by this request.
        """
        checks = Checks()
        checks.optional_id("request_id", request_id)
        checks.name("work_queue.name", queue.name)
        _check_queue(checks, queue)
        checks.raise_any()
        place = (queue.work_pool_name, queue.name)
        new_id = id_of_made(request_id, *place) if request_id else self._new_id()

        def change(tx: Transaction) -> deployments.WorkQueue:
            _get(tx, queue.work_pool_name)
            others = tx.work_pools.list_queues(queue.work_pool_name)
            known = next((other for other in others if other.name == queue.name), None)
            if known is not None and known.id == new_id:
                return known
            last = max((other.priority for other in others), default=0)
            made = dataclasses.replace(
                queue,
                id=new_id,
                priority=queue.priority or last + 1,
                create_time=tx.now(),
            )
            tx.work_pools.insert_queue(made)
            self._lifecycle.work_queue(tx, "created", made)
            return made

        return await self._storage.write(change)

    async def list_queues(self, pool_name: str) -> Sequence[deployments.WorkQueue]:
        """List the queues of a pool by priority.

        Raises:
            NotFound: There is no such pool.
        """

        def query(tx: Transaction) -> Sequence[deployments.WorkQueue]:
            _get(tx, pool_name)
            return tx.work_pools.list_queues(pool_name)

        return await self._storage.read(query)

    async def update_queue(
        self, queue: deployments.WorkQueue, mask: Sequence[str]
    ) -> deployments.WorkQueue:
        """Change a queue.

        Raises:
            InvalidArgument: The mask or a field is wrong.
            NotFound: There is no such pool or queue.
        """
        checks = Checks()
        _check_queue(checks, queue)
        if {"priority", "*"} & set(mask) and queue.priority < 1:
            checks.add("work_queue.priority", "1 is the first; there is nothing before it.")
        checks.raise_any()

        def change(tx: Transaction) -> deployments.WorkQueue:
            stored = _get_queue(tx, queue.work_pool_name, queue.name)
            after = masks.apply(stored, queue, mask, allowed=_QUEUE_FIELDS)
            updated = tx.work_pools.update_queue(after)
            self._lifecycle.work_queue(tx, "updated", updated)
            if updated.paused != stored.paused:
                verb = "paused" if updated.paused else "resumed"
                self._lifecycle.work_queue(tx, verb, updated)
            return updated

        return await self._storage.write(change)

    async def delete_queue(self, pool_name: str, name: str) -> None:
        """Delete a queue; its runs and deployments go to the queue "default".

        Raises:
            NotFound: There is no such pool or queue.
            FailedPrecondition: It is the queue "default".
        """
        if name == DEFAULT:
            raise errors.FailedPrecondition(
                "The queue 'default' of a pool is always there; pause it instead.",
                "work queue",
                f"{pool_name}/{name}",
            )

        def change(tx: Transaction) -> None:
            queue = _get_queue(tx, pool_name, name)
            tx.work_pools.delete_queue(pool_name, name)
            self._lifecycle.work_queue(tx, "deleted", queue)

        await self._storage.write(change)

    async def list_runners(
        self, pool_name: str, *, online_only: bool
    ) -> Sequence[deployments.Runner]:
        """List runners by name; of all pools where no name is given.

        Raises:
            NotFound: There is no such pool.
        """

        def query(tx: Transaction) -> Sequence[deployments.Runner]:
            if pool_name:
                _get(tx, pool_name)
            return tx.leases.list_runners(pool_name, online_only=online_only)

        return await self._storage.read(query)


def _get(tx: Transaction, name: str) -> deployments.WorkPool:
    pool = tx.work_pools.get(name)
    if pool is None:
        raise errors.NotFound("work pool", name)
    return pool


def _get_queue(tx: Transaction, pool_name: str, name: str) -> deployments.WorkQueue:
    _get(tx, pool_name)
    queue = tx.work_pools.get_queue(pool_name, name)
    if queue is None:
        raise errors.NotFound("work queue", f"{pool_name}/{name}")
    return queue


def _check_pool(checks: Checks, pool: deployments.WorkPool) -> None:
    checks.text("work_pool.description", pool.description)
    checks.positive("work_pool.concurrency_limit", pool.concurrency_limit)
    template = pool.base_job_template
    if template and not domain_checks.is_json(template):
        checks.add("work_pool.base_job_template", "The template is not a JSON text.")


def _check_queue(checks: Checks, queue: deployments.WorkQueue) -> None:
    checks.text("work_queue.description", queue.description)
    checks.positive("work_queue.concurrency_limit", queue.concurrency_limit)
    if queue.priority < 0:
        checks.add("work_queue.priority", "1 is the first; leave it out for the last place.")
