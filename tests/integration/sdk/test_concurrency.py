"""Concurrency limits and rate limits in user code, against a real server."""

from __future__ import annotations

import asyncio
import threading
import uuid
from collections.abc import Iterator

import pytest

from headgate import settings
from headgate.client.orchestration import SyncHeadgateClient
from headgate.concurrency import _keeper
from headgate.concurrency import asyncio as async_limits
from headgate.concurrency import sync as limits
from headgate.concurrency.v1 import asyncio as async_v1
from headgate.concurrency.v1 import sync as v1
from headgate.core import errors
from headgate.core.concurrency import SlotRequest
from headgate.core.ids import new_id

Server = SyncHeadgateClient


@pytest.fixture(scope="module", autouse=True)
def ended(api_url: str) -> Iterator[None]:
    """End the keepers while the server is there to hear of it."""
    yield
    _keeper.close_all()


@pytest.fixture
def name() -> str:
    return f"limit-{uuid.uuid4().hex}"


def in_use(server: Server, name: str) -> int:
    return server.read_global_concurrency_limit_by_name(name).active_slots


def waits(server: Server, name: str, count: int = 1) -> None:
    """Wait until so many are in line."""
    pause = threading.Event()
    while server.read_global_concurrency_limit_by_name(name).waiting != count:
        pause.wait(0.005)


def taken(server: Server, name: str) -> str:
    """Take a slot as another process would."""
    answer = server.acquire_slots(SlotRequest(id=new_id(), names=(name,)))
    assert answer.lease is not None
    return answer.lease.id


def test_slots_are_held_for_the_length_of_the_block(server: Server, name: str):
    server.create_global_concurrency_limit(name, 5)
    with limits.concurrency(name, occupy=3):
        assert in_use(server, name) == 3
        [lease] = server.read_slot_leases(name)
        assert (lease.slots, lease.lease_seconds, lease.holder.type) == (3, 300.0, "process")
    assert in_use(server, name) == 0


def test_slots_come_back_when_the_block_raises(server: Server, name: str):
    server.create_global_concurrency_limit(name, 1)
    with pytest.raises(ValueError, match="boom"), limits.concurrency([name]):
        raise ValueError("boom")
    assert in_use(server, name) == 0


def test_a_block_waits_until_slots_are_given_back(server: Server, name: str):
    server.create_global_concurrency_limit(name, 1)
    lease_id = taken(server, name)
    entered = threading.Event()

    def hold() -> None:
        with limits.concurrency(name):
            entered.set()

    thread = threading.Thread(target=hold)
    thread.start()
    waits(server, name)
    assert not entered.is_set()
    server.release_slots(lease_id)
    assert entered.wait(5)
    thread.join()
    assert in_use(server, name) == 0


def test_slots_of_several_limits_are_taken_together_or_not_at_all(server: Server, name: str):
    server.create_global_concurrency_limit(name, 1)
    server.create_global_concurrency_limit(f"{name}-b", 1)
    taken(server, f"{name}-b")
    with (
        pytest.raises(limits.AcquireConcurrencySlotTimeoutError),
        limits.concurrency([name, f"{name}-b"], timeout_seconds=0.01),
    ):
        pass
    assert in_use(server, name) == 0


def test_who_waits_too_long_leaves_the_line(server: Server, name: str):
    server.create_global_concurrency_limit(name, 1)
    taken(server, name)
    with (
        pytest.raises(TimeoutError, match=name) as caught,
        limits.concurrency(name, timeout_seconds=0.02),
    ):
        pass
    assert isinstance(caught.value, errors.AcquireConcurrencySlotTimeoutError)
    waits(server, name, 0)


def test_without_retries_nobody_waits(server: Server, name: str):
    server.create_global_concurrency_limit(name, 1)
    taken(server, name)
    with (
        pytest.raises(limits.ConcurrencySlotAcquisitionError, match="max_retries=0"),
        limits.concurrency(name, max_retries=0),
    ):
        pass


