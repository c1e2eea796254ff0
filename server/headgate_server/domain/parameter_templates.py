"""Parameters that say how they are made: resolved when a run is created.

The value of a parameter, or a part of it, may be an object with the key ``__headgate_kind``:

- ``{"__headgate_kind": "json", "value": "[1, 2]"}``: what a JSON text says.
- ``{"__headgate_kind": "jinja", "template": "{{ deployment.name }}"}``: a text, filled in.
- ``{"__headgate_kind": "workspace_variable", "variable_name": "region"}``: a variable of the
  server.
- ``{"__headgate_kind": "none", "value": ...}``: the value as it is.

What they become is not looked at again.
"""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, cast

from headgate.core import errors
from headgate_server.domain import checks

KIND = "__headgate_kind"
_KINDS = ("jinja", "json", "none", "workspace_variable")
_DEPTH_MAX = 100
_TEMPLATE_CHARACTERS_MAX = 10_000
#: What templates may do: none of it takes long, whatever it is given, and no filter makes a text
#: grow by a factor, as ``join`` does, for filters can be put in line.
_NODES = (
    "Template Output TemplateData Name Const Getattr Getitem Filter Keyword If CondExpr Compare "
    "Operand And Or Not Concat Test List Tuple Dict Pair"
).split()
_FILTERS = (
    "abs capitalize d default first float int last length list lower round sort string title trim "
    "unique upper"
).split()
_TESTS = "defined undefined none string number mapping sequence true false".split()

#: Returns the JSON text of a variable; None: there is none.
FindVariable = Callable[[str], str | None]


@dataclasses.dataclass(frozen=True, slots=True)
class Resolved:
    """Parameters without templates, and what was wrong with these.

    Attributes:
        parameters: Name to JSON text; where something was wrong, as it was given.
        violations: What was wrong.
    """

    parameters: Mapping[str, str]
    violations: Sequence[errors.Violation]


class _Wrong(Exception):
    """A template cannot be resolved; the message is a sentence."""


def has_templates(text: str) -> bool:
    """Say whether there may be templates in a JSON text."""
    # The quick look: most parameters have none. An escape may hide the key, and only the key's
    # own author writes one there.
    return f'"{KIND}"' in text


def resolve(
    parameters: Mapping[str, str],
    field: str,
    *,
    find_variable: FindVariable,
    context: Mapping[str, Any],
) -> Resolved:
    """Replace the templates in parameters by what they become.

    Args:
        parameters: Name to JSON text; all of them parse.
        field: The path of the parameters in the request.
        find_variable: Looks for a variable.
        context: What the templates of texts may speak of.
    """
    if not any(map(has_templates, parameters.values())):
        return Resolved(parameters, ())
    resolved: dict[str, str] = {}
    violations: list[errors.Violation] = []
    for name, text in parameters.items():
        resolved[name] = text
        if not has_templates(text):
            continue
        try:
            value = _resolve(checks.parse_json(text), find_variable, context)
            resolved[name] = json.dumps(value, ensure_ascii=False)
        except _Wrong as problem:
            violations.append(errors.Violation(f"{field}[{name!r}]", str(problem)))
    checked = checks.Checks()
    checked.extend("", violations)
    checked.json_map(field, resolved)
    return Resolved(resolved, tuple(checked.violations))


def _resolve(
    value: Any, find_variable: FindVariable, context: Mapping[str, Any], depth: int = 0
) -> Any:
    if depth > _DEPTH_MAX:
        msg = f"It is nested more than {_DEPTH_MAX} levels deep; flatten it."
        raise _Wrong(msg)
    go_on = functools.partial(
        _resolve, find_variable=find_variable, context=context, depth=depth + 1
    )
    if isinstance(value, list):
        return [go_on(part) for part in cast("list[Any]", value)]
    if not isinstance(value, dict):
        return value
    fields = cast("dict[str, Any]", value)
    parts = {key: go_on(part) for key, part in fields.items()}
    if KIND not in fields:
        return parts
    match parts[KIND]:
        case "none":
            return parts.get("value")
        case "json":
            return _of_json(_text(parts, "value"))
        case "jinja":
            return _render(_text(parts, "template"), context)
        case "workspace_variable":
            return _of_variable(_text(parts, "variable_name"), find_variable)
        case kind:
            msg = f"{kind!r} is no {KIND}; use one of {', '.join(_KINDS)}."
            raise _Wrong(msg)


def _text(parts: Mapping[str, Any], key: str) -> str:
    value = parts.get(key)
    if not isinstance(value, str):
        msg = f"The {parts[KIND]} template has no text {key!r}; add it."
        raise _Wrong(msg)
    return value


def _of_json(text: str) -> Any:
    try:
        return checks.parse_json(text)
    except ValueError as error:
        msg = f"The value of the json template is not a JSON text: {error}"
        raise _Wrong(msg) from None


def _of_variable(name: str, find_variable: FindVariable) -> Any:
    text = find_variable(name)
    if text is None:
        msg = f"There is no variable {name!r}; set it, e.g. headgate variable set {name} VALUE."
        raise _Wrong(msg)
    return json.loads(text)


def _render(template: str, context: Mapping[str, Any]) -> str:
    if len(template) > _TEMPLATE_CHARACTERS_MAX:
        msg = (
            f"The template has {len(template)} characters; at most {_TEMPLATE_CHARACTERS_MAX} fit."
        )
        raise _Wrong(msg)
    # Loaded where somebody uses it.
    import jinja2
    from jinja2 import nodes, sandbox

    environment = sandbox.ImmutableSandboxedEnvironment(undefined=jinja2.StrictUndefined)
    try:
        for node in _walk(environment.parse(template), nodes.Node):
            _check_node(node)
        return environment.from_string(template).render(context)
    except _Wrong:
        raise
    except jinja2.TemplateError as error:
        msg = f"The template cannot be filled in: {error}"
        raise _Wrong(msg) from None
    except Exception as error:  # filters raise anything for values that do not fit
        msg = f"The template cannot be filled in: {type(error).__name__}: {error}"
        raise _Wrong(msg) from None


def _walk(tree: Any, kind: type[Any]) -> Iterator[Any]:
    yield tree
    yield from tree.find_all(kind)


def _check_node(node: Any) -> None:
    kind = type(node).__name__
    if kind not in _NODES:
        msg = f"The template has a {kind} in it; use names, conditions and simple filters only."
        raise _Wrong(msg)
    for wanted, allowed in (("Filter", _FILTERS), ("Test", _TESTS)):
        if kind == wanted and node.name not in allowed:
            msg = f"The template has the {kind.lower()} {node.name!r}; use {', '.join(allowed)}."
            raise _Wrong(msg)


__all__ = ["KIND", "FindVariable", "Resolved", "has_templates", "resolve"]
