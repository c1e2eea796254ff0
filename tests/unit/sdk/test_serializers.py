"""Serializers: values become bytes, and come back as what they were."""

import datetime
import decimal
import pathlib
import pickle
import uuid
from typing import Any

import pytest

from headgate import exceptions, serializers
from tests.unit.sdk.serialized import Order, Refusal, Shipment, TextSerializer, Unpicklable

TYPES = ["pickle", "json", "compressed/pickle", "compressed/json"]
NOON = datetime.datetime(2026, 1, 2, 12, tzinfo=datetime.UTC)
VALUES = [
    None,
    1,
    2.5,
    "ü",
    [1, {"a": [True]}],
    b"\xff\x00",
    NOON,
    NOON.date(),
    datetime.timedelta(hours=1.5),
    decimal.Decimal("1.10"),
    uuid.UUID(int=7),
    pathlib.Path("a/b"),
    {1, 2},
    Order(number=1, placed=NOON),
    [Order(number=1, placed=NOON, note="x")],
    Shipment(orders=[1, 2], day=NOON.date()),
]


@pytest.mark.parametrize("type_", TYPES)
@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_a_value_comes_back_as_what_it_was(type_: str, value: Any):
    serializer = serializers.resolve_serializer(type_)
    again = serializer.loads(serializer.dumps(value))
    assert again == value
    assert type(again) is type(value)


@pytest.mark.parametrize("type_", TYPES)
def test_an_exception_comes_back_with_its_arguments(type_: str):
    serializer = serializers.resolve_serializer(type_)
    again = serializer.loads(serializer.dumps(Refusal("no", 7)))
    assert type(again) is Refusal
    assert again.args == ("no", 7)


def test_pickles_have_lambdas_in_them():
    serializer = serializers.PickleSerializer()
    assert serializer.loads(serializer.dumps(lambda x: x + 1))(1) == 2


def test_pickles_can_be_those_of_another_library():
    serializer = serializers.PickleSerializer(picklelib="pickle")
    assert serializer.dumps([1]) == pickle.dumps([1])


def test_compression_makes_it_smaller():
    plain, small = serializers.JSONSerializer(), serializers.CompressedJSONSerializer()
    assert len(small.dumps(["same"] * 1_000)) < len(plain.dumps(["same"] * 1_000)) / 10


@pytest.mark.parametrize(
    "serializer",
    [
        serializers.PickleSerializer(picklelib="pickle"),
        serializers.JSONSerializer(dumps_kwargs={"indent": 1}),
        serializers.CompressedSerializer(serializer="json", compressionlib="zlib"),
        serializers.CompressedSerializer(serializer=TextSerializer(encoding="latin-1")),
        TextSerializer(encoding="utf-16"),
    ],
    ids=["pickle", "json", "compressed", "compressed-own", "own"],
)
def test_its_description_makes_an_equal_one(serializer: serializers.Serializer[Any]):
    assert serializers.serializer_from_config(serializer.config()) == serializer


def test_a_serializer_of_ones_own_is_found_by_its_type():
    assert serializers.resolve_serializer("test-text") == TextSerializer()
    assert (
        serializers.resolve_serializer("compressed/test-text").loads(
            serializers.CompressedSerializer(serializer="test-text").dumps("ü")
        )
        == "ü"
    )


def test_the_base_class_makes_one_by_its_type():
    assert serializers.Serializer(type="json") == serializers.JSONSerializer()  # pyright: ignore[reportAbstractUsage]  # of a subclass


@pytest.mark.parametrize("wrong", [3, None, dict])
def test_what_is_no_serializer_is_refused(wrong: Any):
    with pytest.raises(TypeError, match=r"is no serializer; use e\.g\. 'pickle'"):
        serializers.resolve_serializer(wrong)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: serializers.resolve_serializer("yaml"), "no serializer 'yaml'; use one of"),
        (lambda: serializers.resolve_serializer("compressed/yaml"), "no serializer 'yaml'"),
        (lambda: serializers.PickleSerializer(picklelib="nowhere"), "'nowhere'.*install it"),
        (lambda: serializers.PickleSerializer(picklelib="math"), "has no dumps and no loads"),
        (
            lambda: serializers.CompressedPickleSerializer(compressionlib="json"),
            "has no compress and no decompress",
        ),
        (
            lambda: serializers.JSONSerializer(dumps_kwargs={"default": str}),
            "default is given by object_encoder",
        ),
        (
            lambda: serializers.serializer_from_config({"type": "json", "color": 1}),
            "cannot be made of",
        ),
    ],
)
def test_options_that_do_not_fit_are_named(make: Any, message: str):
    with pytest.raises(exceptions.ConfigurationError, match=message):
        make()


@pytest.mark.parametrize("type_", ["pickle", "json"])
def test_a_value_without_bytes_is_named_by_its_class(type_: str):
    serializer = serializers.resolve_serializer(type_)
    with pytest.raises(exceptions.SerializationError, match=r"serialized\.Unpicklable cannot"):
        serializer.dumps(Unpicklable())


@pytest.mark.parametrize("type_", TYPES)
def test_bytes_that_are_something_else_are_no_value(type_: str):
    with pytest.raises(exceptions.SerializationError, match="Stored bytes cannot be read as"):
        serializers.resolve_serializer(type_).loads(b"}{")


@pytest.mark.parametrize("place", ["os.system", "nowhere.Thing", "builtins.print"])
def test_json_that_names_no_class_is_not_followed(place: str):
    blob = b'{"__class__": "%s", "data": "true"}' % place.encode()
    with pytest.raises(exceptions.SerializationError):
        serializers.JSONSerializer().loads(blob)