def test_a_limit_that_is_missing_is_warned_about(
    server: Server, name: str, caplog: pytest.LogCaptureFixture
):
    with limits.concurrency(name):
        pass
    assert f"Concurrency limits '{name}' do not exist" in caplog.text


def test_a_limit_that_is_missing_is_an_error_where_that_is_wanted(server: Server, name: str):
    with (
        pytest.raises(limits.ConcurrencySlotAcquisitionError, match=name),
        limits.concurrency(name, strict=True),
    ):
        pass


def test_more_slots_than_there_are_cannot_be_had(server: Server, name: str):
    server.create_global_concurrency_limit(name, 1)
    with (
        pytest.raises(limits.ConcurrencySlotAcquisitionError, match="raise the limit"),
        limits.concurrency(name, occupy=2),
    ):
        pass


def test_a_limit_that_is_not_active_does_not_limit(server: Server, name: str):
    server.create_global_concurrency_limit(name, 0, active=False)
    with limits.concurrency(name):
        assert in_use(server, name) == 0


def test_no_names_need_no_server():
    unreachable = {"api_url": "http://127.0.0.1:9"}
    with settings.temporary_settings(unreachable), limits.concurrency([]):
        limits.rate_limit([])


@pytest.mark.parametrize(
    "options",
    [
        {"occupy": 0},
        {"occupy": True},
        {"names": [1]},
        {"names": ["x"] * 101},
        {"timeout_seconds": -1},
        {"timeout_seconds": "1"},
        {"max_retries": -1},
        {"lease_duration": 0.5},
        {"lease_duration": 100_000},
    ],
    ids=str,
)
def test_a_wrong_argument_is_named(options: dict[str, object]):
    given = {"names": "x", **options}
    with (
        pytest.raises(errors.InvalidArgument, match=next(iter(options))),
        limits.concurrency(**given),  # pyright: ignore[reportArgumentType]  # that is the test
    ):
        pass


def test_the_holder_can_be_told(server: Server, name: str):
    server.create_global_concurrency_limit(name, 1)
    with limits.concurrency(name, holder={"type": "deployment", "id": "d"}):
        [lease] = server.read_slot_leases(name)
    assert (lease.holder.type, lease.holder.id) == ("deployment", "d")


def test_a_rate_limit_waits_until_slots_have_decayed(server: Server, name: str):
    server.create_global_concurrency_limit(name, 1, slot_decay_per_second=20)
    limits.rate_limit(name)
    assert in_use(server, name) == 1
    with pytest.raises(limits.AcquireConcurrencySlotTimeoutError):
        limits.rate_limit(name, timeout_seconds=0)
    limits.rate_limit(name)
    assert server.read_slot_leases(name) == []


def test_a_limit_without_decay_is_no_rate_limit(server: Server, name: str):
    server.create_global_concurrency_limit(name, 1)
    with pytest.raises(limits.ConcurrencySlotAcquisitionError, match="slot_decay_per_second"):
        limits.rate_limit(name)


# --- Leases ---


def lose(server: Server, name: str) -> None:
    """Take the slots of a limit away, as a server does where nobody renewed them."""
    server.reset_global_concurrency_limit_by_name(name)


@pytest.fixture
def quick_leases(monkeypatch: pytest.MonkeyPatch) -> None:
    """Renew leases after hundredths of a second."""
    monkeypatch.setattr(_keeper, "_RENEW_AT", 0.01)


@pytest.mark.usefixtures("quick_leases")
def test_a_lease_is_renewed_while_the_block_runs(server: Server, name: str):
    server.create_global_concurrency_limit(name, 1)
    pause = threading.Event()
    with limits.concurrency(name, lease_duration=1):
        [before] = server.read_slot_leases(name)
        while True:
            [after] = server.read_slot_leases(name)
            if after.expire_time > before.expire_time:
                break
            pause.wait(0.005)


@pytest.mark.usefixtures("quick_leases")
def test_a_lost_lease_ends_the_block_where_that_is_wanted(server: Server, name: str):
    server.create_global_concurrency_limit(name, 1)

    def hold() -> None:
        with limits.concurrency(name, lease_duration=1, strict=True):
            lose(server, name)
            while True:
                threading.Event().wait(0.005)

    with pytest.raises(limits.ConcurrencyLeaseLostError, match=name):
        hold()


