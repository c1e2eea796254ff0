"""What is masked of the data of blocks, and what an update makes of a mask."""

import json
from typing import Any

import pytest

from headgate.core import blocks, errors
from headgate_server.domain import block_checks, block_data
from headgate_server.domain.checks import Checks

M = blocks.MASK


@pytest.mark.parametrize(
    ("paths", "before", "after"),
    [
        (["password"], {"password": "x", "url": "u"}, {"password": M, "url": "u"}),
        (["password"], {"password": None}, {"password": None}),
        (["password"], {"password": {"a": 1}}, {"password": M}),
        (["password"], {"url": "u"}, {"url": "u"}),
        (["headers.*"], {"headers": {"a": "1", "b": None}}, {"headers": {"a": M, "b": None}}),
        (["headers.*"], {"headers": "told badly"}, {"headers": M}),
        (
            ["db.password"],
            {"db": {"url": "u", "password": "x"}},
            {"db": {"url": "u", "password": M}},
        ),
        (["db.password"], {"db": {"$ref": {"x": 1}}}, {"db": {"$ref": {"x": 1}}}),
        (["dbs.password"], {"dbs": [{"password": "x"}, {}]}, {"dbs": [{"password": M}, {}]}),
        (["a.b.c"], {"a": {"b": {"c": 1, "d": 2}}}, {"a": {"b": {"c": M, "d": 2}}}),
        (["tokens"], {"tokens": ["x", "y"]}, {"tokens": M}),
        (["a.*.c"], {"a": {"x": {"c": 1, "d": 2}}}, {"a": {"x": {"c": M, "d": 2}}}),
    ],
)
def test_secrets_are_masked_at_their_paths(paths: list[str], before: Any, after: Any):
    assert block_data.load(block_data.mask(block_data.dump(before), paths)) == after


@pytest.mark.parametrize(
    ("paths", "given", "stored", "after"),
    [
        (["p"], {"p": M, "u": "new"}, {"p": "x", "u": "old"}, {"p": "x", "u": "new"}),
        (["p"], {"p": "y"}, {"p": "x"}, {"p": "y"}),
        (["p"], {"p": M}, {}, {"p": M}),
        # A text that looks like a mask where nothing is secret is a text.
        ([], {"p": M}, {"p": "x"}, {"p": M}),
        (["h.*"], {"h": {"a": M, "b": "2"}}, {"h": {"a": "1"}}, {"h": {"a": "1", "b": "2"}}),
        (["d.p"], {"d": {"p": M, "q": 2}}, {"d": {"p": 1}}, {"d": {"p": 1, "q": 2}}),
        (["d.p"], {"d": [{"p": M}, {"p": 2}]}, {"d": [{"p": 1}]}, {"d": [{"p": 1}, {"p": 2}]}),
        (["d.p"], {"d": {"p": M}}, {"d": "other"}, {"d": {"p": M}}),
    ],
)
def test_a_secret_that_is_sent_masked_stays(paths: list[str], given: Any, stored: Any, after: Any):
    found = block_data.unmask(block_data.dump(given), block_data.dump(stored), paths)
    assert block_data.load(found) == after


def test_references_are_found_at_any_depth_each_once():
    one, two = blocks.reference("1"), blocks.reference("2")
    data = block_data.dump({"a": [{"b": one}, two], "c": one, "d": {"$ref": "#/not-a-block"}})
    assert block_data.referenced_ids(data) == ["1", "2"]


def test_what_is_nested_too_deeply_is_refused_not_walked():
    deep = "[" * 500 + "]" * 500
    checks = Checks()
    block_checks.check_data(checks, {"x": deep, "y": "[" * 50 + "]" * 50})
    with pytest.raises(errors.InvalidArgument) as caught:
        checks.raise_any()
    assert [v.field for v in caught.value.violations] == ["block_document.data['x']"]


@pytest.mark.parametrize("name", ["", "A", "a_b", "a/b", "-a", "a-", "ä", "a" * 256])
def test_names_of_blocks_are_lower_case_letters_digits_and_dashes(name: str):
    checks = Checks()
    block_checks.check_slug(checks, "name", name)
    assert checks.found


@pytest.mark.parametrize("name", ["a", "my-key-2", "2", "a" * 255])
def test_such_names_are_fine(name: str):
    checks = Checks()
    block_checks.check_slug(checks, "name", name)
    assert not checks.found


@pytest.mark.parametrize(
    ("mask", "after"),
    [
        (["data"], {"a": "1"}),
        (["data.a"], {"a": "1", "b": "0"}),
        (["data.b"], {}),
        (["data.a", "data.b"], {"a": "1"}),
        (["block_schema_id"], {"a": "0", "b": "0"}),
    ],
)
def test_an_update_changes_what_its_mask_names(mask: list[str], after: dict[str, str]):
    before = {"a": "0", "b": "0"}
    merged = block_checks.merge({"a": "1"}, before, mask)
    assert merged == (after or {"a": "0"})


@pytest.mark.parametrize(
    "fields", ["", "[]", "{", '{"secret_fields": 1}', '{"secret_fields": [1]}']
)
def test_a_schema_that_names_no_secrets_has_none(fields: str):
    assert blocks.secret_fields(fields) == ()


def test_a_schema_names_its_secrets():
    assert blocks.secret_fields(json.dumps({"secret_fields": ["a", "b.*"]})) == ("a", "b.*")
