"""Variables, artifacts and inputs of runs go to the wire and come back whole."""

import dataclasses
from typing import Any

import pytest

from headgate.codec import artifacts, run_inputs, variables
from headgate.core.artifacts import Artifact
from headgate.core.run_inputs import RunInput
from headgate.core.variables import Variable
from tests.unit.codec.records import LATER, NOW

RUN_INPUT = RunInput(
    id="input",
    flow_run_id="run",
    key="answer",
    value="1",
    sender="headgate.flow-run/x",
    place=3,
    create_time=NOW,
)
VARIABLE = Variable(
    id="variable",
    name="limit",
    value_json='{"a":1}',
    tags=("x",),
    create_time=NOW,
    update_time=LATER,
)
ARTIFACT = Artifact(
    id="artifact",
    key="report",
    type="markdown",
    description="All of it.",
    data_json='"# Hello"',
    metadata={"a": "b"},
    flow_run_id="run",
    task_run_id="task",
    latest=True,
    create_time=NOW,
    update_time=LATER,
)
PAIRS: list[tuple[Any, Any, Any]] = [
    (RUN_INPUT, run_inputs.run_input_to_proto, run_inputs.run_input_from_proto),
    (VARIABLE, variables.variable_to_proto, variables.variable_from_proto),
    (ARTIFACT, artifacts.artifact_to_proto, artifacts.artifact_from_proto),
]
IDS = [type(record).__name__ for record, _, _ in PAIRS]


@pytest.mark.parametrize(("record", "encode", "decode"), PAIRS, ids=IDS)
def test_a_full_record_comes_back_whole(record: Any, encode: Any, decode: Any):
    for field in dataclasses.fields(record):
        assert getattr(record, field.name) != field.default, f"{field.name} is not tested"
    message = type(encode(record))()
    assert encode(record, message) is message
    assert decode(message) == record


@pytest.mark.parametrize(("record", "encode", "decode"), PAIRS, ids=IDS)
def test_a_record_with_defaults_comes_back_as_it_was(record: Any, encode: Any, decode: Any):
    required = {
        field.name: getattr(record, field.name)
        for field in dataclasses.fields(record)
        if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    }
    bare = type(record)(**required)
    assert decode(encode(bare)) == bare


def test_values_are_read_as_python_has_them():
    assert VARIABLE.value == {"a": 1}
    assert ARTIFACT.data == "# Hello"
