"""What follows from stored limits and claims: what is left of a limit, what lease claims are."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from headgate.core.concurrency import SlotLease, SlotMode
from headgate_server.domain import slots as domain
from headgate_server.storage.interface import Transaction
from headgate_server.storage.kinds.concurrency import Claim, StoredLimit, Use


def taken_now(stored: StoredLimit, now: datetime) -> float:
    """Return how many slots rate limits have taken that have not decayed."""
    return domain.decayed(
        stored.taken,
        per_second=stored.limit.slot_decay_per_second,
        seconds=(now - stored.taken_time).total_seconds(),
    )


def room(stored: StoredLimit, use: Use, now: datetime) -> domain.Room:
    """Return what a limit has left."""
    return domain.Room(
        limit=stored.limit.limit,
        active=stored.limit.active,
        held=use.held,
        taken=taken_now(stored, now),
        decay_per_second=stored.limit.slot_decay_per_second,
    )


def rooms(tx: Transaction, leases: Iterable[Sequence[Claim]]) -> dict[str, domain.Room]:
    """Return what is left of all limits that these leases are on, by id."""
    limit_ids = sorted({claim.limit_id for claims in leases for claim in claims})
    use, now = tx.concurrency_limits.use(limit_ids), tx.now()
    found = tx.concurrency_limits.get_by_ids(limit_ids)
    return {one.limit.id: room(one, use[one.limit.id], now) for one in found}


def by_lease(claims: Iterable[Claim]) -> list[list[Claim]]:
    """Return the claims of each lease together, in the order in which they come."""
    found: dict[str, list[Claim]] = {}
    for claim in claims:
        found.setdefault(claim.lease_id, []).append(claim)
    return list(found.values())


def wish(claims: Sequence[Claim]) -> domain.Wish:
    """Return what whoever has these claims wants."""
    first = claims[0]
    return domain.Wish(
        id=first.lease_id,
        limit_ids=[claim.limit_id for claim in claims],
        slots=first.slots,
        decays=first.mode is SlotMode.RATE_LIMIT,
    )


def lease(claims: Sequence[Claim], names: Sequence[str]) -> SlotLease:
    """Return the lease, or the place in line, that some claims are."""
    first = claims[0]
    return SlotLease(
        id=first.lease_id,
        concurrency_limit_names=tuple(names),
        slots=first.slots,
        holder=first.holder,
        acquire_time=first.acquire_time,
        expire_time=first.expire_time,
        lease_seconds=first.lease_seconds,
        waiting=not first.granted,
    )


__all__ = ["by_lease", "lease", "room", "rooms", "taken_now", "wish"]
