"""Concurrency limits and the claims on them in SQL."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from headgate.core import errors
from headgate.core.concurrency import ConcurrencyLimit, SlotHolder, SlotMode
from headgate.core.states import StateType
from headgate_server.storage.kinds.concurrency import (
    LIMITS_TOPIC,
    SLOTS_TOPIC,
    Claim,
    StoredLimit,
    Use,
)
from headgate_server.storage.records import Page, PageRequest
from headgate_server.storage.sql import paging, tables
from headgate_server.storage.sql.rows import Row, Values
from headgate_server.storage.sql.tables import METADATA
from headgate_server.storage.sql.types import DOUBLE, TEXT, UID, Instant
from headgate_server.storage.sql.work import Work

concurrency_limits = sa.Table(
    "concurrency_limits",
    METADATA,
    sa.Column("id", UID, primary_key=True),
    sa.Column("name", TEXT, nullable=False),
    sa.Column("slot_limit", sa.Integer, nullable=False),
    sa.Column("active", sa.Boolean, nullable=False),
    sa.Column("slot_decay_per_second", DOUBLE, nullable=False),
    # What rate limits had taken, and not decayed, at taken_time.
    sa.Column("taken", DOUBLE, nullable=False),
    sa.Column("taken_time", Instant, nullable=False),
    sa.Column("create_time", Instant, nullable=False),
    sa.Column("update_time", Instant, nullable=False),
    sa.UniqueConstraint("name"),
)

#: Leases on slots, and places in line for them.
slot_claims = sa.Table(
    "slot_claims",
    METADATA,
    sa.Column("lease_id", UID, primary_key=True),
    sa.Column("limit_id", UID, primary_key=True),
    sa.Column("ticket", sa.BigInteger, nullable=False, index=True),
    sa.Column("slots", sa.Integer, nullable=False),
    sa.Column("mode", TEXT, nullable=False),
    sa.Column("granted", sa.Boolean, nullable=False),
    sa.Column("lease_seconds", DOUBLE, nullable=False),
    sa.Column("holder_type", TEXT, nullable=False),
    sa.Column("holder_id", TEXT, nullable=False),
    sa.Column("flow_run_id", UID, index=True),
    sa.Column("acquire_time", Instant, nullable=False),
    sa.Column("expire_time", Instant, nullable=False, index=True),
    # Who is next in line, and the pages of all that have or want slots.
    sa.Index(None, "limit_id", "granted", "ticket", "lease_id"),
    # What live leases hold, and which of them ends next.
    sa.Index("ix_slot_claims_live", "limit_id", "granted", "expire_time"),
)

_LIMITS = concurrency_limits
_CLAIMS = slot_claims


class SqlConcurrencyLimits:
    """See :class:`headgate_server.storage.kinds.concurrency.ConcurrencyLimits`."""

    def __init__(self, work: Work) -> None:
        self._work = work

    def get(self, name: str) -> StoredLimit | None:
        row = self._work.execute(sa.select(_LIMITS).where(_LIMITS.c.name == name)).first()
        return None if row is None else _limit(row)

    def get_many(self, names: Sequence[str]) -> Sequence[StoredLimit]:
        return self._limits_where(_LIMITS.c.name.in_(names))

    def get_by_ids(self, limit_ids: Sequence[str]) -> Sequence[StoredLimit]:
        return self._limits_where(_LIMITS.c.id.in_(limit_ids))

    def insert(self, limit: ConcurrencyLimit) -> None:
        if self.get(limit.name) is not None:
            raise errors.AlreadyExists("concurrency limit", limit.name)
        values = {
            "id": limit.id,
            "name": limit.name,
            "slot_limit": limit.limit,
            "active": limit.active,
            "slot_decay_per_second": limit.slot_decay_per_second,
            "taken": 0.0,
            "taken_time": self._work.now(),
            "create_time": limit.create_time,
            "update_time": limit.update_time,
        }
        self._work.execute(sa.insert(_LIMITS), values)
        self._work.changes.topics.add(LIMITS_TOPIC)

    def update(self, stored: StoredLimit) -> None:
        limit = stored.limit
        self._work.execute(
            sa.update(_LIMITS).where(_LIMITS.c.id == limit.id),
            {
                "slot_limit": limit.limit,
                "active": limit.active,
                "slot_decay_per_second": limit.slot_decay_per_second,
                "taken": stored.taken,
                "taken_time": stored.taken_time,
                "update_time": self._work.now(),
            },
        )
        self._work.changes.topics.update((LIMITS_TOPIC, SLOTS_TOPIC))

    def take(self, limit_id: str, *, taken: float) -> None:
        self._work.execute(
            sa.update(_LIMITS).where(_LIMITS.c.id == limit_id),
            {"taken": taken, "taken_time": self._work.now()},
        )

    def delete(self, limit_id: str) -> None:
        self._work.execute(sa.delete(_CLAIMS).where(_CLAIMS.c.limit_id == limit_id))
        self._work.execute(sa.delete(_LIMITS).where(_LIMITS.c.id == limit_id))
        self._work.changes.topics.update((LIMITS_TOPIC, SLOTS_TOPIC))

    def list(self, name_prefix: str, page: PageRequest) -> Page[StoredLimit]:
        query = sa.select(_LIMITS).where(*_begins(name_prefix))
        return paging.fetch_page(self._work, query, [_LIMITS.c.name], page, _limit)

    def list_active_names(self, name_prefix: str, limit: int) -> Sequence[str]:
        query = (
            sa.select(_LIMITS.c.name)
            .where(_LIMITS.c.active, *_begins(name_prefix))
            .order_by(_LIMITS.c.name)
            .limit(limit)
        )
        return list(self._work.execute(query).scalars())

    def use(self, limit_ids: Sequence[str]) -> Mapping[str, Use]:
        held = sa.case((_CLAIMS.c.mode == SlotMode.CONCURRENCY.value, _CLAIMS.c.slots), else_=0)
        query = (
            sa.select(_CLAIMS.c.limit_id, _CLAIMS.c.granted, sa.func.sum(held), sa.func.count())
            .where(_CLAIMS.c.limit_id.in_(limit_ids), self._live())
            .group_by(_CLAIMS.c.limit_id, _CLAIMS.c.granted)
        )
        found = {(id, granted): (slots, n) for id, granted, slots, n in self._work.execute(query)}
        return {
            id: Use(
                held=int(found.get((id, True), (0, 0))[0]),
                waiting=found.get((id, False), (0, 0))[1],
            )
            for id in limit_ids
        }

    def claims(self, lease_ids: Sequence[str]) -> Sequence[Claim]:
        query = sa.select(_CLAIMS).where(_CLAIMS.c.lease_id.in_(lease_ids))
        ordered = query.order_by(_CLAIMS.c.ticket, _CLAIMS.c.lease_id, _CLAIMS.c.limit_id)
        return [_claim(row) for row in self._work.execute(ordered)]

    def wake(self) -> None:
        self._work.changes.topics.add(SLOTS_TOPIC)

    def next_ticket(self) -> int:
        return (self._work.execute(sa.select(sa.func.max(_CLAIMS.c.ticket))).scalar() or 0) + 1

    def put(self, claims: Sequence[Claim]) -> None:
        for lease_id in {claim.lease_id for claim in claims}:
            limit_ids = [claim.limit_id for claim in claims if claim.lease_id == lease_id]
            self._work.execute(
                sa.delete(_CLAIMS).where(
                    _CLAIMS.c.lease_id == lease_id, _CLAIMS.c.limit_id.in_(limit_ids)
                )
            )
        if claims:
            self._work.execute(sa.insert(_CLAIMS), [_claim_values(claim) for claim in claims])

    def release(self, lease_id: str) -> bool:
        return self._delete(_CLAIMS.c.lease_id == lease_id)

    def release_limit(self, limit_id: str) -> None:
        self._delete(_CLAIMS.c.limit_id == limit_id, _CLAIMS.c.granted)

    def release_flow_run(self, flow_run_id: str) -> bool:
        return self._delete(_CLAIMS.c.flow_run_id == flow_run_id)

    def list_waited_for(self) -> Sequence[str]:
        waits = sa.exists(
            sa.select(1).where(
                _CLAIMS.c.limit_id == _LIMITS.c.id, _CLAIMS.c.granted.is_(False), self._live()
            )
        )
        query = sa.select(_LIMITS.c.id).where(waits).order_by(_LIMITS.c.id)
        return list(self._work.execute(query).scalars())

    def list_waiting(self, limit_id: str, limit: int) -> Sequence[Claim]:
        query = (
            sa.select(_CLAIMS)
            .where(_CLAIMS.c.limit_id == limit_id, _CLAIMS.c.granted.is_(False), self._live())
            .order_by(_CLAIMS.c.ticket, _CLAIMS.c.lease_id)
            .limit(limit)
        )
        return [_claim(row) for row in self._work.execute(query)]

    def list_lease_ids_in_line(self) -> Sequence[str]:
        query = sa.select(_CLAIMS.c.lease_id).where(_CLAIMS.c.granted.is_(False))
        return list(self._work.execute(query).scalars())

    def next_expiry(self, limit_ids: Sequence[str]) -> datetime | None:
        query = sa.select(sa.func.min(_CLAIMS.c.expire_time)).where(
            _CLAIMS.c.limit_id.in_(limit_ids), _CLAIMS.c.granted, self._live()
        )
        return self._work.execute(query).scalar()

    def list_claims(
        self, limit_id: str, page: PageRequest, *, include_waiting: bool
    ) -> Page[Claim]:
        query = sa.select(_CLAIMS).where(_CLAIMS.c.limit_id == limit_id, self._live())
        if not include_waiting:
            query = query.where(_CLAIMS.c.granted)
        key = [_CLAIMS.c.ticket, _CLAIMS.c.lease_id]
        return paging.fetch_page(self._work, query, key, page, _claim)

    def extend(self, until: datetime) -> int:
        statement = sa.update(_CLAIMS).where(
            _CLAIMS.c.granted, self._live(), _CLAIMS.c.expire_time < until
        )
        return self._work.execute(statement, {"expire_time": until}).rowcount

    def list_ended(self, after: datetime, limit: int) -> Sequence[Claim]:
        query = (
            sa.select(_CLAIMS)
            .where(
                _CLAIMS.c.granted,
                _CLAIMS.c.mode == SlotMode.CONCURRENCY.value,
                _CLAIMS.c.expire_time > after,
                _CLAIMS.c.expire_time <= self._work.now(),
            )
            .order_by(_CLAIMS.c.ticket, _CLAIMS.c.lease_id)
            .limit(limit)
        )
        return [_claim(row) for row in self._work.execute(query)]

    def list_holders_in(self, types: Sequence[StateType], limit: int) -> Sequence[str]:
        runs = tables.flow_runs
        query = (
            sa.select(runs.c.id)
            .where(
                runs.c.id.in_(sa.select(_CLAIMS.c.flow_run_id)),
                runs.c.state_type.in_([type.value for type in types]),
                runs.c.fencing_token > 0,
            )
            .limit(limit)
        )
        return list(self._work.execute(query).scalars())

    def sweep(self, before: datetime, limit: int) -> int:
        query = (
            sa.select(_CLAIMS.c.lease_id, _CLAIMS.c.limit_id)
            .where(_CLAIMS.c.expire_time < before)
            .order_by(_CLAIMS.c.expire_time)
            .limit(limit)
        )
        ended = self._work.execute(query).all()
        for lease_id, limit_id in ended:
            self._delete(_CLAIMS.c.lease_id == lease_id, _CLAIMS.c.limit_id == limit_id)
        return len(ended)

    def _live(self) -> sa.ColumnElement[bool]:
        return _CLAIMS.c.expire_time > self._work.now()

    def _delete(self, *condition: sa.ColumnElement[bool]) -> bool:
        if self._work.execute(sa.delete(_CLAIMS).where(*condition)).rowcount == 0:
            return False
        self.wake()
        return True

    def _limits_where(self, condition: sa.ColumnElement[bool]) -> Sequence[StoredLimit]:
        query = sa.select(_LIMITS).where(condition).order_by(_LIMITS.c.name)
        return [_limit(row) for row in self._work.execute(query)]


def delete_of_runs(work: Work, doomed: sa.ScalarSelect[str]) -> None:
    """Free the slots of flow runs that are about to be deleted."""
    if work.execute(sa.delete(_CLAIMS).where(_CLAIMS.c.flow_run_id.in_(doomed))).rowcount:
        work.changes.topics.add(SLOTS_TOPIC)


def _begins(prefix: str) -> list[sa.ColumnElement[bool]]:
    return [paging.starts_with(_LIMITS.c.name, prefix)] if prefix else []


def _limit(row: Row) -> StoredLimit:
    return StoredLimit(
        limit=ConcurrencyLimit(
            id=row.id,
            name=row.name,
            limit=row.slot_limit,
            active=row.active,
            slot_decay_per_second=row.slot_decay_per_second,
            create_time=row.create_time,
            update_time=row.update_time,
        ),
        taken=row.taken,
        taken_time=row.taken_time,
    )


def _claim(row: Row) -> Claim:
    return Claim(
        lease_id=row.lease_id,
        limit_id=row.limit_id,
        ticket=row.ticket,
        slots=row.slots,
        mode=SlotMode(row.mode),
        granted=row.granted,
        lease_seconds=row.lease_seconds,
        holder=SlotHolder(
            type=row.holder_type, id=row.holder_id, flow_run_id=row.flow_run_id or ""
        ),
        acquire_time=row.acquire_time,
        expire_time=row.expire_time,
    )


def _claim_values(claim: Claim) -> Values:
    values: dict[str, Any] = {
        "lease_id": claim.lease_id,
        "limit_id": claim.limit_id,
        "ticket": claim.ticket,
        "slots": claim.slots,
        "mode": claim.mode.value,
        "granted": claim.granted,
        "lease_seconds": claim.lease_seconds,
        "holder_type": claim.holder.type,
        "holder_id": claim.holder.id,
        "flow_run_id": claim.holder.flow_run_id or None,
        "acquire_time": claim.acquire_time,
        "expire_time": claim.expire_time,
    }
    return values
