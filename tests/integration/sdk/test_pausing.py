"""Flow runs are paused, from inside and from outside, and go on when somebody resumes them."""

import asyncio
import threading
from typing import Any

import pydantic
import pytest

from headgate import (
    apause_flow_run,
    flow,
    pause_flow_run,
    resume_flow_run,
    suspend_flow_run,
    task,
)
from headgate.client.orchestration import SyncHeadgateClient
from headgate.context import FlowRunContext
from headgate.core import errors, states
from headgate.flow_runs import wait_for_flow_run
from headgate.input import RunInput, receive_input, send_input
from headgate.states import StateType
from tests.processes import eventually


def here() -> str:
    context = FlowRunContext.get()
    assert context is not None
    return context.flow_run.id


def names(server: SyncHeadgateClient, flow_run_id: str) -> list[str]:
    return [state.name for state in server.read_flow_run_states(flow_run_id)]


class Somebody(threading.Thread):
    """Does something when a run enters a state."""

    def __init__(self, server: SyncHeadgateClient, flow_run_id: str, action: Any) -> None:
        super().__init__()
        self._server, self._id, self._action = server, flow_run_id, action
        self.start()

    def run(self) -> None:
        for transition in self._server.watch(after_revision=0, flow_run_ids=[self._id]):
            if transition.run_id == self._id and transition.state.type is StateType.PAUSED:
                self._action()
                return


def resume(server: SyncHeadgateClient, run_input: Any = None) -> Somebody:
    """Have this flow run resumed when it is paused."""
    id = here()
    return Somebody(server, id, lambda: resume_flow_run(id, run_input))


def test_a_paused_flow_waits_until_it_is_resumed(server: SyncHeadgateClient):
    @flow
    def waits() -> str:
        somebody = resume(server)
        pause_flow_run(timeout=20)
        somebody.join()
        return here()

    id = waits()
    assert names(server, id) == [
        "Pending",
        "Running",
        "Paused",
        "Resuming",
        "Running",
        "Completed",
    ]
    assert server.read_flow_run(id).run_count == 1


async def test_an_async_flow_waits_without_blocking_its_loop(server: SyncHeadgateClient):
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            ticks += 1
            await asyncio.sleep(0)

    @flow
    async def waits() -> str:
        ticking = asyncio.get_running_loop().create_task(tick())
        somebody = resume(server)
        waiting: Any = pause_flow_run(timeout=20)
        await waiting
        ticking.cancel()
        again = resume(server)
        await apause_flow_run(timeout=20, key="again")
        for thread in (somebody, again):
            await asyncio.to_thread(thread.join)
        return here()

    assert names(server, await waits()).count("Paused") == 2
    assert ticks > 1


def test_a_pause_waits_for_an_input_of_a_model(server: SyncHeadgateClient):
    class Approval(RunInput):
        approved: bool
        reason: str = "none"

    @flow
    def asks() -> Approval:
        id = here()
        somebody = Somebody(server, id, lambda: refused_and_accepted(id))
        answer = pause_flow_run(Approval.with_initial_data("**Go on?**", reason="fine"))
        somebody.join()
        return answer

    def refused_and_accepted(id: str) -> None:
        with pytest.raises(errors.InvalidArgument, match="approved"):
            resume_flow_run(id)
        with pytest.raises(errors.InvalidArgument, match="'what'"):
            resume_flow_run(id, {"approved": True, "what": 1})
        keys = [one.key for one in server.filter_flow_run_input(id)]
        assert [key.rsplit("-", 1)[1] for key in keys] == ["schema", "description"]
        resume_flow_run(id, {"approved": True})

    answer = asks()
    assert isinstance(answer, Approval)
    assert (answer.approved, answer.reason) == (True, "fine")


def test_a_pause_waits_for_a_value_or_a_model_of_pydantic(server: SyncHeadgateClient):
    class Size(pydantic.BaseModel):
        width: int

    @flow
    def asks() -> tuple[str, Size]:
        threads = [resume(server, "blue")]
        colour = pause_flow_run(wait_for_input=str, timeout=20)
        threads[0].join()
        id = here()
        revision = server.read_flow_run(id).revision
        second = threading.Thread(
            target=lambda: next(
                resume_flow_run(id, {"width": 3})
                for transition in server.watch(after_revision=revision, flow_run_ids=[id])
                if transition.state.type is StateType.PAUSED
            )
        )
        second.start()
        size = pause_flow_run(wait_for_input=Size, timeout=20)
        second.join()
        return colour, size

    colour, size = asks()
    assert colour == "blue"
    assert isinstance(size, Size)
    assert size.width == 3


