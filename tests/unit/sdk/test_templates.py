"""Templates: placeholders found, replaced, and left alone."""

from __future__ import annotations

from typing import Any

import pytest

from headgate import templates
from headgate.core import errors
from headgate.templates import NOT_SET, Placeholder, PlaceholderType


def test_placeholders_are_found_at_any_depth_with_what_they_stand_for():
    template = {
        "a": "{{ x }} and {{x}}",
        "b": ["{{ $HOME }}", {"c": "{{ headgate.blocks.secret.key }}"}],
        "d": "{{ headgate.variables.region }}",
        "e": 7,
        "f": None,
        "{{ key }}": "keys are not looked at",
    }
    assert templates.find_placeholders(template) == {
        Placeholder("{{ x }}", "x", PlaceholderType.STANDARD),
        Placeholder("{{x}}", "x", PlaceholderType.STANDARD),
        Placeholder("{{ $HOME }}", "$HOME", PlaceholderType.ENV_VAR),
        Placeholder(
            "{{ headgate.blocks.secret.key }}",
            "headgate.blocks.secret.key",
            PlaceholderType.BLOCK_DOCUMENT,
        ),
        Placeholder(
            "{{ headgate.variables.region }}",
            "headgate.variables.region",
            PlaceholderType.VARIABLE,
        ),
    }


@pytest.mark.parametrize(
    ("template", "filled"),
    [
        ("{{ n }}", 3),
        ("{{ d.a[1].b }}", "deep"),
        ("{{ d.a[7].b }}", NOT_SET),
        ("n={{ n }}, {{ missing }}!", "n=3, !"),
        ("{{ d.a }}s", '[1, {"b": "deep"}]s'),
        ({"a": "{{ n }}", "b": "{{ missing }}", "c": 1}, {"a": 3, "c": 1}),
        (["{{ missing }}", "{{ n }}"], [3]),
        ("{{ dotted.name }}", "whole"),
        ("{{ headgate.variables.x }}", "{{ headgate.variables.x }}"),
        ("a {{ headgate.blocks.x.y }} b", "a {{ headgate.blocks.x.y }} b"),
        ("no { braces }", "no { braces }"),
        (None, None),
        (True, True),
        ("{{ tricky }}-{{ n }}", "{{ n }}-3"),
    ],
)
def test_values_take_the_places_of_their_placeholders(template: Any, filled: Any):
    values = {
        "n": 3,
        "d": {"a": [1, {"b": "deep"}]},
        "dotted.name": "whole",
        "tricky": "{{ n }}",
    }
    assert templates.apply_values(template, values) == filled


def test_what_has_no_value_stays_on_demand():
    template = {"a": "{{ x }}", "b": "-{{ y }}-{{ x }}", "c": "{{ x.y }}"}
    assert templates.apply_values(template, {"y": 1}, remove_notset=False) == {
        "a": "{{ x }}",
        "b": "-1-{{ x }}",
        "c": "{{ x.y }}",
    }


def test_variables_of_the_environment_are_texts(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("A2_PORT", "80")
    monkeypatch.delenv("A2_NONE", raising=False)
    template = {"a": "{{ $A2_PORT }}", "b": ":{{ $A2_PORT }}", "c": "{{ $A2_NONE }}"}
    assert templates.apply_values(template, {}) == {"a": "80", "b": ":80"}


def test_a_template_without_anything_to_resolve_needs_no_server(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HEADGATE_API_URL", "http://127.0.0.1:1")
    template = {"a": ["{{ x }}", 1, None], "b": {"$ref": "#/definitions/x"}}
    assert templates.resolve(template) == template


def test_a_template_that_goes_too_deep_is_refused():
    template: Any = "x"
    for _ in range(500):
        template = [template]
    with pytest.raises(errors.TemplateError, match="levels deep"):
        templates.find_placeholders(template)
