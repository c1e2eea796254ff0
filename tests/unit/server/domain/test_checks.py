from __future__ import annotations

from collections.abc import Callable

import pytest

from headgate.core import errors, runs
from headgate_server.domain import checks, parameters
from headgate_server.domain.checks import Checks

ID = "0190f1c0-0000-7000-8000-000000000000"


def violations(check: Callable[[Checks], None]) -> list[str]:
    """Return the fields that a check finds wrong."""
    found = Checks()
    check(found)
    try:
        found.raise_any()
    except errors.InvalidArgument as error:
        return [violation.field for violation in error.violations]
    return []


@pytest.mark.parametrize("name", ["etl", "My flow, 2nd edition", "größe", "x" * 255])
def test_good_names(name: str):
    assert violations(lambda c: c.name("f", name)) == []


@pytest.mark.parametrize("name", ["", "  ", "a/b", "50%", "a&b", "<a", "b>", "x" * 256])
def test_bad_names(name: str):
    assert violations(lambda c: c.name("f", name)) == ["f"]


@pytest.mark.parametrize(
    ("check", "expected"),
    [
        (lambda c: c.id("f", ID), []),
        (lambda c: c.id("f", ID.upper()), ["f"]),
        (lambda c: c.id("f", ""), ["f"]),
        (lambda c: c.optional_id("f", ""), []),
        (lambda c: c.ids("f", [ID, "x"]), ["f[1]"]),
        (lambda c: c.positive("f", None), []),
        (lambda c: c.positive("f", 0), ["f"]),
        (lambda c: c.tags("f", ["a", "", "x" * 256]), ["f[1]", "f[2]"]),
        (lambda c: c.tags("f", ["a"] * 201), ["f"]),
        (lambda c: c.labels("f", {"": "a", "b": "x" * 70_000}), ["f['']", "f['b']"]),
        (lambda c: c.json_map("f", {"a": "1", "b": "x"}), ["f['b']"]),
        (lambda c: c.json_map("f", {"a": '"' + "x" * 600_000 + '"'}), ["f"]),
        (lambda c: c.json_map("f", {"x" * 70_000: "1"}), ["f"]),
        (lambda c: c.labels("f", {str(n): "x" * 60_000 for n in range(10)}), ["f"]),
        (lambda c: c.retry_policy("f", runs.RetryPolicy(max_retries=-1)), ["f.max_retries"]),
        (
            lambda c: c.retry_policy("f", runs.RetryPolicy(jitter_factor=float("nan"))),
            ["f.jitter_factor"],
        ),
        (
            lambda c: c.retry_policy("f", runs.RetryPolicy(delays_seconds=(1.0, -1.0))),
            ["f.delays[1]"],
        ),
    ],
)
def test_what_is_wrong_is_named(check: Callable[[Checks], None], expected: list[str]):
    assert violations(check) == expected


@pytest.mark.parametrize("text", ["1", '"a"', "null", '{"a": [1.5, true]}', '"\\u0000"'])
def test_json_texts(text: str):
    assert checks.is_json(text)


@pytest.mark.parametrize("text", ["", "a", "NaN", "Infinity", "{", "'a'", "[" * 100_000])
def test_what_is_no_json_text(text: str):
    assert not checks.is_json(text)


SCHEMA = """{
    "type": "object",
    "properties": {
        "n": {"type": "integer", "minimum": 0},
        "items": {"type": "array", "items": {"type": "string"}}
    },
    "required": ["n"]
}"""


@pytest.mark.parametrize(
    ("given", "complete", "expected"),
    [
        ({"n": "1"}, True, []),
        ({"n": "-1"}, True, ["p['n']"]),
        ({"n": '"1"'}, True, ["p['n']"]),
        ({}, True, ["p"]),
        ({}, False, []),
        ({"n": "1", "m": "1"}, True, ["p['m']"]),
        ({"n": "1", "items": '["a", 1]'}, True, ["p['items'][1]"]),
    ],
)
def test_parameters_that_do_not_fit_the_schema_are_named(
    given: dict[str, str], complete: bool, expected: list[str]
):
    found = parameters.check(given, SCHEMA, "p", complete=complete)
    assert [violation.field for violation in found] == expected


def test_no_schema_lets_everything_go():
    assert parameters.check({"a": "1"}, "", "p") == []
    assert parameters.check_schema("", "s") == []


def test_a_schema_that_lists_its_properties_may_allow_more():
    schema = '{"properties": {"n": {}}, "additionalProperties": true}'
    assert parameters.check({"m": "1"}, schema, "p") == []


def test_a_schema_that_refers_to_nothing_is_said_to_be_so():
    (violation,) = parameters.check({"n": "1"}, '{"properties": {"n": {"$ref": "#/x"}}}', "p")
    assert "cannot be applied" in violation.description
