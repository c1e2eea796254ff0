"""Payloads: the bytes in which user data leaves the process, and the codec that may go over them.

What a flow or task returns or raises, and the parameters of runs and deployments, leave the process
as bytes or as JSON texts. A *payload codec* turns these into others before they leave, and back
after they have come: it encrypts them, so that the server, its database and its backups see
nothing of them::

    class Encrypted:
        def encode(self, data: bytes) -> bytes:
            nonce = os.urandom(12)
            return nonce + cipher.encrypt(nonce, data, None)

        def decode(self, data: bytes) -> bytes:
            return cipher.decrypt(data[:12], data[12:], None)

The setting ``HEADGATE_RESULTS_PAYLOAD_CODEC=my_module:Encrypted`` names a class, which is called
without arguments, or an object. All processes that read what one has written need the same codec:
runners, callers of ``run_deployment``, whoever asks for a result. Names, tags, log lines and the
messages of states, which quote the exception of a failed run, are no payloads.
"""

from __future__ import annotations

import functools
import importlib
import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol, cast

from headgate import settings
from headgate.core import errors, states

if TYPE_CHECKING:
    from headgate.serializers import Serializer

__all__ = [
    "INLINE_BYTES_MAX",
    "PayloadCodec",
    "decode",
    "decode_text",
    "dump",
    "encode",
    "encode_text",
    "inline",
    "load",
    "name_of",
    "restore",
]

#: What rides along with a state, at most; more goes to the result storage.
INLINE_BYTES_MAX = 16 * 1024
#: In front of the serializer's name where a codec went over the bytes.
_ENCODED = "encoded/"
#: The only key of the JSON object that an encoded parameter is; the server lets it pass as it is.
_TEXT_KEY = "__headgate_encoded__"
#: In the place of a codec's name: look into the settings.
_BY_SETTINGS = ":settings:"
#: Values of exactly these types are pickled alike by all libraries; by this one the quickest.
_PLAIN: frozenset[type] = frozenset({bool, bytes, float, int, str, type(None)})


class PayloadCodec(Protocol):
    """Turns bytes into others before they leave the process, and back. Used from any thread."""

    def encode(self, data: bytes) -> bytes:
        """Turn bytes into those that leave the process."""
        ...

    def decode(self, data: bytes) -> bytes:
        """Turn them back."""
        ...


def dump(
    value: Any, serializer: Serializer[Any] | None = None, *, codec: str | None = _BY_SETTINGS
) -> tuple[str, bytes]:
    """Turn a value into bytes that may leave the process, and say how they were made.

    Args:
        value: The value.
        serializer: Default: pickles.
        codec: The setting that names the codec, where it was looked up before. Default: it is
            looked up now.

    Returns:
        The ``serializer`` of a payload, and the bytes.

    Raises:
        SerializationError: The serializer cannot say the value.
        ConfigurationError: The codec cannot be loaded, or failed.
    """
    if serializer is None and type(value) in _PLAIN:
        import pickle  # not before something leaves the process

        name, data = "pickle", pickle.dumps(value)
    else:
        chosen = _pickle() if serializer is None else serializer
        name, data = _name(chosen), chosen.dumps(value)
    if codec is _BY_SETTINGS:
        codec = settings.current().results_payload_codec
    if codec is None:
        return name, data
    return _ENCODED + name, _carry_out(_codec(codec).encode, data, codec, "encode")


def restore(name: str, data: bytes) -> Any:
    """Turn bytes back into a value.

    Args:
        name: The ``serializer`` of the payload.
        data: The bytes.

    Raises:
        SerializationError: They are of classes that are not here.
        ConfigurationError: The codec or the serializer is missing, or the codec failed.
    """
    if name.startswith(_ENCODED):
        name, data = name.removeprefix(_ENCODED), decode(data)
    if name == "pickle":
        return _pickle().loads(data)
    from headgate import serializers

    config = json.loads(name) if name.startswith("{") else {"type": name}
    return serializers.serializer_from_config(config).loads(data)


def inline(
    value: Any, serializer: Serializer[Any] | None = None, *, codec: str | None = _BY_SETTINGS
) -> states.Payload | None:
    """Return a payload that carries a value along; None where it is too big for that.

    Args:
        value: The value.
        serializer: Default: pickles.
        codec: As for ``dump``.

    Raises:
        SerializationError: The serializer cannot say the value.
        ConfigurationError: The codec cannot be loaded, or failed.
    """
    name, data = dump(value, serializer, codec=codec)
    if len(data) > INLINE_BYTES_MAX:
        return None
    return states.Payload(serializer=name, inline=data)


