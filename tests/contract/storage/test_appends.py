"""What engines' streams bring: task runs, the journal and logs, in every storage alike."""

import dataclasses
import functools

import anyio
import pytest

from headgate.core import ids
from headgate.core.runs import FlowRun, LogRecord, RunKind, StateCount
from headgate.core.states import Payload, StateDetails, StateType
from headgate_server.storage.interface import Storage, Transaction
from headgate_server.storage.records import (
    Appended,
    AppendOutcome,
    AppendRefused,
    Commit,
    Failed,
    JournalFilter,
    LogAppend,
    LogFilter,
    PageRequest,
    RunAppend,
    TaskRunFilter,
)
from tests.contract.storage import builders
from tests.contract.storage.builders import ALL, at


def log(run: FlowRun, message: str, *, level: int = 20, **fields: object) -> LogRecord:
    record = LogRecord(
        flow_run_id=run.id, timestamp=at(1), level=level, logger="flow", message=message
    )
    return dataclasses.replace(record, **fields)


def log_batch(run: FlowRun, records: list[LogRecord], *, seq: int = 0, token: int = 1):
    return LogAppend(
        flow_run_id=run.id,
        fencing_token=token,
        seq_before=seq,
        seq_after=seq + len(records),
        records=records,
    )


async def test_a_task_run_is_stored_as_it_is(storage: Storage) -> None:
    run = await builders.engine_run(storage)
    task = builders.task_run(
        run,
        StateType.COMPLETED,
        name="clean-7",
        dynamic_key="7",
        task_version="2",
        tags=("a", "b"),
        run_count=2,
        max_retries=3,
        expected_start_time=at(1),
        start_time=at(2),
        end_time=at(3),
        parent_task_run_id=ids.new_id(),
        upstream_run_ids=(ids.new_id(), ids.new_id()),
        flow_run_attempt=2,
    )
    details = StateDetails(cache_key="k", scheduled_time=at(9))
    data = Payload(serializer="pickle", inline=b"\x80\x00")
    task = dataclasses.replace(
        task, state=dataclasses.replace(task.state, message="ö", details=details, data=data)
    )
    outcome = await storage.append(builders.batch(run, [task]))
    assert outcome == Appended(revision=run.revision + 1)
    expected = dataclasses.replace(task, revision=run.revision + 1)
    assert await storage.read(lambda t: t.task_runs.get(task.id)) == expected
    assert await storage.read(lambda t: t.task_runs.get_many([ids.new_id(), task.id])) == [expected]
    assert await storage.read(lambda t: t.task_runs.get(ids.new_id())) is None
    assert await storage.read(lambda t: t.task_runs.get_many([])) == []


async def test_every_transition_is_in_the_history_and_the_last_one_stands(
    storage: Storage,
) -> None:
    run = await builders.engine_run(storage)
    running = builders.task_run(run)
    done = dataclasses.replace(
        running, state=builders.state(StateType.COMPLETED), end_time=at(5), run_count=1
    )
    entries = [builders.entry(running), builders.entry(done)]
    outcome = await storage.append(builders.batch(run, [done], entries=entries))
    assert outcome == Appended(revision=run.revision + 2)
    stored = await storage.read(lambda t: t.task_runs.get(running.id))
    assert stored == dataclasses.replace(done, revision=run.revision + 2)
    states = await storage.read(lambda t: t.task_runs.states(running.id))
    assert states == [running.state, done.state]
    assert await storage.read(lambda t: t.task_runs.states(ids.new_id())) == []


@pytest.mark.parametrize("tasks", [1, 30])
async def test_a_later_batch_changes_task_runs(storage: Storage, tasks: int) -> None:
    run = await builders.engine_run(storage)
    new = [builders.task_run(run) for _ in range(tasks)]
    await storage.append(builders.batch(run, new))
    changed = [
        dataclasses.replace(
            task,
            state=builders.state(StateType.FAILED),
            run_count=1,
            start_time=at(1),
            end_time=at(2),
            expected_start_time=at(3),
        )
        for task in new
    ]
    assert isinstance(
        await storage.append(builders.batch(run, changed=changed, seq=tasks)), Appended
    )
    stored = await storage.read(lambda t: t.task_runs.list(TaskRunFilter(), ALL))
    revision = run.revision + tasks
    assert [dataclasses.replace(found, revision=0) for found in stored.items] == changed
    assert stored.items[-1].revision == revision + tasks


