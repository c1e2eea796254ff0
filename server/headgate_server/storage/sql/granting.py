"""Which ready runs a runner is given.

Writers take turns (see ``work.py``), so the slots that are counted here cannot be taken by
another replica before the COMMIT, and a run that is found ready can be leased only here.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from datetime import datetime
from typing import Any, TypeVar

import sqlalchemy as sa

from headgate_server.storage.records import Grant, Session
from headgate_server.storage.sql import flow_runs, rows, tables
from headgate_server.storage.sql.work import Work

_READY = tables.ready_runs
_RUNS = tables.flow_runs
_LEASES = tables.leases
_POOLS = tables.work_pools
_QUEUES = tables.work_queues
_DEPLOYMENTS = tables.deployments

K = TypeVar("K")


@dataclasses.dataclass(slots=True)
class _FreeSlots:
    """What the concurrency limits leave; what has no limit is not here."""

    pools: dict[str, int]
    queues: dict[tuple[str, str], int]
    deployments: dict[str, int]

    def take(self, run: rows.Row) -> bool:
        """Take a slot of each limit that the run falls under, or none at all."""
        pool, queue = run.work_pool_name, (run.work_pool_name, run.work_queue_name)
        if (
            self.pools.get(pool, 1) < 1
            or self.queues.get(queue, 1) < 1
            or self.deployments.get(run.deployment_id, 1) < 1
        ):
            return False
        _use(self.pools, pool)
        _use(self.queues, queue)
        _use(self.deployments, run.deployment_id)
        return True

    def conditions(self) -> list[sa.ColumnElement[bool]]:
        """Return conditions that pass over runs for which no slot is left."""
        found: list[sa.ColumnElement[bool]] = []
        full_pools = [name for name, free in self.pools.items() if free < 1]
        full_deployments = [name for name, free in self.deployments.items() if free < 1]
        if full_pools:
            found.append(_READY.c.work_pool_name.not_in(full_pools))
        for (pool, queue), free in self.queues.items():
            if free < 1:
                is_queue = sa.and_(
                    _READY.c.work_pool_name == pool, _READY.c.work_queue_name == queue
                )
                found.append(sa.not_(is_queue))
        if full_deployments:
            deployment_id = _READY.c.deployment_id
            found.append(deployment_id.is_(None) | deployment_id.not_in(full_deployments))
        return found


def _use(slots: dict[K, int], name: K) -> None:
    if name in slots:
        slots[name] -= 1


def grant(
    work: Work, session: Session, *, count: int, offer_expire_time: datetime
) -> Sequence[Grant]:
    """Lease up to count due runs to a session, within all limits, first things first."""
    if count < 1 or not session.work_pool_names:
        return []
    due = _due(work, session)
    # Most of the time nothing is due: that costs one query.
    if work.execute(due.limit(1)).first() is None:
        return []
    chosen = _choose(work, due, _free_slots(work, session), count)
    if not chosen:
        return []
    run_ids = [run.flow_run_id for run in chosen]
    work.execute(sa.delete(_READY).where(_READY.c.flow_run_id.in_(run_ids)))
    work.execute(
        sa.update(_RUNS)
        .where(_RUNS.c.id.in_(run_ids))
        # The streams of each holder of a lease count from 1.
        .values(fencing_token=_RUNS.c.fencing_token + 1, committed_seq=0, committed_log_seq=0)
    )
    _insert_leases(work, session, chosen, offer_expire_time)
    return _grants(work, run_ids)


def _due(work: Work, session: Session) -> sa.Select[Any]:
    query = (
        sa.select(_READY)
        .join(_POOLS, _POOLS.c.name == _READY.c.work_pool_name)
        .join(
            _QUEUES,
            sa.and_(
                _QUEUES.c.work_pool_name == _READY.c.work_pool_name,
                _QUEUES.c.name == _READY.c.work_queue_name,
            ),
        )
        .where(
            _READY.c.work_pool_name.in_(session.work_pool_names),
            _READY.c.due_time <= work.now(),
            sa.not_(_POOLS.c.paused),
            sa.not_(_QUEUES.c.paused),
        )
        .order_by(
            _QUEUES.c.priority,
            _READY.c.priority.desc(),
            _READY.c.due_time,
            _READY.c.flow_run_id,
        )
    )
    if session.work_queue_names:
        query = query.where(_READY.c.work_queue_name.in_(session.work_queue_names))
    return query


def _choose(work: Work, due: sa.Select[Any], slots: _FreeSlots, count: int) -> list[rows.Row]:
    chosen: list[rows.Row] = []
    while len(chosen) < count:
        query = due.where(*slots.conditions())
        if chosen:
            query = query.where(_READY.c.flow_run_id.not_in([run.flow_run_id for run in chosen]))
        candidates = work.execute(query.limit(count - len(chosen))).all()
        if not candidates:
            break
        # Either one is taken, or a limit was used up and the next query passes it over.
        chosen.extend(run for run in candidates if slots.take(run))
    return chosen


def _free_slots(work: Work, session: Session) -> _FreeSlots:
    pools = session.work_pool_names
    limited_pools = sa.select(_POOLS.c.name, _POOLS.c.concurrency_limit).where(
        _POOLS.c.name.in_(pools), _POOLS.c.concurrency_limit.is_not(None)
    )
    limited_queues = sa.select(
        _QUEUES.c.work_pool_name, _QUEUES.c.name, _QUEUES.c.concurrency_limit
    ).where(_QUEUES.c.work_pool_name.in_(pools), _QUEUES.c.concurrency_limit.is_not(None))
    waiting = sa.select(_READY.c.deployment_id).where(_READY.c.work_pool_name.in_(pools))
    limited_deployments = sa.select(_DEPLOYMENTS.c.id, _DEPLOYMENTS.c.concurrency_limit).where(
        _DEPLOYMENTS.c.id.in_(waiting), _DEPLOYMENTS.c.concurrency_limit.is_not(None)
    )
    slots = _FreeSlots(
        {name: limit for name, limit in work.execute(limited_pools)},
        {(pool, name): limit for pool, name, limit in work.execute(limited_queues)},
        {id: limit for id, limit in work.execute(limited_deployments)},
    )
    if slots.pools or slots.queues or slots.deployments:
        _subtract_leases(work, slots)
    return slots


def _subtract_leases(work: Work, slots: _FreeSlots) -> None:
    columns = (_LEASES.c.work_pool_name, _LEASES.c.work_queue_name, _LEASES.c.deployment_id)
    live = sa.select(*columns, sa.func.count()).group_by(*columns)
    live = live.where(_LEASES.c.work_pool_name.is_not(None))
    for pool, queue, deployment_id, held in work.execute(live):
        if pool in slots.pools:
            slots.pools[pool] -= held
        if (pool, queue) in slots.queues:
            slots.queues[pool, queue] -= held
        if deployment_id in slots.deployments:
            slots.deployments[deployment_id] -= held


def _insert_leases(
    work: Work, session: Session, chosen: Sequence[rows.Row], offer_expire_time: datetime
) -> None:
    tokens = {
        run_id: token
        for run_id, token in work.execute(
            sa.select(_RUNS.c.id, _RUNS.c.fencing_token).where(
                _RUNS.c.id.in_([run.flow_run_id for run in chosen])
            )
        )
    }
    work.execute(
        sa.insert(_LEASES),
        [
            {
                "flow_run_id": run.flow_run_id,
                "fencing_token": tokens[run.flow_run_id],
                "session_id": session.id,
                "accepted": False,
                "offer_expire_time": offer_expire_time,
                "work_pool_name": run.work_pool_name,
                "work_queue_name": run.work_queue_name,
                "deployment_id": run.deployment_id,
            }
            for run in chosen
        ],
    )


def _grants(work: Work, run_ids: Sequence[str]) -> list[Grant]:
    found = {
        row.id: rows.flow_run(row)
        for row in work.execute(flow_runs.SELECT_FLOW_RUN.where(_RUNS.c.id.in_(run_ids)))
    }
    deployment_ids = {run.deployment_id for run in found.values() if run.deployment_id}
    query = sa.select(_DEPLOYMENTS).where(_DEPLOYMENTS.c.id.in_(deployment_ids))
    deployments = {row.id: rows.deployment(row) for row in work.execute(query)}
    return [
        Grant(
            flow_run=found[run_id],
            deployment=deployments.get(found[run_id].deployment_id or ""),
            fencing_token=found[run_id].fencing_token,
        )
        for run_id in run_ids
    ]
