"""The lease stream of a runner against a scripted server, over a real socket."""

from __future__ import annotations

import contextlib
import random

import anyio
import pytest

from headgate.api.v1 import lease_service_pb2 as pb
from headgate.codec import times
from headgate.core import clock, errors, ids
from headgate_runner import jobs, lease, stream
from tests.integration.runner import fake_lease_service as fake

FINISHED = lease.Release(outcome=lease.Outcome.FINISHED)


class Recorder:
    """Notes what the stream has the runner do."""

    def __init__(self) -> None:
        self.happened: list[tuple] = []
        self._more = anyio.Event()

    def _note(self, *what) -> None:
        self.happened.append(what)
        self._more.set()

    async def next(self, kind: str) -> tuple:
        """Wait for something of this kind; what came before it is passed over."""
        with anyio.fail_after(fake.PATIENCE_SECONDS):
            while True:
                while self.happened:
                    what = self.happened.pop(0)
                    if what[0] == kind:
                        return what[1:]
                self._more = anyio.Event()
                await self._more.wait()

    def start(self, job: jobs.Job) -> None:
        self._note("start", job.held)

    def cancel(self, flow_run_id: str, *, grace_seconds: float | None, reason: str) -> None:
        self._note("cancel", flow_run_id, grace_seconds, reason)

    def abandon(self, held: lease.Held, *, grace_seconds: float, reason: str) -> None:
        self._note("abandon", held)

    def call_hooks(self, job: jobs.Job) -> None:
        self._note("hooks", job)

    def connected(self, *, resumed: bool) -> None:
        self._note("connected", resumed)

    def disconnected(self, problem: Exception, *, retry_seconds: float) -> None:
        self._note("disconnected", problem)


class Setting:
    """A lease stream and what is around it."""

    def __init__(self, api_url: str, slots: int = 2) -> None:
        self.book = lease.LeaseBook(slots=slots)
        self.duties = Recorder()
        self.stream = stream.LeaseStream(
            api_url,
            identity=stream.Identity(
                name="r",
                instance_id=ids.new_id(),
                work_pool_names=("default",),
                work_queue_names=("fast",),
            ),
            book=self.book,
            duties=self.duties,
            time=clock.SystemClock(),
            rng=random.Random(1),
        )

    @contextlib.asynccontextmanager
    async def running(self):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self.stream.run)
            yield self
            tasks.cancel_scope.cancel()


@pytest.fixture
async def server(tmp_path):
    async with fake.fake_server(tmp_path / "s") as started:
        yield started


def held_of(offer: pb.Offer) -> lease.Held:
    return lease.Held(offer.flow_run.id, offer.fencing_token)


async def lease_one(server: fake.FakeServer, setting: Setting, **how):
    """Connect and take one offer."""
    connection = await server.stream()
    await connection.welcome(**how)
    await connection.read("credit")
    offered = fake.offer()
    await connection.send(offer=offered)
    await connection.read("accept")
    return connection, held_of(offered)


def in_frame(held: lease.Held) -> pb.HeldLease:
    return pb.HeldLease(flow_run_id=held.flow_run_id, fencing_token=held.fencing_token)


async def test_the_first_frame_says_who_the_runner_is_and_then_what_it_takes(server):
    async with Setting(server.api_url).running() as setting:
        connection = await server.stream()
        hello = await connection.welcome()
        assert (hello.name, hello.slots, hello.session_id) == ("r", 2, "")
        assert list(hello.work_pool_names) == ["default"]
        assert list(hello.work_queue_names) == ["fast"]
        assert (await connection.read("credit")).credit.granted_total == 2
        assert await setting.duties.next("connected") == (False,)


async def test_an_offer_is_accepted_and_started_and_the_next_one_beyond_the_slots_declined(server):
    async with Setting(server.api_url, slots=1).running() as setting:
        connection, held = await lease_one(server, setting)
        assert await setting.duties.next("start") == (held,)
        another = fake.offer(token=4)
        await connection.send(offer=another)
        decline = (await connection.read("decline")).decline
        assert (decline.flow_run_id, decline.fencing_token) == (another.flow_run.id, 4)
        assert "slots" in decline.reason
        assert times.from_duration(decline.retry_after) > 0


