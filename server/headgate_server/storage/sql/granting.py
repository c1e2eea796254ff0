"""Which ready runs a runner is given.

Writers take turns (see ``driver.py``), so the slots that are counted here cannot be taken by
another replica before the COMMIT, and a run that is found ready can be leased only here.

However many runs wait, few rows are read: each queue gives its runs in order, straight from
an index, and queues of the same priority are merged.
"""

from __future__ import annotations

import dataclasses
import heapq
import itertools
from collections import Counter
from collections.abc import Collection, Generator, Iterable, Sequence
from datetime import datetime

import sqlalchemy as sa

from headgate_server.storage.records import Grant, Session
from headgate_server.storage.sql import flow_runs, rows, tables
from headgate_server.storage.sql.types import to_micros
from headgate_server.storage.sql.work import Work

_READY = tables.ready_runs
_RUNS = tables.flow_runs
_LEASES = tables.leases
_POOLS = tables.work_pools
_QUEUES = tables.work_queues
_DEPLOYMENTS = tables.deployments

#: How many runs of a queue are read at a time.
_CHUNK_MIN, _CHUNK_MAX = 8, 200


def grant(
    work: Work, session: Session, *, count: int, offer_expire_time: datetime
) -> Sequence[Grant]:
    """Lease up to count due runs to a session, within all limits, first things first."""
    if count < 1 or not session.work_pool_names:
        return []
    queues = _due_queues(work, session)
    if not queues:
        return []
    chosen = _choose(work, queues, count)
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
    work.execute(
        sa.insert(_LEASES).from_select(
            [
                "flow_run_id",
                "fencing_token",
                "session_id",
                "accepted",
                "offer_expire_time",
                "work_pool_name",
                "work_queue_name",
                "deployment_id",
            ],
            sa.select(
                _RUNS.c.id,
                _RUNS.c.fencing_token,
                sa.literal(session.id, _LEASES.c.session_id.type),
                sa.false(),
                sa.literal(offer_expire_time, _LEASES.c.offer_expire_time.type),
                _RUNS.c.work_pool_name,
                sa.func.coalesce(_RUNS.c.work_queue_name, "default"),
                _RUNS.c.deployment_id,
            ).where(_RUNS.c.id.in_(run_ids)),
        )
    )
    return _grants(work, run_ids)


def _due_queues(work: Work, session: Session) -> Sequence[rows.Row]:
    """Return the queues of a session that have a due run, with their limits, by priority."""
    due = sa.exists().where(
        _READY.c.work_pool_name == _QUEUES.c.work_pool_name,
        _READY.c.work_queue_name == _QUEUES.c.name,
        _READY.c.due_time <= to_micros(work.now()),
    )
    query = (
        sa.select(
            _QUEUES.c.work_pool_name,
            _QUEUES.c.name,
            _QUEUES.c.priority,
            _QUEUES.c.concurrency_limit,
            _POOLS.c.concurrency_limit.label("pool_limit"),
        )
        .join(_POOLS, _POOLS.c.name == _QUEUES.c.work_pool_name)
        .where(
            _QUEUES.c.work_pool_name.in_(session.work_pool_names),
            sa.not_(_POOLS.c.paused),
            sa.not_(_QUEUES.c.paused),
            due,
        )
        .order_by(_QUEUES.c.priority)
    )
    if session.work_queue_names:
        query = query.where(_QUEUES.c.name.in_(session.work_queue_names))
    return work.execute(query).all()


def _choose(work: Work, queues: Sequence[rows.Row], count: int) -> list[rows.Row]:
    slots = _Slots(work, queues)
    chunk = min(max(count, _CHUNK_MIN), _CHUNK_MAX)
    chosen: list[rows.Row] = []
    for _, equals in itertools.groupby(queues, key=lambda queue: queue.priority):
        waiting = heapq.merge(
            *(_in_order(work, queue, slots, chunk) for queue in equals),
            key=lambda run: (run.precedence, run.due_time, run.flow_run_id),
        )
        for run in waiting:
            if slots.take(run):
                chosen.append(run)
            if len(chosen) == count:
                return chosen
    return chosen


def _in_order(work: Work, queue: rows.Row, slots: _Slots, chunk: int) -> Generator[rows.Row]:
    """Give the due runs of a queue in order, passing over what has no slot left."""
    in_queue = sa.and_(
        _READY.c.work_pool_name == queue.work_pool_name, _READY.c.work_queue_name == queue.name
    )
    lowest = sa.select(sa.func.min(_READY.c.precedence)).where(in_queue)
    precedence = work.execute(lowest).scalar()
    while precedence is not None:
        yield from _of_precedence(work, in_queue, precedence, slots, chunk)
        if not slots.left_in(queue):
            return
        following = lowest.where(_READY.c.precedence > precedence)
        precedence = work.execute(following).scalar()


