"""An engine takes a run that waits: by claiming it when it opens it."""

from __future__ import annotations

from headgate.api.v1 import error_pb2
from headgate.api.v1.engine_service_pb2 import RunCursor
from headgate.core import ids
from headgate.core.states import StateType
from headgate_server.domain.context import Retry
from tests.integration.streams import wire
from tests.integration.streams.wire import World, create_task, propose, report


def claim(flow_run_id: str) -> RunCursor:
    return RunCursor(flow_run_id=flow_run_id, claim=True)


async def crashed_run(world: World) -> str:
    """A run by hand whose process was lost and that was scheduled again."""
    async with wire.engine(world.channel) as engine:
        await engine.open()
        run_id = await engine.start_run()
    await world.expire_sessions()
    assert (await world.flow_run(run_id)).state.type is StateType.CRASHED
    await schedule(world, run_id)
    return run_id


async def schedule(world: World, run_id: str, retry: Retry = Retry.ENDED) -> None:
    now = world.clock.now()
    state = wire.new_state(StateType.SCHEDULED, id=ids.new_id(), now=now, name="AwaitingRetry")
    await world.orchestration.propose(run_id, state, fencing_token=None, retry=retry)


async def test_a_run_that_waits_is_leased_under_the_next_token_and_goes_on(world: World) -> None:
    run_id = await crashed_run(world)
    async with wire.engine(world.channel) as engine:
        opened = await engine.open(runs=[claim(run_id)])
        (run,) = opened.runs
        token = run.flow_run.fencing_token
        assert not run.HasField("error")
        assert (token, run.committed_seq) == (2 + 1, 0)  # the loss fenced the first holder
        task_id = ids.new_id()
        items = [propose("RUNNING"), create_task(task_id), report("COMPLETED", task_id)]
        await engine.batch(run_id, 1, items, token=token)
        frame = await engine.expect("verdict")
        assert (frame.verdict.state.name, frame.run_count) == ("Retrying", 2)
        await engine.batch(run_id, 4, [propose("COMPLETED")], token=token)
        await engine.expect("verdict")
    assert (await world.flow_run(run_id)).state.type is StateType.COMPLETED
    assert await world.storage.read(lambda tx: tx.leases.get(run_id)) is None


async def test_a_claim_whose_answer_was_lost_is_answered_alike(world: World) -> None:
    run_id = await crashed_run(world)
    async with wire.engine(world.channel) as engine:
        first = await engine.open(runs=[claim(run_id)])
    async with wire.engine(world.channel) as engine:
        again = await engine.open(
            session_id=first.session_id, resume_token=first.resume_token, runs=[claim(run_id)]
        )
    tokens = {opened.runs[0].flow_run.fencing_token for opened in (first, again)}
    assert len(tokens) == 1


async def test_a_run_that_another_one_has_is_not_given(world: World) -> None:
    run_id = await crashed_run(world)
    async with wire.engine(world.channel) as holder, wire.engine(world.channel) as other:
        await holder.open(runs=[claim(run_id)])
        opened = await other.open(runs=[claim(run_id)])
        (run,) = opened.runs
        assert run.error.reason == error_pb2.ERROR_REASON_FAILED_PRECONDITION
        assert "engine-1" in run.error.message


async def test_a_run_that_does_not_wait_is_not_given(world: World) -> None:
    async with wire.engine(world.channel) as engine:
        await engine.open()
        run_id = await engine.start_run()
        await engine.batch(run_id, 3, [propose("FAILED")])
        await engine.expect("verdict")
        await engine.send(open=wire.epb.Open(runs=[claim(run_id), claim(ids.new_id())]))
        opened = await engine.expect("opened")
        reasons = [run.error.reason for run in opened.runs]
        assert reasons == [
            error_pb2.ERROR_REASON_FAILED_PRECONDITION,
            error_pb2.ERROR_REASON_NOT_FOUND,
        ]


async def test_a_run_taken_from_its_holder_by_force_fences_that_one(world: World) -> None:
    async with wire.engine(world.channel) as engine, wire.engine(world.channel) as other:
        await engine.open()
        run_id = await engine.start_run()
        await schedule(world, run_id, Retry.TAKEN_FROM_ITS_HOLDER)
        opened = await other.open(runs=[claim(run_id)])
        assert not opened.runs[0].HasField("error")
        await engine.batch(run_id, 3, [create_task(ids.new_id())])
        error = await engine.expect("run_error")
        assert error.reason == error_pb2.ERROR_REASON_LEASE_FENCED


async def test_a_claimed_run_of_a_deployment_is_offered_to_no_runner(world: World) -> None:
    run = await world.ask_for_run(await world.deploy())
    async with wire.engine(world.channel) as engine:
        opened = await engine.open(runs=[claim(run.id)])
        assert not opened.runs[0].HasField("error")
        assert await world.storage.read(lambda tx: tx.flow_runs.next_ready_time()) is None
    await world.expire_sessions()
    assert (await world.flow_run(run.id)).state.type is not StateType.RUNNING
