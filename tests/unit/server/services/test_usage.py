"""When an embedded server is still needed though nobody calls it."""

from headgate.core import ids
from headgate.core.clock import ManualClock
from headgate.core.runs import FlowRun
from headgate_server.services import usage
from headgate_server.storage.interface import Storage, Transaction
from headgate_server.storage.memory import MemoryStorage
from tests.contract.storage import builders

CLOCK = ManualClock(builders.START)


async def stored(
    *, runs: int = 0, auto_scheduled: bool = False, pool: bool = True, clock: ManualClock = CLOCK
) -> Storage:
    storage = MemoryStorage(clock, ids.new_id)
    await storage.start()

    def insert(tx: Transaction) -> None:
        flow = tx.flows.ensure("etl", new_id=ids.new_id())
        for n in range(runs):
            run: FlowRun = builders.ready_run(
                flow,
                due_seconds=n,
                auto_scheduled=auto_scheduled,
                **({} if pool else {"work_pool_name": None, "work_queue_name": None}),
            )
            tx.flow_runs.insert(run)

    await storage.write(insert)
    return storage


async def test_nothing_keeps_a_server_that_has_nothing():
    assert not await (await stored()).read(usage.is_in_use)


async def test_a_runner_keeps_it_even_if_it_lost_its_connection():
    storage = await stored()
    await storage.write(lambda tx: tx.leases.open_session(builders.session(), ttl_seconds=30))
    assert await storage.read(usage.is_in_use)


async def test_a_run_that_somebody_asked_for_keeps_it():
    assert await (await stored(runs=1)).read(usage.is_in_use)


async def test_runs_of_a_schedule_do_not_keep_it_without_a_runner():
    storage = await stored(runs=250, auto_scheduled=True)
    assert not await storage.read(usage.is_in_use)


async def test_a_run_asked_for_is_found_behind_those_of_a_schedule():
    storage = await stored(runs=250, auto_scheduled=True)

    def ask(tx: Transaction) -> None:
        flow = tx.flows.ensure("etl", new_id=ids.new_id())
        tx.flow_runs.insert(builders.ready_run(flow, due_seconds=1_000))

    await storage.write(ask)
    assert await storage.read(usage.is_in_use)


async def test_a_run_that_no_runner_can_take_does_not_keep_it():
    assert not await (await stored(runs=1, pool=False)).read(usage.is_in_use)


async def test_a_run_that_nobody_ever_takes_keeps_it_for_an_hour_only():
    clock = ManualClock(builders.START)
    storage = await stored(runs=1, clock=clock)
    clock.advance(3_599)
    assert await storage.read(usage.is_in_use)
    clock.advance(2)
    assert not await storage.read(usage.is_in_use)


async def test_a_run_asked_for_in_days_does_not_keep_it_until_then():
    storage = await stored()

    def ask(tx: Transaction) -> None:
        flow = tx.flows.ensure("etl", new_id=ids.new_id())
        tx.flow_runs.insert(builders.ready_run(flow, due_seconds=86_400))

    await storage.write(ask)
    assert not await storage.read(usage.is_in_use)
