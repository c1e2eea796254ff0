"""Each type of a parameter: its schema, what it is coerced from, what goes to the server."""

from __future__ import annotations

import dataclasses
import datetime
import enum
import json
import sys
import typing
import uuid
import warnings
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import jsonschema
import pydantic
import pytest
import typing_extensions

from headgate import flow, parameters
from headgate.blocks.system import Secret
from headgate.core import errors
from headgate.deployments import RunnerDeployment
from headgate.types import SecretDict
from headgate.utilities.annotations import freeze
from headgate.utilities.callables import parameter_schema

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from pydantic import v1


class Color(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Level(enum.IntEnum):
    LOW = 1


@dataclasses.dataclass
class Point:
    x: int
    y: int = 0


class Pair(NamedTuple):
    left: int
    right: str


class Order(pydantic.BaseModel):
    item: str
    count: Annotated[int, pydantic.Field(ge=1)] = 1


# Before Python 3.12 pydantic knows this one only; see the last test.
class Place(typing_extensions.TypedDict):
    city: str
    zone: typing_extensions.NotRequired[int]


class Old(v1.BaseModel):
    size: int


NOON = datetime.datetime(2026, 1, 2, 12, tzinfo=datetime.UTC)
HERE = Point(1, 2)
MINUTE = datetime.timedelta(minutes=1)
ID = uuid.UUID("0190a3b0-0000-7000-8000-000000000000")

#: Annotation, value, its JSON form, a piece of the schema, a JSON form that does not fit.
TYPES: dict[str, tuple[Any, Any, Any, dict[str, Any], Any]] = {
    "bool": (bool, True, True, {"type": "boolean"}, "perhaps"),
    "int": (int, 3, 3, {"type": "integer"}, "x"),
    "float": (float, 1.5, 1.5, {"type": "number"}, "x"),
    "str": (str, "a", "a", {"type": "string"}, 3),
    "list": (list[int], [1], [1], {"type": "array", "items": {"type": "integer"}}, ["x"]),
    "dict": (dict[str, int], {"a": 1}, {"a": 1}, {"type": "object"}, {"a": "x"}),
    "optional": (int | None, None, None, {"anyOf": [{"type": "integer"}, {"type": "null"}]}, "x"),
    "union": (int | list[str], ["a"], ["a"], {}, {"a": 1}),
    "literal": (Literal["a", 3], 3, 3, {"enum": ["a", 3]}, "b"),
    "enum": (Color, Color.RED, "red", {"$ref": "#/definitions/Color"}, "green"),
    "int_enum": (Level, Level.LOW, 1, {"$ref": "#/definitions/Level"}, 2),
    "datetime": (datetime.datetime, NOON, "2026-01-02T12:00:00Z", {"format": "date-time"}, []),
    "date": (datetime.date, NOON.date(), "2026-01-02", {"format": "date"}, []),
    "time": (datetime.time, datetime.time(12), "12:00:00", {"format": "time"}, []),
    "timedelta": (datetime.timedelta, MINUTE, "PT1M", {"format": "duration"}, []),
    "uuid": (uuid.UUID, ID, str(ID), {"format": "uuid"}, []),
    "path": (Path, Path("a/b"), "a/b", {"format": "path"}, 3),
    "dataclass": (Point, Point(1), {"x": 1, "y": 0}, {"$ref": "#/definitions/Point"}, {"y": 1}),
    "named_tuple": (Pair, Pair(1, "a"), [1, "a"], {"$ref": "#/definitions/Pair"}, [1]),
    "typed_dict": (
        Place,
        {"city": "Ulm", "zone": 1},
        {"city": "Ulm", "zone": 1},
        {"$ref": "#/definitions/Place"},
        {"zone": 1},
    ),
    "model": (
        Order,
        Order(item="tea"),
        {"item": "tea", "count": 1},
        {"$ref": "#/definitions/Order"},
        {"item": "tea", "count": 0},
    ),
    "model_v1": (Old, Old(size=1), {"size": 1}, {"type": "object"}, {"size": "x"}),
    "annotated": (
        Annotated[int, pydantic.Field(gt=0, description="How many.")],
        1,
        1,
        {"exclusiveMinimum": 0, "description": "How many."},
        0,
    ),
}


def takes(annotation: Any) -> parameters.Signature:
    def fn(x): ...

    fn.__annotations__["x"] = annotation
    return parameters.Signature(fn)


@pytest.mark.parametrize("name", TYPES)
def test_a_value_comes_back_from_its_json_form(name):
    annotation, value, form, _schema, _wrong = TYPES[name]
    sent = parameters.encode({"x": value})
    assert json.loads(sent["x"]) == form
    back = takes(annotation).validate(parameters.decode(sent))["x"]
    assert back == value
    assert type(back) is type(value)


@pytest.mark.parametrize("name", TYPES)
def test_the_schema_lets_it_pass_and_refuses_what_does_not_fit(name):
    annotation, _value, form, piece, wrong = TYPES[name]
    schema = takes(annotation).schema()
    assert piece.items() <= {**schema["properties"]["x"]}.items() or "anyOf" in piece
    validator = jsonschema.Draft202012Validator(schema)
    assert list(validator.iter_errors({"x": form})) == []
    assert list(validator.iter_errors({"x": wrong})) != []
    with pytest.raises(errors.ParameterTypeError):
        takes(annotation).validate({"x": wrong})


@pytest.mark.parametrize(
    ("annotation", "given", "value"),
    [
        (pydantic.SecretStr, "hush", pydantic.SecretStr("hush")),
        (SecretDict, {"a": "hush"}, SecretDict({"a": "hush"})),
    ],
    ids=["text", "dictionary"],
)
def test_a_secret_is_shown_nowhere(annotation, given, value):
    signature = takes(annotation)
    coerced = signature.validate({"x": given})["x"]
    assert coerced == value
    shown = parameters.encode_leniently({"x": coerced})[0]["x"]
    assert "hush" not in shown + repr(coerced)


def test_a_secret_text_is_marked_in_the_schema():
    described = takes(pydantic.SecretStr).schema().properties["x"]
    assert (described["writeOnly"], described["format"]) == (True, "password")


def test_a_block_is_picked_by_reference():
    described = takes(Secret).schema()
    assert described["definitions"]["Secret"]["block_type_slug"] == "secret"


def test_defaults_are_said_in_their_json_form():
    def fn(when: datetime.datetime = NOON, color: Color = Color.BLUE, at: Point = HERE): ...

    properties = parameter_schema(fn).properties
    assert properties["when"]["default"] == "2026-01-02T12:00:00Z"
    assert properties["color"]["default"] == "blue"
    assert properties["at"]["default"] == {"x": 1, "y": 2}


def test_the_schema_of_a_flow_has_its_parts_as_attributes():
    @flow
    def etl(a: int, order: Order, b: str = "x") -> None:
        """Load.

        Args:
            a: The first.
            order: What.
            b: The last.
        """

    schema = etl.parameters
    assert (schema.title, schema.type, schema.required) == ("Parameters", "object", ["a", "order"])
    assert [(name, part["position"]) for name, part in schema.properties.items()] == [
        ("a", 0),
        ("order", 1),
        ("b", 2),
    ]
    assert schema.properties["a"]["description"] == "The first."
    assert list(schema.definitions) == ["Order"]
    assert schema.model_dump_for_openapi() == json.loads(json.dumps(schema))


def test_a_flow_checks_and_serializes_parameters_when_asked():
    @flow
    def etl(a: int, order: Order): ...

    assert etl.validate_parameters({"a": "1", "order": {"item": "tea"}}) == {
        "a": 1,
        "order": Order(item="tea"),
    }
    with pytest.raises(errors.ParameterTypeError, match="order"):
        etl.validate_parameters({"a": 1, "order": 3})
    with pytest.raises(errors.ParameterBindError):
        etl.validate_parameters({"a": 1})
    with pytest.raises(errors.SignatureMismatchError):
        etl.validate_parameters({"a": 1, "order": {"item": "tea"}, "z": 1})
    form = etl.serialize_parameters({"a": 1, "order": Order(item="tea"), "o": object()})
    assert form["order"] == {"item": "tea", "count": 1}
    assert "object object" in form["o"]


# Frozen parameters of deployments


@flow
def deployed(day: datetime.date, limit: int = 3) -> None: ...


def test_a_frozen_parameter_is_read_only_in_the_schema():
    day = datetime.date(2026, 1, 2)
    made = RunnerDeployment.from_flow(deployed, "daily", parameters={"day": freeze(day)})
    assert made.parameters == {"day": day}
    assert made.record().parameters == {"day": '"2026-01-02"'}
    properties = json.loads(made.record().parameter_schema)["properties"]
    assert (properties["day"]["readOnly"], properties["day"]["enum"]) == (True, ["2026-01-02"])
    assert "readOnly" not in properties["limit"]
    # That of the flow is not touched.
    assert "readOnly" not in deployed.parameters["properties"]["day"]


def test_a_frozen_value_needs_a_json_form():
    with pytest.raises(errors.ParameterTypeError):
        RunnerDeployment.from_flow(deployed, "daily", parameters={"day": freeze(object())})


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="pydantic knows both kinds since")
def test_the_typed_dict_that_pydantic_does_not_know_is_told_of_with_the_one_it_does():
    class Place(typing.TypedDict):
        city: str

    with pytest.raises(errors.SignatureMismatchError, match=r"typing_extensions\.TypedDict"):
        takes(Place).validate({"x": {"city": "Ulm"}})


@pytest.mark.parametrize(("annotation", "kind"), [(5, "int"), ([int], "list")])
def test_an_annotation_that_is_no_type_is_told_at_the_line_of_the_function(
    annotation: Any, kind: str
):
    def load(x):
        return x

    load.__annotations__["x"] = annotation
    with pytest.warns(UserWarning, match=f"'x' of 'load' is .* such as {kind}") as told:
        assert flow(load).validate_parameters({"x": "3"}) == {"x": "3"}
    assert [(w.filename, w.lineno) for w in told] == [(__file__, load.__code__.co_firstlineno)]
