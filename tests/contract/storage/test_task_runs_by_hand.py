"""Task runs that no engine's stream brings, in every storage alike."""

import dataclasses

import pytest

from headgate.core import errors
from headgate.core.runs import LogRecord
from headgate.core.states import StateType
from headgate_server.storage.interface import Storage
from headgate_server.storage.records import JournalFilter, LogFilter
from tests.contract.storage import builders


async def test_a_task_run_is_stored_with_its_first_state_in_the_journal(storage: Storage) -> None:
    run = await builders.engine_run(storage)
    task = builders.task_run(run, StateType.RUNNING)
    before = await storage.read(lambda t: t.journal.newest())
    revision = await storage.write(lambda t: t.task_runs.insert(task))
    assert revision > before
    stored = await storage.read(lambda t: t.task_runs.get(task.id))
    assert stored == dataclasses.replace(task, revision=revision)
    assert list(await storage.read(lambda t: t.task_runs.states(task.id))) == [task.state]
    [line] = await storage.read(lambda t: t.journal.read(before, JournalFilter(), 10))
    assert (line.revision, line.run_id, line.flow_run_id) == (revision, task.id, run.id)


async def test_a_taken_id_is_refused_and_nothing_is_stored(storage: Storage) -> None:
    run = await builders.engine_run(storage)
    task = builders.task_run(run)
    await storage.write(lambda t: t.task_runs.insert(task))
    newest = await storage.read(lambda t: t.journal.newest())
    with pytest.raises(errors.AlreadyExists, match=task.id):
        await storage.write(lambda t: t.task_runs.insert(dataclasses.replace(task, name="other")))
    assert await storage.read(lambda t: t.journal.newest()) == newest
    stored = await storage.read(lambda t: t.task_runs.get(task.id))
    assert stored is not None
    assert stored.name == task.name


async def test_name_and_tags_change_and_nothing_else(storage: Storage) -> None:
    run = await builders.engine_run(storage)
    task = builders.task_run(run)
    revision = await storage.write(lambda t: t.task_runs.insert(task))
    changed = dataclasses.replace(task, name="other", tags=("x",))
    await storage.write(
        lambda t: t.task_runs.update(dataclasses.replace(changed, task_key="another"))
    )
    stored = await storage.read(lambda t: t.task_runs.get(task.id))
    assert stored == dataclasses.replace(changed, revision=revision)


async def test_a_task_run_is_deleted_with_its_states_and_logs(storage: Storage) -> None:
    run = await builders.engine_run(storage)
    task, other = builders.task_run(run), builders.task_run(run)
    for one in (task, other):
        await storage.write(lambda t, one=one: t.task_runs.insert(one))
    records = [
        LogRecord(
            flow_run_id=run.id,
            task_run_id=task_run_id,
            timestamp=builders.START,
            level=20,
            logger="x",
            message="hello",
        )
        for task_run_id in (task.id, other.id, None)
    ]
    await storage.write(lambda t: t.logs.append(records))
    await storage.write(lambda t: t.task_runs.delete(task))
    assert await storage.read(lambda t: t.task_runs.get(task.id)) is None
    assert not await storage.read(lambda t: t.task_runs.states(task.id))
    assert await storage.read(lambda t: t.task_runs.states(other.id))
    left = await storage.read(lambda t: t.logs.list(LogFilter(), builders.ALL))
    assert [record.task_run_id for record in left.items] == [other.id, None]
