"""Payloads: values become bytes and come back, through a codec where there is one."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from headgate import parameters, payloads, settings
from headgate.core import errors
from headgate.core.states import Payload
from headgate.serializers import JSONSerializer


class Reversing:
    """Stands for a codec: what it makes has none of what it was given."""

    def encode(self, data: bytes) -> bytes:
        return bytes(255 - byte for byte in data)

    decode = encode


class Broken:
    def encode(self, data: bytes) -> bytes:
        raise RuntimeError("no key")

    def decode(self, data: bytes) -> Any:
        return "text"


@pytest.fixture
def codec() -> Iterator[None]:
    with settings.temporary_settings({"results_payload_codec": f"{__name__}:Reversing"}):
        yield


@pytest.mark.parametrize("value", [1, "text", None, [1, {"a": (2,)}], {"x"}, Reversing])
def test_a_value_comes_back(value: Any):
    made = payloads.inline(value)
    assert made is not None
    assert made.serializer == "pickle"
    assert payloads.load(made) == value


def test_a_serializer_with_options_is_named_with_them():
    made = payloads.inline({"a": 1}, JSONSerializer(dumps_kwargs={"indent": 1}))
    assert made is not None
    assert made.inline == b'{\n "a": 1\n}'
    assert payloads.load(made) == {"a": 1}
    plain = payloads.inline([1], JSONSerializer())
    assert plain is not None
    assert (plain.serializer, plain.inline) == ("json", b"[1]")


def test_what_is_too_big_does_not_ride_along():
    assert payloads.inline(b"x" * payloads.INLINE_BYTES_MAX) is None
    with pytest.raises(errors.MissingResult):
        payloads.load(Payload(serializer="pickle", storage_key="key"))


@pytest.mark.usefixtures("codec")
def test_a_codec_goes_over_the_bytes_and_back():
    made = payloads.inline("secret")
    assert made is not None
    assert made.serializer == "encoded/pickle"
    assert b"secret" not in (made.inline or b"")
    assert payloads.load(made) == "secret"


@pytest.mark.usefixtures("codec")
def test_a_codec_goes_over_parameters_and_back():
    texts = parameters.encode({"a": "secret", "b": [1]})
    assert "secret" not in str(texts)
    assert [list(json.loads(text)) for text in texts.values()] == [["__headgate_encoded__"]] * 2
    assert parameters.decode(texts) == {"a": "secret", "b": [1]}
    assert parameters.encode({"a": 1}, plain=True) == {"a": "1"}
    assert parameters.decode({"a": "1"}) == {"a": 1}


def test_encoded_bytes_without_a_codec_say_what_is_missing():
    with settings.temporary_settings({"results_payload_codec": f"{__name__}:Reversing"}):
        made = payloads.inline("secret")
    assert made is not None
    with pytest.raises(errors.ConfigurationError, match="HEADGATE_RESULTS_PAYLOAD_CODEC"):
        payloads.load(made)


@pytest.mark.parametrize(
    ("place", "problem"),
    [
        ("no_such_module:Codec", "cannot be loaded"),
        (f"{__name__}:NoSuchClass", "cannot be loaded"),
        (f"{__name__}:codec", "no method"),
        (f"{__name__}:Broken", "no key"),
    ],
)
def test_a_codec_that_does_not_work_is_named(place: str, problem: str):
    with settings.temporary_settings({"results_payload_codec": place}):
        with pytest.raises(errors.ConfigurationError, match=problem) as raised:
            payloads.encode(b"")
        assert place in str(raised.value)


def test_a_codec_must_return_bytes():
    with (
        settings.temporary_settings({"results_payload_codec": f"{__name__}:Broken"}),
        pytest.raises(errors.ConfigurationError, match="returned str"),
    ):
        payloads.decode(b"")
