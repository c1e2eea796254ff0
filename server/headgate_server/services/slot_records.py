"""What follows from stored limits and claims: what is left of a limit, what lease claims are."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from headgate.core.concurrency import SlotLease
from headgate_server.domain import slots as domain
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


__all__ = ["lease", "room", "taken_now"]
