"""Templates in parameters: what they become, and what is wrong with those that become nothing."""

from __future__ import annotations

import json
from typing import Any

import pytest

from headgate_server.domain import parameter_templates, parameters

KIND = parameter_templates.KIND
CONTEXT = {"deployment": {"name": "daily", "tags": ["a", "b"]}, "flow": {"name": "etl"}}


def resolve(value: Any) -> parameter_templates.Resolved:
    return parameter_templates.resolve(
        {"plain": '"as it is"', "x": json.dumps(value)},
        "parameters",
        find_variable={"region": '"eu"', "limits": '{"cpu": 2}'}.get,
        context=CONTEXT,
    )


def jinja(template: str) -> dict[str, str]:
    return {KIND: "jinja", "template": template}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({KIND: "json", "value": '{"a": [1, 2.5, null]}'}, {"a": [1, 2.5, None]}),
        ({KIND: "none", "value": 3}, 3),
        ({KIND: "none"}, None),
        ({KIND: "workspace_variable", "variable_name": "region"}, "eu"),
        ({KIND: "workspace_variable", "variable_name": "limits"}, {"cpu": 2}),
        (jinja("{{ flow.name }}/{{ deployment.name }}"), "etl/daily"),
        (jinja("{{ deployment.tags | first | upper }}"), "A"),
        (jinja("{% if flow.name == 'etl' %}yes{% else %}no{% endif %}"), "yes"),
        (jinja("{{ flow.nothing | default('none') }}"), "none"),
        ([1, {"deep": jinja("x")}], [1, {"deep": "x"}]),
        ({KIND: "json", "value": jinja("[1]")}, [1]),
        ({KIND: "json", "value": f'{{"{KIND}": "none"}}'}, {KIND: "none"}),
        ({"other": 1}, {"other": 1}),
        (f'"{KIND}"', f'"{KIND}"'),
    ],
    ids=str,
)
def test_a_template_becomes_its_value(value, expected):
    resolved = resolve(value)
    assert resolved.violations == ()
    assert json.loads(resolved.parameters["x"]) == expected
    assert resolved.parameters["plain"] == '"as it is"'


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ({KIND: "summon"}, "'summon' is no __headgate_kind; use one of jinja, json"),
        ({KIND: ["json"]}, "is no __headgate_kind"),
        ({KIND: "json"}, "no text 'value'"),
        ({KIND: "json", "value": "{"}, "not a JSON text"),
        ({KIND: "workspace_variable"}, "no text 'variable_name'"),
        ({KIND: "workspace_variable", "variable_name": "zone"}, "no variable 'zone'; set it"),
        (jinja("{{ nothing }}"), "'nothing' is undefined"),
        (jinja("{{ flow.nothing }}"), "no attribute 'nothing'"),
        (jinja("{{ "), "cannot be filled in"),
        (jinja("{% for x in range(9) %}{% endfor %}"), "a For in it"),
        (jinja("{{ 'x' * 1000000000 }}"), "a Mul in it"),
        (jinja("{{ flow.__class__ }}"), "unsafe"),
        (jinja("{{ flow.items() }}"), "a Call in it"),
        (jinja("{{ 'x' | center(1000000000) }}"), "filter 'center'"),
        (jinja("{{ flow is filter('x') }}"), "test 'filter'"),
        (jinja("{{ flow | first | round }}"), "cannot be filled in"),
        (jinja("x" * 10_001), "at most 10000 fit"),
    ],
    ids=str,
)
def test_a_template_that_becomes_nothing_is_named_with_the_reason(value, problem):
    resolved = resolve(value)
    (violation,) = resolved.violations
    assert violation.field == "parameters['x']"
    assert problem in violation.description
    assert json.loads(resolved.parameters["x"]) == value


def test_templates_make_parameters_no_longer_than_they_may_be():
    big = json.dumps("x" * 5_000)
    resolved = parameter_templates.resolve(
        {"x": json.dumps([{KIND: "workspace_variable", "variable_name": "big"}] * 200)},
        "parameters",
        find_variable=lambda _name: big,
        context={},
    )
    assert "characters are too many" in resolved.violations[0].description


def test_parameters_that_nobody_knows_yet_are_not_held_to_the_schema():
    schema = json.dumps({"properties": {"x": {"type": "integer"}, "y": {"type": "integer"}}})
    given = {"x": json.dumps({KIND: "json", "value": "1"}), "y": '"text"'}
    (violation,) = parameters.check(given, schema, "parameters", complete=False)
    assert violation.field == "parameters['y']"


# Frozen parameters

FROZEN = json.dumps({"properties": {"x": {"readOnly": True}, "y": {}}})


@pytest.mark.parametrize(
    ("given", "is_refused"),
    [
        ({}, False),
        ({"y": "2"}, False),
        ({"x": "1.0"}, False),
        ({"x": "2"}, True),
        ({"z": "2"}, False),
    ],
    ids=str,
)
def test_a_frozen_parameter_keeps_its_value(given, is_refused):
    found = parameters.check_frozen(given, {"x": "1"}, FROZEN, "parameters")
    assert bool(found) is is_refused
    if found:
        assert "frozen by its deployment" in found[0].description


def test_a_schema_of_whatever_form_freezes_what_it_can():
    for schema in ("", '{"readOnly": 1}', '{"properties": ["readOnly"], "readOnly": true}'):
        assert parameters.check_frozen({"x": "1"}, {}, schema, "parameters") == []