def _of_precedence(
    work: Work,
    in_queue: sa.ColumnElement[bool],
    precedence: int,
    slots: _Slots,
    chunk: int,
) -> Generator[rows.Row]:
    place = sa.tuple_(_READY.c.due_time, _READY.c.flow_run_id)
    query = (
        sa.select(_READY)
        .where(
            in_queue,
            _READY.c.precedence == precedence,
            _READY.c.due_time <= to_micros(work.now()),
        )
        .order_by(_READY.c.due_time, _READY.c.flow_run_id)
        .limit(chunk)
    )
    behind: sa.ColumnElement[bool] = sa.true()
    while True:
        found = work.execute(query.where(behind, *slots.conditions())).all()
        slots.learn({run.deployment_id for run in found if run.deployment_id})
        yield from found
        if len(found) < chunk:
            return
        last = found[-1]
        behind = place > sa.tuple_(
            sa.literal(last.due_time), sa.literal(last.flow_run_id, _READY.c.flow_run_id.type)
        )


@dataclasses.dataclass(slots=True)
class _Held:
    """The live leases, by what limits them."""

    pools: Counter[str] = dataclasses.field(default_factory=Counter[str])
    queues: Counter[tuple[str, str]] = dataclasses.field(default_factory=Counter[tuple[str, str]])
    deployments: Counter[str] = dataclasses.field(default_factory=Counter[str])


class _Slots:
    """What the concurrency limits leave. What has no limit is not kept."""

    def __init__(self, work: Work, queues: Iterable[rows.Row]) -> None:
        self._work = work
        self._held: _Held | None = None
        self._known: set[str] = set()
        self._deployments: dict[str, int] = {}
        self._pools: dict[str, int] = {}
        self._queues: dict[tuple[str, str], int] = {}
        for queue in queues:
            pool, name = queue.work_pool_name, queue.name
            if queue.pool_limit is not None:
                self._pools[pool] = queue.pool_limit - self._live.pools[pool]
            if queue.concurrency_limit is not None:
                self._queues[pool, name] = queue.concurrency_limit - self._live.queues[pool, name]

    def learn(self, deployment_ids: Collection[str]) -> None:
        """Learn the limits of deployments."""
        new = set(deployment_ids) - self._known
        if not new:
            return
        self._known |= new
        query = sa.select(_DEPLOYMENTS.c.id, _DEPLOYMENTS.c.concurrency_limit).where(
            _DEPLOYMENTS.c.id.in_(new), _DEPLOYMENTS.c.concurrency_limit.is_not(None)
        )
        for id, limit in self._work.execute(query).all():
            self._deployments[id] = limit - self._live.deployments[id]

    def left_in(self, queue: rows.Row) -> bool:
        """Say whether the queue and its pool have a slot left."""
        place = (queue.work_pool_name, queue.name)
        return self._pools.get(place[0], 1) > 0 and self._queues.get(place, 1) > 0

    def take(self, run: rows.Row) -> bool:
        """Take a slot of each limit that the run falls under, or none at all."""
        pool, place = run.work_pool_name, (run.work_pool_name, run.work_queue_name)
        if (
            self._pools.get(pool, 1) < 1
            or self._queues.get(place, 1) < 1
            or self._deployments.get(run.deployment_id, 1) < 1
        ):
            return False
        if pool in self._pools:
            self._pools[pool] -= 1
        if place in self._queues:
            self._queues[place] -= 1
        if run.deployment_id in self._deployments:
            self._deployments[run.deployment_id] -= 1
        return True

    def conditions(self) -> list[sa.ColumnElement[bool]]:
        """Return conditions that pass over runs of deployments without a slot."""
        full = [id for id, left in self._deployments.items() if left < 1]
        deployment_id = _READY.c.deployment_id
        return [deployment_id.is_(None) | deployment_id.not_in(full)] if full else []

    @property
    def _live(self) -> _Held:
        """The live leases; counted when the first limit is met."""
        if self._held is None:
            self._held = _Held()
            columns = (
                _LEASES.c.work_pool_name,
                _LEASES.c.work_queue_name,
                _LEASES.c.deployment_id,
            )
            live = sa.select(*columns, sa.func.count()).group_by(*columns)
            live = live.where(_LEASES.c.work_pool_name.is_not(None))
            for pool, queue, deployment_id, held in self._work.execute(live):
                self._held.pools[pool] += held
                self._held.queues[pool, queue] += held
                self._held.deployments[deployment_id] += held
        return self._held


def _grants(work: Work, run_ids: Sequence[str]) -> list[Grant]:
    query = flow_runs.SELECT_FLOW_RUN.where(_RUNS.c.id.in_(run_ids))
    found = {row.id: rows.flow_run(row) for row in work.execute(query)}
    deployment_ids = {run.deployment_id for run in found.values() if run.deployment_id}
    deployments = {}
    if deployment_ids:
        of_runs = sa.select(_DEPLOYMENTS).where(_DEPLOYMENTS.c.id.in_(deployment_ids))
        deployments = {row.id: rows.deployment(row) for row in work.execute(of_runs)}
    return [
        Grant(
            flow_run=found[run_id],
            deployment=deployments.get(found[run_id].deployment_id or ""),
            fencing_token=found[run_id].fencing_token,
        )
        for run_id in run_ids
    ]
