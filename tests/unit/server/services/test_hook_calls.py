"""Which runner calls the hooks of a run whose own runner is lost."""

from __future__ import annotations

import dataclasses
from typing import Any, NoReturn

import anyio
import pytest

from headgate.core import errors
from headgate.core.deployments import Deployment
from headgate.core.runs import FlowRun
from headgate.core.states import StateType as S
from headgate_server.services import hook_calls
from headgate_server.services.hook_calls import HookCalls
from headgate_server.storage.records import Session
from tests.contract.storage import builders
from tests.unit.server.services.test_loops import deployment
from tests.unit.server.services.test_orchestration import World


@dataclasses.dataclass
class Runner:
    """The stream of a runner, which only notes what it is asked."""

    pool: str = "default"
    queues: tuple[str, ...] = ()
    last_heard: float = 0.0
    takes_hooks: bool = True
    asked: list[str] = dataclasses.field(default_factory=list)

    @property
    def session(self) -> Session:
        return builders.session(work_pool_names=(self.pool,), work_queue_names=self.queues)

    def call_hooks(self, flow_run: FlowRun, deployment: Deployment) -> None:
        assert flow_run.deployment_id == deployment.id
        self.asked.append(flow_run.id)


@pytest.fixture
async def world() -> World:
    made = World()
    await made.storage.start()
    return made


@pytest.fixture
def calls(world: World) -> HookCalls:
    return HookCalls(world.storage)


async def lost_run(world: World, type: S = S.CRASHED, **given: Any) -> FlowRun:
    place: dict[str, Any] = {"work_pool_name": "default", "work_queue_name": "default"}
    return await world.flow_run(type, **{**place, **given})


async def test_the_runner_of_the_pool_that_was_heard_of_last_is_asked(
    world: World, calls: HookCalls
):
    made = await deployment(world)
    others = [
        Runner("other", last_heard=9),
        Runner(queues=("other",), last_heard=9),
        Runner(takes_hooks=False, last_heard=9),
        Runner(last_heard=1),
    ]
    wanted = Runner(last_heard=2, queues=("default",))
    for runner in (*others, wanted):
        await calls.add(runner)
    run = await lost_run(world, deployment_id=made.id)
    await calls.ask(run)
    assert wanted.asked == [run.id]
    assert not any(runner.asked for runner in others)


async def test_a_run_waits_for_a_runner_to_come_and_is_told_to_one_only(
    world: World, calls: HookCalls
):
    made = await deployment(world)
    run = await lost_run(world, S.CANCELLED, deployment_id=made.id)
    gone = Runner()
    await calls.add(gone)
    calls.remove(gone)
    calls.remove(gone)
    await calls.ask(run)
    first, second = Runner(), Runner()
    await calls.add(first)
    await calls.add(second)
    assert (gone.asked, first.asked, second.asked) == ([], [run.id], [])


async def test_hooks_are_no_news_after_an_hour(world: World, calls: HookCalls):
    made = await deployment(world)
    await calls.ask(await lost_run(world, deployment_id=made.id))
    world.clock.advance(3_601)
    late = Runner()
    await calls.add(late)
    assert late.asked == []


async def test_runs_that_go_on_or_have_no_code_elsewhere_are_not_told(
    world: World, calls: HookCalls
):
    made = await deployment(world)
    runner = Runner()
    await calls.add(runner)
    await calls.ask(await lost_run(world, S.SCHEDULED, deployment_id=made.id))
    await calls.ask(await lost_run(world, S.COMPLETED, deployment_id=made.id))
    await calls.ask(await lost_run(world))
    assert runner.asked == []


async def test_only_so_many_wait(world: World, calls: HookCalls, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(hook_calls, "_WAITING_MAX", 2)
    made = await deployment(world)
    lost = [await lost_run(world, deployment_id=made.id) for _ in range(3)]
    for run in lost:
        await calls.ask(run)
    runner = Runner()
    await calls.add(runner)
    assert runner.asked == [run.id for run in lost[1:]]


async def test_of_a_run_that_goes_on_meanwhile_nobody_is_told(world: World, calls: HookCalls):
    made = await deployment(world)
    run = await lost_run(world, deployment_id=made.id)
    await calls.ask(run)
    again = dataclasses.replace(run, state=world.state(S.SCHEDULED))
    await world.storage.write(lambda tx: tx.flow_runs.save(run, again))
    runner = Runner()
    await calls.add(runner)
    assert runner.asked == []


async def test_a_run_is_not_forgotten_while_the_database_is_away_or_the_stream_ends(
    world: World, calls: HookCalls, monkeypatch: pytest.MonkeyPatch
):
    made = await deployment(world)
    run = await lost_run(world, deployment_id=made.id)
    await calls.ask(run)

    async def away(query: object) -> NoReturn:
        raise errors.Unavailable("The database is away.")

    async def cut_off(query: object) -> NoReturn:
        scope.cancel()
        await anyio.sleep_forever()
        raise AssertionError

    gone = Runner(last_heard=9)
    with monkeypatch.context() as patched:
        patched.setattr(world.storage, "read", away)
        with pytest.raises(errors.Unavailable):
            await calls.add(gone)
        patched.setattr(world.storage, "read", cut_off)
        with anyio.CancelScope() as scope:
            await calls.add(gone)
    calls.remove(gone)
    calls.remove(gone)
    runner = Runner()
    await calls.add(runner)
    assert (gone.asked, runner.asked) == ([], [run.id])