@pytest.mark.usefixtures("quick_leases")
def test_a_lost_lease_is_told_where_the_block_goes_on(
    server: Server, name: str, caplog: pytest.LogCaptureFixture
):
    server.create_global_concurrency_limit(name, 1)
    with limits.concurrency(name, lease_duration=1):
        lose(server, name)
        while "the limits may be exceeded" not in caplog.text:
            threading.Event().wait(0.005)


@pytest.mark.usefixtures("quick_leases")
@pytest.mark.parametrize("earlier", [0, 1])
async def test_a_lost_lease_cancels_the_coroutines_block(server: Server, name: str, earlier: int):
    server.create_global_concurrency_limit(name, 1)
    task = asyncio.current_task()
    assert task is not None
    for _ in range(earlier):  # a cancellation that somebody has kept to himself
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.Event().wait()
    before = task.cancelling()

    async def hold() -> None:
        async with async_limits.concurrency(
            name, lease_duration=1, raise_on_lease_renewal_failure=True
        ):
            lose(server, name)
            await asyncio.Event().wait()

    with pytest.raises(limits.ConcurrencyLeaseLostError, match=name):
        await hold()
    assert task.cancelling() == before
    for _ in range(earlier):
        task.uncancel()


# --- Coroutines ---


async def test_coroutines_wait_without_keeping_the_loop_busy(server: Server, name: str):
    server.create_global_concurrency_limit(name, 2)
    inside = most = 0
    together = asyncio.Barrier(2)  # two are inside at once, or nobody comes out

    async def work() -> None:
        nonlocal inside, most
        async with async_limits.concurrency(name):
            inside += 1
            most = max(most, inside)
            await together.wait()
            inside -= 1

    async with asyncio.TaskGroup() as tasks:
        for _ in range(20):
            tasks.create_task(work())
    assert most == 2
    assert in_use(server, name) == 0


async def test_a_coroutine_that_is_cancelled_leaves_the_line(server: Server, name: str):
    server.create_global_concurrency_limit(name, 1)
    lease_id = taken(server, name)

    async def work() -> None:
        async with async_limits.concurrency(name):
            pass

    async with asyncio.TaskGroup() as tasks:
        waiting = tasks.create_task(work())
        await asyncio.to_thread(waits, server, name)
        waiting.cancel()
    await asyncio.to_thread(waits, server, name, 0)
    server.release_slots(lease_id)
    assert in_use(server, name) == 0


async def test_coroutines_wait_for_rates(server: Server, name: str):
    server.create_global_concurrency_limit(name, 1, slot_decay_per_second=50)
    for _ in range(3):
        await async_limits.rate_limit(name, timeout_seconds=5)


async def test_the_older_form_limits_by_tags(server: Server, name: str):
    server.create_concurrency_limit(name, 2)
    task_run_id = uuid.uuid4()
    with v1.concurrency(name, task_run_id):
        async with async_v1.concurrency([name], task_run_id, timeout_seconds=5):
            leases = server.read_slot_leases(f"tag:{name}")
    assert [lease.holder.id for lease in leases] == [str(task_run_id)] * 2
    assert server.read_concurrency_limit_by_tag(name).active_slots == 0


def test_a_server_that_is_not_there_is_an_error(tmp_path):
    unreachable = {"api_url": f"unix://{tmp_path}/none"}
    with (
        settings.temporary_settings(unreachable),
        pytest.raises(errors.Unavailable),
        limits.concurrency("x"),
    ):
        pass


def test_who_waits_leaves_the_line_when_the_process_ends(server: Server, name: str):
    server.create_global_concurrency_limit(name, 1)
    taken(server, name)
    failures: list[BaseException] = []

    def wait() -> None:
        try:
            with limits.concurrency(name):
                pass
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    waits(server, name)
    _keeper.close_all()
    thread.join(5)
    assert not thread.is_alive()
    waits(server, name, 0)
    assert len(failures) == 1
