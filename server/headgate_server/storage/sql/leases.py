"""Sessions and leases in SQL."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

import sqlalchemy as sa

from headgate.core import deployments, errors
from headgate_server.storage.records import Grant, Lease, Session, SessionKind
from headgate_server.storage.sql import granting, json_text, rows, tables
from headgate_server.storage.sql.work import Work

_SESSIONS = tables.sessions
_LEASES = tables.leases

_GET = sa.select(_LEASES).where(_LEASES.c.flow_run_id == sa.bindparam("run_id"))
_INSERT = sa.insert(_LEASES)


class SqlLeases:
    """See :class:`headgate_server.storage.interface.Leases`."""

    def __init__(self, work: Work) -> None:
        self._work = work

    def open_session(self, session: Session, *, ttl_seconds: float) -> Session:
        now = self._work.now()
        values = {
            **rows.session_values(session),
            "last_beat_time": now,
            "expire_time": self._after(ttl_seconds),
        }
        self._work.execute(sa.insert(_SESSIONS), values)
        return self._session(session.id)

    def get_session(self, session_id: str) -> Session | None:
        query = sa.select(_SESSIONS).where(_SESSIONS.c.id == session_id)
        row = self._work.execute(query).first()
        return None if row is None else rows.session(row)

    def resume_session(
        self, session_id: str, *, resume_token_hash: str, ttl_seconds: float
    ) -> Session | None:
        taken = self._work.execute(
            sa.update(_SESSIONS)
            .where(
                _SESSIONS.c.id == session_id,
                _SESSIONS.c.resume_token_hash == resume_token_hash,
            )
            .values(
                epoch=_SESSIONS.c.epoch + 1,
                last_beat_time=self._work.now(),
                expire_time=self._after(ttl_seconds),
            )
        )
        return self._session(session_id) if taken.rowcount else None

    def beat(self, session_id: str, *, epoch: int, ttl_seconds: float) -> bool:
        renewed = self._work.execute(
            sa.update(_SESSIONS).where(_SESSIONS.c.id == session_id, _SESSIONS.c.epoch == epoch),
            {"last_beat_time": self._work.now(), "expire_time": self._after(ttl_seconds)},
        )
        return renewed.rowcount == 1

    def close_session(self, session_id: str) -> None:
        held = self.held_by(session_id)
        if held:
            raise errors.FailedPrecondition(
                f"Session {session_id} still holds {len(held)} leases; end them first.",
                "session",
                session_id,
            )
        self._work.execute(sa.delete(_SESSIONS).where(_SESSIONS.c.id == session_id))

    def list_expired_sessions(self, *, margin_seconds: float, limit: int) -> Sequence[Session]:
        query = (
            sa.select(_SESSIONS)
            .where(_SESSIONS.c.expire_time < self._after(-margin_seconds))
            .order_by(_SESSIONS.c.expire_time)
            .limit(limit)
        )
        return [rows.session(row) for row in self._work.execute(query)]

    def extend_sessions(self, *, ttl_seconds: float) -> int:
        until = self._after(ttl_seconds)
        return self._work.execute(
            sa.update(_SESSIONS).where(_SESSIONS.c.expire_time < until), {"expire_time": until}
        ).rowcount

    def next_expiry(self) -> datetime | None:
        return self._work.execute(sa.select(sa.func.min(_SESSIONS.c.expire_time))).scalar()

    def list_runners(
        self, work_pool_name: str, *, online_only: bool
    ) -> Sequence[deployments.Runner]:
        now = self._work.now()
        held = (
            sa.select(sa.func.count())
            .where(_LEASES.c.session_id == _SESSIONS.c.id)
            .scalar_subquery()
        )
        query = sa.select(_SESSIONS, held.label("held")).where(
            _SESSIONS.c.kind == SessionKind.RUNNER.value
        )
        if online_only:
            query = query.where(_SESSIONS.c.expire_time > now)
        found = self._work.execute(query.order_by(_SESSIONS.c.name, _SESSIONS.c.id))
        return [
            deployments.Runner(
                id=row.instance_id,
                name=row.name,
                work_pool_names=json_text.load_texts(row.work_pool_names),
                work_queue_names=json_text.load_texts(row.work_queue_names),
                online=row.expire_time > now,
                slots=row.slots,
                leases=row.held,
                last_beat_time=row.last_beat_time,
                sdk=row.sdk,
            )
            for row in found
            if not work_pool_name or work_pool_name in json_text.load_texts(row.work_pool_names)
        ]

    def list_served(self, work_pool_name: str, *, besides: str) -> Sequence[tuple[str, ...]]:
        query = sa.select(_SESSIONS.c.work_pool_names, _SESSIONS.c.work_queue_names).where(
            _SESSIONS.c.kind == SessionKind.RUNNER.value,
            _SESSIONS.c.expire_time > self._work.now(),
            _SESSIONS.c.id != besides,
        )
        served = {
            json_text.load_texts(row.work_queue_names)
            for row in self._work.execute(query.distinct())
            if work_pool_name in json_text.load_texts(row.work_pool_names)
        }
        return sorted(served)

    def grant(self, session: Session, *, count: int, offer_ttl_seconds: float) -> Sequence[Grant]:
        return granting.grant(
            self._work, session, count=count, offer_expire_time=self._after(offer_ttl_seconds)
        )

    def grant_to_engine(self, flow_run_id: str, *, fencing_token: int, session_id: str) -> None:
        # No pool: what an engine starts by itself takes no slot of one.
        self._work.execute(
            _INSERT,
            {
                "flow_run_id": flow_run_id,
                "fencing_token": fencing_token,
                "session_id": session_id,
                "accepted": True,
            },
        )

    def get(self, flow_run_id: str) -> Lease | None:
        row = self._work.execute(_GET, {"run_id": flow_run_id}).first()
        return None if row is None else rows.lease(row)

    def accept(self, flow_run_id: str, *, fencing_token: int, session_id: str) -> bool:
        accepted = self._work.execute(
            sa.update(_LEASES).where(
                _LEASES.c.flow_run_id == flow_run_id,
                _LEASES.c.fencing_token == fencing_token,
                _LEASES.c.session_id == session_id,
            ),
            {"accepted": True, "offer_expire_time": None},
        )
        return accepted.rowcount == 1

    def held_by(self, session_id: str) -> Sequence[Lease]:
        query = (
            sa.select(_LEASES)
            .where(_LEASES.c.session_id == session_id)
            .order_by(_LEASES.c.flow_run_id)
        )
        return [rows.lease(row) for row in self._work.execute(query)]

    def list_expired_offers(self, *, limit: int) -> Sequence[Lease]:
        query = (
            sa.select(_LEASES)
            .where(sa.not_(_LEASES.c.accepted), _LEASES.c.offer_expire_time < self._work.now())
            .order_by(_LEASES.c.offer_expire_time)
            .limit(limit)
        )
        return [rows.lease(row) for row in self._work.execute(query)]

    def _after(self, seconds: float) -> datetime:
        return self._work.now() + timedelta(seconds=seconds)

    def _session(self, session_id: str) -> Session:
        session = self.get_session(session_id)
        assert session is not None
        return session