async def test_who_does_not_wait_for_an_append_is_called_back(storage: Storage) -> None:
    # On PostgreSQL the one that fails comes when psycopg would begin to prepare COMMIT.
    run = await builders.engine_run(storage)
    first = builders.batch(run, [builders.task_run(run)])
    known_id = dataclasses.replace(first, seq_before=1, seq_after=2)
    told: dict[int, AppendOutcome] = {}
    heard = anyio.Event()

    def tell(place: int, outcome: AppendOutcome) -> None:
        told[place] = outcome
        if len(told) == 3:
            heard.set()

    for place, batch in enumerate((first, first, known_id)):
        outcome = storage.append_then(batch, functools.partial(tell, place))
        if outcome is not None:  # it could be committed at once
            tell(place, outcome)
    await heard.wait()
    appended, refused, failed = (told[place] for place in range(3))
    assert appended == Appended(revision=run.revision + 1)
    assert refused == AppendRefused(known=True, fencing_token=1, committed_seq=1)
    assert isinstance(failed, Failed)
    assert await storage.read(lambda t: t.task_runs.count(TaskRunFilter())) == [
        StateCount(type="RUNNING", name="Running", count=1)
    ]


async def test_batches_are_guarded_by_token_and_sequence(storage: Storage) -> None:
    run = await builders.engine_run(storage)
    tasks = [builders.task_run(run) for _ in range(2)]
    first = builders.batch(run, tasks)
    assert isinstance(await storage.append(first), Appended)
    refused = AppendRefused(known=True, fencing_token=1, committed_seq=2)
    assert await storage.append(first) == refused
    assert await storage.append(builders.batch(run, [builders.task_run(run)], seq=3)) == refused
    stale = builders.batch(run, [builders.task_run(run)], seq=2, token=0)
    assert await storage.append(stale) == refused
    unknown = dataclasses.replace(first, flow_run_id=ids.new_id())
    assert await storage.append(unknown) == AppendRefused(
        known=False, fencing_token=0, committed_seq=0
    )
    assert await storage.read(lambda t: t.journal.newest()) == run.revision + 2
    counts = await storage.read(lambda t: t.task_runs.count(TaskRunFilter()))
    assert counts == [StateCount(type="RUNNING", name="Running", count=2)]


async def test_batches_that_come_together_are_written_in_order(storage: Storage) -> None:
    """They share a commit: later ones see what earlier ones of it brought."""
    runs = [await builders.engine_run(storage) for _ in range(3)]
    task = builders.task_run(runs[0])
    done = dataclasses.replace(task, state=builders.state(StateType.COMPLETED))
    outcomes: dict[int, Appended | AppendRefused] = {}
    batches = [
        builders.batch(runs[0], [task]),
        builders.batch(runs[1], [builders.task_run(runs[1])]),
        builders.batch(runs[0], changed=[done], seq=1),
        builders.batch(runs[2], [builders.task_run(runs[2])], token=7),
        builders.batch(runs[0], [builders.task_run(runs[0])], seq=9),
    ]

    async def append(place: int) -> None:
        outcomes[place] = await storage.append(batches[place])

    async with anyio.create_task_group() as group:
        for place in range(len(batches)):
            group.start_soon(append, place)
    assert [isinstance(outcomes[place], Appended) for place in range(5)] == [
        True,
        True,
        True,
        False,
        False,
    ]
    assert outcomes[4] == AppendRefused(known=True, fencing_token=1, committed_seq=2)
    stored = await storage.read(lambda t: t.task_runs.get(task.id))
    assert stored is not None
    assert stored.state == done.state


