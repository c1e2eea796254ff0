"""The stream of a runner, frame by frame."""

from __future__ import annotations

import dataclasses
from typing import Any

import anyio
import pytest

from headgate.core import errors, ids
from headgate.core.deployments import InfrastructureLossAction, InfrastructureLossPolicy
from headgate.core.states import StateType
from tests.integration.streams import wire
from tests.integration.streams.wire import World, held

RESCHEDULE = InfrastructureLossPolicy(action=InfrastructureLossAction.RESCHEDULE, max_reschedules=1)


async def type_becomes(world: World, flow_run_id: str, type: StateType) -> Any:
    async def probe() -> Any:
        run = await world.flow_run(flow_run_id)
        return run if run.state.type is type else None

    return await wire.eventually(probe)


async def run_in_process(world: World, offer: Any) -> None:
    """Do what the process of a run does first: enter Running with the token of the lease."""
    running = wire.new_state(StateType.RUNNING, id=ids.new_id(), now=world.clock.now())
    await world.orchestration.propose(offer.flow_run.id, running, fencing_token=offer.fencing_token)


async def test_a_ready_run_is_offered_accepted_run_and_released(world: World) -> None:
    deployment = await world.deploy()
    async with wire.runner(world.channel) as runner:
        welcome = await runner.hello()
        assert (welcome.ttl.seconds, welcome.offer_ttl.seconds, welcome.epoch) == (30, 10, 1)
        asked = await world.ask_for_run(deployment)
        offer = await runner.expect("offer")
        assert offer.flow_run.id == asked.id
        assert (offer.fencing_token, offer.attempt) == (1, 1)
        assert offer.deployment.entrypoint == "flows.py:etl"
        await runner.accept(offer)
        run = await type_becomes(world, asked.id, StateType.PENDING)
        assert run.runner_name == "runner-1"
        await run_in_process(world, offer)
        async with wire.engine(world.channel) as engine:
            opened = await engine.open(
                runs=[wire.epb.RunCursor(flow_run_id=asked.id, fencing_token=1)]
            )
            assert opened.runs[0].flow_run.state.name == "Running"
            await engine.batch(asked.id, 1, [wire.propose("COMPLETED")])
            assert (await engine.expect("verdict")).verdict.kind == 1
        await runner.release(offer, "FINISHED")
    assert (await world.flow_run(asked.id)).state.type is StateType.COMPLETED


async def test_a_run_that_waited_is_offered_to_a_runner_that_comes(world: World) -> None:
    asked = await world.ask_for_run(await world.deploy())
    async with wire.runner(world.channel) as runner:
        await runner.hello()
        assert (await runner.expect("offer")).flow_run.id == asked.id


async def test_no_more_is_offered_than_credit_allows(world: World) -> None:
    deployment = await world.deploy()
    for _ in range(3):
        await world.ask_for_run(deployment)
    async with wire.runner(world.channel) as runner:
        await runner.hello(slots=2)
        offers = [await runner.expect("offer"), await runner.expect("offer")]
        await runner.beat(offers)  # Nothing came in between.
        await runner.accept(offers[0])
        await runner.release(offers[0], "HANDED_BACK")
        await runner.send(credit=wire.lpb.Credit(granted_total=3))
        assert (await runner.expect("offer")).flow_run.id


async def test_doubled_credit_gives_nothing_twice(world: World) -> None:
    deployment = await world.deploy()
    async with wire.runner(world.channel) as runner:
        await runner.hello(slots=1)
        for _ in range(3):
            await runner.send(credit=wire.lpb.Credit(granted_total=1))
        for _ in range(2):
            await world.ask_for_run(deployment)
        offer = await runner.expect("offer")
        assert not (await runner.beat([offer])).lost
    held_leases = await world.storage.read(lambda tx: tx.leases.list_expired_offers(limit=9))
    assert not held_leases


async def test_higher_priority_goes_first(world: World) -> None:
    deployment = await world.deploy()
    await world.ask_for_run(deployment)
    urgent = await world.ask_for_run(deployment, priority=9)
    async with wire.runner(world.channel) as runner:
        await runner.hello()
        assert (await runner.expect("offer")).flow_run.id == urgent.id


@pytest.mark.parametrize("outcome", ["CRASHED", "FINISHED"])
async def test_a_process_that_ends_without_a_final_state_is_crashed(
    world: World, outcome: str
) -> None:
    async with wire.runner(world.channel) as runner:
        offer = await running(world, runner)
        await runner.release(offer, outcome, "Killed by SIGKILL.")
    run = await world.flow_run(offer.flow_run.id)
    assert (run.state.type, run.state.message) == (StateType.CRASHED, "Killed by SIGKILL.")


