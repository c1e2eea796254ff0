"""Concurrency limits: made, changed, looked at. Their slots: ``slots.py``."""

from __future__ import annotations

import dataclasses
from collections.abc import Awaitable, Callable, Sequence
from typing import NoReturn

from headgate.core import errors
from headgate.core.concurrency import ConcurrencyLimit, SlotLease
from headgate_server.domain.checks import Checks
from headgate_server.domain.requests import id_of_made
from headgate_server.services import masks, slot_records
from headgate_server.services.lifecycle import Lifecycle
from headgate_server.services.notifier import Notifier
from headgate_server.storage.interface import Storage, Transaction
from headgate_server.storage.kinds.concurrency import LIMITS_TOPIC, Claim, StoredLimit
from headgate_server.storage.records import Page, PageRequest

#: Longer than a tag with its prefix.
NAME_CHARACTERS_MAX = 300
_DECAY_MAX = 1e9
_FIELDS = ("limit", "active", "slot_decay_per_second")
#: How many names those who watch are told at most.
WATCHED_MAX = 10_000
#: The net under the announcements.
_LOOK_SECONDS = 30.0


class ConcurrencyLimitService:
    """Use-cases of concurrency limits.

    Args:
        storage: Where they are kept.
        notifier: Says when they change.
        new_id: Makes ids.
    """

    def __init__(self, storage: Storage, notifier: Notifier, *, new_id: Callable[[], str]) -> None:
        """Make it for a storage."""
        self._storage = storage
        self._notifier = notifier
        self._new_id = new_id
        self._lifecycle = Lifecycle(new_id)

    async def create(self, limit: ConcurrencyLimit, *, request_id: str = "") -> ConcurrencyLimit:
        """Make a limit.

        Raises:
            InvalidArgument: Fields are wrong.
            AlreadyExists: There is one of this name, and not by this request.
        """
        _check(limit)
        checks = Checks()
        checks.optional_id("request_id", request_id)
        checks.raise_any()
        new_id = id_of_made(request_id, limit.name) if request_id else self._new_id()

        def change(tx: Transaction) -> ConcurrencyLimit:
            known = tx.concurrency_limits.get(limit.name)
            if known is not None and known.limit.id == new_id:
                return _counted(tx, [known])[0]
            now = tx.now()
            made = dataclasses.replace(
                limit,
                id=new_id,
                active_slots=0,
                waiting=0,
                create_time=now,
                update_time=now,
            )
            tx.concurrency_limits.insert(made)
            self._tell(tx, "created", made)
            return made

        return await self._storage.write(change)

    async def get(self, name: str) -> ConcurrencyLimit:
        """Return a limit.

        Raises:
            NotFound: There is none.
        """
        return await self._storage.read(lambda tx: _counted(tx, [_get(tx, name)])[0])

    async def list(self, name_prefix: str, page: PageRequest) -> Page[ConcurrencyLimit]:
        """List limits by name.

        Raises:
            InvalidArgument: The prefix is too long.
        """
        _check_prefix(name_prefix)

        def query(tx: Transaction) -> Page[ConcurrencyLimit]:
            found = tx.concurrency_limits.list(name_prefix, page)
            return Page(items=_counted(tx, found.items), next=found.next)

        return await self._storage.read(query)

    async def update(self, limit: ConcurrencyLimit, mask: Sequence[str]) -> ConcurrencyLimit:
        """Change a limit.

        Raises:
            InvalidArgument: The mask or a field is wrong.
            NotFound: There is no such limit.
        """
        _check(limit)

        def change(tx: Transaction) -> ConcurrencyLimit:
            stored = _get(tx, limit.name)
            now = tx.now()
            changed = StoredLimit(
                limit=masks.apply(stored.limit, limit, mask, allowed=_FIELDS),
                # By the rate that held until now.
                taken=slot_records.taken_now(stored, now),
                taken_time=now,
            )
            tx.concurrency_limits.update(changed)
            self._tell(tx, "updated", changed.limit)
            return _counted(tx, [_get(tx, limit.name)])[0]

        return await self._storage.write(change)

    async def delete(self, name: str) -> None:
        """Delete a limit with its leases.

        Raises:
            NotFound: There is no such limit.
        """

        def change(tx: Transaction) -> None:
            limit = _get(tx, name).limit
            tx.concurrency_limits.delete(limit.id)
            self._tell(tx, "deleted", limit)

        await self._storage.write(change)

    def _tell(self, tx: Transaction, verb: str, limit: ConcurrencyLimit) -> None:
        self._lifecycle.tell(tx, "concurrency-limit", verb, limit.name, limit.name)

    async def reset(self, name: str) -> ConcurrencyLimit:
        """Free all slots of a limit; return it as it is then.

        Raises:
            NotFound: There is no such limit.
        """

        def change(tx: Transaction) -> ConcurrencyLimit:
            stored = _get(tx, name)
            tx.concurrency_limits.release_limit(stored.limit.id)
            tx.concurrency_limits.take(stored.limit.id, taken=0.0)
            tx.concurrency_limits.wake()
            return _counted(tx, [_get(tx, name)])[0]

        return await self._storage.write(change)

    async def list_leases(
        self, name: str, page: PageRequest, *, include_waiting: bool
    ) -> Page[SlotLease]:
        """List who has slots of a limit, and who waits for them, in the order of asking.

        Raises:
            NotFound: There is no such limit.
        """

        def query(tx: Transaction) -> Page[Claim]:
            stored = _get(tx, name)
            return tx.concurrency_limits.list_claims(
                stored.limit.id, page, include_waiting=include_waiting
            )

        found = await self._storage.read(query)
        return Page(
            items=[slot_records.lease([claim], [name]) for claim in found.items], next=found.next
        )

    async def watch_active(
        self, name_prefix: str, tell: Callable[[Sequence[str]], Awaitable[object]]
    ) -> NoReturn:
        """Tell which limits are active: now, and again whenever that changes.

        Args:
            name_prefix: How the names of the limits begin.
            tell: Called with all of their names, in order.

        Raises:
            InvalidArgument: The prefix is too long.
            Unavailable: The server shuts down.
        """
        _check_prefix(name_prefix)
        told: Sequence[str] | None = None
        with self._notifier.topic(LIMITS_TOPIC) as signal:
            while True:
                self._notifier.refuse_when_closed()
                seen = signal.count
                names = await self._storage.read(
                    lambda tx: tx.concurrency_limits.list_active_names(name_prefix, WATCHED_MAX)
                )
                if names != told:
                    await tell(names)
                    told = names
                await signal.wait(seen, timeout_seconds=_LOOK_SECONDS)


