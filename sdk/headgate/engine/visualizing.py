"""The graph of a flow, drawn by calling it with tasks that do not execute.

While a flow is drawn, a call of a task or a subflow becomes a node, and returns a value that stands
for its result; where that value is given to another call, there is an edge. A flow whose course
depends on what a task returns needs the task's ``viz_return_value``.
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
import dataclasses
import shutil
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable, Generator, Iterable, Iterator, Mapping
from contextvars import ContextVar, copy_context
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

from headgate import context as contexts
from headgate import states
from headgate.core import errors, ids
from headgate.futures import FlowRunFuture, Future, FutureList
from headgate.utilities.annotations import Annotation

if TYPE_CHECKING:
    from headgate.flows import Flow
    from headgate.tasks import Task

__all__ = ["Drawing", "DrawnValue", "Node", "adraw", "current", "dot", "draw", "mermaid", "render"]

_drawing: ContextVar[Drawing | None] = ContextVar("headgate_drawing", default=None)
#: Of these types equal values are one object: whose result it is cannot be told.
_SHARED: Final = (bool, int, float, str, bytes, type(None), type(Ellipsis))
_CONTAINERS: Final = (list, dict, set)
_DEPTH_MAX: Final = 20
_RENDER_SECONDS_MAX: Final = 60


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Node:
    """A call in the graph.

    Attributes:
        label: Its name for people, e.g. ``load-0``.
        is_flow: Whether it is a subflow.
        upstream: The calls whose results it is given, or that it waits for.
    """

    label: str
    is_flow: bool
    upstream: tuple[Node, ...]


class DrawnValue:
    """Stands for the result of a call that was drawn.

    Args:
        node: The call.
    """

    __slots__ = ("node",)

    def __init__(self, node: Node) -> None:
        """Stand for the result of a call."""
        self.node = node

    def __repr__(self) -> str:
        """``<result of load-0>``."""
        return f"<result of {self.node.label}>"


class _DrawnFuture(Future[Any]):
    """The future of a drawn call; it has ended."""

    def __init__(self, node: Node, value: Any) -> None:
        super().__init__(ids.new_id())
        self.node = node
        self.end(states.Completed(data=value))


class _DrawnFlowFuture(FlowRunFuture[Any]):
    """The future of a drawn subflow; it has ended."""

    def __init__(self, node: Node, value: Any) -> None:
        super().__init__(ids.new_id())
        self.node = node
        self.end(states.Completed(data=value))


class Drawing:
    """What a flow called while it was drawn; takes the place of a task runner, too."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self.nodes: list[Node] = []
        self._counts: Counter[str] = Counter()
        #: Values given by ``viz_return_value``, by id; they are held, so that ids stay theirs.
        self._known: dict[int, tuple[Any, Node]] = {}

    def call(
        self,
        what: Task[..., Any] | Flow[..., Any],
        parameters: Mapping[str, Any],
        wait_for: Any,
        *,
        return_state: bool = False,
    ) -> Any:
        """Draw a call; returns what stands for its result, or for its final state."""
        node, value = self._draw(what, parameters, wait_for)
        if return_state:
            value = states.Completed(data=value)
            self._know(value, node)
        elif what.isasyncgenerator:
            return _all_async(value)
        elif what.isgenerator:
            return _all(value)
        return _awaited(value) if what.isasync else value

    def submit(self, task: Task[..., Any], parameters: Mapping[str, Any], wait_for: Any) -> Any:
        """Draw a call whose future is wanted, as ``TaskRunner.submit`` has it."""
        return _DrawnFuture(*self._draw(task, parameters, wait_for))

    def submit_flow(
        self, flow: Flow[..., Any], parameters: Mapping[str, Any], wait_for: Any
    ) -> Any:
        """Draw a subflow whose future is wanted, as ``TaskRunner.submit_flow`` has it."""
        return _DrawnFlowFuture(*self._draw(flow, parameters, wait_for))

    def map(
        self,
        task: Task[..., Any],
        calls: Iterable[Mapping[str, Any]],
        wait_for: Any,
        **_options: Any,
    ) -> FutureList[Any]:
        """Draw many calls, as ``TaskRunner.map`` has it."""
        return FutureList(self.submit(task, call, wait_for) for call in calls)

    def map_flow(
        self,
        flow: Flow[..., Any],
        calls: Iterable[Mapping[str, Any]],
        wait_for: Any,
        **_options: Any,
    ) -> FutureList[Any]:
        """Draw many subflows, as ``TaskRunner.map_flow`` has it."""
        return FutureList(self.submit_flow(flow, call, wait_for) for call in calls)

    def _draw(
        self, what: Task[..., Any] | Flow[..., Any], parameters: Mapping[str, Any], wait_for: Any
    ) -> tuple[Node, Any]:
        upstream = dict.fromkeys(self._nodes_in([*parameters.values(), wait_for]))
        label = f"{what.name}-{self._counts[what.name]}"
        self._counts[what.name] += 1
        stand_in: Any = getattr(what, "viz_return_value", None)
        node = Node(label, is_flow=not hasattr(what, "viz_return_value"), upstream=tuple(upstream))
        self.nodes.append(node)
        if stand_in is None:
            return node, DrawnValue(node)
        # A list or dictionary of its own for each call, so that it tells which one.
        value: Any = copy.copy(stand_in) if type(stand_in) in _CONTAINERS else stand_in
        self._know(value, node)
        return node, value

    def _know(self, value: Any, node: Node) -> None:
        if not isinstance(value, _SHARED):
            self._known[id(value)] = (value, node)

    def _nodes_in(self, value: Any, depth: int = 0) -> Iterator[Node]:
        """Find the calls whose results are in a value."""
        if isinstance(value, (DrawnValue, _DrawnFuture, _DrawnFlowFuture)):
            yield value.node
            return
        known = self._known.get(id(value))
        if known is not None:
            yield known[1]
            return
        if depth < _DEPTH_MAX:
            for part in _parts(value):
                yield from self._nodes_in(part, depth + 1)


