"""Spans of OpenTelemetry for flow runs and task runs, where the program uses OpenTelemetry.

Whoever traces has loaded it and set it up, in code or by ``opentelemetry-instrument``; nothing is
loaded here, and nothing costs anything where it is not. Runs that others execute carry the trace
they belong to as a label, in the form of the W3C's ``traceparent``.
"""

from __future__ import annotations

import contextlib
import dataclasses
import sys
from collections.abc import Generator, Mapping
from typing import TYPE_CHECKING, Any

from headgate.core import states
from headgate.core.states import StateType

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.trace import Span

    from headgate import context as contexts
    from headgate.engine.effects import Steps

__all__ = ["LABEL", "begin_flow", "end_flow", "labels", "task_steps", "within"]

#: The label of a flow run that says which span it belongs to.
LABEL = "headgate.traceparent"
_FIELD = "traceparent"


def is_on() -> bool:
    """Say whether the program has loaded OpenTelemetry."""
    return "opentelemetry.trace" in sys.modules


def labels() -> dict[str, str]:
    """Return the labels of a run that is asked for here: the trace that it belongs to."""
    if not is_on():
        return {}
    from opentelemetry.trace.propagation import tracecontext

    carrier: dict[str, str] = {}
    tracecontext.TraceContextTextMapPropagator().inject(carrier)
    return {LABEL: carrier[_FIELD]} if _FIELD in carrier else {}


def begin_flow(context: contexts.FlowRunContext) -> Span | None:
    """Begin the span of a flow run, and label the run with it; None where nobody traces."""
    if not is_on():
        return None
    from opentelemetry import trace

    run = context.flow_run
    around = None if trace.get_current_span().get_span_context().is_valid else _of(run.labels)
    span = trace.get_tracer("headgate").start_span(
        run.name,
        around,
        attributes={
            "headgate.run.type": "flow",
            "headgate.run.id": run.id,
            "headgate.flow.name": run.flow_name,
            "headgate.tags": run.tags,
        },
    )
    if not span.get_span_context().is_valid:
        return None  # OpenTelemetry is there, and nobody has set it up
    with trace.use_span(span):
        context.flow_run = dataclasses.replace(run, labels={**run.labels, **labels()})
    return span


def end_flow(context: contexts.FlowRunContext, state: states.State | None) -> None:
    """End the span of a flow run; the state says how."""
    if context.span is not None:
        context.span.update_name(context.flow_run.name)
        _end(context.span, state, None)


@contextlib.contextmanager
def within(span: Span | None) -> Generator[None]:
    """Be within a span, so that those of the user's code belong to it."""
    if span is None:
        yield
        return
    from opentelemetry import context, trace

    token = context.attach(trace.set_span_in_context(span))
    try:
        yield
    finally:
        context.detach(token)


def task_steps(task_run: contexts.TaskRunContext, flow_span: Span, steps: Steps[Any]) -> Steps[Any]:
    """Take the steps of a task run within a span of its own."""
    from opentelemetry import trace

    around = trace.get_current_span()
    if not around.get_span_context().is_valid:
        around = flow_span  # of a map, whose calls begin when there is room
    span = trace.get_tracer("headgate").start_span(
        task_run.name,
        trace.set_span_in_context(around),
        attributes={
            "headgate.run.type": "task",
            "headgate.run.id": task_run.id,
            "headgate.task.name": task_run.task.name,
            "headgate.tags": task_run.run_tags,
        },
    )
    error: BaseException | None = None
    try:
        with within(span):
            return (yield from steps)
    except BaseException as raised:
        error = raised
        raise
    finally:
        span.update_name(task_run.name)
        _end(span, task_run.state, error)


def _of(run_labels: Mapping[str, str]) -> Context | None:
    """Return the span that a run belongs to by its labels."""
    parent = run_labels.get(LABEL)
    if parent is None:
        return None
    from opentelemetry.trace.propagation import tracecontext

    return tracecontext.TraceContextTextMapPropagator().extract({_FIELD: parent})


def _end(span: Span, state: states.State | None, error: BaseException | None) -> None:
    from opentelemetry.trace import StatusCode

    # What a state failed with is at hand in this process only.
    error = error or _data(state)
    if isinstance(error, Exception):
        span.record_exception(error)
    # A task run that returned, and whose state nobody wanted, has completed.
    name = "Completed" if state is None and error is None else getattr(state, "name", "Crashed")
    span.set_attribute("headgate.run.state", name)
    if state is None or state.type is StateType.COMPLETED:
        span.set_status(StatusCode.OK if error is None else StatusCode.ERROR)
    elif state.type in (StateType.FAILED, StateType.CRASHED):
        span.set_status(StatusCode.ERROR, state.message)
    span.end()


def _data(state: states.State | None) -> BaseException | None:
    data = getattr(state, "data", None)
    return data if isinstance(data, BaseException) else None