def _get(tx: Transaction, name: str) -> StoredLimit:
    stored = tx.concurrency_limits.get(name)
    if stored is None:
        raise errors.NotFound("concurrency limit", name)
    return stored


def _counted(tx: Transaction, stored: Sequence[StoredLimit]) -> list[ConcurrencyLimit]:
    """Return limits with what is counted."""
    use = tx.concurrency_limits.use([one.limit.id for one in stored])
    now = tx.now()
    return [
        dataclasses.replace(
            one.limit,
            active_slots=slot_records.room(one, use[one.limit.id], now).in_use,
            waiting=use[one.limit.id].waiting,
        )
        for one in stored
    ]


def _check(limit: ConcurrencyLimit) -> None:
    checks = Checks()
    if not limit.name.strip():
        checks.add("concurrency_limit.name", "A name is required.")
    checks.text("concurrency_limit.name", limit.name, NAME_CHARACTERS_MAX)
    if limit.limit < 0:
        checks.add("concurrency_limit.limit", f"{limit.limit} is too small; 0 is the least.")
    if not 0 <= limit.slot_decay_per_second <= _DECAY_MAX:
        checks.add(
            "concurrency_limit.slot_decay_per_second",
            f"It is 0 to {_DECAY_MAX:g} slots per second; 0 for a limit without decay.",
        )
    checks.raise_any()


def _check_prefix(name_prefix: str) -> None:
    checks = Checks()
    checks.text("name_prefix", name_prefix, NAME_CHARACTERS_MAX)
    checks.raise_any()


__all__ = ["NAME_CHARACTERS_MAX", "ConcurrencyLimitService"]
