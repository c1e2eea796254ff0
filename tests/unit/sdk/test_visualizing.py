"""Flows are drawn by calling them with tasks that do not execute."""

from __future__ import annotations

import asyncio
import os
import stat
from typing import Any

import pytest

from headgate import flow, get_run_logger, task
from headgate.core import errors
from headgate.futures import as_completed, wait
from headgate.utilities.annotations import allow_failure, unmapped

ran: list[str] = []


@pytest.fixture(autouse=True)
def nothing_ran():
    ran.clear()
    yield
    assert ran == []


@task
def extract(source="db") -> Any:
    ran.append("extract")


@task
def transform(rows, factor=1) -> Any:
    ran.append("transform")


@task(viz_return_value=[1, 2])
def listing() -> Any:
    ran.append("listing")


@task
async def aload(rows):
    ran.append("aload")


@flow
def child(rows):
    ran.append("child")


def edges(text: str) -> set[tuple[str, str]]:
    """The edges of a graph by the labels of their ends."""
    labels: dict[str, str] = {}
    found: set[tuple[str, str]] = set()
    for line in text.splitlines()[1:]:
        if "-->" in line:
            before, _, after = line.strip().partition(" --> ")
            found.add((labels[before], labels[after]))
        else:
            name, _, rest = line.strip().partition("[")
            labels[name] = rest.strip('[]"')
    return found


def test_a_graph_has_a_node_per_call_and_an_edge_per_result_that_is_passed():
    @flow
    def etl(source):
        rows = extract(source)
        transform(transform(rows))

    assert etl.generate_mermaid_graph("db") == (
        "flowchart TD\n"
        '    n0["extract-0"]\n'
        '    n1["transform-0"]\n'
        '    n2["transform-1"]\n'
        "    n0 --> n1\n"
        "    n1 --> n2\n"
    )


@pytest.mark.parametrize(
    "use",
    [
        lambda: transform([extract()]),
        lambda: transform({"rows": (extract(),)}),
        lambda: transform(extract.submit()),
        lambda: transform(extract.submit().result()),
        lambda: transform.submit(extract(), wait_for=None).wait(),
        lambda: transform(0, wait_for=[extract.submit()]),
        lambda: transform(allow_failure(extract.submit())),
        lambda: transform(extract(return_state=True)),
        lambda: transform(extract(return_state=True).result()),
        lambda: transform(extract.delay()),
        lambda: transform.map(extract()),
        lambda: transform.map(extract.submit()),
        lambda: transform.map([0], unmapped(extract())).result(),
        lambda: transform(next(iter(as_completed([extract.submit()])))),
        lambda: transform(wait([extract.submit()]).done.pop()),
        lambda: transform.with_options(viz_return_value=3)(extract()) + 1,
    ],
    ids=str.split(
        "list dictionary future result submit wait_for allow_failure state state_result delay "
        "map map_future unmapped as_completed wait value"
    ),
)
def test_an_edge_is_found_however_a_result_is_passed_on(use):
    assert edges(flow(use).generate_mermaid_graph()) == {("extract-0", "transform-0")}


def test_what_a_task_may_return_steers_the_flow():
    @flow
    def etl():
        rows = listing()
        for row in rows:
            transform(row)
        transform(rows)
        transform.map(rows)

    drawn = etl.generate_mermaid_graph()
    assert edges(drawn) == {("listing-0", "transform-2")}
    assert drawn.count("transform-") == 5


def test_each_call_returns_a_list_of_its_own():
    @flow
    def etl():
        first, _second = listing(), listing()
        transform(first)

    assert edges(etl.generate_mermaid_graph()) == {("listing-0", "transform-0")}


def test_a_subflow_is_one_node_however_it_is_called():
    @flow
    def etl():
        child(extract())
        child.submit(extract()).wait()
        child.map([extract()])

    drawn = etl.generate_mermaid_graph()
    assert edges(drawn) == {(f"extract-{n}", f"child-{n}") for n in range(3)}
    assert '[["child-0"]]' in drawn


def test_async_flows_are_drawn_with_and_without_a_loop():
    @flow
    async def etl():
        await aload(await aload(extract()))

    expected = {("extract-0", "aload-0"), ("aload-0", "aload-1")}
    assert edges(etl.generate_mermaid_graph()) == expected

    async def within() -> str:
        return etl.generate_mermaid_graph()

    assert edges(asyncio.run(within())) == expected


def test_generators_are_drawn():
    @task
    def rows():
        yield ran.append("rows")

    @task
    async def arows():
        yield ran.append("arows")

    @flow
    async def etl():
        async for row in arows():
            yield transform(row)
        for row in rows():
            transform(row)

    assert edges(etl.generate_mermaid_graph()) == {
        ("arows-0", "transform-0"),
        ("rows-0", "transform-1"),
    }


def test_a_flow_that_logs_can_be_drawn():
    @flow
    def etl():
        get_run_logger().info("hello")
        extract()

    assert "extract-0" in etl.generate_mermaid_graph()


def test_a_flow_that_looks_at_a_result_is_told_the_remedy():
    @flow
    def etl():
        return extract() > 3

    with pytest.raises(errors.FlowVisualizationError, match="viz_return_value") as caught:
        etl.generate_mermaid_graph()
    assert isinstance(caught.value.__cause__, TypeError)


def test_arguments_that_do_not_fit_are_refused_before_anything_is_drawn():
    with pytest.raises(errors.ParameterBindError):
        child.generate_mermaid_graph(1, 2)  # pyright: ignore[reportCallIssue]  # the point


def test_a_name_may_have_any_character():
    quoted = task(name='say "hi" #1')(lambda: None)
    drawn = flow(lambda: quoted()).generate_mermaid_graph()
    assert 'n0["say #quot;hi#quot; #35;1-0"]' in drawn


def test_a_picture_without_graphviz_names_the_remedy(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(errors.GraphvizExecutableNotFoundError, match="generate_mermaid_graph"):
        flow(name="etl")(lambda: extract()).visualize()


async def test_a_picture_is_written_by_graphviz(monkeypatch, tmp_path, capsys):
    dot = tmp_path / "dot"
    dot.write_text('#!/bin/sh\n[ "$1" = -Tpng ] && [ "$2" = -o ] && exec /bin/cat > "$3"\n')
    dot.chmod(dot.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.chdir(tmp_path)
    drawn = flow(name='a "b"')(lambda: transform(extract()))
    drawn.visualize()
    await drawn.avisualize()
    assert (tmp_path / 'a "b".png').read_text() == (
        'digraph "a \\"b\\"" {\n'
        "    node [shape=box];\n"
        '    n0 [label="extract-0"];\n'
        '    n1 [label="transform-0"];\n'
        "    n0 -> n1;\n"
        "}\n"
    )
    assert "The graph is in" in capsys.readouterr().out


def test_a_failing_graphviz_is_quoted(monkeypatch, tmp_path):
    dot = tmp_path / "dot"
    dot.write_text("#!/bin/sh\necho 'bad font' >&2\nexit 1\n")
    dot.chmod(dot.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    with pytest.raises(errors.FlowVisualizationError, match="bad font"):
        flow(name="etl")(lambda: extract()).visualize()
