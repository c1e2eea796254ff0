"""Sessions and leases in memory."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta

from headgate.core import errors
from headgate.core.deployments import Runner
from headgate.core.runs import FlowRun
from headgate_server.storage.memory.runs import MemoryFlowRuns
from headgate_server.storage.memory.tables import Tables
from headgate_server.storage.records import Grant, Lease, Session, SessionKind


class MemoryLeases:
    """See :class:`headgate_server.storage.interface.Leases`."""

    def __init__(self, tables: Tables, now: datetime) -> None:
        self._tables = tables
        self._now = now

    def open_session(self, session: Session, *, ttl_seconds: float) -> Session:
        return self._renew(session, ttl_seconds)

    def get_session(self, session_id: str) -> Session | None:
        return self._tables.sessions.get(session_id)

    def resume_session(
        self, session_id: str, *, resume_token_hash: str, ttl_seconds: float
    ) -> Session | None:
        session = self.get_session(session_id)
        if session is None or session.resume_token_hash != resume_token_hash:
            return None
        return self._renew(dataclasses.replace(session, epoch=session.epoch + 1), ttl_seconds)

    def beat(self, session_id: str, *, epoch: int, ttl_seconds: float) -> bool:
        session = self.get_session(session_id)
        if session is None or session.epoch != epoch:
            return False
        self._renew(session, ttl_seconds)
        return True

    def close_session(self, session_id: str) -> None:
        held = self.held_by(session_id)
        if held:
            raise errors.FailedPrecondition(
                f"Session {session_id} still holds {len(held)} leases; end them first.",
                "session",
                session_id,
            )
        self._tables.sessions.remove(session_id)

    def list_expired_sessions(self, *, margin_seconds: float, limit: int) -> Sequence[Session]:
        before = self._after(-margin_seconds)
        expired = [found for found in self._tables.sessions if found.expire_time < before]
        return sorted(expired, key=lambda found: found.expire_time)[:limit]

    def extend_sessions(self, *, ttl_seconds: float) -> int:
        until = self._after(ttl_seconds)
        short = [found for found in self._tables.sessions if found.expire_time < until]
        for session in short:
            self._tables.sessions[session.id] = dataclasses.replace(session, expire_time=until)
        return len(short)

    def next_expiry(self) -> datetime | None:
        return min((found.expire_time for found in self._tables.sessions), default=None)

    def list_runners(self, work_pool_name: str, *, online_only: bool) -> Sequence[Runner]:
        runners = [
            Runner(
                id=session.instance_id,
                name=session.name,
                work_pool_names=session.work_pool_names,
                work_queue_names=session.work_queue_names,
                online=session.expire_time > self._now,
                slots=session.slots,
                leases=len(self.held_by(session.id)),
                last_beat_time=session.last_beat_time,
                sdk=session.sdk,
            )
            for session in self._tables.sessions
            if session.kind is SessionKind.RUNNER
            and (not work_pool_name or work_pool_name in session.work_pool_names)
        ]
        chosen = [runner for runner in runners if runner.online or not online_only]
        return sorted(chosen, key=lambda runner: runner.name)

    def list_served(self, work_pool_name: str, *, besides: str) -> Sequence[tuple[str, ...]]:
        return sorted(
            {
                session.work_queue_names
                for session in self._tables.sessions
                if session.kind is SessionKind.RUNNER
                and session.expire_time > self._now
                and session.id != besides
                and work_pool_name in session.work_pool_names
            }
        )

    def grant(self, session: Session, *, count: int, offer_ttl_seconds: float) -> Sequence[Grant]:
        grants: list[Grant] = []
        for run in sorted(self._due(session), key=self._precedence):
            if len(grants) >= count:
                break
            if self._has_slot(run):
                grants.append(self._lease(run, session, self._after(offer_ttl_seconds)))
        return grants

    def grant_to_engine(self, flow_run_id: str, *, fencing_token: int, session_id: str) -> None:
        self._tables.leases[flow_run_id] = Lease(
            flow_run_id=flow_run_id,
            fencing_token=fencing_token,
            session_id=session_id,
            accepted=True,
            offer_expire_time=None,
        )

    def get(self, flow_run_id: str) -> Lease | None:
        return self._tables.leases.get(flow_run_id)

    def accept(self, flow_run_id: str, *, fencing_token: int, session_id: str) -> bool:
        lease = self.get(flow_run_id)
        if lease is None or (lease.fencing_token, lease.session_id) != (fencing_token, session_id):
            return False
        self._tables.leases[flow_run_id] = dataclasses.replace(
            lease, accepted=True, offer_expire_time=None
        )
        return True

    def held_by(self, session_id: str) -> Sequence[Lease]:
        held = [lease for lease in self._tables.leases if lease.session_id == session_id]
        return sorted(held, key=lambda lease: lease.flow_run_id)

    def list_expired_offers(self, *, limit: int) -> Sequence[Lease]:
        expired = [
            (lease.offer_expire_time, lease.flow_run_id, lease)
            for lease in self._tables.leases
            if not lease.accepted
            and lease.offer_expire_time is not None
            and lease.offer_expire_time < self._now
        ]
        return [lease for _, _, lease in sorted(expired, key=lambda found: found[:2])[:limit]]

    def _after(self, seconds: float) -> datetime:
        return self._now + timedelta(seconds=seconds)

    def _renew(self, session: Session, ttl_seconds: float) -> Session:
        renewed = dataclasses.replace(
            session, last_beat_time=self._now, expire_time=self._after(ttl_seconds)
        )
        self._tables.sessions[session.id] = renewed
        return renewed

    def _due(self, session: Session) -> list[FlowRun]:
        tables = self._tables
        due: list[FlowRun] = []
        for run in tables.flow_runs:
            pool_name, queue_name = _place(run)
            pool = tables.work_pools.get(pool_name)
            queue = tables.work_queues.get((pool_name, queue_name))
            if (
                run.id in tables.ready
                and tables.ready[run.id] <= self._now
                and pool_name in session.work_pool_names
                and (not session.work_queue_names or queue_name in session.work_queue_names)
                and pool is not None
                and not pool.paused
                and queue is not None
                and not queue.paused
            ):
                due.append(run)
        return due

    def _precedence(self, run: FlowRun) -> tuple[int, int, datetime, str]:
        queue = self._tables.work_queues[_place(run)]
        return queue.priority, -run.priority, self._tables.ready[run.id], run.id

    def _has_slot(self, run: FlowRun) -> bool:
        tables = self._tables
        pools: Counter[str] = Counter()
        queues: Counter[tuple[str, str]] = Counter()
        deployments: Counter[str | None] = Counter()
        for lease in tables.leases:
            session = tables.sessions.get(lease.session_id)
            if session is not None and session.kind is SessionKind.ENGINE:
                continue
            leased = tables.flow_runs[lease.flow_run_id]
            pools[_place(leased)[0]] += 1
            queues[_place(leased)] += 1
            deployments[leased.deployment_id] += 1
        place = _place(run)
        deployment = tables.deployments.get(run.deployment_id) if run.deployment_id else None
        return (
            _fits(pools[place[0]], tables.work_pools[place[0]].concurrency_limit)
            and _fits(queues[place], tables.work_queues[place].concurrency_limit)
            and _fits(
                deployments[run.deployment_id],
                deployment.concurrency_limit if deployment else None,
            )
        )

    def _lease(self, run: FlowRun, session: Session, offer_expire_time: datetime) -> Grant:
        tables = self._tables
        token = run.fencing_token + 1
        tables.ready.remove(run.id)
        tables.flow_runs[run.id] = dataclasses.replace(
            run, fencing_token=token, committed_seq=0, committed_log_seq=0
        )
        tables.leases[run.id] = Lease(
            flow_run_id=run.id,
            fencing_token=token,
            session_id=session.id,
            accepted=False,
            offer_expire_time=offer_expire_time,
        )
        leased = MemoryFlowRuns(tables, self._now).get(run.id)
        assert leased is not None
        deployment = tables.deployments.get(run.deployment_id) if run.deployment_id else None
        return Grant(flow_run=leased, deployment=deployment, fencing_token=token)


def _place(run: FlowRun) -> tuple[str, str]:
    return run.work_pool_name or "", run.work_queue_name or "default"


def _fits(held: int, limit: int | None) -> bool:
    return limit is None or held < limit
