"""Concurrency limits and the claims on them in memory."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from headgate.core import errors
from headgate.core.concurrency import ConcurrencyLimit, SlotMode
from headgate.core.states import StateType
from headgate_server.storage.kinds.concurrency import (
    LIMITS_TOPIC,
    SLOTS_TOPIC,
    Claim,
    StoredLimit,
    Use,
)
from headgate_server.storage.memory import paging
from headgate_server.storage.memory.tables import Tables
from headgate_server.storage.records import Page, PageRequest


class MemoryConcurrencyLimits:
    """See :class:`headgate_server.storage.kinds.concurrency.ConcurrencyLimits`."""

    def __init__(self, tables: Tables, now: datetime) -> None:
        self._topics = tables.topics
        self._limits = tables.concurrency_limits
        self._claims = tables.slot_claims
        self._flow_runs = tables.flow_runs
        self._now = now

    def get(self, name: str) -> StoredLimit | None:
        return next((stored for stored in self._limits if stored.limit.name == name), None)

    def get_many(self, names: Sequence[str]) -> Sequence[StoredLimit]:
        return _by_name(stored for stored in self._limits if stored.limit.name in names)

    def get_by_ids(self, limit_ids: Sequence[str]) -> Sequence[StoredLimit]:
        return _by_name(stored for stored in self._limits if stored.limit.id in limit_ids)

    def insert(self, limit: ConcurrencyLimit) -> None:
        if self.get(limit.name) is not None:
            raise errors.AlreadyExists("concurrency limit", limit.name)
        self._limits[limit.id] = StoredLimit(limit=limit, taken_time=self._now)
        self._topics.add(LIMITS_TOPIC)

    def update(self, stored: StoredLimit) -> None:
        if stored.limit.id in self._limits:
            changed = dataclasses.replace(stored.limit, update_time=self._now)
            self._limits[changed.id] = dataclasses.replace(stored, limit=changed)
            self._topics.update((LIMITS_TOPIC, SLOTS_TOPIC))

    def take(self, limit_id: str, *, taken: float) -> None:
        stored = self._limits.get(limit_id)
        if stored is not None:
            self._limits[limit_id] = dataclasses.replace(stored, taken=taken, taken_time=self._now)

    def delete(self, limit_id: str) -> None:
        self._limits.remove(limit_id)
        self._topics.update((LIMITS_TOPIC, SLOTS_TOPIC))
        self._remove([claim for claim in self._claims if claim.limit_id == limit_id])

    def list(self, name_prefix: str, page: PageRequest) -> Page[StoredLimit]:
        found = [one for one in self._limits if one.limit.name.startswith(name_prefix)]
        return paging.cut_page(found, lambda stored: (stored.limit.name,), page)

    def list_active_names(self, name_prefix: str, limit: int) -> Sequence[str]:
        active = (stored.limit.name for stored in self._limits if stored.limit.active)
        return sorted(name for name in active if name.startswith(name_prefix))[:limit]

    def use(self, limit_ids: Sequence[str]) -> Mapping[str, Use]:
        live = self._live()
        return {
            id: Use(
                held=sum(
                    claim.slots
                    for claim in live
                    if claim.limit_id == id and claim.granted and claim.mode is SlotMode.CONCURRENCY
                ),
                waiting=sum(claim.limit_id == id and not claim.granted for claim in live),
            )
            for id in limit_ids
        }

    def claims(self, lease_ids: Sequence[str]) -> Sequence[Claim]:
        return _by_ticket(claim for claim in self._claims if claim.lease_id in lease_ids)

    def wake(self) -> None:
        self._topics.add(SLOTS_TOPIC)

    def next_ticket(self) -> int:
        return max((claim.ticket for claim in self._claims), default=0) + 1

    def put(self, claims: Sequence[Claim]) -> None:
        for claim in claims:
            self._claims[claim.lease_id, claim.limit_id] = claim

    def release(self, lease_id: str) -> bool:
        return self._remove([claim for claim in self._claims if claim.lease_id == lease_id])

    def release_limit(self, limit_id: str) -> None:
        self._remove(
            [claim for claim in self._claims if claim.limit_id == limit_id and claim.granted]
        )

    def release_flow_run(self, flow_run_id: str) -> bool:
        return self._remove(
            [claim for claim in self._claims if claim.holder.flow_run_id == flow_run_id]
        )

    def list_waited_for(self) -> Sequence[str]:
        return sorted({claim.limit_id for claim in self._live() if not claim.granted})

    def list_waiting(self, limit_id: str, limit: int) -> Sequence[Claim]:
        live = self._live()
        waiting = (claim for claim in live if claim.limit_id == limit_id and not claim.granted)
        return _by_ticket(waiting)[:limit]

    def list_lease_ids_in_line(self) -> Sequence[str]:
        return [claim.lease_id for claim in self._claims if not claim.granted]

    def next_expiry(self, limit_ids: Sequence[str]) -> datetime | None:
        live = self._live()
        ends = (
            claim.expire_time for claim in live if claim.limit_id in limit_ids and claim.granted
        )
        return min(ends, default=None)

    def list_claims(
        self, limit_id: str, page: PageRequest, *, include_waiting: bool
    ) -> Page[Claim]:
        found = [
            claim
            for claim in self._live()
            if claim.limit_id == limit_id and (claim.granted or include_waiting)
        ]
        return paging.cut_page(found, lambda claim: (claim.ticket, claim.lease_id), page)

    def extend(self, until: datetime) -> int:
        ending = [claim for claim in self._live() if claim.granted and claim.expire_time < until]
        self.put([dataclasses.replace(claim, expire_time=until) for claim in ending])
        return len(ending)

    def list_ended(self, after: datetime, limit: int) -> Sequence[Claim]:
        ended = (
            claim
            for claim in self._claims
            if claim.granted
            and claim.mode is SlotMode.CONCURRENCY
            and after < claim.expire_time <= self._now
        )
        return _by_ticket(ended)[:limit]

    def list_holders_in(self, types: Sequence[StateType], limit: int) -> Sequence[str]:
        holders = {claim.holder.flow_run_id for claim in self._claims}
        return [
            run.id
            for run in self._flow_runs
            if run.id in holders and run.state.type in types and run.fencing_token > 0
        ][:limit]

    def sweep(self, before: datetime, limit: int) -> int:
        ended = [claim for claim in self._claims if claim.expire_time < before][:limit]
        self._remove(ended)
        return len(ended)

    def _live(self) -> list[Claim]:
        return [claim for claim in self._claims if claim.expire_time > self._now]

    def _remove(self, claims: Sequence[Claim]) -> bool:
        for claim in claims:
            self._claims.remove((claim.lease_id, claim.limit_id))
            self.wake()
        return bool(claims)


def _by_name(found: Iterable[StoredLimit]) -> list[StoredLimit]:
    return sorted(found, key=lambda stored: stored.limit.name)


def _by_ticket(claims: Iterable[Claim]) -> list[Claim]:
    return sorted(claims, key=lambda claim: (claim.ticket, claim.lease_id, claim.limit_id))