async def test_an_offer_with_a_newer_token_replaces_the_lease_it_proves_lost(server):
    async with Setting(server.api_url, slots=1).running() as setting:
        connection, held = await lease_one(server, setting)
        newer = fake.offer(run_id=held.flow_run_id, token=2)
        await connection.send(offer=newer)
        assert (await connection.read("credit")).credit.granted_total == 2
        assert (await connection.read("accept")).accept.fencing_token == 2
        assert await setting.duties.next("abandon") == (held,)
        assert await setting.duties.next("start") == (held_of(newer),)


async def test_a_release_comes_with_credit_and_is_confirmed(server):
    async with Setting(server.api_url).running() as setting:
        connection, held = await lease_one(server, setting)
        crashed = lease.Release(outcome=lease.Outcome.CRASHED, message="It broke.")
        setting.stream.release(held, crashed)
        release = (await connection.read("release")).release
        assert release.outcome == pb.RELEASE_OUTCOME_CRASHED
        assert release.message == "It broke."
        assert (await connection.read("credit")).credit.granted_total == 3
        await connection.send(
            released=pb.Released(flow_run_id=held.flow_run_id, fencing_token=held.fencing_token)
        )
        with anyio.fail_after(fake.PATIENCE_SECONDS):
            await setting.stream.all_released()
        assert setting.book.held == []


async def test_a_broken_stream_is_resumed_with_what_is_held_and_what_may_be_lost_said_again(server):
    async with Setting(server.api_url).running() as setting:
        connection, held = await lease_one(server, setting)
        connection.end(errors.Unavailable("The server stops."))
        await setting.duties.next("disconnected")
        setting.stream.release(held, FINISHED)
        connection = await server.stream()
        hello = await connection.welcome(keep=[in_frame(held)])
        assert (hello.session_id, hello.resume_token) == ("s1", "token")
        assert list(hello.held) == [in_frame(held)]
        assert (await connection.read("credit")).credit.granted_total == 2
        assert (await connection.read("release")).release.flow_run_id == held.flow_run_id
        assert (await connection.read("credit")).credit.granted_total == 3
        assert await setting.duties.next("connected") == (True,)


async def test_an_acceptance_is_said_again_on_the_next_stream_unless_it_has_arrived(server):
    async with Setting(server.api_url).running() as setting:
        connection, held = await lease_one(server, setting)
        connection.end()
        connection = await server.stream()
        await connection.welcome(keep=[in_frame(held)])
        assert (await connection.read("accept")).accept.flow_run_id == held.flow_run_id
        await connection.read("credit")
        await connection.acknowledge_beat()
        # The acknowledgement has arrived when what was sent after it has.
        await connection.send(offer=fake.offer())
        await connection.read("accept")
        connection.end()
        connection = await server.stream()
        await connection.welcome(keep=[in_frame(other) for other in setting.book.held])
        accepted = (await connection.read("accept")).accept
        assert accepted.flow_run_id != held.flow_run_id
        await connection.read("credit")


async def test_a_lease_that_the_server_does_not_keep_is_abandoned(server):
    async with Setting(server.api_url).running() as setting:
        connection, held = await lease_one(server, setting)
        connection.end()
        connection = await server.stream()
        await connection.welcome()
        assert await setting.duties.next("abandon") == (held,)
        assert (await connection.read("credit")).credit.granted_total == 3


async def test_a_beat_tells_of_the_lease_and_its_answer_of_what_is_lost(server):
    async with Setting(server.api_url).running() as setting:
        connection, held = await lease_one(server, setting, beat_interval=0.05)
        beat = (await connection.read("beat")).beat
        while not beat.held_count:
            beat = (await connection.read("beat")).beat
        assert beat.held_digest == setting.book.beat(0).held_digest
        await connection.send(
            beat_ack=pb.RunnerBeatAck(
                seq=beat.seq, ttl=times.to_duration(30), lost=[in_frame(held)]
            )
        )
        assert await setting.duties.next("abandon") == (held,)
        assert (await connection.read("credit")).credit.granted_total == 3