async def test_a_batch_that_cannot_be_written_fails_alone(storage: Storage) -> None:
    run, other = await builders.engine_run(storage), await builders.engine_run(storage)
    good, bad = builders.task_run(run), builders.task_run(other)
    bad = dataclasses.replace(bad, run_count=10**30)
    results: list[object] = []

    async def append(batch: RunAppend) -> None:
        try:
            results.append(await storage.append(batch))
        except Exception as error:
            results.append(error)

    if storage.database == "memory":
        pytest.skip("a dictionary takes any number")
    async with anyio.create_task_group() as group:
        group.start_soon(append, builders.batch(run, [good]))
        group.start_soon(append, builders.batch(other, [bad]))
    assert sorted(type(result).__name__ == "Appended" for result in results) == [False, True]
    assert await storage.read(lambda t: t.task_runs.get(good.id)) is not None
    assert await storage.read(lambda t: t.task_runs.get(bad.id)) is None


async def test_task_runs_are_listed_filtered_and_counted(storage: Storage) -> None:
    run, other = await builders.engine_run(storage), await builders.engine_run(storage)
    a = builders.task_run(run, name="Alpha", tags=("x",))
    b = builders.task_run(run, StateType.FAILED)
    c = builders.task_run(other, StateType.COMPLETED)
    await storage.append(builders.batch(run, [a, b]))
    await storage.append(builders.batch(other, [c]))
    for where, expected in (
        (TaskRunFilter(), [a, b, c]),
        (TaskRunFilter(ids=(a.id, c.id)), [a, c]),
        (TaskRunFilter(flow_run_ids=(run.id,)), [a, b]),
        (TaskRunFilter(state_types=(StateType.FAILED, StateType.COMPLETED)), [b, c]),
        (TaskRunFilter(state_names=("Running",)), [a]),
        (TaskRunFilter(name_contains="alp"), [a]),
        (TaskRunFilter(tags=("x",)), [a]),
    ):
        expected_ids = [task.id for task in expected]
        page = await storage.read(lambda t, w=where: t.task_runs.list(w, ALL))
        assert [task.id for task in page.items] == expected_ids, where
        page = await storage.read(lambda t, w=where: t.task_runs.list(w, ALL, descending=True))
        assert [task.id for task in page.items] == expected_ids[::-1], where
        counts = await storage.read(lambda t, w=where: t.task_runs.count(w))
        assert sum(one.count for one in counts) == len(expected), where
    first = await storage.read(
        lambda t: t.task_runs.list(TaskRunFilter(), PageRequest(size=2), descending=True)
    )
    assert [task.id for task in first.items] == [c.id, b.id]
    rest = PageRequest(size=2, after=first.next)
    last = await storage.read(lambda t: t.task_runs.list(TaskRunFilter(), rest, descending=True))
    assert [task.id for task in last.items] == [a.id]


async def test_the_server_ends_unfinished_task_runs(storage: Storage) -> None:
    run = await builders.engine_run(storage)
    tasks = [builders.task_run(run), builders.task_run(run, StateType.COMPLETED)]
    await storage.append(builders.batch(run, tasks))
    unfinished = await storage.read(lambda t: t.task_runs.list_unfinished(run.id, 5))
    assert [task.id for task in unfinished] == [tasks[0].id]
    crashed = [
        dataclasses.replace(task, state=builders.state(StateType.CRASHED), end_time=at(1))
        for task in unfinished
    ]
    last = await storage.write(lambda t: t.task_runs.save(crashed))
    assert last == run.revision + 3
    stored = await storage.read(lambda t: t.task_runs.get(tasks[0].id))
    assert stored == dataclasses.replace(crashed[0], revision=last)
    assert not await storage.read(lambda t: t.task_runs.list_unfinished(run.id, 5))


