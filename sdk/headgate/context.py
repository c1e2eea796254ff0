"""What is executing here: the flow run, the task run, the tags of the surrounding block.

Contexts are context variables: an async task sees those of the code that started it, a task on
a thread of a task runner those of the code that submitted it.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Generator, Iterable, Mapping
from contextvars import ContextVar
from datetime import datetime
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from headgate import _options, settings
from headgate._explaining import explained
from headgate.core import errors, runs, states
from headgate.settings import use_profile

if TYPE_CHECKING:
    from concurrent.futures import Future

    from opentelemetry.trace import Span

    from headgate.concurrency._keeper import Keeper
    from headgate.engine.durable import Calls
    from headgate.engine.interruption import Interruption
    from headgate.engine.lineage import Lineage
    from headgate.engine.pausing import Gate
    from headgate.engine.reattachment import Subflows
    from headgate.engine.recording import Recorder
    from headgate.engine.task_transactions import TaskTransaction
    from headgate.flows import Flow
    from headgate.results import ResultStore
    from headgate.task_runners import TaskRunner
    from headgate.tasks import Task
    from headgate.transactions import BaseTransaction

__all__ = [
    "FlowRunContext",
    "TagsContext",
    "TaskRunContext",
    "current_flow",
    "current_tags",
    "get_run_context",
    "hydrated_context",
    "serialize_context",
    "tags",
    "use_profile",
    "with_context",
]

P = ParamSpec("P")
R = TypeVar("R")

#: Of how many runs that did not complete a flow run remembers the name.
_FAILED_NAMES_MAX = 1_000

_flow: ContextVar[FlowRunContext | None] = ContextVar("headgate_flow_run", default=None)
_task: ContextVar[TaskRunContext | None] = ContextVar("headgate_task_run", default=None)
_transaction: ContextVar[BaseTransaction | None] = ContextVar("headgate_transaction", default=None)
_tags: ContextVar[frozenset[str]] = ContextVar("headgate_tags", default=frozenset())


class FlowRunContext:
    """A flow run that is executing.

    Attributes:
        flow: The flow.
        flow_run: The record of the run, as it stands.
        parameters: What the flow is called with, validated.
        task_runner: Where submitted tasks go; None before the flow runs.
        log_prints: Whether prints are logged.
        recorder: Takes what happens in the run, for the server.
        interruption: How the run is stopped from outside.
        gate: What the run passes before each task; closed while it is paused.
        submitted: Futures of ``concurrent.futures`` of submitted tasks that have not ended.
        tag_keeper: Knows which tags are limited; None before the first task with tags.
        lineage: Knows which values are results of which runs.
        attempt: Which attempt of the run this is; 1 is the first.
        parent: The flow run that called it; None: nobody, or not from this process.
        persist_result: Whether results are kept, of the run and of tasks that do not say.
        calls: What is recorded of the calls of a durable flow; None for any other.
        subflows: The subflows that earlier attempts have called; None in other processes.
        span: The span of OpenTelemetry; None where nobody traces.
        failed_names: The names of its newest task runs that did not complete, by their ids.
    """

    __slots__ = (
        "_calls",
        "_result_store",
        "attempt",
        "calls",
        "failed_names",
        "flow",
        "flow_run",
        "gate",
        "interruption",
        "lineage",
        "log_prints",
        "parameters",
        "parent",
        "persist_result",
        "recorder",
        "span",
        "subflows",
        "submitted",
        "tag_keeper",
        "task_runner",
    )

    def __init__(
        self,
        *,
        flow: Flow[..., Any],
        flow_run: runs.FlowRun,
        recorder: Recorder,
        interruption: Interruption,
        gate: Gate,
        lineage: Lineage,
        log_prints: bool,
    ) -> None:
        """Make a context for a run that has not started."""
        self.interruption = interruption
        self.gate = gate
        self.submitted: set[Future[Any]] = set()
        self.tag_keeper: Keeper | None = None
        self.flow = flow
        self.flow_run = flow_run
        self.recorder = recorder
        self.lineage = lineage
        self.log_prints = log_prints
        self.parameters: Mapping[str, Any] = {}
        self.task_runner: TaskRunner | None = None
        self.parent: FlowRunContext | None = None
        self.persist_result = False
        self._result_store: ResultStore | None = None
        self.attempt = 1
        self.calls: Calls | None = None
        self.subflows: Subflows | None = None
        self.span: Span | None = None
        self._calls: dict[str, itertools.count[int]] = {}
        self.failed_names: dict[str, str] = {}

    def note_failed(self, task_run_id: str, name: str) -> None:
        """Remember the name of a run for the messages of those that build on it."""
        names = self.failed_names
        names[task_run_id] = name
        if len(names) > _FAILED_NAMES_MAX:
            with contextlib.suppress(KeyError, RuntimeError):  # another thread does so, too
                del names[next(iter(names))]

    def inherit(self, parent: FlowRunContext | None) -> None:
        """Take from the calling run, or the settings, what the flow does not say of results."""
        self.parent = parent
        if self.flow.persist_result is not None:
            self.persist_result = self.flow.persist_result
        elif parent is not None:
            self.persist_result = parent.persist_result
        else:
            self.persist_result = settings.current().results_persist_by_default

    def take_results(self, persist: bool, store: ResultStore | None) -> None:
        """Keep results as the run does in the process where it executes."""
        self.persist_result = persist
        self._result_store = store

    @property
    def named_result_store(self) -> ResultStore | None:
        """The result store, where a flow says where or how results are kept; for the engine."""
        around: FlowRunContext | None = self
        while around is not None:
            if around.flow.result_storage is not None or around.flow.result_serializer is not None:
                return self.result_store
            around = around.parent
        return None

    @property
    def result_store(self) -> ResultStore:
        """What keeps the results of the run; made when it is asked for.

        Raises:
            ConfigurationError: The settings name a serializer that is not there.
        """
        if self._result_store is None:
            from headgate import results  # loads what writes results

            parent = self.parent
            around = results.ResultStore() if parent is None else parent.result_store
            self._result_store = around.update_for_flow(self.flow)
        return self._result_store

    @property
    def start_time(self) -> datetime:
        """When the run first entered Running; before, when it was made."""
        return self.flow_run.start_time or self.flow_run.create_time

    @classmethod
    def get(cls) -> FlowRunContext | None:
        """Return the flow run that is executing here, if there is one.

        There is none for a task that was called outside of flows, though it is recorded as one.
        """
        context = _flow.get()
        return None if context is None or context.flow.is_task_root else context

    def next_call(self, task_key: str) -> int:
        """Number the calls of one task: 0, 1, 2, ...; from any thread."""
        counter = self._calls.get(task_key)
        if counter is None:
            # setdefault, because another thread may have been first.
            counter = self._calls.setdefault(task_key, itertools.count())
        return next(counter)

    def next_pause(self) -> str:
        """Return the key of the next pause: the nth one of each attempt has the same."""
        return str(self.next_call(""))

    def begin_attempt(self, attempt: int) -> None:
        """Count calls anew: the nth call of a task in each attempt has the same key."""
        self.attempt = attempt
        self._calls = {}


class TaskRunContext:
    """A task run that is executing.

    Attributes:
        task: The task.
        flow: The context of the flow run that it belongs to; None outside of flows.
        id: UUID text of the run.
        name: Its name for people.
        dynamic_key: Tells the calls of one task in a run apart.
        run_tags: The tags of the run.
        parent_task_run_id: The task run that called it; None: the flow did.
        upstream_run_ids: The runs whose results it was given.
        args: What it is called with.
        kwargs: What it is called with, by name.
        create_time: When the run was made.
        start_time: When it first entered Running; None before.
        run_count: How many times it entered Running.
        state: Where the run stands; None: where its times say, for the hot path makes no state.
        running_name: The name of its state while it runs: ``Running``, or ``Retrying``.
        log_prints: Whether prints are logged.
        around: The transaction of the block around the call.
        caller: The task run that called it, from this process.
        transaction: That of the run; None where it needs none.
        call_key: In a durable flow, which call this is; before that is known, within which call
            it is made.
    """

    __slots__ = (
        "args",
        "around",
        "call_key",
        "caller",
        "create_time",
        "dynamic_key",
        "flow",
        "id",
        "kwargs",
        "log_prints",
        "name",
        "parent_task_run_id",
        "run_count",
        "run_tags",
        "running_name",
        "start_time",
        "state",
        "task",
        "transaction",
        "upstream_run_ids",
    )

    def __init__(  # one call per task run: a plain constructor is the quickest
        self,
        task: Task[..., Any],
        flow: FlowRunContext | None,
        id: str,
        name: str,
        dynamic_key: str,
        parent_task_run_id: str | None,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        create_time: datetime,
        run_tags: tuple[str, ...],
    ) -> None:
        """Make a context for a run that has not started."""
        self.task = task
        self.flow = flow
        self.id = id
        self.name = name
        self.dynamic_key = dynamic_key
        self.parent_task_run_id = parent_task_run_id
        self.args = args
        self.kwargs = kwargs
        self.create_time = create_time
        self.run_tags = run_tags
        self.upstream_run_ids: tuple[str, ...] = ()
        self.start_time: datetime | None = None
        self.run_count = 0
        self.state: states.State | None = None
        self.running_name: str | None = None
        self.log_prints = False
        self.call_key = ""
        self.around = _transaction.get()
        self.caller: TaskRunContext | None = None
        self.transaction: TaskTransaction | None = None

    @classmethod
    def get(cls) -> TaskRunContext | None:
        """Return the task run that is executing here, if there is one."""
        return _task.get()

    @property
    def parameters(self) -> dict[str, Any]:
        """What the task is called with, by name, defaults included."""
        return self.task.signature.bind(self.args, self.kwargs)

    @property
    def persist_result(self) -> bool:
        """Whether the result is kept: as the task says, else its flow, else the settings."""
        given, flow = self.task.persist_result, self.flow
        if given is not None:
            return given
        if flow is not None:
            return flow.persist_result
        return settings.current().results_persist_by_default

    @property
    def result_store(self) -> ResultStore:
        """What keeps the result of the run.

        Raises:
            ConfigurationError: The settings name a serializer that is not there.
        """
        from headgate import results  # loads what writes results

        store = results.ResultStore() if self.flow is None else self.flow.result_store
        return store.update_for_task(self.task)

    @property
    def flow_run(self) -> runs.FlowRun | None:
        """The flow run that it belongs to."""
        return self.flow.flow_run if self.flow is not None else None

    @property
    def task_run(self) -> runs.TaskRun:
        """The record of the run, as it stands; made when it is asked for."""
        state = self.state
        if state is None:
            # The hot path makes no State for Running; whoever looks gets an equal one.
            started = self.start_time
            state = states.new_state(
                states.StateType.PENDING if started is None else states.StateType.RUNNING,
                id="",
                now=started or self.create_time,
                name=self.running_name,
            )
        ended = state.timestamp if state.is_terminal else None
        return runs.TaskRun(
            id=self.id,
            name=self.name,
            flow_run_id=self.flow.flow_run.id if self.flow is not None else "",
            task_key=self.task.task_key,
            dynamic_key=self.dynamic_key,
            task_version=self.task.version or "",
            tags=self.run_tags,
            state=state,
            run_count=self.run_count,
            max_retries=self.task.retry_policy.max_retries,
            expected_start_time=self.create_time,
            start_time=self.start_time,
            end_time=ended,
            parent_task_run_id=self.parent_task_run_id,
            upstream_run_ids=self.upstream_run_ids,
            flow_run_attempt=self.flow.attempt if self.flow is not None else 1,
            create_time=self.create_time,
        )


@explained
def get_run_context() -> FlowRunContext | TaskRunContext:
    """Return the task run, or else the flow run, that is executing here.

    Raises:
        MissingContextError: There is none.
    """
    context = _task.get() or _flow.get()
    if context is None:
        msg = "There is no run here; call get_run_context within a flow or task."
        raise errors.MissingContextError(msg)
    return context


@explained
@contextlib.contextmanager
def tags(*names: str) -> Generator[frozenset[str]]:
    """Give tags to all flow and task runs that are made in a ``with`` block.

    Args:
        *names: The tags; those of surrounding blocks are added.

    Yields:
        All tags that hold within.
    """
    before = _tags.get()
    joined = before | _options.checked_tags(names)
    _tags.set(joined)
    try:
        yield joined
    finally:
        # Set, not reset by token: a generator flow may be closed in another context.
        _tags.set(before)


def current_flow() -> FlowRunContext | None:
    """Return what records the runs that are made here; for a task outside of flows, too."""
    return _flow.get()


class TagsContext:
    """The tags that runs which are made here get, as users of the incumbent ask for them."""

    __slots__ = ("current_tags",)

    def __init__(self, current_tags: Iterable[str] = ()) -> None:
        """Hold tags."""
        self.current_tags = set(current_tags)

    @classmethod
    def get(cls) -> TagsContext:
        """Return those of here."""
        return cls(_tags.get())


def current_tags() -> frozenset[str]:
    """Return the tags of the surrounding ``tags`` blocks."""
    return _tags.get()


def serialize_context() -> dict[str, Any]:
    """Return the runs, tags and settings that hold here, for code elsewhere.

    Returns:
        What ``hydrated_context`` takes: facts, which can be pickled where the arguments of the
        task can.
    """
    from headgate.engine import carrying

    return carrying.serialize()


@contextlib.contextmanager
def hydrated_context(serialized_context: Mapping[str, Any] | None = None) -> Generator[None]:
    """Be in the runs that were serialized, in another process, for a ``with`` block.

    On the same machine all that happens is recorded as in the run itself, for as long as the run
    executes. Elsewhere log lines go to the server, and tasks that are called are not recorded.

    Args:
        serialized_context: What ``serialize_context`` returned; None: nothing changes.
    """
    from headgate.engine import carrying

    with carrying.hydrated(serialized_context):
        yield


def with_context(fn: Callable[P, R]) -> Callable[P, R]:
    """Return a function that runs in the runs, tags and settings that hold here.

    For threads and processes of one's own: ``executor.submit(with_context(work), item)`` lets
    ``get_run_logger`` and tasks in ``work`` find their run, whatever the executor.

    Args:
        fn: The function; for other processes it must be fit to be pickled.

    Raises:
        OptionTypeError: It cannot be called.
    """
    if not callable(fn):
        msg = f"with_context takes a function, not {fn!r}; give the function, and call the outcome."
        raise errors.OptionTypeError(msg)
    from headgate.engine.carrying import WithContext

    return WithContext(fn)


@contextlib.contextmanager
def executing(flow: FlowRunContext | None, task: TaskRunContext | None) -> Generator[None]:
    """Make runs the current ones for the length of a ``with`` block. For the engine."""
    flow_before, task_before = _flow.get(), _task.get()
    _flow.set(flow)
    _task.set(task)
    try:
        yield
    finally:
        _flow.set(flow_before)
        _task.set(task_before)


def current_transaction() -> BaseTransaction | None:
    """Return the transaction of the surrounding block; see ``transactions.get_transaction``."""
    return _transaction.get()


def enter_transaction(transaction: BaseTransaction | None) -> BaseTransaction | None:
    """Make a transaction the current one; return the one before."""
    before = _transaction.get()
    _transaction.set(transaction)
    return before


def enter_task(task: TaskRunContext | None) -> TaskRunContext | None:
    """Make a task run the current one; return the one before. For the engine's hot path."""
    before = _task.get()
    _task.set(task)
    return before
