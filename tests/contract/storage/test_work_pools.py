"""Work pools and queues, in every storage alike."""

import dataclasses

import pytest

from headgate.core import errors, ids
from headgate.core.clock import ManualClock
from headgate.core.deployments import WorkPool, WorkPoolState, WorkQueue
from headgate_server.storage.interface import Storage
from headgate_server.storage.records import PageRequest
from tests.contract.storage import builders
from tests.contract.storage.builders import ALL, START, at


def make_pool(name: str) -> WorkPool:
    return WorkPool(id=ids.new_id(), name=name, create_time=START, update_time=START)


def make_queue(pool: str, name: str = "default", priority: int = 1) -> WorkQueue:
    return WorkQueue(
        id=ids.new_id(), name=name, work_pool_name=pool, priority=priority, create_time=START
    )


async def test_a_new_storage_has_the_pool_default(storage: Storage) -> None:
    page = await storage.read(lambda t: t.work_pools.list(ALL))
    assert [(pool.name, pool.type) for pool in page.items] == [("default", "process")]
    queues = await storage.read(lambda t: t.work_pools.list_queues("default"))
    assert [(queue.name, queue.priority) for queue in queues] == [("default", 1)]


async def test_a_pool_is_changed_but_for_its_name_and_type(
    storage: Storage, clock: ManualClock
) -> None:
    pool = make_pool("gpu")
    await storage.write(lambda t: t.work_pools.insert(pool, make_queue("gpu")))
    assert await storage.read(lambda t: t.work_pools.get("gpu")) == pool
    clock.advance(3)
    changed = dataclasses.replace(
        pool, description="d", concurrency_limit=4, paused=True, base_job_template="{}"
    )
    stored = await storage.write(
        lambda t: t.work_pools.update(dataclasses.replace(changed, type="docker"))
    )
    assert stored == dataclasses.replace(changed, update_time=at(3), state=WorkPoolState.PAUSED)
    assert await storage.read(lambda t: t.work_pools.get("gpu")) == stored
    with pytest.raises(errors.AlreadyExists, match="gpu"):
        await storage.write(lambda t: t.work_pools.insert(pool, make_queue("gpu")))


async def test_pools_are_listed_by_name(storage: Storage) -> None:
    for name in ("z", "a"):
        pool, queue = make_pool(name), make_queue(name)
        await storage.write(lambda t, p=pool, q=queue: t.work_pools.insert(p, q))
    first = await storage.read(lambda t: t.work_pools.list(PageRequest(size=2)))
    assert [pool.name for pool in first.items] == ["a", "default"]
    rest = await storage.read(lambda t: t.work_pools.list(PageRequest(size=2, after=first.next)))
    assert [pool.name for pool in rest.items] == ["z"]


async def test_a_pool_is_used_by_deployments_and_leases(storage: Storage) -> None:
    flow = await builders.make_flow(storage)
    for name in ("deployed", "leased", "free"):
        pool, queue = make_pool(name), make_queue(name)
        await storage.write(lambda t, p=pool, q=queue: t.work_pools.insert(p, q))
    deployment = builders.deployment(flow, work_pool_name="deployed")
    await storage.write(lambda t: t.deployments.insert(deployment))
    await builders.store_run(storage, builders.ready_run(flow, work_pool_name="leased"))
    session = builders.session(work_pool_names=("leased",))
    await storage.write(lambda t: t.leases.open_session(session, ttl_seconds=30))
    assert await storage.write(lambda t: t.leases.grant(session, count=1, offer_ttl_seconds=10))
    used = [
        await storage.read(lambda t, n=name: t.work_pools.is_used(n))
        for name in ("deployed", "leased", "free")
    ]
    assert used == [True, True, False]
    await storage.write(lambda t: t.work_pools.delete("free"))
    assert await storage.read(lambda t: t.work_pools.get("free")) is None
    assert await storage.read(lambda t: t.work_pools.list_queues("free")) == []


async def test_queues_are_listed_by_priority_then_name(storage: Storage) -> None:
    for name, priority in (("z", 1), ("b", 2), ("a", 2)):
        queue = make_queue("default", name, priority)
        await storage.write(lambda t, q=queue: t.work_pools.insert_queue(q))
    queues = await storage.read(lambda t: t.work_pools.list_queues("default"))
    assert [queue.name for queue in queues] == ["default", "z", "a", "b"]


async def test_a_queue_is_changed_but_for_its_name(storage: Storage) -> None:
    queue = make_queue("default", "fast")
    await storage.write(lambda t: t.work_pools.insert_queue(queue))
    with pytest.raises(errors.AlreadyExists, match="default/fast"):
        await storage.write(lambda t: t.work_pools.insert_queue(queue))
    changed = dataclasses.replace(
        queue, description="d", priority=7, concurrency_limit=0, paused=True
    )
    assert await storage.write(lambda t: t.work_pools.update_queue(changed)) == changed
    assert await storage.read(lambda t: t.work_pools.get_queue("default", "fast")) == changed
    assert await storage.read(lambda t: t.work_pools.get_queue("gpu", "fast")) is None


async def test_what_waits_in_a_deleted_queue_goes_to_the_default_one(storage: Storage) -> None:
    flow = await builders.make_flow(storage)
    await storage.write(lambda t: t.work_pools.insert_queue(make_queue("default", "fast")))
    deployment = builders.deployment(flow, work_queue_name="fast")
    await storage.write(lambda t: t.deployments.insert(deployment))
    run = await builders.store_run(storage, builders.ready_run(flow, work_queue_name="fast"))
    await storage.write(lambda t: t.work_pools.delete_queue("default", "fast"))
    assert await storage.read(lambda t: t.work_pools.get_queue("default", "fast")) is None
    moved = await storage.read(lambda t: t.deployments.get(deployment.id))
    assert moved is not None
    assert moved.work_queue_name == "default"
    session = builders.session(work_queue_names=("default",))
    await storage.write(lambda t: t.leases.open_session(session, ttl_seconds=30))
    [granted] = await storage.write(
        lambda t: t.leases.grant(session, count=1, offer_ttl_seconds=10)
    )
    assert granted.flow_run.id == run.id
    assert granted.flow_run.work_queue_name == "default"