async def test_the_journal_tells_transitions_in_order_without_data(storage: Storage) -> None:
    run = await builders.engine_run(storage)
    task = builders.task_run(run, StateType.COMPLETED)
    with_data = dataclasses.replace(task.state, data=Payload(serializer="json", inline=b"1"))
    await storage.append(
        builders.batch(run, [dataclasses.replace(task, state=with_data, name="t")])
    )
    first, second = await storage.read(lambda t: t.journal.read(0, JournalFilter(), 10))
    assert (first.revision, first.kind, first.state) == (1, RunKind.FLOW_RUN, run.state)
    assert (second.revision, second.kind, second.state) == (2, RunKind.TASK_RUN, task.state)
    assert (second.run_id, second.run_name, second.flow_run_id) == (task.id, "t", run.id)
    assert second.root_flow_run_id == run.id
    assert second.commit_time == at(0)
    assert await storage.read(lambda t: t.journal.newest()) == 2
    assert await storage.read(lambda t: t.journal.oldest()) == 0
    later = await storage.read(lambda t: t.journal.read(1, JournalFilter(), 10))
    assert [line.revision for line in later] == [2]
    assert len(await storage.read(lambda t: t.journal.read(0, JournalFilter(), 1))) == 1


async def test_the_journal_is_filtered(storage: Storage) -> None:
    flow = await builders.make_flow(storage)
    root = await builders.engine_run(storage, flow)
    nightly = ids.new_id()
    child = await builders.store_run(
        storage,
        builders.flow_run(flow, root_flow_run_id=root.id, deployment_id=nightly, fencing_token=1),
    )
    other = await builders.engine_run(storage, flow)
    task = builders.task_run(child, StateType.FAILED)
    await storage.append(builders.batch(child, [task]))
    for where, expected in (
        (JournalFilter(), [root.id, child.id, other.id, task.id]),
        (JournalFilter(flow_run_ids=(child.id,)), [child.id, task.id]),
        (JournalFilter(root_flow_run_ids=(root.id,)), [root.id, child.id, task.id]),
        (JournalFilter(root_flow_run_ids=(ids.new_id(),)), []),
        (JournalFilter(deployment_ids=(nightly,)), [child.id, task.id]),
        (JournalFilter(kind=RunKind.TASK_RUN), [task.id]),
        (JournalFilter(kind=RunKind.FLOW_RUN), [root.id, child.id, other.id]),
        (JournalFilter(state_types=(StateType.FAILED,)), [task.id]),
    ):
        lines = await storage.read(lambda t, w=where: t.journal.read(0, w, 10))
        assert [line.run_id for line in lines] == expected, where


async def test_log_lines_are_guarded_by_their_own_sequence(storage: Storage) -> None:
    run = await builders.engine_run(storage)
    first = log_batch(run, [log(run, "a"), log(run, "b\x00c")])
    assert await storage.append_logs(first) == Appended(revision=0)
    refused = AppendRefused(known=True, fencing_token=1, committed_seq=2)
    assert await storage.append_logs(first) == refused
    assert await storage.append_logs(log_batch(run, [], seq=2, token=2)) == refused
    unknown = dataclasses.replace(first, flow_run_id=ids.new_id())
    assert not isinstance(await storage.append_logs(unknown), Appended)
    page = await storage.read(lambda t: t.logs.list(LogFilter(), ALL))
    assert [line.message.replace("\x00", "\ufffd") for line in page.items] == ["a", "b\ufffdc"]
    assert page.items[0] == log(run, "a", id=page.items[0].id)
    stored = await storage.read(lambda t: t.flow_runs.get(run.id))
    assert stored is not None
    assert (stored.committed_seq, stored.committed_log_seq) == (0, 2)