async def test_a_revoked_lease_is_abandoned(server):
    async with Setting(server.api_url).running() as setting:
        connection, held = await lease_one(server, setting)
        await connection.send(
            revoke=pb.Revoke(
                flow_run_id=held.flow_run_id, fencing_token=held.fencing_token, reason="Because."
            )
        )
        assert await setting.duties.next("abandon") == (held,)


async def test_a_runner_whose_beats_are_not_acknowledged_fences_itself(server):
    async with Setting(server.api_url).running() as setting:
        _connection, held = await lease_one(server, setting, ttl=0.4, beat_interval=0.1)
        assert await setting.duties.next("abandon") == (held,)
        assert setting.book.live == []


async def test_beats_that_are_acknowledged_keep_the_lease(server):
    async with Setting(server.api_url).running() as setting:
        connection, held = await lease_one(server, setting, ttl=0.4, beat_interval=0.05)
        for _ in range(12):
            await connection.acknowledge_beat(ttl=0.4)
        assert setting.book.live == [held]


async def test_a_silent_server_is_left(server):
    async with Setting(server.api_url).running() as setting:
        connection = await server.stream()
        await connection.welcome(beat_interval=0.05)
        (problem,) = await setting.duties.next("disconnected")
        assert "silent" in str(problem)
        assert (await (await server.stream()).welcome()).session_id == "s1"
        connection.end()


async def test_a_runner_that_is_sent_away_comes_again_and_keeps_its_leases(server):
    async with Setting(server.api_url).running() as setting:
        connection, held = await lease_one(server, setting)
        await connection.send(go_away={"reason": "Bye.", "reconnect_after": times.to_duration(0.1)})
        connection.end()
        hello = await (await server.stream()).welcome(keep=[in_frame(held)])
        assert list(hello.held) == [in_frame(held)]
        assert setting.book.live == [held]


async def test_cancelling_is_passed_on_whether_told_at_once_or_on_reconnecting(server):
    async with Setting(server.api_url).running() as setting:
        connection, held = await lease_one(server, setting)
        cancel = {"grace": times.to_duration(7), "reason": "Enough."}
        await connection.send(control={"flow_run_id": held.flow_run_id, "cancel": cancel})
        assert await setting.duties.next("cancel") == (held.flow_run_id, 7.0, "Enough.")
        connection.end()
        connection = await server.stream()
        await connection.welcome(keep=[in_frame(held)], cancel=[held.flow_run_id])
        assert await setting.duties.next("cancel") == (held.flow_run_id, None, "")


async def test_draining_says_so_on_this_stream_and_on_the_next(server):
    async with Setting(server.api_url).running() as setting:
        connection = await server.stream()
        await connection.welcome()
        await connection.read("credit")
        setting.stream.drain(3.0)
        assert times.from_duration((await connection.read("drain")).drain.grace) == 3.0
        await connection.send(offer=fake.offer())
        assert "end" in (await connection.read("decline")).decline.reason
        connection.end()
        connection = await server.stream()
        await connection.welcome()
        await connection.read("drain")


async def test_goodbye_is_the_last_frame_and_ends_the_stream(server):
    setting = Setting(server.api_url)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(setting.stream.run)
        connection = await server.stream()
        await connection.welcome()
        await connection.read("credit")
        setting.stream.goodbye("Enough.")
        assert (await connection.read("goodbye")).goodbye.reason == "Enough."
        connection.end()


async def test_a_pool_that_does_not_exist_is_told_instead_of_tried_again(server):
    setting = Setting(server.api_url)
    with pytest.RaisesGroup(errors.NotFound, flatten_subgroups=True):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(setting.stream.run)
            connection = await server.stream()
            await connection.read("hello")
            connection.end(errors.NotFound("work pool", "default"))
            await setting.duties.next("nothing of this kind")


async def test_a_server_that_is_not_there_yet_is_waited_for(tmp_path):
    async with (
        fake.fake_server(tmp_path / "s", started=False) as server,
        Setting(server.api_url).running() as setting,
    ):
        await setting.duties.next("disconnected")
        await server.start()
        await (await server.stream()).welcome()
        await setting.duties.next("connected")
