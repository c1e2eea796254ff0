"""What happens in a task run.

A call of a task is the hot path: it makes an id, tells the recorder twice (Running, then
Completed), and calls the function. Nothing in between waits, logs or validates. All else, such as
retries, timeouts and hooks, is paid for by the tasks that use it.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import inspect
from datetime import timedelta
from typing import TYPE_CHECKING, Any, cast

from headgate import context as contexts
from headgate import states
from headgate.codec.session import Reported, TaskRunCreated
from headgate.core import errors, retries
from headgate.core.ids import new_id
from headgate.core.states import Payload
from headgate.engine import (
    effects,
    hooks,
    outcomes,
    prints,
    process,
    resolve,
    tag_limits,
    task_transactions,
    tracing,
    visualizing,
)
from headgate.engine.effects import Call, Sleep, Steps
from headgate.engine.interruption import Intent
from headgate.engine.recording import Recorder, Unrecorded
from headgate.states import State, StateType

if TYPE_CHECKING:
    from headgate.engine.cells import Cells
    from headgate.tasks import Task

__all__ = ["TaskCall", "call"]

_PENDING, _RUNNING = StateType.PENDING, StateType.RUNNING
_COMPLETED, _SCHEDULED = StateType.COMPLETED, StateType.SCHEDULED
#: Results of exactly these types are results and nothing else.
_PLAIN: frozenset[type] = frozenset({bool, bytes, dict, float, int, str, type(None)})
_UNRECORDED: Recorder = Unrecorded()


def call(
    task: Task[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    wait_for: Any = None,
    *,
    return_state: bool = False,
) -> Any:
    """Run a task here and now; see ``Task.__call__``."""
    if contexts.current_flow() is None:
        drawing = visualizing.current()
        if drawing is not None:
            parameters = task.signature.bind(args, kwargs)
            return drawing.call(task, parameters, wait_for, return_state=return_state)
        if _is_recorded(task):
            from headgate.engine import outside

            return outside.call(task, args, kwargs, wait_for, return_state=return_state)
    run = TaskCall(task, args, kwargs, wait_for, return_state=return_state)
    if not task.is_special:
        return effects.drive(run.steps())
    if task.isasyncgenerator:
        return effects.drive_async_generator(run.steps())
    if task.isgenerator:
        return effects.drive_generator(run.steps())
    coroutine = effects.drive_async(run.steps())
    flow = run.context.flow
    if flow is not None and not flow.flow.isasync:
        # By this name Python tells of it where nobody awaits it.
        coroutine.__qualname__ = (
            f"{task.name} (an async task: in a sync flow call {task.name}.submit(), or make the "
            "flow async and await the task)"
        )
    return coroutine


def _is_recorded(task: Task[..., Any]) -> bool:
    """Say whether a call outside of flows is recorded as a run of its own."""
    # What a generator yields is passed on as it comes; and a fork cannot reach the server.
    return not (task.isgenerator or task.isasyncgenerator or process.is_fork_of_connected())


class TaskCall:
    """One call of a task, and the run that it becomes."""

    __slots__ = (
        "_args",
        "_cells",
        "_context",
        "_is_created",
        "_kwargs",
        "_recorder",
        "_return_state",
        "_task",
        "_upstream",
    )

    def __init__(
        self,
        task: Task[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        wait_for: Any = None,
        *,
        return_state: bool = False,
        run_id: str | None = None,
        number: int | None = None,
        cells: Cells | None = None,
    ) -> None:
        """Prepare a call; nothing is recorded yet.

        Args:
            task: The task.
            args: What it is called with.
            kwargs: What it is called with, by name.
            wait_for: Futures that must be completed first.
            return_state: Whether the caller wants the final state.
            run_id: The id of the run, where it was chosen before.
            number: Which call of the task in its flow run this is, where it was counted before.
            cells: Processes that execute the function in the place of this one.

        Raises:
            ParameterBindError: The arguments do not fit the task.
        """
        if not task.takes(args, kwargs):
            task.signature.bind(args, kwargs)
        flow = contexts.current_flow()
        parent = contexts.TaskRunContext.get()
        self._task = task
        self._args = args
        self._kwargs = kwargs
        self._return_state = return_state
        self._is_created = False
        self._upstream: resolve.Upstream | None = None
        self._recorder = _UNRECORDED if flow is None else flow.recorder
        lineage = None if flow is None else flow.lineage
        if wait_for is not None or lineage is None or not resolve.is_plain(args, kwargs, lineage):
            self._upstream = resolve.find((*args, *kwargs.values()), wait_for, lineage=lineage)
        if number is None:
            number = 0 if flow is None else flow.next_call(task.task_key)
        self._cells = cells
        if cells is None and task.isolate:
            self._cells = _shared_cells()
        key = str(number)
        self._context = contexts.TaskRunContext(
            task,
            flow,
            run_id or new_id(),
            f"{task.name}-{key}",
            key,
            None if parent is None else parent.id,
            args,
            kwargs,
            process.clock.now(),
            task.run_tags(),
        )
        if self._upstream is not None:
            self._context.upstream_run_ids = tuple(self._upstream.run_ids)
        if parent is not None:
            self._context.call_key = parent.call_key
            self._context.caller = parent

    # --- For task runners ---

    @property
    def id(self) -> str:
        """The id of the run."""
        return self._context.id

    @property
    def waits_for(self) -> tuple[str, ...]:
        """The ids of the runs that must have ended before the run begins."""
        return self._context.upstream_run_ids

    @property
    def context(self) -> contexts.TaskRunContext:
        """The run."""
        return self._context

    def announce(self) -> None:
        """Record the run as Pending, because it is going to wait for its turn.

        A run has one name for good: where that is made of parameters that are not known yet, or
        by a function, the run is recorded later.
        """
        flow = self._context.flow
        if flow is not None and flow.calls is not None and flow.calls.has_recorded:
            return  # it may turn out to be recorded already
        template = self._task.task_run_name
        if template is not None:
            if not isinstance(template, str) or (self._upstream and self._upstream.replace):
                return
            # A template that does not fit fails the run when it begins, not the call of submit.
            with contextlib.suppress(Exception):
                self._context.name = self._task.run_name(self._context)
        self._create(_PENDING, self._context.create_time)

    def state(self) -> State[Any]:
        """Return where the run stands; from any thread."""
        context = self._context
        if context.state is not None:
            return states.from_record(context.state, task_run_id=context.id)
        if context.start_time is None:
            return states.new(_PENDING, task_run_id=context.id)
        name = "Retrying" if context.run_count > 1 else "Running"
        return states.new(_RUNNING, name=name, task_run_id=context.id)

    def abandon(self) -> State[Any]:
        """End the run, which nothing has begun to execute, because its flow run has ended."""
        state = states.Cancelled(
            message="The flow run ended before this task run began.", task_run_id=self._context.id
        )
        with contextlib.suppress(errors.HeadgateError):
            self._enter(state)
        return state

    def run(self) -> State[Any]:
        """Run it on this thread; never raises."""
        try:
            if self._task.isasync and self._cells is None:
                return asyncio.run(effects.drive_async(self.steps()))
            return effects.drive(self.steps())
        except BaseException as error:  # handed to whoever asks the future for its result
            return self.torn_down(error)

    async def run_async(self) -> State[Any]:
        """Run it on this loop; raises nothing but the cancellation of the loop's task."""
        try:
            return await effects.drive_async(self.steps())
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # handed to whoever asks the future for its result
            return self.torn_down(error)

    def torn_down(self, error: BaseException) -> State[Any]:
        """Return the state in which the run was torn down."""
        state = self._context.state
        if state is not None and state.is_terminal:
            return states.from_record(state)
        return outcomes.crashed(error).copy(task_run_id=self._context.id)

    # --- The run ---

    def steps(self) -> Steps[Any]:
        """Run the task from its first state to its last."""
        flow = self._context.flow
        if flow is None or flow.span is None:
            return self._steps()
        return tracing.task_steps(self._context, flow.span, self._steps())

    def _steps(self) -> Steps[Any]:
        context = self._context
        before = contexts.enter_task(context)
        try:
            upstream = self._upstream
            if upstream is not None:
                try:
                    yield from upstream.wait()
                except errors.UpstreamTaskError as error:
                    return self._not_ready(error)
                if upstream.replace:
                    self._replace()
            if self._task.task_run_name:
                yield from self._take_name()
            flow = context.flow
            if flow is not None and flow.interruption.intent is not None:
                # A flow run that is stopped starts no further task run.
                raise errors.TerminationSignal(15)
            if flow is not None and flow.gate.is_closed:
                yield from flow.gate.passed()
            if flow is not None and flow.calls is not None:
                recorded = yield from flow.calls.recall(context)
                if recorded is not None:
                    return self._recalled(recorded)
            self._begin("Running")
            if task_transactions.is_wanted(context):
                ended = yield from self._begin_transaction()
                if ended is not None:
                    return (yield from self._end_found(ended))
            return (yield from self._attempts())
        except Exception:
            raise
        except BaseException as error:
            self._tear_down(error)
            raise
        finally:
            contexts.enter_task(before)
            # A future keeps the context; it must not keep the arguments, too.
            context.args, context.kwargs = (), {}
            self._args, self._kwargs, self._upstream = (), {}, None

    def _attempts(self) -> Steps[Any]:
        task, context = self._task, self._context
        while True:
            if task.on_running_hooks:
                yield from hooks.run(task.on_running_hooks, task, context.task_run, self.state())
            value: Any = None
            state: State[Any] | None = None
            try:
                with prints.logged(context):
                    call = (Call if self._cells is None else self._isolated)(
                        task.fn, self._args, self._kwargs, task.timeout_seconds, self._timeout
                    )
                    if context.run_tags:
                        value = yield from tag_limits.limited(context, call)
                    else:
                        value = yield call
                    if type(value) not in _PLAIN:
                        value, state = self._look_at(value)
            except errors.TaskRunTimeoutError as error:
                state = outcomes.timed_out(error)
            except Exception as error:  # any code may be in a task: its failure is a state
                state = outcomes.failed(error, "Task run")
            if state is None:
                return (yield from self._complete(value))
            if state.type is StateType.FAILED and (yield from self._retry(state)):
                continue
            if context.transaction is not None:
                state = yield from task_transactions.settle(context, state)
            return (yield from self._end(state))

    # --- As a transaction ---

    def _begin_transaction(self) -> Steps[State[Any] | None]:
        """Begin it; returns the final state of the run where its result is there already."""
        try:
            return (yield from task_transactions.begin(self._context))
        except errors.HeadgateError as error:
            return outcomes.failed(error, "Task run")

    def _end_found(self, state: State[Any]) -> Steps[Any]:
        """End a run whose function is not called."""
        context = self._context
        if context.flow is not None and state.type is StateType.COMPLETED:
            context.flow.lineage.add(state.data, context.id)
        ended = yield from self._end(state)
        return task_transactions.lighten(context, ended) if self._return_state else ended

    def _commit(self, value: Any) -> Steps[Any]:
        """End a run, and its transaction, with a result."""
        context = self._context
        state = yield from task_transactions.succeed(context, value)
        ended = yield from self._end(state)
        task_transactions.let_go(context)
        return task_transactions.lighten(context, ended) if self._return_state else value

    def _take_name(self) -> Steps[None]:
        """Give the run the name that its task has for it."""
        name: Any = self._task.run_name(self._context)
        if inspect.iscoroutine(name):
            made = name
            name = self._task.checked_run_name((yield Call(lambda: made)))
        self._context.name = name

    def _isolated(
        self,
        _fn: Any,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        timeout_seconds: float | None,
        on_timeout: Any,
    ) -> effects.Effect:
        """Call the function in another process; in the place of ``Call``."""
        from headgate.engine import carrying, isolation

        assert self._cells is not None
        task = self._task
        return isolation.IsolatedCall(
            self._cells,
            f"task {task.name!r}",
            carrying.lean(task),
            args,
            kwargs,
            timeout_seconds,
            on_timeout,
        )

    def _timeout(self) -> Exception:
        return errors.TaskRunTimeoutError(
            f"Task run exceeded timeout of {self._task.timeout_seconds} second(s)"
        )

    def _look_at(self, value: Any) -> tuple[Any, State[Any] | None]:
        """Say whether what was returned is a state rather than a result."""
        if inspect.isgenerator(value):
            return list(value), None
        if isinstance(value, State) or states.is_state_iterable(value):
            return None, outcomes.of_task_value(cast("Any", value))
        return value, None

    # --- States ---

    def _create(self, type: StateType, time: Any) -> None:
        """Tell the server of the run."""
        self._is_created = True
        task, context = self._task, self._context
        flow = context.flow
        if flow is None:
            return
        if flow.calls is not None:
            context.upstream_run_ids = flow.calls.real_ids(context.upstream_run_ids)
        self._recorder.record(
            TaskRunCreated(
                context.id,
                context.name,
                task.task_key,
                context.dynamic_key,
                task.version or "",
                context.run_tags,
                task.retry_policy.max_retries,
                context.parent_task_run_id,
                context.upstream_run_ids,
                flow.attempt,
                type,
                "Running" if type is _RUNNING else "Pending",
                new_id(),
                time,
            )
        )

    def _begin(self, name: str) -> None:
        """Enter Running, for the first time or again."""
        context = self._context
        context.run_count += 1
        if context.start_time is None and not self._is_created:
            context.start_time = context.create_time
            self._create(_RUNNING, context.create_time)
            return
        now = process.clock.now()
        if context.start_time is None:
            context.start_time = now
        context.state = None
        context.running_name = name
        self._recorder.record(Reported(context.id, _RUNNING, name, new_id(), now))

    def _complete(self, value: Any) -> Steps[Any]:
        """Enter Completed with a result."""
        task, context = self._task, self._context
        if context.flow is not None:
            context.flow.lineage.add(value, context.id)
        if context.transaction is not None:
            return (yield from self._commit(value))
        calls = None if context.flow is None else context.flow.calls
        if self._return_state or task.on_completion_hooks or isinstance(value, Payload):
            return (yield from self._end(states.Completed(data=value)))
        if calls is not None:
            yield from calls.keep_result(context, value)
            return value
        self._recorder.record(
            Reported(context.id, _COMPLETED, "Completed", new_id(), process.clock.now())
        )
        return value

    def _enter(self, state: State[Any]) -> None:
        """Enter a state that is at hand."""
        context = self._context
        if not self._is_created:
            self._create(_PENDING, context.create_time)
        context.state = state
        self._recorder.record(
            Reported(
                context.id,
                state.type,
                state.name,
                state.id,
                state.timestamp,
                state.message,
                state.details,
                state.payload,
            )
        )

    def _end(self, state: State[Any]) -> Steps[Any]:
        """Enter a final state, run its hooks, and give the caller what they want of it."""
        task, context = self._task, self._context
        state = state.copy(task_run_id=context.id)
        if context.flow is not None and context.flow.calls is not None:
            from headgate.engine import durable

            context.state = state
            yield from durable.keep(context, self._called(state))
        else:
            self._enter(state)
        if state.type is StateType.FAILED:
            hooks.log_failure(task, context, state)
        wanted = task.hooks_for(state)
        if wanted:
            yield from hooks.run(wanted, task, context.task_run, state)
        if self._return_state:
            return state
        if context.flow is not None and context.flow.calls is not None:
            # The next attempt knows the result only: both get the same.
            return _result(state)
        return outcomes.handed_over(state)

    def _called(self, state: State[Any]) -> State[Any]:
        """Say which call of a durable flow ended so, for whoever completes it by hand.

        Before the run has begun its key is that of the call within which it was made.
        """
        context = self._context
        if context.flow is None or context.flow.calls is None or state.is_completed():
            return state
        details = dataclasses.replace(state.details, call_key=context.call_key)
        return state.copy(details=details)

    def _recalled(self, state: State[Any]) -> Any:
        """Give the caller how the call ended in an earlier attempt of a durable flow."""
        context = self._context
        context.state = state
        if context.flow is not None:
            context.flow.lineage.add(state.data, state.task_run_id or "")
        return state if self._return_state else _result(state)

    def _not_ready(self, error: errors.UpstreamTaskError) -> Any:
        """Do not run, because a run that this one builds on did not complete."""
        if self._context.flow is not None:
            self._context.flow.note_failed(self._context.id, self._context.name)
        state = states.Pending(
            name="NotReady", message=str(error), data=error, task_run_id=self._context.id
        )
        self._enter(state)
        if self._return_state:
            return state
        raise error

    def _retry(self, state: State[Any]) -> Steps[bool]:
        """Decide about another attempt; wait for its time and begin it."""
        task, context = self._task, self._context
        decision = retries.decide(task.retry_policy, context.run_count, random=process.rng.random())
        if isinstance(decision, retries.GiveUp) or state.details.retriable is False:
            return False
        if task.retry_condition_fn is not None:
            context.state = state
            allowed = yield from hooks.ask(task.retry_condition_fn, task, context.task_run, state)
            if not allowed:
                return False
        if context.transaction is not None:
            yield from task_transactions.again(context)
        seconds = decision.delay_seconds
        hooks.log_retry(task, context, state, seconds)
        if seconds > 0:
            due = process.clock.now() + timedelta(seconds=seconds)
            waiting = states.AwaitingRetry(due, message=state.message, task_run_id=context.id)
            self._enter(waiting)
            yield Sleep(seconds)
        self._begin("Retrying")
        return True

    def _tear_down(self, error: BaseException) -> None:
        """Enter Crashed, or Cancelled where that is why; the flow run decides the rest."""
        context = self._context
        state = context.state
        if state is not None and state.is_terminal:
            return
        flow = context.flow
        if flow is not None and flow.interruption.intent is Intent.CANCEL:
            ended = states.Cancelled(message="The flow run was cancelled.", data=error)
        elif isinstance(error, errors.Pause):
            ended = states.Cancelled(message="The flow run was suspended.", data=error)
        else:
            ended = outcomes.crashed(error if flow is None else flow.interruption.cause_of(error))
        task_transactions.tear_down(context)
        # The reason why nothing is recorded any more is raised by the flow run.
        with contextlib.suppress(errors.HeadgateError):
            ended = ended.copy(task_run_id=context.id)
            self._enter(self._called(ended) if context.start_time is not None else ended)

    def _replace(self) -> None:
        """Put results in the place of futures."""
        context = self._context
        self._args = context.args = tuple(resolve.values_of(value) for value in self._args)
        self._kwargs = {name: resolve.values_of(value) for name, value in self._kwargs.items()}
        context.kwargs = self._kwargs


def _shared_cells() -> Cells:
    from headgate.engine import isolation

    return isolation.shared()


def _result(state: State[Any]) -> Any:
    """Return the result of a final state, through states within it, or raise its exception."""
    value: Any = state.result()
    while isinstance(value, State):
        value = cast("State[Any]", value).result()
    return value
