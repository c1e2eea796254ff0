"""Sessions, leases and what is granted, in every storage alike."""

import dataclasses
from typing import Any

import pytest

from headgate.core import errors, ids
from headgate.core.clock import ManualClock
from headgate.core.deployments import WorkPool, WorkPoolState, WorkQueue
from headgate.core.runs import Flow, FlowRun
from headgate.core.states import StateType
from headgate_server.storage.interface import Storage
from headgate_server.storage.records import Commit, Grant, Session, SessionKind
from tests.contract.storage import builders
from tests.contract.storage.builders import START, at


async def open_session(storage: Storage, session: Session, ttl: float = 30) -> Session:
    return await storage.write(lambda t: t.leases.open_session(session, ttl_seconds=ttl))


async def grant(storage: Storage, session: Session, count: int = 10) -> list[Grant]:
    return list(
        await storage.write(lambda t: t.leases.grant(session, count=count, offer_ttl_seconds=10))
    )


async def granted_ids(storage: Storage, session: Session, count: int = 10) -> list[str]:
    return [one.flow_run.id for one in await grant(storage, session, count)]


async def make_pool(storage: Storage, name: str, **fields: object) -> None:
    pool = WorkPool(id=ids.new_id(), name=name, create_time=START, update_time=START)
    queue = make_queue(name, "default", 1)
    pool = dataclasses.replace(pool, **fields)
    await storage.write(lambda t: t.work_pools.insert(pool, queue))


def make_queue(pool: str, name: str, priority: int, **fields: object) -> WorkQueue:
    queue = WorkQueue(
        id=ids.new_id(), name=name, work_pool_name=pool, priority=priority, create_time=START
    )
    return dataclasses.replace(queue, **fields)


async def ready(storage: Storage, flow: Flow, **fields: Any) -> FlowRun:
    return await builders.store_run(storage, builders.ready_run(flow, **fields))


async def test_a_session_lives_as_long_as_it_beats(storage: Storage, clock: ManualClock) -> None:
    session = await open_session(storage, builders.session(name="box"))
    assert session.expire_time == at(30)
    assert session.last_beat_time == START
    clock.advance(20)
    assert await storage.write(lambda t: t.leases.beat(session.id, epoch=1, ttl_seconds=30))
    renewed = await storage.read(lambda t: t.leases.get_session(session.id))
    assert renewed == dataclasses.replace(session, last_beat_time=at(20), expire_time=at(50))
    assert await storage.read(lambda t: t.leases.next_expiry()) == at(50)

    async def expired(margin: float) -> list[str]:
        found = await storage.read(
            lambda t: t.leases.list_expired_sessions(margin_seconds=margin, limit=10)
        )
        return [one.id for one in found]

    clock.advance(31)
    assert await expired(0) == [session.id]
    assert await expired(1) == []
    clock.advance(1)
    assert await expired(1) == [session.id]


async def test_a_newer_stream_takes_a_session_over(storage: Storage, clock: ManualClock) -> None:
    session = await open_session(storage, builders.session())
    clock.advance(40)  # expired, but not reaped yet

    async def resume(token: str, id: str = session.id) -> Session | None:
        return await storage.write(
            lambda t: t.leases.resume_session(id, resume_token_hash=token, ttl_seconds=30)
        )

    assert await resume("stolen") is None
    assert await resume("hash", ids.new_id()) is None
    taken = await resume("hash")
    assert taken is not None
    assert (taken.epoch, taken.expire_time) == (2, at(70))
    assert not await storage.write(lambda t: t.leases.beat(session.id, epoch=1, ttl_seconds=30))
    assert await storage.write(lambda t: t.leases.beat(session.id, epoch=2, ttl_seconds=30))
    assert not await storage.write(lambda t: t.leases.beat(ids.new_id(), epoch=1, ttl_seconds=30))


async def test_after_an_outage_sessions_live_one_more_ttl(
    storage: Storage, clock: ManualClock
) -> None:
    short = await open_session(storage, builders.session(), 5)
    long = await open_session(storage, builders.session(), 500)
    clock.advance(60)
    assert await storage.write(lambda t: t.leases.extend_sessions(ttl_seconds=30)) == 1
    found = [await storage.read(lambda t, s=s: t.leases.get_session(s.id)) for s in (short, long)]
    assert [one.expire_time for one in found if one] == [at(90), at(500)]


