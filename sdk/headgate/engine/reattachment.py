"""Subflows of a flow run that is tried again: completed ones are not run again.

A subflow carries, as a label, which call of its parent it was. When the parent runs again the same
call finds it: one that has completed is not called again, its result is what it was; a durable one
that has not completed is taken up again and goes on from its own point of failure. Any other is
made anew.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

from headgate import context as contexts
from headgate import states
from headgate.core import errors, runs
from headgate.core.states import StateType
from headgate.engine import call_keys, durable, flow_logs, keeping, resolve
from headgate.engine.creation import Origin, Resumed
from headgate.engine.effects import Steps, Wait
from headgate.states import State

if TYPE_CHECKING:
    from headgate.client.orchestration import SyncHeadgateClient
    from headgate.flows import Flow

__all__ = [
    "LABEL",
    "Subflows",
    "find_earlier",
    "find_submitted",
    "is_durable",
    "key_of",
    "result_of",
    "schedule_again",
]

#: The label that says which call of its parent a flow run is.
LABEL = "headgate.call"

_Entry = tuple[str, bool]


def is_durable(flow: Flow[..., Any], parent: contexts.FlowRunContext | None) -> bool:
    """Say whether a call of a flow is journaled: as the flow says, or else as who calls it is."""
    if flow.durable is not None:
        return flow.durable
    return parent is not None and parent.calls is not None


def key_of(flow: Flow[..., Any], parameters: Mapping[str, Any]) -> str:
    """Return which call it is, where a flow is called here with these parameters."""
    task = contexts.TaskRunContext.get()
    within = "" if task is None else task.call_key
    return call_keys.of_call(within, f"flow:{flow.name}", parameters)


class Subflows:
    """The subflows that earlier attempts of a flow run have called. Used from all threads.

    Args:
        run: The flow run, as it stands when its attempt begins.
    """

    def __init__(self, run: runs.FlowRun) -> None:
        """Know of none; the server is asked when the first subflow is called."""
        self._flow_run_id = run.id
        self._lock = threading.Lock()
        self._taken: set[str] = set()
        self._known: Future[dict[str, list[_Entry]]] | None = None
        #: Whether there may be any.
        self.has_earlier = durable.has_history(run)

    def take(self, key: str, *, resumes: bool) -> Steps[runs.FlowRun | None]:
        """Return the run that a call became in an earlier attempt; each once.

        Args:
            key: Which call.
            resumes: Whether one that has not completed is wanted, too.
        """
        if not self.has_earlier:
            return None
        with self._lock:
            if self._known is None:
                self._known = durable.ask_server(self._read)
        known: dict[str, list[_Entry]] = yield Wait(self._known)
        run_id = self._choose(known.get(key, ()), resumes=resumes)
        if run_id is None:
            return None
        run: runs.FlowRun = yield Wait(
            durable.ask_server(lambda client: client.read_flow_run(run_id))
        )
        return run

    def _read(self, client: SyncHeadgateClient) -> dict[str, list[_Entry]]:
        found: dict[str, list[_Entry]] = {}
        children = client.read_flow_runs(parent_flow_run_id=self._flow_run_id, limit=None)
        # In the order in which they were made.
        for run in sorted(children, key=lambda run: run.id):
            if key := run.labels.get(LABEL):
                done = run.state.type is StateType.COMPLETED
                found.setdefault(key, []).append((run.id, done))
        return found

    def _choose(self, entries: list[_Entry] | tuple[()], *, resumes: bool) -> str | None:
        with self._lock:
            left = [entry for entry in entries if entry[0] not in self._taken]
            completed = [run_id for run_id, done in left if done]
            others = [run_id for run_id, done in left if not done] if resumes else []
            chosen = next(iter(completed or others), None)
            if chosen is not None:
                self._taken.add(chosen)
            return chosen


def result_of(run: runs.FlowRun, parent: contexts.FlowRunContext) -> State[Any] | None:
    """Return the state of a completed subflow, with its result; None where that was not kept."""
    data = run.state.data
    if run.state.type is not StateType.COMPLETED or data is None:
        return None
    try:
        value = keeping.restored(data)
    except (errors.MissingResult, errors.SerializationError) as problem:
        flow_logs.warn(parent, f"Subflow {run.name!r} runs again: its result is lost. {problem}")
        return None
    return states.from_record(run.state, flow_run_id=run.id).copy(data=value)


def find_submitted(
    flow: Flow[..., Any], parameters: Mapping[str, Any], parent: contexts.FlowRunContext | None
) -> Steps[State[Any] | str | None]:
    """Return how a call of a subflow ended in an earlier attempt of its parent, or its run.

    Returns:
        The state of one that has completed. The id of the run of a durable one that has not: it is
        Scheduled again, for another process to go on with. None: the call is new.
    """
    subflows = None if parent is None else parent.subflows
    if parent is None or subflows is None or not subflows.has_earlier:
        return None
    run = yield from subflows.take(key_of(flow, parameters), resumes=is_durable(flow, parent))
    if run is None:
        return None
    state = result_of(run, parent)
    if state is not None or run.state.type is StateType.COMPLETED or not is_durable(flow, parent):
        return state
    yield Wait(schedule_again(run))
    return run.id


def find_earlier(
    flow: Flow[..., Any],
    parameters: Mapping[str, Any],
    parent: contexts.FlowRunContext,
    upstream: resolve.Upstream,
) -> Steps[State[Any] | Origin | None]:
    """Return how this very call ended in an earlier attempt of the parent, or its run.

    Args:
        flow: The subflow.
        parameters: What it is called with; the results of runs that it builds on are awaited.
        parent: The flow run that calls it.
        upstream: The runs that it builds on.
    """
    subflows = parent.subflows
    if subflows is None or not subflows.has_earlier:
        return None
    try:
        yield from upstream.wait()
    except errors.UpstreamTaskError:
        return None  # it is said where the run is there to be told of
    key = key_of(flow, resolve.with_values(parameters, upstream))
    run = yield from subflows.take(key, resumes=is_durable(flow, parent))
    if run is None:
        return None
    state = result_of(run, parent)
    if state is not None:
        # Its id in the parent's story is that of the task run that stood for it.
        return state.copy(task_run_id=run.parent_task_run_id)
    if run.state.type is StateType.COMPLETED or not is_durable(flow, parent):
        return None
    yield Wait(schedule_again(run))
    return (yield from Resumed.claim(flow, parent, run.id, tuple(upstream.run_ids)))


def schedule_again(run: runs.FlowRun) -> Future[Any]:
    """Have a subflow that has not completed scheduled, so that this process can take it.

    Nobody else executes it, whatever the server says: it was in the process of an earlier attempt
    of its parent, which is this one's now.
    """
    return durable.ask_server(lambda client: client.retry_flow_run(run.id, force=True))
