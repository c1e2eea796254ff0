"""Tasks whose tags are limited, in flows that really run."""

from __future__ import annotations

import asyncio
import threading
import uuid
from collections.abc import Iterator

import pytest

from headgate import flow, tags, task
from headgate.client.orchestration import SyncHeadgateClient
from headgate.concurrency import _keeper
from headgate.core import errors, runs
from headgate.core.concurrency import SlotRequest
from headgate.core.ids import new_id
from headgate.core.states import StateType

Server = SyncHeadgateClient


@pytest.fixture(scope="module", autouse=True)
def ended(api_url: str) -> Iterator[None]:
    """End the keepers while the server is there to hear of it."""
    yield
    _keeper.close_all()


@pytest.fixture
def tag() -> str:
    return f"tag/{uuid.uuid4().hex}"


def limited(server: Server, tag: str, limit: int = 1) -> None:
    """Limit a tag, and wait until this process has heard of it."""
    server.create_concurrency_limit(tag, limit)
    keeper, pause = _keeper.current(), threading.Event()
    if keeper.tag_limits is None:
        keeper.submit(keeper.watch_tags()).result(5)
    while f"tag:{tag}" not in (keeper.tag_limits or ()):
        pause.wait(0.002)


def active(server: Server, tag: str) -> int:
    return server.read_concurrency_limit_by_tag(tag).active_slots


class Meter:
    """Counts how many are inside at once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self.most = 0

    def enter(self) -> None:
        with self._lock:
            self._inside += 1
            self.most = max(self.most, self._inside)

    def leave(self) -> None:
        with self._lock:
            self._inside -= 1


def test_a_tasks_slot_is_held_by_its_run_while_its_function_runs(server: Server, tag: str):
    @task(tags=[tag, "other"])
    def work() -> list[tuple[str, str, float]]:
        leases = server.read_slot_leases(f"tag:{tag}")
        return [(lease.holder.type, lease.holder.id, lease.lease_seconds) for lease in leases]

    @flow
    def main():
        return work()

    limited(server, tag)
    [(type, id, seconds)] = main()
    assert (type, seconds) == ("task_run", 60.0)
    assert server.read_task_run(id).name == "work-0"
    assert active(server, tag) == 0


def test_submitted_tasks_wait_for_each_other(server: Server, tag: str):
    meter, together = Meter(), threading.Barrier(2)

    @task
    def work(n: int) -> int:
        meter.enter()
        together.wait(5)  # two are inside at once, or nobody comes out
        meter.leave()
        return n

    @flow
    def main():
        with tags(tag):
            futures = [work.submit(n) for n in range(6)]
        return [future.result() for future in futures]

    limited(server, tag, 2)
    assert main() == list(range(6))
    assert meter.most == 2
    assert active(server, tag) == 0


async def test_async_tasks_wait_for_each_other(server: Server, tag: str):
    meter = Meter()

    @task(tags=[tag])
    async def work() -> None:
        meter.enter()
        await asyncio.sleep(0.001)
        meter.leave()

    @flow
    async def main():
        await asyncio.gather(*[work() for _ in range(5)])

    limited(server, tag)
    await main()
    assert meter.most == 1
    assert active(server, tag) == 0


def test_slots_come_back_between_attempts_and_after_failures(server: Server, tag: str):
    seen: list[int] = []

    @task(tags=[tag], retries=1)
    def work() -> None:
        seen.append(active(server, tag))
        raise ValueError("boom")

    @flow
    def main():
        with pytest.raises(ValueError, match="boom"):
            work()
        return active(server, tag)

    limited(server, tag)
    assert main() == 0
    assert seen == [1, 1]


@pytest.mark.slow
def test_the_timeout_of_a_task_begins_when_it_has_its_slot(server: Server, tag: str):
    release = threading.Timer(0.6, lambda: server.release_slots(lease_id))

    @task(tags=[tag], timeout_seconds=0.5)
    def work() -> str:
        return "done"

    @flow
    def main():
        return work()

    limited(server, tag)
    lease_id = new_id()
    server.acquire_slots(SlotRequest(id=lease_id, names=(f"tag:{tag}",)))
    release.start()
    assert main() == "done"


def test_a_limit_of_none_fails_the_task(server: Server, tag: str):
    @task(tags=[tag])
    def work() -> None:
        pass

    @flow
    def main():
        return work()

    limited(server, tag, 0)
    with pytest.raises(errors.ConcurrencySlotAcquisitionError, match="raise the limit"):
        main()


def test_a_generators_slot_is_held_until_it_is_consumed(server: Server, tag: str):
    @task(tags=[tag])
    def numbers() -> Iterator[int]:
        yield from range(3)

    @flow
    def main():
        counts = [active(server, tag) for _ in numbers()]
        return [*counts, active(server, tag)]

    limited(server, tag)
    assert main() == [1, 1, 1, 0]


def test_tags_that_are_not_limited_ask_for_nothing(
    server: Server, tag: str, monkeypatch: pytest.MonkeyPatch
):
    @task(tags=[tag])
    def work() -> int:
        return 1

    @flow
    def main():
        return work()

    keeper = _keeper.current()
    keeper.submit(keeper.watch_tags()).result(5)
    monkeypatch.setattr(keeper, "acquire", None)
    assert main() == 1


def test_a_limit_that_is_deleted_limits_no_longer(server: Server, tag: str):
    @task(tags=[tag])
    def work() -> int:
        return 1

    @flow
    def main():
        return work()

    limited(server, tag)
    server.acquire_slots(SlotRequest(id=new_id(), names=(f"tag:{tag}",)))
    threading.Timer(0.05, lambda: server.delete_concurrency_limit_by_tag(tag)).start()
    assert main() == 1


def test_a_flow_run_that_is_cancelled_waits_no_longer(server: Server, tag: str):
    run_ids: list[str] = []

    @task(tags=[tag])
    def work() -> None:
        pytest.fail("There was no slot.")

    @flow
    def main():
        from headgate.context import FlowRunContext

        context = FlowRunContext.get()
        assert context is not None
        run_ids.append(context.flow_run.id)
        work.submit().wait()

    limited(server, tag)
    server.acquire_slots(SlotRequest(id=new_id(), names=(f"tag:{tag}",)))

    def cancel() -> None:
        pause = threading.Event()
        while not server.read_slot_leases(f"tag:{tag}", include_waiting=True)[1:]:
            pause.wait(0.005)
        server.cancel_flow_run(run_ids[0])

    canceller = threading.Thread(target=cancel)
    canceller.start()
    state = main(return_state=True)
    canceller.join()
    assert state.type is StateType.CANCELLED
    pause = threading.Event()
    while server.read_concurrency_limit_by_tag(tag).waiting:
        pause.wait(0.005)
    [task_run] = server.read_task_runs(flow_run_ids=run_ids)
    assert isinstance(task_run, runs.TaskRun)
    assert task_run.state.is_terminal