async def test_a_session_is_closed_only_without_leases(storage: Storage) -> None:
    run = await builders.engine_run(storage)
    session = await open_session(storage, builders.session(SessionKind.ENGINE))
    await storage.write(
        lambda t: t.leases.grant_to_engine(run.id, fencing_token=1, session_id=session.id)
    )
    with pytest.raises(errors.FailedPrecondition, match="1 lease"):
        await storage.write(lambda t: t.leases.close_session(session.id))
    ended = builders.moved(run, builders.state(StateType.COMPLETED))
    await storage.write(lambda t: t.flow_runs.save(run, ended, release=True))
    await storage.write(lambda t: t.leases.close_session(session.id))
    assert await storage.read(lambda t: t.leases.get_session(session.id)) is None
    assert await storage.read(lambda t: t.leases.next_expiry()) is None


async def test_a_granted_run_is_leased_once_and_tells_who_has_it(storage: Storage) -> None:
    flow = await builders.make_flow(storage)
    deployment = builders.deployment(flow)
    await storage.write(lambda t: t.deployments.insert(deployment))
    run = await ready(storage, flow, deployment_id=deployment.id)
    session = await open_session(storage, builders.session(name="box"))
    [granted] = await grant(storage, session)
    assert granted.fencing_token == 1
    assert granted.deployment == deployment
    assert granted.flow_run == dataclasses.replace(run, fencing_token=1, runner_name="box")
    assert await grant(storage, session) == []
    lease = await storage.read(lambda t: t.leases.get(run.id))
    assert lease is not None
    assert (lease.session_id, lease.fencing_token, lease.accepted) == (session.id, 1, False)
    assert lease.offer_expire_time == at(10)
    assert await storage.read(lambda t: t.leases.held_by(session.id)) == [lease]
    assert await storage.read(lambda t: t.journal.newest()) == run.revision


async def test_an_offer_is_accepted_by_its_holder_only(
    storage: Storage, clock: ManualClock
) -> None:
    run = await ready(storage, await builders.make_flow(storage))
    session = await open_session(storage, builders.session())
    await grant(storage, session)

    async def accept(token: int, holder: str) -> bool:
        return await storage.write(
            lambda t: t.leases.accept(run.id, fencing_token=token, session_id=holder)
        )

    assert not await accept(2, session.id)
    assert not await accept(1, ids.new_id())
    clock.advance(10.5)
    expired = await storage.read(lambda t: t.leases.list_expired_offers(limit=5))
    assert [lease.flow_run_id for lease in expired] == [run.id]
    assert await accept(1, session.id)
    assert not await storage.read(lambda t: t.leases.list_expired_offers(limit=5))
    lease = await storage.read(lambda t: t.leases.get(run.id))
    assert lease is not None
    assert lease.accepted


async def test_an_offer_that_goes_back_is_given_to_the_next_under_a_new_token(
    storage: Storage,
) -> None:
    await ready(storage, await builders.make_flow(storage))
    session = await open_session(storage, builders.session())
    [granted] = await grant(storage, session)
    run = granted.flow_run
    assert await storage.write(lambda t: t.flow_runs.save(run, run, release=True)) is not None
    assert await storage.read(lambda t: t.leases.get(run.id)) is None
    [again] = await grant(storage, session)
    assert again.fencing_token == 2
    assert again.flow_run.state == run.state


async def test_an_in_process_retry_is_not_given_to_others(storage: Storage) -> None:
    await ready(storage, await builders.make_flow(storage))
    session = await open_session(storage, builders.session())
    [granted] = await grant(storage, session)
    waiting = builders.moved(granted.flow_run, builders.scheduled())
    assert await storage.write(lambda t: t.flow_runs.save(granted.flow_run, waiting))
    assert await grant(storage, session) == []
    back = builders.moved(waiting, builders.scheduled())
    assert await storage.write(lambda t: t.flow_runs.save(waiting, back, release=True))
    assert len(await grant(storage, session)) == 1


