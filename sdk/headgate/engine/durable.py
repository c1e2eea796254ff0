"""Durable flows: calls that have completed are not made again when the flow goes on.

Each call of a task is known by what is called and with what (see ``call_keys``), and by its number
among equal ones. Its result is committed before the call returns. The next attempt of the flow run,
in this process or on another machine, first learns which calls are recorded: their keys only. What
they returned is read in pages when the flow comes to them, so that memory stays small however much
there is. A call that is not recorded simply runs.
"""

from __future__ import annotations

import dataclasses
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, TypeVar, cast

from headgate import settings, states
from headgate.codec.session import Reported
from headgate.core import errors, runs
from headgate.core.ids import new_id
from headgate.core.states import NO_DETAILS as _NO_DETAILS
from headgate.core.states import Payload, StateDetails
from headgate.engine import call_keys, keeping, process
from headgate.engine.effects import Steps, Wait
from headgate.states import State, StateType

if TYPE_CHECKING:
    from headgate.client.orchestration import SyncHeadgateClient
    from headgate.context import FlowRunContext, TaskRunContext

__all__ = ["Calls", "ask_server", "has_history", "keep"]

T = TypeVar("T")

_COMPLETED = StateType.COMPLETED
#: How many results are read at once, and how many such pages are kept.
PAGE_CALLS = 200
_PAGES_MAX = 4


def has_history(run: runs.FlowRun) -> bool:
    """Say whether a flow run may have been executed before this attempt of it."""
    return run.run_count > 1 or run.fencing_token > 1


class Calls:
    """The recorded calls of one durable flow run. Used from all of its threads.

    Args:
        flow_run_id: The run.
    """

    def __init__(self, flow_run_id: str) -> None:
        """Know of none."""
        self._flow_run_id = flow_run_id
        self._lock = threading.Lock()
        #: By key, the numbers and places of the calls that were not made again yet.
        self._recorded: dict[str, list[tuple[str, int]]] = {}
        self._ids: Sequence[str] = ()
        self._pages: OrderedDict[int, Future[dict[str, runs.RecordedCall]]] = OrderedDict()
        #: Runs that were announced and then found to be recorded, under the ids they have there.
        self._real_ids: dict[str, str] = {}
        #: The setting that names the payload codec.
        self.codec = settings.current().results_payload_codec

    @property
    def has_recorded(self) -> bool:
        """Whether there are calls that were not made again yet."""
        return bool(self._recorded)

    def begin_attempt(self, run: runs.FlowRun) -> Steps[None]:
        """Learn what earlier attempts have completed."""
        if not has_history(run):
            return
        known: list[runs.RecordedCall] = yield Wait(
            ask_server(lambda client: client.read_recorded_calls(self._flow_run_id))
        )
        recorded: dict[str, list[tuple[str, int]]] = {}
        for place, call in enumerate(known):
            recorded.setdefault(call.call_key, []).append((call.dynamic_key, place))
        with self._lock:
            self._recorded = recorded
            self._ids = [call.task_run_id for call in known]
            self._pages.clear()

    def recall(self, context: TaskRunContext) -> Steps[State[Any] | None]:
        """Return how a call ended in an earlier attempt; None: it is to be made.

        Raises:
            ConfigurationError: What it returned was encoded, and cannot be decoded here.
            ResultStorageError: The storage of what it returned cannot be read just now.
        """
        parameters = context.task.signature.bind(context.args, context.kwargs)
        context.call_key = call_keys.of_call(context.call_key, context.task.task_key, parameters)
        while (place := self._take(context.call_key, context.dynamic_key)) is not None:
            call = yield from self._read(place)
            state = self._restored(context, call) if call is not None else None
            if state is not None:
                self._real_ids[context.id] = self._ids[place]
                return state
        return None

    def keep_result(self, context: TaskRunContext, value: Any) -> Steps[None]:
        """Record that a call has completed; goes on when that is committed. On the hot path.

        As ``keep``, without a state that nobody asks for.
        """
        data = keeping.payload(value, context)
        details = _NO_DETAILS if data is None else StateDetails(call_key=context.call_key)
        flow = cast("FlowRunContext", context.flow)
        id, now = new_id(), process.clock.now()
        item = Reported(context.id, _COMPLETED, "Completed", id, now, "", details, data)
        try:
            yield Wait(flow.recorder.commit(item))
        except BaseException:
            # It has ended, however the wait for its commit does.
            context.state = states.new(_COMPLETED, timestamp=now).copy(id=id)
            raise

    def real_ids(self, run_ids: tuple[str, ...]) -> tuple[str, ...]:
        """Return ids of runs with those that are recorded in the place of announced ones."""
        if not self._real_ids:
            return run_ids
        return tuple(self._real_ids.get(run_id, run_id) for run_id in run_ids)

    def _take(self, key: str, number: str) -> int | None:
        """Take the recorded call of this number; else the first of those with the key."""
        with self._lock:
            found = self._recorded.get(key)
            if not found:
                return None
            entry = next((entry for entry in found if entry[0] == number), found[0])
            found.remove(entry)
            if not found:
                del self._recorded[key]
            return entry[1]

    def _read(self, place: int) -> Steps[runs.RecordedCall | None]:
        # Flows mostly go the same way again, so what comes next is read along.
        number = place // PAGE_CALLS
        with self._lock:
            page = self._pages.get(number)
            if page is None:
                ids = self._ids[number * PAGE_CALLS : (number + 1) * PAGE_CALLS]
                page = self._pages[number] = ask_server(lambda client: self._ask(client, ids))
                if len(self._pages) > _PAGES_MAX:
                    self._pages.popitem(last=False)
        calls: dict[str, runs.RecordedCall] = yield Wait(page)
        return calls.get(self._ids[place])

    def _ask(self, client: SyncHeadgateClient, ids: Sequence[str]) -> dict[str, runs.RecordedCall]:
        calls = client.read_recorded_calls(self._flow_run_id, task_run_ids=ids)
        return {call.task_run_id: call for call in calls}

    @staticmethod
    def _restored(context: TaskRunContext, call: runs.RecordedCall) -> State[Any] | None:
        record = call.state
        if record is None or record.data is None:
            return None
        try:
            value = keeping.restored(record.data)
        except (errors.MissingResult, errors.SerializationError) as problem:
            keeping.warn(context, f"A recorded result is lost, so the task runs again: {problem}")
            return None
        return states.from_record(
            dataclasses.replace(record, data=None), task_run_id=call.task_run_id
        ).copy(data=value)


