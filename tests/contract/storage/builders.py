"""Records for storage tests, with what a test does not care about filled in."""

import dataclasses
from datetime import UTC, datetime, timedelta
from typing import Any

from headgate.core import ids
from headgate.core.deployments import Deployment
from headgate.core.runs import Flow, FlowRun, RunKind, TaskRun
from headgate.core.states import NO_DETAILS, State, StateDetails, StateType, new_state
from headgate_server.storage.interface import Storage, Transaction
from headgate_server.storage.records import (
    ALL_TOPICS,
    Commit,
    JournalEntry,
    PageRequest,
    RunAppend,
    Session,
    SessionKind,
)

START = datetime(2026, 1, 1, tzinfo=UTC)
ALL = PageRequest(size=1000)


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def state(type: StateType, name: str | None = None, *, seconds: float = 0, **fields: Any) -> State:
    return new_state(type, id=ids.new_id(), now=at(seconds), name=name, **fields)


def scheduled(seconds: float = 0) -> State:
    details = StateDetails(scheduled_time=at(seconds))
    return state(StateType.SCHEDULED, details=details)


def flow_run(flow: Flow, run_state: State | None = None, **fields: Any) -> FlowRun:
    id = fields.pop("id", None) or ids.new_id()
    given: dict[str, Any] = {
        "id": id,
        "name": "brave-otter",
        "flow_id": flow.id,
        "flow_name": flow.name,
        "state": run_state or state(StateType.PENDING),
        "root_flow_run_id": id,
        "create_time": START,
        **fields,
    }
    return FlowRun(**given)


def ready_run(flow: Flow, *, due_seconds: float = 0, **fields: Any) -> FlowRun:
    place = {"work_pool_name": "default", "work_queue_name": "default"}
    return flow_run(
        flow,
        scheduled(due_seconds),
        expected_start_time=at(due_seconds),
        **{**place, **fields},
    )


def task_run(
    run: FlowRun, type: StateType = StateType.RUNNING, *, id: str | None = None, **fields: Any
) -> TaskRun:
    given: dict[str, Any] = {
        "id": id or ids.new_id(),
        "name": "clean-0",
        "flow_run_id": run.id,
        "task_key": "clean",
        "dynamic_key": "0",
        "state": state(type),
        "create_time": START,
        **fields,
    }
    return TaskRun(**given)


def deployment(flow: Flow, name: str = "nightly", **fields: Any) -> Deployment:
    given: dict[str, Any] = {
        "id": ids.new_id(),
        "name": name,
        "flow_id": flow.id,
        "flow_name": flow.name,
        "create_time": START,
        "update_time": START,
        "etag": "1",
        **fields,
    }
    return Deployment(**given)


def session(kind: SessionKind = SessionKind.RUNNER, **fields: Any) -> Session:
    given: dict[str, Any] = {
        "id": ids.new_id(),
        "kind": kind,
        "name": "box",
        "instance_id": ids.new_id(),
        "resume_token_hash": "hash",
        "work_pool_names": ("default",) if kind is SessionKind.RUNNER else (),
        "slots": 10,
        "sdk": "headgate-python/0",
        "last_beat_time": START,
        "expire_time": START,
        **fields,
    }
    return Session(**given)


def batch(
    run: FlowRun,
    new: list[TaskRun] | None = None,
    changed: list[TaskRun] | None = None,
    *,
    seq: int = 0,
    token: int = 1,
    entries: list[JournalEntry] | None = None,
) -> RunAppend:
    """What an engine's stream brings; unless told otherwise, one entry per task run."""
    task_runs = [*(new or []), *(changed or [])]
    if entries is None:
        entries = [entry(run) for run in task_runs]
    return RunAppend(
        flow_run_id=run.id,
        fencing_token=token,
        seq_before=seq,
        seq_after=seq + max(len(entries), 1),
        new_task_runs=new or [],
        changed_task_runs=changed or [],
        entries=entries,
    )


def entry(run: TaskRun) -> JournalEntry:
    return JournalEntry(RunKind.TASK_RUN, run.id, run.name, run.state)


def moved(run: FlowRun, to: State, **fields: Any) -> FlowRun:
    return dataclasses.replace(run, state=to, **fields)


def without_details(run_state: State) -> State:
    return dataclasses.replace(run_state, details=NO_DETAILS)


async def make_flow(storage: Storage, name: str = "etl") -> Flow:
    id = ids.new_id()
    return await storage.write(lambda t: t.flows.ensure(name, new_id=id))


async def store_run(storage: Storage, run: FlowRun) -> FlowRun:
    def insert(transaction: Transaction) -> FlowRun:
        transaction.flow_runs.insert(run)
        stored = transaction.flow_runs.get(run.id)
        assert stored is not None
        return stored

    return await storage.write(insert)


async def engine_run(storage: Storage, flow: Flow | None = None) -> FlowRun:
    """A run that an engine created: with fencing token 1."""
    flow = flow or await make_flow(storage)
    return await store_run(storage, flow_run(flow, state(StateType.RUNNING), fencing_token=1))


def announced(heard: list[Commit]) -> list[Commit]:
    """Leave out what PostgreSQL says once it listens: some commits may have been missed."""
    everything = Commit(ready=True, logs=True, topics=frozenset({ALL_TOPICS}))
    return [commit for commit in heard if commit != everything]