async def test_grants_go_by_queue_then_run_priority_then_time(storage: Storage) -> None:
    flow = await builders.make_flow(storage)
    for name, priority in (("fast", 0), ("slow", 9)):
        queue = make_queue("default", name, priority)
        await storage.write(lambda t, q=queue: t.work_pools.insert_queue(q))
    slow = await ready(storage, flow, due_seconds=-9, work_queue_name="slow", priority=9)
    second = await ready(storage, flow, due_seconds=-2)
    first = await ready(storage, flow, due_seconds=-3)
    urgent = await ready(storage, flow, due_seconds=-1, priority=1)
    fast = await ready(storage, flow, work_queue_name="fast")
    await ready(storage, flow, due_seconds=1)  # not yet
    session = await open_session(storage, builders.session())
    order = [fast.id, urgent.id, first.id, second.id, slow.id]
    assert await granted_ids(storage, session, 2) == order[:2]
    assert await granted_ids(storage, session, 0) == []
    assert await granted_ids(storage, session) == order[2:]


async def test_a_runner_gets_only_from_its_pools_and_queues(storage: Storage) -> None:
    flow = await builders.make_flow(storage)
    await make_pool(storage, "gpu")
    await storage.write(lambda t: t.work_pools.insert_queue(make_queue("default", "fast", 5)))
    plain = await ready(storage, flow)
    fast = await ready(storage, flow, work_queue_name="fast")
    gpu = await ready(storage, flow, work_pool_name="gpu")
    nowhere = builders.session(work_pool_names=())
    of_gpu = builders.session(work_pool_names=("gpu",))
    of_fast = builders.session(work_pool_names=("default", "gpu"), work_queue_names=("fast",))
    of_all = builders.session(work_pool_names=("default", "gpu"))
    for session, expected in (
        (nowhere, []),
        (of_gpu, [gpu.id]),
        (of_fast, [fast.id]),
        (of_all, [plain.id]),
    ):
        await open_session(storage, session)
        assert await granted_ids(storage, session) == expected


async def test_nothing_is_granted_from_what_is_paused(storage: Storage) -> None:
    flow = await builders.make_flow(storage)
    await make_pool(storage, "gpu", paused=True)
    await storage.write(
        lambda t: t.work_pools.insert_queue(make_queue("default", "fast", 0, paused=True))
    )
    await ready(storage, flow, work_pool_name="gpu")
    await ready(storage, flow, work_queue_name="fast")
    session = builders.session(work_pool_names=("default", "gpu"))
    await open_session(storage, session)
    assert await granted_ids(storage, session) == []


async def test_limits_of_pool_queue_and_deployment_count_live_leases(storage: Storage) -> None:
    flow = await builders.make_flow(storage)
    await make_pool(storage, "gpu", concurrency_limit=2)
    await storage.write(
        lambda t: t.work_pools.insert_queue(make_queue("default", "one", 0, concurrency_limit=1))
    )
    limited = builders.deployment(flow, concurrency_limit=1)
    await storage.write(lambda t: t.deployments.insert(limited))
    gpu = [await ready(storage, flow, work_pool_name="gpu", priority=9) for _ in range(3)]
    one = [await ready(storage, flow, work_queue_name="one") for _ in range(2)]
    deployed = [await ready(storage, flow, deployment_id=limited.id) for _ in range(3)]
    free = await ready(storage, flow)
    session = builders.session(work_pool_names=("default", "gpu"))
    await open_session(storage, session)
    first = await granted_ids(storage, session)
    assert set(first) == {gpu[0].id, gpu[1].id, one[0].id, deployed[0].id, free.id}
    assert await granted_ids(storage, session) == []
    for leased in (gpu[0], one[0], deployed[0]):
        run = await storage.read(lambda t, r=leased: t.flow_runs.get(r.id))
        assert run is not None
        ended = builders.moved(run, builders.state(StateType.COMPLETED))
        await storage.write(lambda t, r=run, e=ended: t.flow_runs.save(r, e, release=True))
    second = await granted_ids(storage, session)
    assert set(second) == {gpu[2].id, one[1].id, deployed[1].id}


