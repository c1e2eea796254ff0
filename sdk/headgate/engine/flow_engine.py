"""What happens in a flow run.

Created (or opened, where a runner leased it), Running, the function, its end. Each step that others
may have a say in is proposed and waits for the server's verdict; what happens in between is
reported. The steps are written once, for sync and async flows; see ``effects``.
"""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
from collections.abc import Mapping
from concurrent.futures import Future
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from headgate import context as contexts
from headgate import parameters as parameter_codec
from headgate import settings, states
from headgate.core import errors, retries
from headgate.core import states as core_states
from headgate.core.states import VerdictKind
from headgate.engine import (
    durable,
    effects,
    flow_logs,
    flow_results,
    hooks,
    keeping,
    outcomes,
    process,
    reattachment,
    resolve,
    tracing,
)
from headgate.engine.controls import Controls
from headgate.engine.creation import Made, Origin
from headgate.engine.effects import Call, Sleep, Steps, Wait
from headgate.engine.interruption import Intent, Interruption
from headgate.engine.lineage import Lineage
from headgate.engine.outbox import Carrier, Outbox
from headgate.engine.pausing import Gate
from headgate.engine.recording import Answer
from headgate.engine.tracking import Tracking
from headgate.states import State, StateType

if TYPE_CHECKING:
    from headgate.core.runs import FlowRun
    from headgate.flows import Flow

__all__ = ["FlowCall", "call", "drive"]

#: How long the end of a run that is torn down may take to be stored.
TEAR_DOWN_SECONDS = 5.0


def call(
    flow: Flow[..., Any],
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    wait_for: Any = None,
    *,
    return_state: bool = False,
) -> Any:
    """Run a flow here and now; see ``Flow.__call__``."""
    run = FlowCall(flow, flow.signature.bind(args, kwargs), wait_for, return_state=return_state)
    return drive(flow, run.steps())


def drive(flow: Flow[..., Any], steps: Steps[Any]) -> Any:
    """Run the steps of a flow's run with the driver that its function needs."""
    if flow.isasyncgenerator:
        return effects.drive_async_generator(steps)
    if flow.isasync:
        return effects.drive_async(steps)
    if flow.isgenerator:
        return effects.drive_generator(steps)
    return effects.drive(steps)


