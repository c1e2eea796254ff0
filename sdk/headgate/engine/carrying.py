"""Takes the runs that execute here to another process: what ``serialize_context`` returns.

Facts travel, not live things: a flow run keeps its one outbox, in the process where it executes.
There is a way back to it, a *port*, where one is given, or where the relay of that process can be
reached; else, as on another machine, log lines go to the server as they are, and tasks that are
called are not recorded.
"""

from __future__ import annotations

import contextlib
import contextvars
import copy
import functools
import inspect
import os
from collections.abc import Callable, Coroutine, Generator, Mapping
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar, cast

from headgate import context as contexts
from headgate import parameters, settings
from headgate.core import errors, runs
from headgate.engine import far_transactions, ports, process, recalling, relay, sources
from headgate.engine.interruption import Interruption
from headgate.engine.lineage import Lineage
from headgate.engine.pausing import Gate
from headgate.engine.recording import Recorder, Unrecorded
from headgate.logging import handlers

if TYPE_CHECKING:
    from headgate.engine.ports import Port
    from headgate.flows import Flow
    from headgate.tasks import Task

__all__ = ["WithContext", "hydrated", "lean", "serialize", "task_context", "task_facts"]

P = ParamSpec("P")
R = TypeVar("R")
_Facts = Mapping[str, Any]


def serialize(*, with_relay: bool = True) -> dict[str, Any]:
    """Return the runs, tags and settings that hold here, in a form that can be pickled.

    Args:
        with_relay: Whether processes of this machine may find the way back.
    """
    flow, task = contexts.current_flow(), contexts.TaskRunContext.get()
    return {
        "flow_run_context": {} if flow is None else _flow_facts(flow),
        "task_run_context": {} if task is None else task_facts(task),
        "tags_context": sorted(contexts.current_tags()),
        "settings_context": settings.environment(),
        "relay": relay.offer(flow) if with_relay and flow is not None else None,
    }


def _flow_facts(context: contexts.FlowRunContext) -> dict[str, Any]:
    return {
        "flow": _flow_or_options(context.flow),
        "flow_run": context.flow_run,
        "log_prints": context.log_prints,
        "attempt": context.attempt,
        "persist_result": context.persist_result,
        "result_store": context.named_result_store,
        # Whether calls are recorded, and whether some were by an earlier attempt.
        "has_recorded": None if context.calls is None else context.calls.has_recorded,
    }


def _flow_or_options(flow: Flow[..., Any]) -> Flow[..., Any]:
    """Return what stands for a flow that executes here: itself where it is found by its name.

    By value it would take along all that its code refers to, which may not be fit to travel, so
    it goes without its code.
    """
    if sources.is_found_by_name(flow):
        return flow
    version = flow.version
    # What is private is so to users; this is the engine.
    made: Any = copy.copy(flow)
    made.fn = made.__wrapped__ = _not_here
    made.signature = parameters.Signature(_not_here)
    made._version, made._task_runner = version, None
    made.flow_run_name = made.retry_condition_fn = None
    made.on_completion_hooks, made.on_failure_hooks, made.on_running_hooks = [], [], []
    made.on_cancellation_hooks, made.on_crashed_hooks = [], []
    return made


def _not_here() -> None:
    """Stand for the function of a flow that executes in another process."""


def task_facts(context: contexts.TaskRunContext) -> dict[str, Any]:
    """Return a task run in a form that can be pickled, where its arguments can."""
    return {
        "task": lean(context.task),
        "id": context.id,
        "name": context.name,
        "dynamic_key": context.dynamic_key,
        "parent_task_run_id": context.parent_task_run_id,
        "args": context.args,
        "kwargs": dict(context.kwargs),
        "create_time": context.create_time,
        "run_tags": context.run_tags,
        "upstream_run_ids": context.upstream_run_ids,
        "start_time": context.start_time,
        "run_count": context.run_count,
        "call_key": context.call_key,
    }


def lean(task: Task[..., Any]) -> Task[..., Any]:
    """Return a task without what is of no use elsewhere, such as hooks, if it goes by value."""
    if sources.is_found_by_name(task):
        return task
    key = task.task_key
    made = copy.copy(task)
    made._task_key = key  # pyright: ignore[reportPrivateUsage]  # no file tells the source there
    made.on_completion_hooks, made.on_failure_hooks, made.on_running_hooks = [], [], []
    made.on_rollback_hooks, made.on_commit_hooks = [], []
    made.retry_condition_fn = None
    made._forget_cache_policy()  # pyright: ignore[reportPrivateUsage]  # earlier results are looked for here
    return made


@contextlib.contextmanager
def hydrated(serialized: _Facts | None, *, port: Port | None = None) -> Generator[None]:
    """Be in the runs that were serialized, for the length of a ``with`` block.

    Args:
        serialized: What ``serialize`` returned, in another process.
        port: The way back to that process, where the caller has one.
    """
    if not serialized:
        yield
        return
    with contextlib.ExitStack() as stack:
        wanted: dict[str, str] = serialized["settings_context"]
        if wanted != settings.environment():
            stack.enter_context(settings.temporary_settings(wanted))
        stack.enter_context(contexts.tags(*serialized["tags_context"]))
        flow = None
        if facts := serialized["flow_run_context"]:
            if port is None:
                port = relay.reach(serialized.get("relay"))
            flow = _flow_context(facts, port)
            stack.enter_context(_logging(port))
        task = None
        if facts := serialized["task_run_context"]:
            task = task_context(facts, flow)
            if port is not None and (transaction := serialized.get("transaction")):
                far_transactions.stand_in(task, port, transaction)
        stack.enter_context(contexts.executing(flow, task))
        if flow is not None:
            stack.enter_context(_task_runner(flow))
        yield


