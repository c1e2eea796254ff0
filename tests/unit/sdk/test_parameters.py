"""Parameters: bound, coerced, sent, described."""

import dataclasses
import datetime
import enum
import json
import subprocess
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import pydantic
import pytest

from headgate import parameters
from headgate.core import errors


class Color(enum.Enum):
    RED = "red"


@dataclasses.dataclass
class Point:
    x: int
    y: int = 0


class Order(pydantic.BaseModel):
    item: str
    count: int = 1


class Opaque:
    pass


def everything(a: int, b: str = "b", *rest: int, k: float = 1.5, **more: int) -> None:
    """Do everything.

    Args:
        a: The first,
            told over two lines.
        b (str): The second.
        *rest: All others.

    Returns:
        k: nothing.
    """


# Binding


@pytest.mark.parametrize(
    ("args", "kwargs", "expected"),
    [
        ((1,), {}, {"a": 1, "b": 2}),
        ((1, 3), {}, {"a": 1, "b": 3}),
        ((), {"b": 3, "a": 1}, {"a": 1, "b": 3}),
        ((1,), {"b": 3}, {"a": 1, "b": 3}),
    ],
)
def test_arguments_get_their_names_in_the_order_of_the_signature(args, kwargs, expected):
    def fn(a, b=2): ...

    bound = parameters.Signature(fn).bind(args, kwargs)
    assert list(bound.items()) == list(expected.items())


def test_parameters_that_go_by_name_only_are_bound_by_name_only():
    def fn(a, *, k=0, m): ...

    signature = parameters.Signature(fn)
    assert list(signature.bind((1,), {"m": 2}).items()) == [("a", 1), ("k", 0), ("m", 2)]
    with pytest.raises(errors.ParameterBindError):
        signature.bind((1, 2), {"m": 2})


@pytest.mark.parametrize(
    ("args", "kwargs"), [((), {}), ((1, 2, 3), {}), ((1,), {"a": 1}), ((1,), {"c": 1})]
)
def test_arguments_that_do_not_fit_are_refused_with_the_signature(args, kwargs):
    def fn(a, b=2, *, k=0): ...

    with pytest.raises(errors.ParameterBindError, match=r"fn\(a, b=2, \*, k=0\)") as caught:
        parameters.Signature(fn, kind="task").bind(args, kwargs)
    assert isinstance(caught.value, TypeError)


@pytest.mark.parametrize(
    ("args", "kwargs"),
    [((1,), {}), ((1, "x", 3, 4), {"k": 2.0, "z": 5}), ((), {"a": 1, "k": 0.5, "z": 1})],
)
def test_bound_parameters_call_the_function_as_it_was_called(args, kwargs):
    def echo(a, b="b", *rest, k=1.5, **more):
        return a, b, rest, k, more

    signature = parameters.Signature(echo)
    made_args, made_kwargs = signature.call_arguments(signature.bind(args, kwargs))
    assert echo(*made_args, **made_kwargs) == echo(*args, **kwargs)


def test_parameters_by_name_are_completed_by_defaults():
    signature = parameters.Signature(everything)
    assert signature.complete({"k": 2.0, "a": 1}) == {
        "a": 1,
        "b": "b",
        "rest": (),
        "k": 2.0,
        "more": {},
    }
    with pytest.raises(errors.ParameterBindError, match="missing"):
        signature.complete({})


def test_unknown_names_are_refused_with_those_that_there_are():
    with pytest.raises(errors.SignatureMismatchError, match=r"'c', 'd'; it has a, b"):
        parameters.Signature(lambda a, b: None).check_names(["a", "c", "d"])


@pytest.mark.parametrize("name", sorted(parameters.RESERVED))
def test_reserved_names_are_refused_at_decoration(name: str):
    scope: dict[str, Any] = {}
    exec(f"def fn({name}): ...", scope)
    with pytest.raises(errors.ReservedArgumentError, match=name):
        parameters.Signature(scope["fn"])