async def running(world: World, runner: wire.Runner, **deployment: Any) -> Any:
    """Bring a run to Running on a runner; return its offer."""
    await runner.hello()
    asked = await world.ask_for_run(await world.deploy(**deployment))
    offer = await runner.expect("offer")
    await runner.accept(offer)
    await type_becomes(world, asked.id, StateType.PENDING)
    await run_in_process(world, offer)
    return offer


async def test_a_run_that_is_handed_back_goes_to_the_next_runner(world: World) -> None:
    async with wire.runner(world.channel) as runner, wire.runner(world.channel) as other:
        offer = await running(world, runner)
        await runner.send(drain=wire.lpb.Drain())
        await other.hello()
        await runner.release(offer, "HANDED_BACK", "The runner drains.")
        again = await other.expect("offer")
    assert again.flow_run.id == offer.flow_run.id
    assert (again.fencing_token, again.attempt) == (2, 2)
    assert again.flow_run.reschedule_count == 0


async def test_goodbye_hands_back_what_is_held(world: World) -> None:
    async with wire.runner(world.channel) as runner:
        offer = await running(world, runner)
        await runner.send(goodbye=wire.lpb.Goodbye(reason="It was told to end."))
        assert await runner.end() is None
    run = await world.flow_run(offer.flow_run.id)
    assert (run.state.type, run.state.message) == (StateType.SCHEDULED, "It was told to end.")
    session = runner.welcome.session_id
    assert await world.storage.read(lambda tx: tx.leases.get_session(session)) is None


async def test_a_declined_offer_costs_no_attempt(world: World) -> None:
    async with wire.runner(world.channel) as runner, wire.runner(world.channel) as other:
        await runner.hello()
        asked = await world.ask_for_run(await world.deploy())
        offer = await runner.expect("offer")
        await other.hello()
        decline = wire.lpb.Decline(flow_run_id=asked.id, fencing_token=1, reason="full")
        decline.retry_after.FromSeconds(60)
        await runner.send(decline=decline)
        again = await other.expect("offer")
    assert (again.flow_run.id, again.attempt) == (offer.flow_run.id, 1)
    states = await world.storage.read(lambda tx: tx.flow_runs.states(asked.id))
    assert len(states) == 1


async def test_an_offer_that_is_not_accepted_in_time_goes_back(world: World) -> None:
    async with wire.runner(world.channel) as runner:
        await runner.hello(slots=1)
        asked = await world.ask_for_run(await world.deploy())
        offer = await runner.expect("offer")
        world.clock.advance(11)
        await world.streams.offers.step()
        revoked = await runner.expect("revoke")
        assert (revoked.flow_run_id, revoked.fencing_token) == (asked.id, 1)
        # To accept it now is too late.
        await runner.accept(offer)
        await runner.expect("revoke")
    run = await world.flow_run(asked.id)
    assert run.state.type is StateType.SCHEDULED
    assert run.fencing_token == 2


async def test_a_lost_runner_crashes_its_run(world: World) -> None:
    async with wire.runner(world.channel) as runner:
        offer = await running(world, runner)
    await world.expire_sessions()
    run = await world.flow_run(offer.flow_run.id)
    assert run.state.type is StateType.CRASHED
    assert "Runner runner-1 stopped sending heartbeats" in run.state.message
    assert run.fencing_token == offer.fencing_token + 1


async def test_a_run_is_rescheduled_as_often_as_its_deployment_says(world: World) -> None:
    async with wire.runner(world.channel) as runner:
        offer = await running(world, runner, on_loss=RESCHEDULE)
    await world.expire_sessions()
    run = await world.flow_run(offer.flow_run.id)
    assert (run.state.type, run.state.name) == (StateType.SCHEDULED, "AwaitingRetry")
    assert run.reschedule_count == 1
    # The old process is fenced at once, not with the next grant only.
    with pytest.raises(errors.LeaseFenced):
        await run_in_process(world, offer)
    async with wire.runner(world.channel) as other:
        await other.hello()
        again = await other.expect("offer")
        assert again.fencing_token > offer.fencing_token + 1
        await other.accept(again)
        await type_becomes(world, run.id, StateType.PENDING)
        await run_in_process(world, again)
    await world.expire_sessions()
    run = await world.flow_run(run.id)
    assert run.state.type is StateType.CRASHED
    assert "rescheduled 1 times before" in run.state.message