def _flow_context(facts: _Facts, port: Port | None) -> contexts.FlowRunContext:
    flow_run: runs.FlowRun = facts["flow_run"]
    recorder: Recorder = Unrecorded()
    kind = contexts.FlowRunContext
    if port is not None:
        recorder, kind = ports.PortRecorder(port, flow_run.id), ports.PortContext
    context = kind(
        flow=facts["flow"],
        flow_run=flow_run,
        recorder=recorder,
        interruption=Interruption(),
        gate=Gate(flow_run.id, recorder),
        lineage=Lineage(),
        log_prints=facts["log_prints"],
    )
    if port is not None:
        cast("ports.PortContext", context).port = port
        context.subflows = recalling.PortSubflows(port, flow_run)
        if (has_recorded := facts["has_recorded"]) is not None:
            context.calls = recalling.PortCalls(port, flow_run.id, has_recorded=has_recorded)
    context.begin_attempt(facts["attempt"])
    context.take_results(facts["persist_result"], facts["result_store"])
    # What the server has of them: values need not be fit to travel.
    context.parameters = parameters.decode(flow_run.parameters)
    return context


def task_context(
    facts: _Facts, flow: contexts.FlowRunContext | None
) -> far_transactions.CarriedTask:
    """Return the context of a task run that is in another process, or was."""
    context = far_transactions.CarriedTask(
        facts["task"],
        flow,
        facts["id"],
        facts["name"],
        facts["dynamic_key"],
        facts["parent_task_run_id"],
        facts["args"],
        facts["kwargs"],
        facts["create_time"],
        facts["run_tags"],
    )
    context.upstream_run_ids = facts["upstream_run_ids"]
    context.start_time = facts["start_time"]
    context.run_count = facts["run_count"]
    context.call_key = facts["call_key"]
    context.stand_in = None
    return context


@contextlib.contextmanager
def _task_runner(flow: contexts.FlowRunContext) -> Generator[None]:
    """Let tasks be submitted, on threads; all of them end before the ``with`` block does."""
    from headgate.engine import effects, resolve
    from headgate.task_runners import ThreadPoolTaskRunner

    with ThreadPoolTaskRunner() as runner:
        flow.task_runner = runner
        try:
            yield
        finally:
            while flow.submitted:
                effects.drive(resolve.wait_all(tuple(flow.submitted)))


@contextlib.contextmanager
def _logging(port: Port | None) -> Generator[None]:
    """Let log lines of runs go where the run is, or else to the server."""
    lines = _Lines() if port is None else None

    def take(record: runs.LogRecord) -> None:
        if process.take_own_log(record):
            return  # of a flow run that is called here
        if lines is not None:
            lines.take(record)
        elif port is not None:
            # Whoever made the line hears of the failure by the end of the run.
            with contextlib.suppress(errors.HeadgateError):
                port.send("log", record)

    before = handlers.set_sink(take)
    try:
        yield
    finally:
        handlers.set_sink(before)
        if lines is not None:
            lines.send()


class _Lines:
    """Log lines on their way to the server from a machine where there is no session."""

    def __init__(self) -> None:
        self._records: list[runs.LogRecord] = []

    def take(self, record: runs.LogRecord) -> None:
        """Take a line."""
        self._records.append(record)
        if len(self._records) >= 500:
            self.send()

    def send(self) -> None:
        """Send what there is."""
        records, self._records = self._records, []
        if not records:
            return
        from headgate.client.orchestration import get_client

        # Lines that cannot be stored must not fail the code that wrote them.
        with contextlib.suppress(errors.HeadgateError), get_client(sync_client=True) as client:
            client.write_logs(records)


async def _awaited(coroutine: Coroutine[Any, Any, Any], context: contextvars.Context) -> Any:
    """Await a coroutine in a context, not in that of who awaits."""
    import asyncio

    return await asyncio.get_running_loop().create_task(coroutine, context=context)


class WithContext(Generic[P, R]):
    """A function in the runs of who wrapped it; see ``headgate.context.with_context``.

    Args:
        fn: The function.
    """

    def __init__(self, fn: Callable[P, R]) -> None:
        """Take hold of what holds here."""
        functools.update_wrapper(self, fn)
        self._fn = fn
        self._process = os.getpid()
        self._context: contextvars.Context | None = contextvars.copy_context()
        self._serialized: dict[str, Any] | None = None

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call the function."""
        if self._context is not None and self._process == os.getpid():
            # A copy, for a context is entered once only, and threads may call at once.
            context = self._context.copy()
            value = context.run(self._fn, *args, **kwargs)
            return cast("R", _awaited(value, context)) if inspect.iscoroutine(value) else value
        if self._serialized is None and self._context is not None:
            # A fork: the live things are there, and lead nowhere.
            self._serialized = self._context.copy().run(serialize)
        with hydrated(self._serialized):
            value = self._fn(*args, **kwargs)
        if inspect.iscoroutine(value):
            return cast("R", self._await_hydrated(value))
        return value

    async def _await_hydrated(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        with hydrated(self._serialized):
            return await coroutine

    def __getstate__(self) -> dict[str, Any]:
        """Pickle with facts in the place of live things."""
        if self._context is not None and self._serialized is None:
            self._serialized = self._context.copy().run(serialize)
        return {**self.__dict__, "_context": None}