@pytest.mark.parametrize(
    ("fn", "args", "kwargs", "said"),
    [
        (lambda x: x, (), {"y": 3}, "it has no parameter 'y'; did you mean x?"),
        (lambda x, day=1: x, (), {"y": 3}, "it has no parameter 'y'; did you mean x?"),
        (lambda x, day=1: x, (1,), {"dya": 3}, "it has no parameter 'dya'; did you mean day?"),
        (lambda x, z: x, (), {"y": 3}, "it has no parameter 'y'; it has x, z."),
        (lambda x, **more: x, (), {"y": 3}, "missing a required argument: 'x'."),
        (lambda: 0, (), {"y": 3}, "it has no parameter 'y'; it has none."),
    ],
)
def test_a_misspelt_argument_is_named_with_the_one_that_was_meant(fn, args, kwargs, said):
    with pytest.raises(errors.ParameterBindError) as caught:
        parameters.Signature(fn).bind(args, kwargs)
    assert str(caught.value).endswith(f": {said}")


def test_a_method_binds_without_self():
    class Pipeline:
        def run(self, a: int) -> None: ...

    assert parameters.Signature(Pipeline().run).bind((1,), {}) == {"a": 1}


# Validation


@pytest.mark.parametrize(
    ("annotation", "given", "expected"),
    [
        (int, "5", 5),
        (float, 1, 1.0),
        (bool, "yes", True),
        (list[int], ("1", 2), [1, 2]),
        (datetime.date, "2026-01-02", datetime.date(2026, 1, 2)),
        (datetime.timedelta, 60, datetime.timedelta(minutes=1)),
        (Color, "red", Color.RED),
        (Point, {"x": "1"}, Point(1)),
        (Order, {"item": "tea", "count": "2"}, Order(item="tea", count=2)),
        (int | None, None, None),
        (int | str, "5", "5"),
        (Path, "a/b", Path("a/b")),
        (Literal["a", "b"], "a", "a"),
        (Any, "5", "5"),
    ],
    ids=str,
)
def test_values_are_coerced_to_their_annotation(annotation, given, expected):
    def fn(x): ...

    fn.__annotations__["x"] = annotation
    result = parameters.Signature(fn).validate({"x": given})["x"]
    assert result == expected
    assert type(result) is type(expected)


def test_all_wrong_values_are_named_at_once():
    with pytest.raises(errors.ParameterTypeError) as caught:
        parameters.Signature(everything).validate({"a": "x", "k": "y", "more": {"z": "w"}})
    text = str(caught.value)
    assert "parameters of flow everything" in text
    assert all(place in text for place in ("  a:", "  k:", "  more.z:"))


def test_constraints_of_annotated_hold():
    def fn(x: Annotated[int, pydantic.Field(gt=0)]): ...

    with pytest.raises(errors.ParameterTypeError, match="greater than 0"):
        parameters.Signature(fn).validate({"x": -1})


def test_unknown_classes_are_checked_by_isinstance_and_kept():
    def fn(x: Opaque): ...

    value = Opaque()
    assert parameters.Signature(fn).validate({"x": value})["x"] is value
    with pytest.raises(errors.ParameterTypeError):
        parameters.Signature(fn).validate({"x": 1})


def test_names_that_pydantic_reserves_are_legal_parameters():
    def fn(_a: int, model_config: int, schema: int, copy: int = 0): ...

    given = {"_a": "1", "model_config": "2", "schema": "3", "copy": "4"}
    assert list(parameters.Signature(fn).validate(given).values()) == [1, 2, 3, 4]


def test_annotations_as_text_are_evaluated_where_they_can_be():
    class Local(pydantic.BaseModel):
        x: int

    def fn(a: "int", b: "Local", c: "OnlyForTypeCheckers"): ...  # noqa: F821  # pyright: ignore[reportUndefinedVariable]  # what is tested

    Local(x=1)
    signature = parameters.Signature(fn)
    assert signature.validate({"a": "1", "b": 2, "c": 3})["a"] == 1
    assert set(signature.annotations) <= {"a", "b"}