def test_a_pause_that_nobody_ends_fails_the_run(server: SyncHeadgateClient):
    ids = []

    @flow
    def waits() -> None:
        ids.append(here())
        pause_flow_run(timeout=0.05)

    # As it was given, and not what of it was left.
    with pytest.raises(errors.FlowPauseTimeout, match=r"never resumed within 0\.05 s"):
        waits()
    assert server.read_flow_run(ids[0]).state.type is StateType.FAILED


def test_a_pause_with_a_key_fires_once(server: SyncHeadgateClient):
    @flow
    def waits() -> str:
        somebody = resume(server)
        pause_flow_run(key="once", timeout=20)
        pause_flow_run(key="once", timeout=20)
        somebody.join()
        return here()

    assert names(server, waits()).count("Paused") == 1


def test_a_task_may_pause_its_flow(server: SyncHeadgateClient):
    @task
    def asks() -> None:
        pause_flow_run(timeout=20)

    @flow
    def waits() -> str:
        somebody = resume(server)
        asks.submit().result()
        somebody.join()
        return here()

    assert names(server, waits()).count("Paused") == 1


def test_a_flow_that_somebody_pauses_begins_no_further_task(server: SyncHeadgateClient):
    begun = []

    @task
    def step(n: int) -> None:
        begun.append(n)

    @flow
    def works() -> str:
        id = here()
        step(1)
        paused = states.new_state(
            StateType.PAUSED,
            id="01980000-0000-7000-8000-00000000aaaa",
            now=server.read_flow_run(id).create_time,
        )
        server.set_flow_run_state(id, paused)
        context = FlowRunContext.get()
        assert context is not None
        eventually(lambda: context.gate.is_closed)
        futures = step.map([2, 3])
        thread = threading.Timer(0.05, lambda: (begun.append(0), resume_flow_run(id)))
        thread.start()
        step(4)
        futures.wait()
        thread.join()
        return id

    id = works()
    assert begun[:2] == [1, 0]
    assert sorted(begun) == [0, 1, 2, 3, 4]
    assert names(server, id)[-4:] == ["Paused", "Resuming", "Running", "Completed"]


def test_a_paused_run_can_be_cancelled(server: SyncHeadgateClient):
    @task
    def step() -> None:
        pause_flow_run(timeout=20)

    @flow
    def waits() -> None:
        id = here()
        Somebody(server, id, lambda: server.cancel_flow_run(id))
        step.submit().result()

    with pytest.raises(errors.CancelledRun):
        waits()


def test_a_run_without_a_deployment_cannot_be_suspended(server: SyncHeadgateClient):
    @flow
    def waits() -> str:
        with pytest.raises(errors.FlowPauseError, match="without a deployment"):
            suspend_flow_run(timeout=20)
        return "went on"

    assert waits() == "went on"


def test_outside_of_a_run_there_is_nothing_to_pause():
    with pytest.raises(errors.MissingContextError, match="within a flow"):
        pause_flow_run()
    with pytest.raises(errors.MissingContextError, match="flow_run_id"):
        receive_input(str)


def test_a_run_that_is_not_paused_cannot_be_resumed(server: SyncHeadgateClient):
    @flow
    def works() -> str:
        with pytest.raises(errors.FlowPauseError, match="not paused"):
            resume_flow_run(here())
        return here()

    works()


def test_runs_send_each_other_inputs_and_answer(server: SyncHeadgateClient):
    @flow
    def greeter() -> list[str]:
        id = here()
        thread = threading.Thread(target=client_of, args=(id,))
        thread.start()
        greeted = []
        for name in receive_input(str, timeout=20, with_metadata=True):
            if name.value == "stop":
                break
            greeted.append(name.value)
            name.respond(f"Hello, {name.value}")
        thread.join()
        return greeted

    @flow
    def client_of(id: str) -> None:
        send_input("Marvin", id)
        answers.append(receive_input(str, timeout=20).next())
        send_input("stop", id)

    answers: list[str] = []
    assert greeter() == ["Marvin"]
    assert answers == ["Hello, Marvin"]


def test_inputs_that_do_not_come_end_the_iteration(server: SyncHeadgateClient):
    @flow
    def waits() -> list[str]:
        with pytest.raises(TimeoutError, match=r"input of the type str has come within 0\.01 s"):
            next(receive_input(str, timeout=0.01, raise_timeout_error=True))
        return list(receive_input(str, timeout=0.01))

    assert waits() == []


def test_the_end_of_a_run_can_be_waited_for(server: SyncHeadgateClient):
    @flow
    def works() -> str:
        with pytest.raises(errors.FlowRunWaitTimeout, match="has not ended within"):
            wait_for_flow_run(here(), timeout=0.01)
        return here()

    ended = wait_for_flow_run(works(), log_states=True)
    assert ended.state.is_terminal