def _parts(value: Any) -> Iterable[Any]:
    if isinstance(value, Annotation):
        return [cast("Annotation[Any]", value).unwrap()]
    if isinstance(value, (list, tuple, set, frozenset)):
        return cast("Iterable[Any]", value)
    if isinstance(value, dict):
        return cast("dict[Any, Any]", value).values()
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return [getattr(value, field.name, None) for field in dataclasses.fields(value)]
    return ()


async def _awaited(value: Any) -> Any:
    return value


def _all(value: Any) -> Iterator[Any]:
    """Yield what a generator would; one value stands for all where none are given."""
    yield from [value] if isinstance(value, DrawnValue) else value


async def _all_async(value: Any) -> AsyncIterator[Any]:
    for item in _all(value):
        yield item


def current() -> Drawing | None:
    """Return the drawing that is made here, if one is."""
    return _drawing.get()


def draw(flow: Flow[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Drawing:
    """Call a flow and note what it calls; from anywhere, also where an event loop runs.

    Raises:
        ParameterBindError: The arguments do not fit the flow.
        FlowVisualizationError: The flow raised; what it raised is the cause.
    """
    flow.signature.bind(args, kwargs)
    drawing = Drawing()
    with _drawn_in(drawing, flow):
        made: Any = flow.fn(*args, **kwargs)
        if flow.isasync:
            _run(lambda: _finish_async(made, is_generator=flow.isasyncgenerator))
        elif flow.isgenerator:
            for _item in made:
                pass
    return drawing


async def adraw(flow: Flow[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Drawing:
    """Do what ``draw`` does, on the event loop that runs here."""
    if not flow.isasync:
        return draw(flow, args, kwargs)
    flow.signature.bind(args, kwargs)
    drawing = Drawing()
    with _drawn_in(drawing, flow):
        await _finish_async(flow.fn(*args, **kwargs), is_generator=flow.isasyncgenerator)
    return drawing


async def _finish_async(made: Any, *, is_generator: bool) -> None:
    if is_generator:
        async for _item in made:
            pass
    else:
        await made


def _run(make: Callable[[], Any]) -> None:
    """Run a coroutine to its end, on another thread where an event loop runs on this one."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        asyncio.run(make())
        return
    raised: list[BaseException] = []

    def run() -> None:
        try:
            asyncio.run(make())
        except BaseException as error:  # raised again where it was asked for
            raised.append(error)

    thread = threading.Thread(target=copy_context().run, args=(run,), name="headgate-drawing")
    thread.start()
    thread.join()
    if raised:
        raise raised[0]


@contextlib.contextmanager
def _drawn_in(drawing: Drawing, flow: Flow[..., Any]) -> Generator[None]:
    """Have calls drawn, even within a run: none of them belongs to it."""
    from headgate.logging import disable_run_logger

    drawn = _drawing.set(drawing)
    try:
        with contexts.executing(None, None), disable_run_logger():
            yield
    except errors.FlowVisualizationError:
        raise
    except Exception as error:
        msg = (
            f"Flow {flow.name!r} cannot be drawn, for it raised {type(error).__name__}: {error}. "
            "Tasks are not executed while a flow is drawn; if it uses what a task returns, say "
            "what that may be: @task(viz_return_value=[1, 2, 3])."
        )
        raise errors.FlowVisualizationError(msg) from error
    finally:
        _drawing.reset(drawn)


# --- What it looks like -----------------------------------------------------------------------


def mermaid(drawing: Drawing) -> str:
    """Return the graph as text for Mermaid, which many pages and editors show as a picture."""
    lines = ["flowchart TD"]
    number = {node: f"n{index}" for index, node in enumerate(drawing.nodes)}
    for node, name in number.items():
        label = node.label.replace("#", "#35;").replace('"', "#quot;").replace("\n", " ")
        lines.append(f'    {name}[["{label}"]]' if node.is_flow else f'    {name}["{label}"]')
    for node, name in number.items():
        lines.extend(f"    {number[before]} --> {name}" for before in node.upstream)
    return "\n".join(lines) + "\n"


def dot(drawing: Drawing, name: str) -> str:
    """Return the graph as text for Graphviz."""
    lines = [f"digraph {_quoted(name)} {{", "    node [shape=box];"]
    number = {node: f"n{index}" for index, node in enumerate(drawing.nodes)}
    for node, key in number.items():
        shape = ", peripheries=2" if node.is_flow else ""
        lines.append(f"    {key} [label={_quoted(node.label)}{shape}];")
    for node, key in number.items():
        lines.extend(f"    {number[before]} -> {key};" for before in node.upstream)
    return "\n".join([*lines, "}"]) + "\n"


def render(drawing: Drawing, name: str) -> Path:
    """Write the graph to ``NAME.png`` in the working folder, by Graphviz, and show it.

    Raises:
        GraphvizExecutableNotFoundError: Graphviz is not installed.
        FlowVisualizationError: Graphviz failed.
    """
    executable = shutil.which("dot")
    if executable is None:
        msg = (
            "A picture is drawn by Graphviz, whose command `dot` is not there; install it, e.g. "
            "apt-get install graphviz or brew install graphviz, or use generate_mermaid_graph(), "
            "which needs nothing."
        )
        raise errors.GraphvizExecutableNotFoundError(msg)
    file = Path.cwd() / f"{name}.png"
    try:
        done = subprocess.run(
            [executable, "-Tpng", "-o", str(file)],
            input=dot(drawing, name),
            capture_output=True,
            text=True,
            check=False,
            timeout=_RENDER_SECONDS_MAX,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        msg = f"Graphviz could not draw flow {name!r}: {error}; try `dot -V`."
        raise errors.FlowVisualizationError(msg) from error
    if done.returncode != 0:
        msg = f"Graphviz could not draw flow {name!r}: {done.stderr.strip()}"
        raise errors.FlowVisualizationError(msg)
    _show(file)
    return file


def _show(file: Path) -> None:
    viewer = shutil.which("open" if sys.platform == "darwin" else "xdg-open")
    if viewer is None or not sys.stdout.isatty():
        print(f"The graph is in {file}.")
        return
    with contextlib.suppress(OSError):
        # It belongs to the desktop, and goes on when this process has ended.
        subprocess.Popen(
            [viewer, str(file)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", " ")
    return f'"{escaped}"'