def test_plain_values_need_no_pydantic():
    program = """
import sys
from headgate import parameters
def fn(a: int, b: str, c: float = 1.5, d=None): ...
signature = parameters.Signature(fn)
bound = signature.validate(signature.bind((1, "b"), {"d": object()}))
parameters.encode({"a": 1, "b": "x"})
assert "pydantic" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", program], check=True)


# JSON


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1, "1"),
        (2**100, str(2**100)),
        ("ä", '"ä"'),
        ("\ud800", '"\\ud800"'),
        ({1: float("inf")}, '{"1":null}'),
        (None, "null"),
        (float("nan"), "null"),
        ([1, {"a": (2, 3)}], '[1,{"a":[2,3]}]'),
        (Color.RED, '"red"'),
        (Point(1, 2), '{"x":1,"y":2}'),
        (Order(item="tea"), '{"item":"tea","count":1}'),
        (datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC), '"2026-01-02T00:00:00Z"'),
    ],
    ids=repr,
)
def test_values_have_a_json_form(value, text):
    assert parameters.encode({"x": value}) == {"x": text}


@pytest.mark.parametrize(
    "value", [object(), "x" * (parameters.MAX_PARAMETER_BYTES + 1)], ids=["object", "long"]
)
def test_what_cannot_be_sent_is_refused_where_another_process_needs_it(value):
    with pytest.raises(errors.ParameterTypeError, match="'x' cannot be sent"):
        parameters.encode({"x": value})


def test_what_cannot_be_sent_is_recorded_as_its_repr_with_a_warning():
    texts, warnings = parameters.encode_leniently({"x": Opaque(), "y": 1})
    assert "Opaque object" in json.loads(texts["x"])
    assert texts["y"] == "1"
    assert len(warnings) == 1
    assert "'x'" in warnings[0]


def test_a_repr_that_raises_fails_nothing():
    class Sulky:
        def __repr__(self) -> str:
            raise RuntimeError

    assert "RuntimeError" in parameters.encode_leniently({"x": Sulky()})[0]["x"]


def test_sent_parameters_come_back():
    given = {"a": 2**70, "b": [1, "x"], "c": None}
    assert parameters.decode(parameters.encode(given)) == given
    with pytest.raises(errors.ParameterTypeError, match="'x' is not JSON"):
        parameters.decode({"x": "{"})


# Schema


def test_the_schema_says_order_types_defaults_and_descriptions():
    schema = parameters.Signature(everything).schema()
    assert schema["required"] == ["a"]
    a, b = schema["properties"]["a"], schema["properties"]["b"]
    assert a == {
        "title": "a",
        "type": "integer",
        "position": 0,
        "description": "The first, told over two lines.",
    }
    assert (b["default"], b["position"], b["description"]) == ("b", 1, "The second.")
    assert schema["properties"]["rest"]["description"] == "All others."
    assert "description" not in schema["properties"]["k"]


def test_models_become_definitions():
    def fn(order: Order, color: Color): ...

    schema = parameters.Signature(fn).schema()
    assert schema["properties"]["order"]["$ref"] == "#/definitions/Order"
    assert schema["definitions"]["Color"]["enum"] == ["red"]


def test_a_type_without_schema_may_be_anything():
    def fn(x: Opaque, y: int = Opaque()): ...  # pyright: ignore[reportArgumentType]  # what is tested

    schema = parameters.Signature(fn).schema()
    assert schema["properties"]["x"] == {"title": "x", "position": 0}
    assert "default" not in schema["properties"]["y"]


def test_sphinx_docstrings_are_read():
    def fn(x, y):
        """Do.

        :param x: The one.
        :param int y: The other,
            at length.
        """

    properties = parameters.Signature(fn).schema()["properties"]
    assert properties["x"]["description"] == "The one."
    assert properties["y"]["description"] == "The other, at length."


def test_a_lambda_is_named_as_its_flow_is():
    with pytest.raises(errors.ParameterBindError, match=r"flow unknown-lambda\(x\)"):
        parameters.Signature(lambda x: x).bind((), {})