async def test_a_lost_runner_lets_a_cancelled_run_end_cancelled(world: World) -> None:
    async with wire.runner(world.channel) as runner:
        offer = await running(world, runner, on_loss=RESCHEDULE)
        await world.cancel(offer.flow_run.id)
        control = await runner.expect("control")
        assert control.WhichOneof("action") == "cancel"
    await world.expire_sessions()
    assert (await world.flow_run(offer.flow_run.id)).state.type is StateType.CANCELLED


async def test_beats_keep_leases_alive(world: World) -> None:
    async with wire.runner(world.channel) as runner:
        offer = await running(world, runner)
        await world.streams.reaper.step()
        for seq in range(1, 5):
            world.clock.advance(20)
            ack = await runner.beat([offer], seq)
            assert (ack.seq, ack.ttl.seconds, list(ack.lost)) == (seq, 30, [])
            await world.streams.reaper.step()
    assert (await world.flow_run(offer.flow_run.id)).state.type is StateType.RUNNING


async def test_a_restart_of_the_server_kills_no_healthy_run(world: World) -> None:
    async with wire.runner(world.channel) as runner:
        offer = await running(world, runner)
    world.clock.advance(3600)
    await world.streams.reaper.step()  # The first one of a server: it extends.
    world.clock.advance(29)
    await world.streams.reaper.step()
    assert (await world.flow_run(offer.flow_run.id)).state.type is StateType.RUNNING
    world.clock.advance(3)
    await world.streams.reaper.step()
    assert (await world.flow_run(offer.flow_run.id)).state.type is StateType.CRASHED


async def test_a_server_that_was_frozen_kills_no_healthy_run(world: World) -> None:
    """As by SIGSTOP: nobody could send a beat meanwhile."""
    async with wire.runner(world.channel) as runner:
        offer = await running(world, runner)
    await world.streams.reaper.look()
    world.clock.advance(3600)
    await world.streams.reaper.look()
    assert (await world.flow_run(offer.flow_run.id)).state.type is StateType.RUNNING
    for _ in range(4):
        world.clock.advance(10)
        await world.streams.reaper.look()
    assert (await world.flow_run(offer.flow_run.id)).state.type is StateType.CRASHED


async def test_a_broken_stream_keeps_its_leases(world: World) -> None:
    async with wire.runner(world.channel) as runner:
        offer = await running(world, runner)
        welcome = runner.welcome
    async with wire.runner(world.channel) as runner:
        again = await runner.hello(
            session_id=welcome.session_id,
            resume_token=welcome.resume_token,
            held=[held(offer), wire.lpb.HeldLease(flow_run_id=ids.new_id(), fencing_token=3)],
            credit=4,
        )
        assert (again.session_id, again.epoch) == (welcome.session_id, 2)
        assert [lease.flow_run_id for lease in again.keep] == [offer.flow_run.id]
        assert len(again.drop) == 1
        assert not (await runner.beat([offer])).lost


async def test_offers_that_never_arrived_go_back_when_the_runner_returns(world: World) -> None:
    async with wire.runner(world.channel) as runner:
        await runner.hello(slots=1)
        asked = await world.ask_for_run(await world.deploy())
        await runner.expect("offer")
        welcome = runner.welcome
    async with wire.runner(world.channel) as runner:
        await runner.hello(
            slots=1, session_id=welcome.session_id, resume_token=welcome.resume_token
        )
        again = await runner.expect("offer")
        assert (again.flow_run.id, again.attempt) == (asked.id, 1)
        assert again.fencing_token > 1


async def test_a_returning_runner_learns_what_to_cancel(world: World) -> None:
    async with wire.runner(world.channel) as runner:
        offer = await running(world, runner)
        welcome = runner.welcome
    await world.cancel(offer.flow_run.id)
    async with wire.runner(world.channel) as runner:
        again = await runner.hello(
            session_id=welcome.session_id,
            resume_token=welcome.resume_token,
            held=[held(offer)],
        )
        assert list(again.cancel_flow_run_ids) == [offer.flow_run.id]


async def test_a_lease_that_a_returning_runner_forgot_is_lost(world: World) -> None:
    async with wire.runner(world.channel) as runner:
        offer = await running(world, runner)
        welcome = runner.welcome
    async with wire.runner(world.channel) as runner:
        await runner.hello(session_id=welcome.session_id, resume_token=welcome.resume_token)
        await runner.beat([], 1)
        await runner.beat([], 2)
        await type_becomes(world, offer.flow_run.id, StateType.CRASHED)


