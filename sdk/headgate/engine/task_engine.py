"""What happens in a task run.

A call of a task is the hot path: it makes an id, tells the recorder twice (Running, then
Completed), and calls the function. Nothing in between waits, logs or validates. All else, such as
retries, timeouts and hooks, is paid for by the tasks that use it.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
from datetime import timedelta
from typing import TYPE_CHECKING, Any, cast

from headgate import context as contexts
from headgate import states
from headgate.codec.session import Reported, TaskRunCreated
from headgate.core import errors, retries
from headgate.core.ids import new_id
from headgate.engine import effects, hooks, outcomes, prints, process, resolve
from headgate.engine.effects import Call, Sleep, Steps
from headgate.engine.interruption import Intent
from headgate.engine.recording import Recorder, Unrecorded
from headgate.states import State, StateType

if TYPE_CHECKING:
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
    run = TaskCall(task, args, kwargs, wait_for, return_state=return_state)
    if not task.is_special:
        return effects.drive(run.steps())
    if task.isasyncgenerator:
        return effects.drive_async_generator(run.steps())
    if task.isgenerator:
        return effects.drive_generator(run.steps())
    return effects.drive_async(run.steps())


class TaskCall:
    """One call of a task, and the run that it becomes."""

    __slots__ = (
        "_args",
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
    ) -> None:
        """Prepare a call; nothing is recorded yet.

        Raises:
            ParameterBindError: The arguments do not fit the task.
        """
        if not task.takes(args, kwargs):
            task.signature.bind(args, kwargs)
        flow = contexts.FlowRunContext.get()
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
        number = "0" if flow is None else str(flow.next_call(task.task_key))
        name = task.name
        self._context = contexts.TaskRunContext(
            task,
            flow,
            new_id(),
            f"{name}-{number}",
            number,
            None if parent is None else parent.id,
            args,
            kwargs,
            process.clock.now(),
            task.run_tags(),
        )
        if self._upstream is not None:
            self._context.upstream_run_ids = tuple(self._upstream.run_ids)

    # --- For task runners ---

    @property
    def context(self) -> contexts.TaskRunContext:
        """The run."""
        return self._context

    def announce(self) -> None:
        """Record the run as Pending, because it is going to wait for its turn.

        A run has one name for good: where that is made of parameters that are not known yet, or
        by a function, the run is recorded later.
        """
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
        type = _PENDING if context.start_time is None else _RUNNING
        return states.new(type, task_run_id=context.id)

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
            if self._task.isasync:
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
                context.name = self._task.run_name(context)
            flow = context.flow
            if flow is not None and flow.interruption.intent is not None:
                # A flow run that is stopped starts no further task run.
                raise errors.TerminationSignal(15)
            self._begin("Running")
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
                    value = yield Call(
                        task.fn, self._args, self._kwargs, task.timeout_seconds, self._timeout
                    )
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
            return (yield from self._end(state))

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
        self._recorder.record(Reported(context.id, _RUNNING, name, new_id(), now))

    def _complete(self, value: Any) -> Steps[Any]:
        """Enter Completed with a result."""
        task, context = self._task, self._context
        if context.flow is not None:
            context.flow.lineage.add(value, context.id)
        if self._return_state or task.on_completion_hooks:
            return (yield from self._end(states.Completed(data=value)))
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
            )
        )

    def _end(self, state: State[Any]) -> Steps[Any]:
        """Enter a final state, run its hooks, and give the caller what they want of it."""
        task, context = self._task, self._context
        state = state.copy(task_run_id=context.id)
        self._enter(state)
        if state.type is StateType.FAILED:
            hooks.log_failure(task, context, state)
        wanted = task.hooks_for(state)
        if wanted:
            yield from hooks.run(wanted, task, context.task_run, state)
        if self._return_state:
            return state
        return _result(state)

    def _not_ready(self, error: errors.UpstreamTaskError) -> Any:
        """Do not run, because a run that this one builds on did not complete."""
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
        now = process.clock.now()
        waiting = states.AwaitingRetry(
            now + timedelta(seconds=decision.delay_seconds),
            message=state.message,
            task_run_id=context.id,
        )
        hooks.log_retry(task, context, state, decision.delay_seconds)
        self._enter(waiting)
        yield Sleep(decision.delay_seconds)
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
        else:
            ended = outcomes.crashed(error if flow is None else flow.interruption.cause_of(error))
        # The reason why nothing is recorded any more is raised by the flow run.
        with contextlib.suppress(errors.HeadgateError):
            self._enter(ended.copy(task_run_id=context.id))

    def _replace(self) -> None:
        """Put results in the place of futures."""
        context = self._context
        self._args = context.args = tuple(resolve.values_of(value) for value in self._args)
        self._kwargs = {name: resolve.values_of(value) for name, value in self._kwargs.items()}
        context.kwargs = self._kwargs


def _result(state: State[Any]) -> Any:
    """Return the result of a final state, through states within it, or raise its exception."""
    value = state.result()
    while isinstance(value, State):
        value = value.result()
    return value
