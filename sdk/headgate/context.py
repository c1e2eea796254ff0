"""What is executing here: the flow run, the task run, the tags of the surrounding block.

Contexts are context variables: an async task sees those of the code that started it, a task on
a thread of a task runner those of the code that submitted it.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Generator, Mapping
from contextvars import ContextVar
from datetime import datetime
from typing import TYPE_CHECKING, Any

from headgate.core import errors, runs, states

if TYPE_CHECKING:
    from concurrent.futures import Future

    from headgate.engine.interruption import Interruption
    from headgate.engine.lineage import Lineage
    from headgate.engine.recording import Recorder
    from headgate.flows import Flow
    from headgate.task_runners import TaskRunner
    from headgate.tasks import Task

__all__ = ["FlowRunContext", "TaskRunContext", "current_tags", "get_run_context", "tags"]

_flow: ContextVar[FlowRunContext | None] = ContextVar("headgate_flow_run", default=None)
_task: ContextVar[TaskRunContext | None] = ContextVar("headgate_task_run", default=None)
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
        submitted: Futures of ``concurrent.futures`` of submitted tasks that have not ended.
        lineage: Knows which values are results of which runs.
        attempt: Which attempt of the run this is; 1 is the first.
    """

    __slots__ = (
        "_calls",
        "attempt",
        "flow",
        "flow_run",
        "interruption",
        "lineage",
        "log_prints",
        "parameters",
        "recorder",
        "submitted",
        "task_runner",
    )

    def __init__(
        self,
        *,
        flow: Flow[..., Any],
        flow_run: runs.FlowRun,
        recorder: Recorder,
        interruption: Interruption,
        lineage: Lineage,
        log_prints: bool,
    ) -> None:
        """Make a context for a run that has not started."""
        self.interruption = interruption
        self.submitted: set[Future[Any]] = set()
        self.flow = flow
        self.flow_run = flow_run
        self.recorder = recorder
        self.lineage = lineage
        self.log_prints = log_prints
        self.parameters: Mapping[str, Any] = {}
        self.task_runner: TaskRunner | None = None
        self.attempt = 1
        self._calls: dict[str, itertools.count[int]] = {}

    @classmethod
    def get(cls) -> FlowRunContext | None:
        """Return the flow run that is executing here, if there is one."""
        return _flow.get()

    def next_call(self, task_key: str) -> int:
        """Number the calls of one task: 0, 1, 2, ...; from any thread."""
        counter = self._calls.get(task_key)
        if counter is None:
            # setdefault, because another thread may have been first.
            counter = self._calls.setdefault(task_key, itertools.count())
        return next(counter)

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
        state: Where the run stands.
        log_prints: Whether prints are logged.
    """

    __slots__ = (
        "args",
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
        "start_time",
        "state",
        "task",
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
        self.log_prints = False

    @classmethod
    def get(cls) -> TaskRunContext | None:
        """Return the task run that is executing here, if there is one."""
        return _task.get()

    @property
    def parameters(self) -> dict[str, Any]:
        """What the task is called with, by name, defaults included."""
        return self.task.signature.bind(self.args, self.kwargs)

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


@contextlib.contextmanager
def tags(*names: str) -> Generator[frozenset[str]]:
    """Give tags to all flow and task runs that are made in a ``with`` block.

    Args:
        *names: The tags; those of surrounding blocks are added.

    Yields:
        All tags that hold within.
    """
    before = _tags.get()
    joined = before | frozenset(names)
    _tags.set(joined)
    try:
        yield joined
    finally:
        # Set, not reset by token: a generator flow may be closed in another context.
        _tags.set(before)


def current_tags() -> frozenset[str]:
    """Return the tags of the surrounding ``tags`` blocks."""
    return _tags.get()


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


def enter_task(task: TaskRunContext | None) -> TaskRunContext | None:
    """Make a task run the current one; return the one before. For the engine's hot path."""
    before = _task.get()
    _task.set(task)
    return before