def keep(context: TaskRunContext, state: State[Any]) -> Steps[None]:
    """Record how a call ended; goes on when that is committed."""
    data: Payload | None = None
    details = state.details
    if state.type is StateType.COMPLETED:
        data = state.payload or keeping.payload(state.data, context)
        if data is not None:
            details = dataclasses.replace(details, call_key=context.call_key)
    flow = cast("FlowRunContext", context.flow)
    item = Reported(
        context.id,
        state.type,
        state.name,
        state.id,
        state.timestamp,
        state.message,
        details,
        data,
    )
    yield Wait(flow.recorder.commit(item))


def ask_server(question: Callable[[SyncHeadgateClient], T]) -> Future[T]:
    """Ask the server on a thread of its own, as long as it takes until it is there.

    No thread of the user's waits in here, so it fits async flows as well.
    """
    answer: Future[T] = Future()

    def ask() -> None:
        try:
            answer.set_result(_ask_patiently(question))
        except BaseException as error:  # passed on to who waits
            answer.set_exception(error)

    threading.Thread(target=ask, name="headgate-ask", daemon=True).start()
    return answer


def _ask_patiently(question: Callable[[SyncHeadgateClient], T]) -> T:
    import tenacity

    from headgate.client import orchestration

    passing = (errors.Unavailable, errors.DeadlineExceeded)
    for attempt in tenacity.Retrying(
        retry=tenacity.retry_if_exception_type(passing),
        wait=tenacity.wait_random_exponential(multiplier=0.05, max=2.0),
        reraise=True,
    ):
        with attempt, orchestration.get_client(sync_client=True) as client:
            return question(client)
    raise AssertionError  # tenacity goes on, or raises