async def test_a_release_that_was_lost_is_made_good_after_the_break(world: World) -> None:
    async with wire.runner(world.channel) as runner:
        offer = await running(world, runner)
        welcome = runner.welcome
    async with wire.runner(world.channel) as runner:
        await runner.hello(
            session_id=welcome.session_id,
            resume_token=welcome.resume_token,
            held=[held(offer)],
            credit=5,
        )
        await runner.release(offer, "CRASHED", "Exit code 1.")
        await runner.release(offer, "CRASHED", "Exit code 1.")  # Twice is once.
    assert (await world.flow_run(offer.flow_run.id)).state.message == "Exit code 1."


async def test_a_runner_that_comes_too_late_has_lost_everything(world: World) -> None:
    async with wire.runner(world.channel) as runner:
        offer = await running(world, runner)
        welcome = runner.welcome
    await world.expire_sessions()
    async with wire.runner(world.channel) as runner:
        again = await runner.hello(
            session_id=welcome.session_id,
            resume_token=welcome.resume_token,
            held=[held(offer)],
        )
        assert again.session_id != welcome.session_id
        assert [lease.flow_run_id for lease in again.drop] == [offer.flow_run.id]


async def test_a_run_that_just_ended_is_not_dropped(world: World) -> None:
    """Its process may still run its last hooks; it ends by itself."""
    async with wire.runner(world.channel) as runner:
        offer = await running(world, runner)
        done = wire.new_state(StateType.COMPLETED, id=ids.new_id(), now=world.clock.now())
        await world.orchestration.propose(
            offer.flow_run.id, done, fencing_token=offer.fencing_token
        )
        assert not (await runner.beat([offer])).lost
        welcome = runner.welcome
    async with wire.runner(world.channel) as runner:
        again = await runner.hello(
            session_id=welcome.session_id,
            resume_token=welcome.resume_token,
            held=[held(offer)],
        )
        assert not again.drop


async def test_a_forced_end_revokes_the_lease(world: World) -> None:
    async with wire.runner(world.channel) as runner:
        offer = await running(world, runner)
        ended = wire.new_state(StateType.CANCELLED, id=ids.new_id(), now=world.clock.now())
        await world.orchestration.propose(offer.flow_run.id, ended, fencing_token=None, force=True)
        revoked = await runner.expect("revoke")
        assert revoked.fencing_token == offer.fencing_token
        assert [lost.flow_run_id for lost in (await runner.beat([offer])).lost] == [
            offer.flow_run.id
        ]
        assert not (await runner.beat([])).lost


async def test_hello_is_checked(world: World) -> None:
    async with wire.runner(world.channel) as runner:
        await runner.send(
            hello=wire.lpb.Hello(
                name="r", instance_id=ids.new_id(), slots=1, work_pool_names=["gpu"]
            )
        )
        error = await runner.end()
    assert isinstance(error, errors.NotFound)
    assert (error.resource, error.name) == ("work pool", "gpu")
    async with wire.runner(world.channel) as runner:
        await runner.send(hello=wire.lpb.Hello(name="r", instance_id="1", slots=0))
        error = await runner.end()
    assert isinstance(error, errors.InvalidArgument)
    fields = {violation.field for violation in error.violations}
    assert fields == {"hello.instance_id", "hello.slots", "hello.work_pool_names"}
    for features in (["x" * 256], [str(number) for number in range(101)]):
        async with wire.runner(world.channel) as runner:
            await runner.send(
                hello=wire.lpb.Hello(
                    name="r",
                    instance_id=ids.new_id(),
                    slots=1,
                    work_pool_names=["default"],
                    sdk="x" * 256,
                    features=features,
                )
            )
            error = await runner.end()
        assert isinstance(error, errors.InvalidArgument)
        assert {found.field for found in error.violations} == {"hello.sdk", "hello.features"}


async def test_frames_out_of_place_end_the_stream(world: World) -> None:
    async with wire.runner(world.channel) as runner:
        await runner.send(credit=wire.lpb.Credit(granted_total=1))
        assert isinstance(await runner.end(), errors.ProtocolViolation)
    async with wire.runner(world.channel) as runner:
        await runner.hello()
        await runner.send(hello=wire.lpb.Hello(name="r"))
        assert isinstance(await runner.end(), errors.ProtocolViolation)
    async with wire.runner(world.channel) as runner:
        await runner.hello()
        await runner.send(release=wire.lpb.Release(flow_run_id=ids.new_id()))
        assert isinstance(await runner.end(), errors.InvalidArgument)


