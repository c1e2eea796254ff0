"""Futures and states in arguments: found at any depth, waited for, replaced by their results."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Generator, Iterable, Mapping
from typing import Any, cast

from headgate import context as contexts
from headgate.core import errors
from headgate.engine.effects import Effect, Steps, Wait
from headgate.engine.lineage import Lineage
from headgate.futures import Future
from headgate.states import State, StateType, get_state_exception
from headgate.utilities.annotations import Annotation, allow_failure, opaque, quote

__all__ = ["Upstream", "find", "is_plain", "states_of", "values_of", "with_values"]

#: Values of exactly these types have nothing within.
_PLAIN: frozenset[type] = frozenset({bool, bytes, complex, float, int, str, type(None)})
_COLLECTIONS: frozenset[type] = frozenset({dict, frozenset, list, set, tuple})


def is_plain(args: tuple[Any, ...], kwargs: Mapping[str, Any], lineage: Lineage) -> bool:
    """Say quickly that there is nothing to find in the arguments. On the hot path."""
    for value in args:
        if type(value) not in _PLAIN or (type(value) is str and lineage.find(value)):
            return False
    if kwargs:
        for value in kwargs.values():
            if type(value) not in _PLAIN or (type(value) is str and lineage.find(value)):
                return False
    return True


@dataclasses.dataclass(slots=True)
class Upstream:
    """What the arguments of a run have within.

    Attributes:
        run_ids: The runs whose results or states they are, in the order in which they are met.
        futures: Those to wait for; whether their failure is allowed.
        states: States; whether their failure is allowed.
        replace: Whether there is something to replace in the arguments.
    """

    run_ids: dict[str, None] = dataclasses.field(default_factory=dict[str, None])
    futures: list[tuple[Future[Any], bool]] = dataclasses.field(
        default_factory=list[tuple[Future[Any], bool]]
    )
    states: list[tuple[State[Any], bool]] = dataclasses.field(
        default_factory=list[tuple[State[Any], bool]]
    )
    replace: bool = False

    def wait(self) -> Steps[None]:
        """Wait for the futures.

        Raises:
            UpstreamTaskError: One did not complete, and that is not allowed.
        """
        for future, _allowed in self.futures:
            if not future.done():
                yield from future.wait_steps()
        for future, allowed in self.futures:
            self._check(future.state, future.run_id, allowed=allowed)
        for state, allowed in self.states:
            self._check(state, state.task_run_id or state.flow_run_id or "", allowed=allowed)

    def _check(self, state: State[Any], run_id: str, *, allowed: bool) -> None:
        if state.is_completed() or (allowed and (state.is_terminal or _is_skipped(state))):
            return
        here = contexts.current_flow()
        name = None if here is None else here.failed_names.get(run_id)
        what = f"Upstream run {run_id}" if name is None else f"Upstream run {name!r} ({run_id})"
        why = f" ({state.message})" if state.message else ""
        msg = (
            f"{what} is {state.name} and not Completed{why}, so this run was not started; wrap "
            "the argument in allow_failure to start it all the same."
        )
        raise errors.UpstreamTaskError(msg)


def _is_skipped(state: State[Any]) -> bool:
    """Say whether a run will not happen, because one that it builds on did not complete."""
    return state.type is StateType.PENDING and state.name == "NotReady"


def find(
    values: Iterable[Any], wait_for: Any = None, *, lineage: Lineage | None = None
) -> Upstream:
    """Look through arguments.

    Args:
        values: The arguments.
        wait_for: Futures and states to wait for without using their results.
        lineage: Knows plain values that are results of runs.
    """
    upstream = Upstream()
    finder = _Finder(upstream, lineage)
    for value in values:
        if type(value) not in _PLAIN or (lineage is not None and type(value) is str):
            finder.visit(value, allowed=False)
    upstream.replace = bool(upstream.futures or upstream.states or finder.annotated)
    if wait_for is not None:
        finder.visit(wait_for, allowed=False)
    return upstream


class _Finder:
    def __init__(self, upstream: Upstream, lineage: Lineage | None) -> None:
        self._upstream = upstream
        self._lineage = lineage
        self._path: set[int] = set()
        self.annotated = False

    def visit(self, value: Any, *, allowed: bool) -> None:
        """Look at a value and into it."""
        kind = cast("type[Any]", type(value))
        if kind in _PLAIN and kind is not str:
            return
        if isinstance(value, Future):
            future = cast("Future[Any]", value)
            self._upstream.futures.append((future, allowed))
            if future.task_run_id:
                self._upstream.run_ids[future.task_run_id] = None
        elif isinstance(value, State):
            state = cast("State[Any]", value)
            self._upstream.states.append((state, allowed))
            if run_id := state.task_run_id or state.flow_run_id:
                self._upstream.run_ids[run_id] = None
        elif isinstance(value, Annotation):
            self.annotated = True
            self._visit_annotation(cast("Annotation[Any]", value), allowed=allowed)
        else:
            if self._lineage is not None and (run_id := self._lineage.find(value)):
                self._upstream.run_ids[run_id] = None
            self._visit_children(value, allowed=allowed)

    def _visit_annotation(self, value: Annotation[Any], *, allowed: bool) -> None:
        if isinstance(value, quote):
            return
        inner = value.unwrap()
        if isinstance(value, opaque) and not isinstance(inner, (Future, State)):
            return
        self.visit(inner, allowed=allowed or isinstance(value, allow_failure))

    def _visit_children(self, value: Any, *, allowed: bool) -> None:
        children = _children(value)
        # A list that contains itself is looked into once.
        if children is None or id(value) in self._path:
            return
        self._path.add(id(value))
        for child in children:
            if type(child) not in _PLAIN:
                self.visit(child, allowed=allowed)
        self._path.discard(id(value))


def _children(value: Any) -> Iterable[Any] | None:
    """Return what a value is made of; None for one that is whole."""
    kind = cast("type[Any]", type(value))
    if kind is dict or isinstance(value, dict):
        table = cast("dict[Any, Any]", value)
        return [*table.keys(), *table.values()]
    if kind in _COLLECTIONS or isinstance(value, (list, tuple, set, frozenset)):
        return list(cast("Iterable[Any]", value))
    if dataclasses.is_dataclass(kind):
        return [getattr(value, field.name, None) for field in dataclasses.fields(kind)]
    if _is_model(kind):
        return list(cast("dict[str, Any]", vars(value)).values())
    return None


def _is_model(kind: type[Any]) -> bool:
    # pydantic's models, told without loading pydantic.
    return hasattr(kind, "__pydantic_core_schema__") and hasattr(kind, "model_copy")


def _rebuild(value: Any, change: Callable[[Any], Any]) -> Any:
    """Return a value with what it is made of changed; the value itself where nothing changes."""
    kind = cast("type[Any]", type(value))
    if isinstance(value, dict):
        table = cast("dict[Any, Any]", value)
        changed = {change(k): change(v) for k, v in table.items()}
        if all(a is b for a, b in zip(changed.values(), table.values(), strict=False)) and all(
            a is b for a, b in zip(changed, table, strict=False)
        ):
            return table
        if kind is dict:
            return changed
        copied = cast("dict[Any, Any]", value.copy())  # keeps e.g. the factory of a defaultdict
        copied.clear()
        copied.update(changed)
        return copied
    if isinstance(value, (list, tuple, set, frozenset)):
        items = list(cast("Iterable[Any]", value))
        new = [change(item) for item in items]
        if all(a is b for a, b in zip(new, items, strict=True)):
            return cast("Any", value)
        if isinstance(value, tuple) and hasattr(kind, "_fields"):
            return kind(*new)
        return kind(new)
    if dataclasses.is_dataclass(kind):
        return _rebuild_fields(value, {f.name: f for f in dataclasses.fields(kind)}, change)
    if _is_model(kind):
        old = cast("dict[str, Any]", vars(value))
        updates = {n: c for n, v in old.items() if (c := change(v)) is not v}
        return value.model_copy(update=updates) if updates else value
    return value


def _rebuild_fields(
    value: Any, fields: Mapping[str, dataclasses.Field[Any]], change: Callable[[Any], Any]
) -> Any:
    updates: dict[str, Any] = {}
    for name, field in fields.items():
        old = getattr(value, name, None)
        new = change(old)
        if new is not old and field.init:
            updates[name] = new
    return dataclasses.replace(value, **updates) if updates else value


class _Replacer:
    def __init__(self, replace: Callable[[Any], Any]) -> None:
        self._replace = replace
        self._path: set[int] = set()

    def visit(self, value: Any) -> Any:
        """Return a value with the futures and states in it replaced."""
        if type(value) in _PLAIN:
            return value
        if isinstance(value, (Future, State)):
            return self._replace(value)
        if isinstance(value, Annotation):
            return self._visit_annotation(cast("Annotation[Any]", value))
        if id(value) in self._path:
            return value
        self._path.add(id(value))
        try:
            return _rebuild(value, self.visit)
        finally:
            self._path.discard(id(value))

    def _visit_annotation(self, value: Annotation[Any]) -> Any:
        inner = value.unwrap()
        if isinstance(value, quote):
            return inner
        if isinstance(value, opaque) and not isinstance(inner, (Future, State)):
            return inner
        return self.visit(inner)


def values_of(value: Any) -> Any:
    """Replace futures and states that have ended by their results, marks by what they mark.

    A run that did not complete, which ``allow_failure`` lets through, becomes its exception; None
    where it was not started.
    """

    def replace(found: Future[Any] | State[Any]) -> Any:
        state = found.state if isinstance(found, Future) else found
        if state.type is StateType.COMPLETED:
            return state.result()
        return None if _is_skipped(state) else get_state_exception(state)

    return _Replacer(replace).visit(value)


def with_values(parameters: Mapping[str, Any], upstream: Upstream) -> Mapping[str, Any]:
    """Return parameters with results in the place of the futures that were found in them."""
    if not upstream.replace:
        return parameters
    return {name: values_of(value) for name, value in parameters.items()}


def states_of(value: Any) -> Generator[Effect, Any, Any]:
    """Wait for the futures in a value, and replace them by their states."""
    if type(value) in _PLAIN:
        return value
    upstream = find([value])
    for future, _allowed in upstream.futures:
        if not future.done():
            yield from future.wait_steps()
    if not upstream.futures:
        return value

    def replace(found: Future[Any] | State[Any]) -> State[Any]:
        return found.state if isinstance(found, Future) else found

    return _Replacer(replace).visit(value)


def wait_all(futures: Iterable[Any]) -> Steps[None]:
    """Wait for many futures of ``concurrent.futures``; their results do not matter."""
    for future in futures:
        if not future.done():
            yield Wait(future)