class FlowCall:
    """One call of a flow, and the run that it becomes.

    Args:
        flow: The flow.
        parameters: What it is called with, by name, defaults included.
        wait_for: Futures that must be completed first.
        return_state: Whether the caller wants the final state.
        origin: Where the run comes from. Default: it is made by this call.
        ids: As for ``Made``.
    """

    def __init__(
        self,
        flow: Flow[..., Any],
        parameters: Mapping[str, Any],
        wait_for: Any = None,
        *,
        return_state: bool = False,
        origin: Origin | None = None,
        ids: tuple[str, str] | None = None,
    ) -> None:
        """Prepare a call; nothing is recorded yet."""
        self._ids = ids
        self.state: State[Any] | None = None
        self._flow = flow
        self._parameters = dict(parameters)
        self._wait_for = wait_for
        self._return_state = return_state
        self._origin = origin
        self._link: Carrier
        self._outbox: Outbox
        self._context: contexts.FlowRunContext
        self._tracking: Tracking | None = None
        self._interruption: Interruption
        self._parent = contexts.current_flow()

    def steps(self) -> Steps[Any]:
        """Run the flow from its first state to its last."""
        parent = self._parent
        self._interruption = Interruption(parent.interruption if parent is not None else None)
        if self._flow.isasync:
            self._interruption.use_task()
        lineage = parent.lineage if parent is not None else None
        upstream = resolve.find(self._parameters.values(), self._wait_for, lineage=lineage)
        origin = self._origin
        if origin is None and parent is not None and parent.subflows is not None:
            earlier = yield from reattachment.find_earlier(
                self._flow, self._parameters, parent, upstream
            )
            if isinstance(earlier, State):
                return self._reattach(parent, earlier)
            origin = earlier
        if origin is None:
            origin = Made(self._flow, parent, tuple(upstream.run_ids), self._ids)
        self._adopt(origin)
        self._context.span = tracing.begin_flow(self._context)
        with self._interruption.listening():
            try:
                state = yield from self._live(origin, upstream)
            except BaseException as error:
                cancelled = self._tear_down(error)
                if cancelled is None:
                    cause = self._interruption.cause_of(error)
                    if cause is error or self._parent is not None:
                        raise
                    raise cause from error
                state = cancelled
            finally:
                self._interruption.is_over = True
                self._link.close_run(self._outbox)
                tracing.end_flow(self._context, self.state)
        return self._hand_over(state)

    def _reattach(self, parent: contexts.FlowRunContext, state: State[Any]) -> Any:
        """Give the caller what a subflow returned in an earlier attempt."""
        self.state = state.copy(task_run_id=None)
        parent.lineage.add(state.data, state.task_run_id or "")
        return self._given(self.state)

    def _adopt(self, origin: Origin) -> None:
        """Make the context that the run executes in."""
        self._link, self._outbox, self._tracking = origin.link, origin.outbox, origin.tracking
        gate = Gate(origin.flow_run.id, self._outbox, self._parent.gate if self._parent else None)
        self._outbox.on_control = Controls(self._interruption, gate)
        self._context = contexts.FlowRunContext(
            flow=self._flow,
            flow_run=origin.flow_run,
            recorder=self._outbox,
            interruption=self._interruption,
            gate=gate,
            lineage=Lineage(),
            log_prints=self._log_prints(),
        )
        self._context.inherit(self._parent)
        if reattachment.is_durable(self._flow, self._parent):
            self._context.calls = durable.Calls(origin.flow_run.id)

    def _log_prints(self) -> bool:
        if self._flow.log_prints is not None:
            return self._flow.log_prints
        if self._parent is not None:
            return self._parent.log_prints
        return settings.current().logging_log_prints

    def interrupt(self) -> None:
        """Stop what the run has submitted, because a run around it is torn down."""
        context: contexts.FlowRunContext | None = getattr(self, "_context", None)
        runner = context.task_runner if context is not None else None
        if runner is not None:
            runner.cancel_all()
            runner.interrupt_all()

    # --- Living ---

    def _live(self, origin: Origin, upstream: resolve.Upstream) -> Steps[State[Any]]:
        """Go from the first state to the last; returns the last."""
        problem = yield from self._prepare(upstream)
        if self._tracking is not None:
            self._tracking.is_ready = not isinstance(problem, errors.UpstreamTaskError)
        try:
            origin.announce(self._context, self._context.parameters)
        except Exception as error:  # flow_run_name is code of the user's
            problem = problem or error
        if isinstance(problem, errors.UpstreamTaskError):
            return self._not_ready(problem)
        if problem is not None:
            return (yield from self._end(outcomes.invalid(problem)))
        state = yield from self._begin("Running")
        while state.is_running():
            final = yield from self._attempt()
            state = yield from self._end(final)
            if state.type is StateType.SCHEDULED:
                flow_logs.retrying(self._context, final, state, process.clock.now())
                yield from self._sleep_until(state)
                state = yield from self._begin("Retrying")
        return state

    def _prepare(self, upstream: resolve.Upstream) -> Steps[Exception | None]:
        """Wait for what the parameters build on, and check them; returns what is wrong."""
        parameters = self._parameters
        try:
            yield from upstream.wait()
            parameters = resolve.with_values(self._parameters, upstream)
            self._context.parameters = parameters
            self._label(parameters)
            if self._flow.should_validate_parameters:
                self._context.parameters = self._flow.signature.validate(parameters)
        except (errors.UpstreamTaskError, errors.ParameterTypeError) as error:
            return error
        return None

    def _label(self, parameters: Mapping[str, Any]) -> None:
        """Say in the run which call of its parent it is, so that the parent finds it again."""
        if self._tracking is not None:
            run = self._context.flow_run
            labels = {**run.labels, reattachment.LABEL: reattachment.key_of(self._flow, parameters)}
            self._context.flow_run = dataclasses.replace(run, labels=labels)

    def _begin(self, name: str) -> Steps[State[Any]]:
        """Enter Running; returns the state that the run is in instead, where it is another."""
        while True:
            state = yield from self._propose(states.Running(name=name))
            match state.type:
                case StateType.RUNNING:
                    self._context.begin_attempt(self._context.flow_run.run_count)
                    self._context.subflows = reattachment.Subflows(self._context.flow_run)
                    if self._context.calls is not None:
                        yield from self._context.calls.begin_attempt(self._context.flow_run)
                    flow_logs.begun(self._context)
                    yield from self._call_hooks(self._flow.on_running_hooks, state)
                    return state
                case StateType.SCHEDULED:
                    yield from self._sleep_until(state)
                case StateType.CANCELLING:
                    return (yield from self._end(states.Cancelled(message=state.message)))
                case _:
                    return state

    def _sleep_until(self, state: State[Any]) -> Steps[None]:
        due = state.details.scheduled_time
        if due is not None:
            yield Sleep((due - process.clock.now()).total_seconds())

    def _attempt(self) -> Steps[State[Any]]:
        """Call the function; returns the state that it ends in."""
        context, flow = self._context, self._flow
        args, kwargs = flow.signature.call_arguments(context.parameters)
        try:
            with (
                contexts.executing(context, None),
                flow_logs.prints(context),
                tracing.within(context.span),
            ):
                value = yield from self._call_with_runner(args, kwargs)
        except errors.FlowRunTimeoutError as error:
            return outcomes.timed_out(error)
        except Exception as error:  # any code may be in a flow: its failure is a state
            if self._outbox.failure is not None:
                raise
            return outcomes.failed(error, "Flow run")
        return outcomes.of_value(value)

    def _call_with_runner(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Steps[Any]:
        """Call the function while there is a task runner; returns when all tasks have ended."""
        context, flow = self._context, self._flow
        with flow.task_runner as runner:
            context.task_runner = runner
            try:
                value = yield Call(flow.fn, args, kwargs, flow.timeout_seconds, self._timeout)
                if inspect.isgenerator(value):
                    value = list(value)
                value = yield from resolve.states_of(value)
                yield from self._wait_for_tasks()
            except Exception:
                # Those that have not begun do not begin any more.
                runner.cancel_all()
                yield from self._wait_for_tasks()
                raise
            except BaseException:
                runner.cancel_all()
                runner.interrupt_all()
                raise
            finally:
                context.task_runner = None
        return value

    def _wait_for_tasks(self) -> Steps[None]:
        submitted = self._context.submitted
        while submitted:  # tasks may submit tasks
            yield from resolve.wait_all(tuple(submitted))

    def _timeout(self) -> Exception:
        return errors.FlowRunTimeoutError(
            f"Flow run exceeded timeout of {self._flow.timeout_seconds} second(s)"
        )

    # --- States ---

    def _propose(self, state: State[Any], *, force: bool = False) -> Steps[State[Any]]:
        """Ask to enter a state; returns the one that the run is in then.

        Raises:
            Abort: The server said not to go on.
        """
        while True:
            answer: Answer = yield Wait(self._outbox.propose(self._record(state), force=force))
            verdict = answer.verdict
            match verdict.kind:
                case VerdictKind.ACCEPT | VerdictKind.REJECT:
                    return self._enter(state, answer)
                case VerdictKind.WAIT:
                    yield Sleep(verdict.delay_seconds)
                    state = state.fresh_copy()
                case VerdictKind.ABORT:
                    if verdict.state is not None and verdict.state.is_terminal:
                        return self._enter(state, answer)
                    raise errors.Abort(verdict.reason)

    def _record(self, state: State[Any]) -> core_states.State:
        """Return what is sent of a state; what a durable flow returns or raises goes along."""
        record = state.record()
        if not state.is_terminal or record.data is not None or not self._keeps_data():
            return record
        if state.type is StateType.COMPLETED:
            data = keeping.payload(state.data, self._context)
        elif isinstance(state.data, BaseException):
            data = keeping.exception_payload(state.data)
        else:
            return record
        return dataclasses.replace(record, data=data)

    def _keeps_data(self) -> bool:
        """Say whether others may ask what the run returned, after its process is gone."""
        parent = self._parent
        return bool(self._flow.durable) or (
            parent is not None
            # It may run again, and does not call again what has completed.
            and (parent.calls is not None or parent.flow.retry_policy.max_retries > 0)
        )

    def _enter(self, proposed: State[Any], answer: Answer) -> State[Any]:
        """Take note of the state that the run is in."""
        context, record = self._context, answer.verdict.state
        if record is None or record.id == proposed.id:
            # The server may have changed the name; result and exception are here only.
            state = proposed.copy(
                name=record.name if record is not None else proposed.name,
                flow_run_id=context.flow_run.id,
            )
        else:
            state = states.from_record(record, flow_run_id=context.flow_run.id)
        context.flow_run = dataclasses.replace(
            context.flow_run, state=state.record(), run_count=answer.run_count
        )
        self.state = state
        return state

    def _end(self, final: State[Any]) -> Steps[State[Any]]:
        """Propose a final state; returns the one that the run ended in, or waits in."""
        local = yield from self._retry_here(final)
        if local is None:
            final = yield from flow_results.keep(self._context, final)
        state = yield from self._propose(local or final)
        if state.is_terminal and state.type is final.type and state.id != final.id:
            # E.g. proposed twice: what is stored is equal, and the result is here.
            state = state.copy(data=final.data)
            self.state = state
        if state.is_terminal:
            if self._tracking is not None:
                self._tracking.mirror(state)
            flow_logs.ended(self._context, state)
            yield from self._call_hooks(self._flow.hooks_for(state), state)
        return state

    def _retry_here(self, final: State[Any]) -> Steps[State[Any] | None]:
        """Say what to propose in the place of a failure.

        The server decides about retries by the policy of the run. Runs of a deployment have none,
        for only the flow's code knows it; and a condition is code as well.
        """
        flow, run = self._flow, self._context.flow_run
        if final.type is not StateType.FAILED or not flow.retry_policy.max_retries:
            return None
        if flow.retry_condition_fn is not None:
            allowed = yield from hooks.ask(flow.retry_condition_fn, flow, self._told_run(), final)
            if not allowed:
                details = dataclasses.replace(final.details, retriable=False)
                return final.copy(details=details)
        if run.retry_policy.max_retries or run.run_count == 0:
            return None
        decision = retries.decide(flow.retry_policy, run.run_count, random=process.rng.random())
        if isinstance(decision, retries.GiveUp) or final.details.retriable is False:
            return None
        due = process.clock.now() + timedelta(seconds=decision.delay_seconds)
        return states.AwaitingRetry(due, message=final.message)

    def _call_hooks(self, wanted: list[Any], state: State[Any]) -> Steps[None]:
        if wanted:
            with contexts.executing(self._context, None):
                yield from hooks.run(wanted, self._flow, self._told_run(), state)

    def _told_run(self) -> FlowRun:
        """Return the run as hooks are told of it: its parameters are values, not texts."""
        run = self._context.flow_run
        return dataclasses.replace(run, parameters=parameter_codec.Values(run.parameters))

    def _not_ready(self, error: errors.UpstreamTaskError) -> State[Any]:
        """Do not run, because a run that this one builds on did not complete."""
        state = states.Pending(
            name="NotReady", message=str(error), data=error, flow_run_id=self._context.flow_run.id
        )
        self._outbox.propose(state.record())
        if self._tracking is not None:
            self._tracking.mirror(state)
        self.state = state
        return state

    # --- The end ---

    def _hand_over(self, state: State[Any]) -> Any:
        """Give the caller what they want of the final state."""
        if self._parent is not None and state.is_completed():
            self._parent.lineage.add(
                state.data, self._tracking.task_run_id if self._tracking else ""
            )
        return self._given(state)

    def _given(self, state: State[Any]) -> Any:
        if self._return_state:
            return flow_results.lighten(self._context, state)
        return outcomes.handed_over(state)

    def _tear_down(self, error: BaseException) -> State[Any] | None:
        """Report a run that is torn down, without awaiting: the caller is being torn down, too.

        Returns:
            The final state where this very run was cancelled; None: the error goes on.
        """
        self._interruption.is_over = True
        if self.state is not None and self.state.is_terminal:
            return None
        if isinstance(error, errors.Pause) and error.flow_run_id == self._context.flow_run.id:
            self.state = states.Suspended(message=str(error), flow_run_id=error.flow_run_id)
            flow_logs.suspended(self._context)
            return self.state
        if self._outbox.failure is not None or isinstance(error, errors.Abort):
            flow_logs.given_up(self._context, self._outbox.failure or error)
            return None
        intent = self._interruption.intent
        if intent is Intent.RESCHEDULE:
            return None
        if intent is Intent.CANCEL:
            final = states.Cancelled(
                message=self._interruption.reason or "The flow run was cancelled."
            )
        elif isinstance(error, errors.Pause):
            final = states.Cancelled(message="The flow run that called this one was suspended.")
        else:
            final = outcomes.crashed(self._interruption.cause_of(error))
        state = self._force(final)
        flow_logs.ended(self._context, state)
        with contexts.executing(self._context, None):
            hooks.run_now(self._flow.hooks_for(state), self._flow, self._told_run(), state)
        if self._tracking is not None:
            with contextlib.suppress(errors.HeadgateError):
                self._tracking.mirror(state)
        if intent is Intent.CANCEL and self._interruption.is_own:
            self._interruption.settle()
            return state
        return None

    def _force(self, final: State[Any]) -> State[Any]:
        """Propose a state whatever the rules say, and wait for it for a while."""
        answering: Future[Answer] = self._outbox.propose(
            final.record(), force=final.type is StateType.CRASHED
        )
        try:
            return self._enter(final, answering.result(TEAR_DOWN_SECONDS))
        except (errors.HeadgateError, TimeoutError) as problem:
            reason = str(problem) or (
                f"no answer came within {TEAR_DOWN_SECONDS:g} s; check that the server runs."
            )
            flow_logs.warn(self._context, f"The end of the run could not be stored: {reason}")
            return final