async def test_draining_sends_runners_away_and_keeps_their_leases(world: World) -> None:
    async with wire.runner(world.channel) as runner:
        offer = await running(world, runner)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(world.streams.connected.drain)
            await runner.expect("go_away")
            assert await runner.end() is None
    run = await world.flow_run(offer.flow_run.id)
    assert run.state.type is StateType.RUNNING
    assert await world.storage.read(lambda tx: tx.leases.get(run.id)) is not None


async def test_runs_are_shared_between_runners(world: World) -> None:
    deployment = await world.deploy()
    for _ in range(6):
        await world.ask_for_run(deployment)
    async with wire.runner(world.channel) as first, wire.runner(world.channel) as second:
        await first.hello(slots=3)
        await second.hello(slots=3)
        for runner in (first, second):
            offers = [await runner.expect("offer") for _ in range(3)]
            assert len({offer.flow_run.id for offer in offers}) == 3


async def test_a_runner_of_other_queues_gets_nothing(world: World) -> None:
    await world.storage.write(
        lambda tx: tx.work_pools.insert_queue(
            dataclasses.replace(
                tx.work_pools.list_queues("default")[0], id=ids.new_id(), name="slow", priority=2
            )
        )
    )
    slow = await world.deploy(name="slow", queue="slow")
    usual = await world.deploy(name="usual")
    async with wire.runner(world.channel) as runner:
        await runner.hello(work_queue_names=["slow"])
        await world.ask_for_run(usual)
        asked = await world.ask_for_run(slow)
        assert (await runner.expect("offer")).flow_run.id == asked.id


async def test_a_runner_that_is_not_heard_of_is_given_nothing_until_it_beats(
    world: World,
) -> None:
    deployment = await world.deploy()
    async with wire.runner(world.channel) as quiet, wire.runner(world.channel) as other:
        await quiet.hello(slots=9)
        await quiet.beat([])
        world.clock.advance(16)
        await other.hello(slots=1)
        await world.ask_for_run(deployment)
        await other.expect("offer")
        await world.ask_for_run(deployment)
        await quiet.send(beat=wire.lpb.RunnerBeat(seq=2))
        await quiet.expect("offer")


async def test_nothing_is_leased_to_a_session_that_was_reaped(world: World) -> None:
    async with wire.runner(world.channel) as runner, wire.runner(world.channel) as other:
        welcome = await runner.hello(slots=9)
        await runner.beat([])
        await world.storage.write(lambda tx: tx.leases.close_session(welcome.session_id))
        await other.hello(slots=1)
        await world.ask_for_run(await world.deploy())
        await other.expect("offer")
        await runner.send(beat=wire.lpb.RunnerBeat(seq=2))
        assert isinstance(await runner.end(), errors.Unavailable)


async def test_a_lease_that_a_runner_gave_up_without_a_word_is_lost(world: World) -> None:
    """A runner that was asleep has fenced itself, and its stream still stands."""
    async with wire.runner(world.channel) as runner:
        offer = await running(world, runner)
        welcome = runner.welcome
        await runner.beat([offer], 1)
        for seq in (2, 3, 4):
            await runner.beat([], seq)
        await runner.send(beat=wire.lpb.RunnerBeat(seq=5))
        assert isinstance(await runner.end(), errors.Unavailable)
    async with wire.runner(world.channel) as runner:
        await runner.hello(session_id=welcome.session_id, resume_token=welcome.resume_token)
        for seq in (1, 2):
            await runner.beat([], seq)
        await type_becomes(world, offer.flow_run.id, StateType.CRASHED)


async def test_a_runner_that_disagrees_for_a_moment_keeps_its_stream(world: World) -> None:
    async with wire.runner(world.channel) as runner:
        offer = await running(world, runner)
        for seq in range(1, 20):
            await runner.beat([] if seq % 3 else [offer], seq)


async def test_a_cancellation_while_a_runner_comes_back_reaches_it(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with wire.runner(world.channel) as runner:
        offer = await running(world, runner)
        welcome = runner.welcome
    add = world.streams.connected.add

    async def cancel_then_add(stream: Any) -> None:
        await world.cancel(offer.flow_run.id)
        await add(stream)

    monkeypatch.setattr(world.streams.connected, "add", cancel_then_add)
    async with wire.runner(world.channel) as runner:
        again = await runner.hello(
            session_id=welcome.session_id, resume_token=welcome.resume_token, held=[held(offer)]
        )
        assert not again.cancel_flow_run_ids
        control = await runner.expect("control")
        assert control.flow_run_id == offer.flow_run.id
        assert control.HasField("cancel")