async def test_log_lines_are_listed_and_filtered(storage: Storage) -> None:
    flow = await builders.make_flow(storage)
    root = await builders.engine_run(storage, flow)
    child = await builders.store_run(storage, builders.flow_run(flow, root_flow_run_id=root.id))
    other = await builders.engine_run(storage, flow)
    task_id = ids.new_id()
    lines = [
        log(root, "Alpha"),
        log(child, "beta", level=40),
        log(child, "gamma", task_run_id=task_id),
        log(other, "delta"),
    ]
    last = await storage.write(lambda t: t.logs.append(lines))
    for where, expected in (
        (LogFilter(), ["Alpha", "beta", "gamma", "delta"]),
        (LogFilter(flow_run_ids=(root.id, other.id)), ["Alpha", "delta"]),
        (LogFilter(task_run_ids=(task_id,)), ["gamma"]),
        (LogFilter(root_flow_run_id=root.id), ["Alpha", "beta", "gamma"]),
        (LogFilter(level_min=30), ["beta"]),
        (LogFilter(level_max=39), ["Alpha", "gamma", "delta"]),
        (LogFilter(logged_after=lines[0].timestamp), ["Alpha", "beta", "gamma", "delta"]),
        (LogFilter(logged_before=lines[0].timestamp), []),
        (LogFilter(message_contains="ALP"), ["Alpha"]),
    ):
        page = await storage.read(lambda t, w=where: t.logs.list(w, ALL))
        assert [line.message for line in page.items] == expected, where
        page = await storage.read(lambda t, w=where: t.logs.list(w, ALL, descending=True))
        assert [line.message for line in page.items] == expected[::-1], where
    page = await storage.read(lambda t: t.logs.list(LogFilter(), PageRequest(size=3)))
    rest = PageRequest(size=3, after=page.next)
    page = await storage.read(lambda t: t.logs.list(LogFilter(), rest))
    assert [line.message for line in page.items] == ["delta"]
    assert page.items[0].id == last


async def test_commits_are_announced_with_what_they_changed(storage: Storage) -> None:
    run = await builders.engine_run(storage)
    heard: list[Commit] = []
    unlisten = storage.listen(heard.append)
    await storage.append(builders.batch(run, [builders.task_run(run)]))
    await storage.append_logs(log_batch(run, [log(run, "a")]))
    await storage.read(lambda t: t.now())
    await storage.write(lambda t: t.now())
    await anyio.wait_all_tasks_blocked()
    assert builders.announced(heard) == [
        Commit(revision=run.revision + 1),
        Commit(logs=True),
    ]
    unlisten()
    await storage.append_logs(log_batch(run, [log(run, "b")], seq=1))
    await anyio.wait_all_tasks_blocked()
    assert len(heard) == 2


async def test_a_change_that_raises_changes_nothing(storage: Storage) -> None:
    run = await builders.engine_run(storage)
    heard: list[Commit] = []
    storage.listen(heard.append)

    def fail(transaction: Transaction) -> None:
        transaction.flows.ensure("other", new_id=ids.new_id())
        ended = builders.moved(run, builders.state(StateType.COMPLETED))
        assert transaction.flow_runs.save(run, ended) is not None
        transaction.logs.append([log(run, "x")])
        msg = "no"
        raise ValueError(msg)

    async def swallow() -> None:
        with pytest.raises(ValueError, match="no"):
            await storage.write(fail)

    # Alone, and together with others who must not notice.
    await swallow()
    made: list[str] = []

    async def make(name: str) -> None:
        made.append((await builders.make_flow(storage, name)).name)

    async with anyio.create_task_group() as group:
        group.start_soon(make, "a")
        group.start_soon(swallow)
        group.start_soon(make, "b")
        group.start_soon(swallow)
    assert sorted(made) == ["a", "b"]
    assert await storage.read(lambda t: t.flows.get_by_name("other")) is None
    assert await storage.read(lambda t: t.flow_runs.get(run.id)) == run
    assert await storage.read(lambda t: t.journal.newest()) == run.revision
    assert not (await storage.read(lambda t: t.logs.list(LogFilter(), ALL))).items
    await anyio.wait_all_tasks_blocked()
    assert builders.announced(heard) == []
    again = builders.moved(run, builders.state(StateType.FAILED))
    assert await storage.write(lambda t: t.flow_runs.save(run, again)) == run.revision + 1


async def test_a_caller_who_goes_away_disturbs_nobody(storage: Storage) -> None:
    with anyio.CancelScope() as scope:
        scope.cancel()
        await storage.write(lambda t: t.flows.ensure("gone", new_id=ids.new_id()))
    assert (await builders.make_flow(storage, "here")).name == "here"
