"""Flow runs and task runs are spans of OpenTelemetry, where a program uses it (row E15)."""

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from headgate import flow, task
from headgate.client.orchestration import SyncHeadgateClient
from headgate.client.schemas import draft_deployment
from headgate.context import FlowRunContext
from headgate.deployments import run_deployment
from headgate.engine import claimed, tracing
from headgate.states import State
from headgate.task_runners import ThreadPoolTaskRunner


@pytest.fixture
def spans(
    server: SyncHeadgateClient, monkeypatch: pytest.MonkeyPatch
) -> Iterator[InMemorySpanExporter]:
    """The spans that have ended in this test."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    # A provider that is set stays for good, and would trace all other tests of the process.
    monkeypatch.setattr(trace, "get_tracer", provider.get_tracer)
    yield exporter
    provider.shutdown()


def by_name(spans: InMemorySpanExporter) -> dict[str, ReadableSpan]:
    return {span.name: span for span in spans.get_finished_spans()}


def parent_of(span: ReadableSpan) -> int | None:
    return span.parent.span_id if span.parent else None


def context_of(span: ReadableSpan) -> trace.SpanContext:
    context = span.get_span_context()
    assert context is not None
    return context


def id_of(span: ReadableSpan) -> int:
    return context_of(span).span_id


def attribute(span: ReadableSpan, name: str) -> Any:
    return (span.attributes or {}).get(f"headgate.{name}")


@task
def add(n: int) -> int:
    with trace.get_tracer("user").start_as_current_span(f"own-{n}"):
        return n + 1


def test_runs_are_spans_within_the_span_of_who_calls_them(spans: InMemorySpanExporter):
    @flow(flow_run_name="the-child")
    def child() -> int:
        return add(1)

    @flow(flow_run_name="the-parent", task_runner=ThreadPoolTaskRunner(max_workers=2))
    def parent() -> int:
        return add(0) + child() + sum(add.map([10, 20, 30, 40]).result())

    state = parent(return_state=True)
    assert state.result() == 1 + 2 + 104
    found = by_name(spans)
    outer, inner = found["the-parent"], found["the-child"]
    assert outer.parent is None
    assert parent_of(inner) == id_of(outer)
    assert parent_of(found["own-1"]) in {
        id_of(span) for span in spans.get_finished_spans() if parent_of(span) == id_of(inner)
    }
    mapped = [s for s in spans.get_finished_spans() if parent_of(s) == id_of(outer)]
    assert sorted(s.name for s in mapped) == [*(f"add-{n}" for n in range(5)), "the-child"]
    assert attribute(outer, "run.id") == state.flow_run_id
    assert attribute(outer, "run.type") == "flow"
    assert attribute(outer, "flow.name") == "parent"
    assert {attribute(s, "run.state") for s in (outer, inner, *mapped)} == {"Completed"}
    assert outer.status.status_code is trace.StatusCode.OK
    assert len({context_of(s).trace_id for s in spans.get_finished_spans()}) == 1


def test_a_failure_is_recorded_in_its_span(spans: InMemorySpanExporter):
    @task(retries=1)
    def fails():
        raise ValueError("no such thing")

    @flow
    def breaks():
        return fails()

    state = breaks(return_state=True)
    assert state.is_failed()
    ended = spans.get_finished_spans()
    assert [attribute(span, "run.state") for span in ended] == ["Failed", "Failed"]
    for span in ended:
        assert span.status.status_code is trace.StatusCode.ERROR
        assert "no such thing" in str([dict(e.attributes or {}) for e in span.events])


async def test_spans_of_coroutines_that_run_side_by_side_are_told_apart(
    spans: InMemorySpanExporter,
):
    @task
    async def slow(n: int) -> int:
        await asyncio.sleep(0)
        with trace.get_tracer("user").start_as_current_span(f"own-{n}"):
            await asyncio.sleep(0)
        return n

    @flow(flow_run_name="aside")
    async def works() -> list[int]:
        return [*await asyncio.gather(slow(0), slow(1)), await slow.submit(2)]

    assert await works() == [0, 1, 2]
    found = by_name(spans)
    for n in range(3):
        assert parent_of(found[f"own-{n}"]) == id_of(found[f"slow-{n}"])
        assert parent_of(found[f"slow-{n}"]) == id_of(found["aside"])
    assert not trace.get_current_span().get_span_context().is_valid


def test_a_run_that_another_process_executes_belongs_to_the_trace(
    server: SyncHeadgateClient, spans: InMemorySpanExporter
):
    @flow(name="elsewhere")
    def elsewhere() -> int:
        return 1

    server.create_deployment(draft_deployment("traced", "elsewhere"))

    @flow(flow_run_name="asks")
    def asks() -> str:
        return run_deployment("elsewhere/traced", timeout=0).id

    run_id = asks()
    assert tracing.LABEL in server.read_flow_run(run_id).labels
    # As another process would, which has nothing of this one but the run.
    state: State[int] = claimed.execute(elsewhere, run_id)
    assert state.is_completed()
    asking, executing = by_name(spans)["asks"], spans.get_finished_spans()[-1]
    assert attribute(executing, "run.id") == run_id
    assert parent_of(executing) == id_of(asking)


def test_without_a_provider_there_is_no_span(server: SyncHeadgateClient):
    @flow
    def works() -> bool:
        context = FlowRunContext.get()
        assert context is not None
        return context.span is None and add(1) == 2

    state = works(return_state=True)
    assert state.result() is True
    assert tracing.LABEL not in server.read_flow_run(state.flow_run_id or "").labels


def test_a_program_that_does_not_trace_loads_nothing_of_it():
    code = "import sys, headgate.engine.task_engine, headgate.engine.flow_engine as f;"
    code += "print(f.tracing.labels(), 'opentelemetry' in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.split() == ["{}", "False"]
