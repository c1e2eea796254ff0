"""The calls of durable flows that have completed, in every storage alike."""

import dataclasses

from headgate.core import ids
from headgate.core.runs import FlowRun, RecordedCall, TaskRun
from headgate.core.states import Payload, StateDetails, StateType
from headgate_server.storage.interface import Storage
from headgate_server.storage.records import PageRequest
from tests.contract.storage import builders
from tests.contract.storage.builders import ALL

DATA = Payload(serializer="pickle", inline=b"\x80\x00")


def call(run: FlowRun, key: str | None = "key", **fields: object) -> TaskRun:
    task = builders.task_run(run, StateType.COMPLETED)
    details = StateDetails(call_key=key, cache_key='"call_key":')
    state = dataclasses.replace(task.state, details=details, data=DATA, message="done")
    return dataclasses.replace(task, state=dataclasses.replace(state, **fields))


async def test_completed_calls_are_listed_in_the_order_in_which_they_were_made(
    storage: Storage,
) -> None:
    run = await builders.engine_run(storage)
    calls = [call(run, f"key-{number}") for number in range(3)]
    await storage.append(builders.batch(run, calls))
    first = await storage.read(lambda t: t.task_runs.list_calls(run.id, (), PageRequest(size=2)))
    second = await storage.read(
        lambda t: t.task_runs.list_calls(run.id, (), PageRequest(size=2, after=first.next))
    )
    assert second.next is None
    assert [*first.items, *second.items] == [
        RecordedCall(task_run_id=task.id, call_key=f"key-{number}", dynamic_key="0")
        for number, task in enumerate(calls)
    ]


async def test_a_call_that_is_asked_for_by_id_comes_with_its_state(storage: Storage) -> None:
    run = await builders.engine_run(storage)
    wanted, other = call(run), call(run)
    await storage.append(builders.batch(run, [wanted, other]))
    asked_for = (wanted.id, ids.new_id())
    found = await storage.read(lambda t: t.task_runs.list_calls(run.id, asked_for, ALL))
    assert list(found.items) == [
        RecordedCall(task_run_id=wanted.id, call_key="key", dynamic_key="0", state=wanted.state)
    ]


async def test_what_did_not_complete_or_has_no_key_or_no_data_is_no_recorded_call(
    storage: Storage,
) -> None:
    run, other_run = await builders.engine_run(storage), await builders.engine_run(storage)
    others = [
        call(run, type=StateType.FAILED),
        call(run, None),
        call(run, data=None),
        builders.task_run(run),
    ]
    await storage.append(builders.batch(run, others))
    await storage.append(builders.batch(other_run, [call(other_run)]))
    found = await storage.read(lambda t: t.task_runs.list_calls(run.id, (), ALL))
    assert list(found.items) == []


async def test_a_call_that_was_rolled_back_is_recorded_no_more(storage: Storage) -> None:
    run = await builders.engine_run(storage)
    task = call(run)
    await storage.append(builders.batch(run, [task]))
    state = builders.state(StateType.COMPLETED, "RolledBack")
    undone = dataclasses.replace(task, state=state)
    await storage.append(builders.batch(run, changed=[undone], seq=1))
    found = await storage.read(lambda t: t.task_runs.list_calls(run.id, (), ALL))
    assert list(found.items) == []
