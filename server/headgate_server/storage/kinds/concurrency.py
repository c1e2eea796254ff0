"""Concurrency limits, and who holds their slots or waits for them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Protocol

from headgate.core.concurrency import NO_HOLDER, ConcurrencyLimit, SlotHolder, SlotMode
from headgate.core.states import StateType
from headgate_server.storage.records import Page, PageRequest


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class StoredLimit:
    """A limit as it is stored.

    Attributes:
        limit: The limit, without what is counted.
        taken: How many slots rate limits had taken and not decayed at ``taken_time``.
        taken_time: When that was.
    """

    limit: ConcurrencyLimit
    taken: float = 0.0
    taken_time: datetime


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A lease on slots of one limit, or a place in line for it.

    A lease on several limits is several claims with one id.

    Attributes:
        lease_id: UUID text, chosen by who asked.
        limit_id: The limit.
        ticket: Its place in line; who came first has the smaller one. The claims of a lease
            have the same.
        slots: How many slots.
        mode: A claim of a rate limit takes no slots: those it has are in ``StoredLimit.taken``.
        granted: Whether it is a lease, rather than a place in line.
        lease_seconds: How long it lives without being renewed.
        holder: Who has it.
        acquire_time: When it was granted, or else when it got in line.
        expire_time: When it ends; where it is not granted, until when somebody waits for it.
    """

    lease_id: str
    limit_id: str
    ticket: int
    slots: int
    mode: SlotMode = SlotMode.CONCURRENCY
    granted: bool
    lease_seconds: float
    holder: SlotHolder = NO_HOLDER
    acquire_time: datetime
    expire_time: datetime


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """What is counted of one limit.

    Attributes:
        held: How many slots live leases have.
        waiting: How many wait in line.
    """

    held: int = 0
    waiting: int = 0


#: The topics of commits: slots may have become free or been given; limits have changed.
SLOTS_TOPIC = "slots"
LIMITS_TOPIC = "concurrency-limits"


class ConcurrencyLimits(Protocol):
    """Limits by name, and the claims on them. "Live" is: expire_time is after now.

    Whatever may free slots announces SLOTS_TOPIC, whatever changes limits LIMITS_TOPIC.
    """

    def get(self, name: str) -> StoredLimit | None:
        """Return the limit, or None."""
        ...

    def get_many(self, names: Sequence[str]) -> Sequence[StoredLimit]:
        """Return those that exist, by name."""
        ...

    def get_by_ids(self, limit_ids: Sequence[str]) -> Sequence[StoredLimit]:
        """Return those that exist, by name."""
        ...

    def insert(self, limit: ConcurrencyLimit) -> None:
        """Store a new limit. Raises AlreadyExists if the name is taken."""
        ...

    def update(self, stored: StoredLimit) -> None:
        """Store limit, active, slot_decay_per_second, taken and taken_time; set update_time."""
        ...

    def take(self, limit_id: str, *, taken: float) -> None:
        """Store what rate limits have taken as of now."""
        ...

    def delete(self, limit_id: str) -> None:
        """Delete the limit with its claims."""
        ...

    def list(self, name_prefix: str, page: PageRequest) -> Page[StoredLimit]:
        """List limits by name."""
        ...

    def list_active_names(self, name_prefix: str, limit: int) -> Sequence[str]:
        """List the names of active limits, in order."""
        ...

    def use(self, limit_ids: Sequence[str]) -> Mapping[str, Use]:
        """Count live claims of these limits."""
        ...

    def claims(self, lease_ids: Sequence[str]) -> Sequence[Claim]:
        """Return all claims of these leases, live or not, by ticket."""
        ...

    def wake(self) -> None:
        """Tell those who wait for slots, in all replicas, to look again."""
        ...

    def next_ticket(self) -> int:
        """Return a ticket that is greater than all others."""
        ...

    def put(self, claims: Sequence[Claim]) -> None:
        """Store claims; those with the same lease and limit are replaced."""
        ...

    def release(self, lease_id: str) -> bool:
        """Delete the claims of a lease; say whether a slot may have become free."""
        ...

    def release_limit(self, limit_id: str) -> None:
        """Delete the granted claims of a limit."""
        ...

    def release_flow_run(self, flow_run_id: str) -> bool:
        """Delete the claims of a flow run's holders; say whether there were any."""
        ...

    def list_waited_for(self) -> Sequence[str]:
        """Return the ids of the limits that have live claims in line."""
        ...

    def list_waiting(self, limit_id: str, limit: int) -> Sequence[Claim]:
        """Return the first live claims in line for a limit, by ticket."""
        ...

    def list_lease_ids_in_line(self) -> Sequence[str]:
        """Return the leases that have claims in line for any limit, live or not."""
        ...

    def next_expiry(self, limit_ids: Sequence[str]) -> datetime | None:
        """Return when the first live lease on these limits ends, or None."""
        ...

    def list_claims(
        self, limit_id: str, page: PageRequest, *, include_waiting: bool
    ) -> Page[Claim]:
        """List the live claims of a limit by (ticket, lease id)."""
        ...

    def extend(self, until: datetime) -> int:
        """Let live leases that end before a time live until then; return how many."""
        ...

    def list_ended(self, after: datetime, limit: int) -> Sequence[Claim]:
        """Return the claims of leases on slots that have ended since a time, by ticket."""
        ...

    def list_holders_in(self, types: Sequence[StateType], limit: int) -> Sequence[str]:
        """Return the flow runs that have claims, and a state of one of these types."""
        ...

    def sweep(self, before: datetime, limit: int) -> int:
        """Delete claims that ended before a time, so many at most; return how many."""
        ...


__all__ = ["LIMITS_TOPIC", "SLOTS_TOPIC", "Claim", "ConcurrencyLimits", "StoredLimit", "Use"]