async def test_what_an_engine_starts_takes_no_slot(storage: Storage) -> None:
    flow = await builders.make_flow(storage)
    await make_pool(storage, "gpu", concurrency_limit=1)
    own = await builders.store_run(
        storage, builders.flow_run(flow, fencing_token=1, work_pool_name="gpu")
    )
    engine = await open_session(storage, builders.session(SessionKind.ENGINE))
    await storage.write(
        lambda t: t.leases.grant_to_engine(own.id, fencing_token=1, session_id=engine.id)
    )
    lease = await storage.read(lambda t: t.leases.get(own.id))
    assert lease is not None
    assert lease.accepted
    run = await ready(storage, flow, work_pool_name="gpu")
    session = builders.session(work_pool_names=("gpu",))
    await open_session(storage, session)
    assert await granted_ids(storage, session) == [run.id]


async def test_pools_and_runners_tell_whether_they_are_online(
    storage: Storage, clock: ManualClock
) -> None:
    await make_pool(storage, "gpu")
    run = await ready(storage, await builders.make_flow(storage))
    session = builders.session(name="box", work_queue_names=("default",))
    await open_session(storage, session)
    await open_session(storage, builders.session(SessionKind.ENGINE))
    await grant(storage, session)

    async def pool_state(name: str) -> WorkPoolState | None:
        pool = await storage.read(lambda t: t.work_pools.get(name))
        return pool and pool.state

    assert await pool_state("default") is WorkPoolState.READY
    assert await pool_state("gpu") is WorkPoolState.NOT_READY
    [runner] = await storage.read(lambda t: t.leases.list_runners("", online_only=True))
    assert (runner.id, runner.name) == (session.instance_id, "box")
    assert (runner.online, runner.leases, runner.slots) == (True, 1, 10)
    assert runner.work_pool_names == ("default",)
    assert runner.work_queue_names == ("default",)
    assert not await storage.read(lambda t: t.leases.list_runners("gpu", online_only=False))
    clock.advance(31)
    assert await pool_state("default") is WorkPoolState.NOT_READY
    assert not await storage.read(lambda t: t.leases.list_runners("default", online_only=True))
    [runner] = await storage.read(lambda t: t.leases.list_runners("default", online_only=False))
    assert not runner.online
    assert run.id


async def test_work_for_the_matcher_is_announced(storage: Storage) -> None:
    import anyio

    heard: list[Commit] = []
    storage.listen(heard.append)
    flow = await builders.make_flow(storage)
    run = await ready(storage, flow)
    session = await open_session(storage, builders.session())
    [granted] = await grant(storage, session)
    ended = builders.moved(granted.flow_run, builders.state(StateType.COMPLETED))
    await storage.write(lambda t: t.flow_runs.save(granted.flow_run, ended, release=True))
    await anyio.wait_all_tasks_blocked()
    assert builders.announced(heard) == [
        Commit(revision=1, ready=True, flow_run_ids=frozenset({run.id})),
        Commit(revision=2, ready=True, flow_run_ids=frozenset({run.id})),
    ]


async def test_which_queues_other_runners_serve_is_known(
    storage: Storage, clock: ManualClock
) -> None:
    kinds: list[tuple[tuple[str, ...], tuple[str, ...]]] = [
        (("default",), ("a", "b")),
        (("default", "gpu"), ("a", "b")),
        (("default",), ()),
        (("gpu",), ("c",)),
    ]
    for pools, queues in kinds:
        await open_session(
            storage, builders.session(work_pool_names=pools, work_queue_names=queues)
        )
    mine = await open_session(storage, builders.session(work_queue_names=("mine",)))

    async def served(pool: str) -> list[tuple[str, ...]]:
        return list(await storage.read(lambda t: t.leases.list_served(pool, besides=mine.id)))

    assert await served("default") == [(), ("a", "b")]
    assert await served("gpu") == [("a", "b"), ("c",)]
    assert await served("other") == []
    clock.advance(31)
    assert await served("default") == []