def load(payload: states.Payload) -> Any:
    """Return the value that a payload carries along.

    Raises:
        MissingResult: The payload only says where the value is.
        SerializationError: It is of classes that are not here.
        ConfigurationError: The codec or the serializer is missing, or the codec failed.
    """
    if payload.inline is None:
        msg = f"The result is in the result storage, under {payload.storage_key!r}; read it there."
        raise errors.MissingResult(msg)
    return restore(payload.serializer, payload.inline)


# --- The codec -------------------------------------------------------------------------------


def encode(data: bytes) -> bytes:
    """Let the codec of the settings go over bytes; as they are where there is none.

    Raises:
        ConfigurationError: It cannot be loaded, or failed.
    """
    place = settings.current().results_payload_codec
    return data if place is None else _carry_out(_codec(place).encode, data, place, "encode")


def decode(data: bytes) -> bytes:
    """Turn encoded bytes back.

    Raises:
        ConfigurationError: There is no codec here, it cannot be loaded, or it failed.
    """
    place = settings.current().results_payload_codec
    if place is None:
        msg = (
            "A payload was encoded by a codec, and there is none here; set "
            "HEADGATE_RESULTS_PAYLOAD_CODEC as where it was written."
        )
        raise errors.ConfigurationError(msg)
    return _carry_out(_codec(place).decode, data, place, "decode")


def encode_text(text: str) -> str:
    """Let the codec go over a JSON text; the outcome is one, too."""
    if settings.current().results_payload_codec is None:
        return text
    import base64

    data = base64.b64encode(encode(text.encode("utf-8", "surrogatepass"))).decode("ascii")
    return json.dumps({_TEXT_KEY: data}, separators=(",", ":"))


def decode_text(text: str) -> str:
    """Turn an encoded JSON text back; any other is returned as it is.

    Raises:
        ConfigurationError: It is encoded, and there is no codec here, or it failed.
    """
    if not text.startswith(f'{{"{_TEXT_KEY}":'):
        return text
    import base64

    fields = cast("Mapping[str, Any]", json.loads(text))
    return decode(base64.b64decode(str(fields[_TEXT_KEY]))).decode("utf-8", "surrogatepass")


def _carry_out(function: Callable[[bytes], bytes], data: bytes, place: str, what: str) -> bytes:
    try:
        made: object = function(data)
    except Exception as error:  # a codec is code of the user's
        msg = (
            f"The payload codec {place!r} could not {what} ({type(error).__name__}: {error}); "
            "does it have the key that was used?"
        )
        raise errors.ConfigurationError(msg) from error
    if not isinstance(made, bytes):
        msg = f"The payload codec {place!r} returned {type(made).__name__}; return bytes."
        raise errors.ConfigurationError(msg)
    return made


@functools.lru_cache(maxsize=16)
def _codec(place: str) -> PayloadCodec:
    module, _, name = place.partition(":")
    try:
        found: Any = importlib.import_module(module)
        for part in name.split("."):
            found = getattr(found, part)
        codec = found() if isinstance(found, type) else found
    except Exception as error:  # importing a module of the user's may raise anything
        msg = (
            f"The payload codec {place!r} cannot be loaded ({type(error).__name__}: {error}); "
            "name it as in my_module:MyCodec."
        )
        raise errors.ConfigurationError(msg) from error
    for method in ("encode", "decode"):
        if not callable(getattr(codec, method, None)):
            msg = f"The payload codec {place!r} has no method {method!r}; add it."
            raise errors.ConfigurationError(msg)
    return codec


def name_of(serializer: Serializer[Any], *, encoded: bool) -> str:
    """Return the ``serializer`` of a payload: what restores its bytes."""
    return (_ENCODED if encoded else "") + _name(serializer)


def _name(serializer: Serializer[Any]) -> str:
    """Return what restores a serializer: its type, or, with options, all of its description."""
    config = serializer.config()
    return serializer.type if config.keys() == {"type"} else json.dumps(config)


@functools.cache
def _pickle() -> Serializer[Any]:
    from headgate import serializers  # loads cloudpickle when it is used

    return serializers.PickleSerializer()
