"""What is stored of a result: a line of metadata, and the bytes that its serializer made."""

from __future__ import annotations

import dataclasses
import datetime
import json
from typing import Any, Generic, TypeVar, cast

from headgate import payloads, serializers
from headgate._version import __version__
from headgate.core import errors
from headgate.core.clock import process_clock as _clock
from headgate.core.states import Payload
from headgate.serializers import Serializer

__all__ = ["ResultRecord", "ResultRecordMetadata"]

R = TypeVar("R")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ResultRecordMetadata:
    """What is known of a kept result without reading it.

    Attributes:
        storage_key: Where it is in its storage.
        expiration: Until when it may be used; None: for ever.
        serializer: How it was written.
        headgate_version: The version that wrote it.
        storage_block_id: The saved block that keeps it; None: a folder.
        encoded: Whether the payload codec went over the bytes.
    """

    storage_key: str
    expiration: datetime.datetime | None = None
    serializer: Serializer[Any] = dataclasses.field(default_factory=serializers.PickleSerializer)
    headgate_version: str = __version__
    storage_block_id: str | None = None
    encoded: bool = False

    def dump_bytes(self) -> bytes:
        """Return it as one line of JSON, without the end of the line."""
        document = {
            "storage_key": self.storage_key,
            "expiration": self.expiration.isoformat() if self.expiration else None,
            "serializer": self.serializer.config(),
            "headgate_version": self.headgate_version,
            "storage_block_id": self.storage_block_id,
            **({"encoded": True} if self.encoded else {}),
        }
        return json.dumps(document).encode()

    @classmethod
    def load_bytes(cls, line: bytes) -> ResultRecordMetadata:
        """Read what ``dump_bytes`` wrote.

        Raises:
            SerializationError: It is something else.
            ConfigurationError: There is no such serializer here.
        """
        try:
            document: dict[str, Any] = json.loads(line)
            expiration = document.get("expiration")
            return cls(
                storage_key=document["storage_key"],
                expiration=datetime.datetime.fromisoformat(expiration) if expiration else None,
                serializer=serializers.serializer_from_config(document["serializer"]),
                headgate_version=document["headgate_version"],
                storage_block_id=document.get("storage_block_id"),
                encoded=bool(document.get("encoded")),
            )
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            msg = f"What is stored is no result of Headgate's ({error}); look at where it is kept."
            raise errors.SerializationError(msg) from error

    def dumps(self, result: Any) -> bytes:
        """Turn a result into the bytes that are stored.

        Raises:
            SerializationError: The serializer cannot write it.
            ConfigurationError: The payload codec cannot be loaded, or failed.
        """
        content = self.serializer.dumps(result)
        return payloads.encode(content) if self.encoded else content

    def loads(self, content: bytes) -> Any:
        """Turn stored bytes back into the result.

        Raises:
            SerializationError: They are of classes that are not here.
            ConfigurationError: The payload codec is missing here, or failed.
        """
        return self.serializer.loads(payloads.decode(content) if self.encoded else content)

    def inline(self, content: bytes) -> Payload:
        """Return a payload that carries the bytes of a result along."""
        return Payload(
            serializer=payloads.name_of(self.serializer, encoded=self.encoded), inline=content
        )

    @property
    def is_expired(self) -> bool:
        """Whether it may not be used any more."""
        return self.expiration is not None and self.expiration <= _clock.now()


class ResultRecord(Generic[R]):
    """A result, and what is known of it.

    Stored as a line of JSON, the metadata, and after it the bytes that the serializer made.

    Args:
        metadata: What is known of it.
        result: The result.
        content: The bytes of it, where they are at hand.
    """

    def __init__(
        self, *, metadata: ResultRecordMetadata, result: R, content: bytes | None = None
    ) -> None:
        """Make a record; nothing is written yet."""
        self.metadata = metadata
        self.result: R = result
        self.content = content

    @property
    def expiration(self) -> datetime.datetime | None:
        """Until when the result may be used."""
        return self.metadata.expiration

    @property
    def serializer(self) -> Serializer[Any]:
        """How the result is written."""
        return self.metadata.serializer

    def serialize_result(self) -> bytes:
        """Return the bytes of the result; made once, so that later changes of it do not count.

        Raises:
            SerializationError: The serializer cannot write it.
        """
        if self.content is None:
            self.content = self.metadata.dumps(self.result)
        return self.content

    def serialize_metadata(self) -> bytes:
        """Return the metadata as one line of JSON."""
        return self.metadata.dump_bytes()

    def serialize(self) -> bytes:
        """Return all of it.

        Raises:
            SerializationError: The serializer cannot write the result.
        """
        return self.serialize_metadata() + b"\n" + self.serialize_result()

    @classmethod
    def deserialize(cls, data: bytes) -> ResultRecord[Any]:
        """Read what ``serialize`` wrote.

        Raises:
            SerializationError: It is something else, or of classes that are not here.
        """
        line, _, content = data.partition(b"\n")
        return cls.deserialize_from_result_and_metadata(content, line)

    @classmethod
    def deserialize_from_result_and_metadata(
        cls, result: bytes, metadata: bytes
    ) -> ResultRecord[Any]:
        """Read a result that is kept apart from its metadata; see ``deserialize``."""
        read = ResultRecordMetadata.load_bytes(metadata)
        return ResultRecord(metadata=read, result=read.loads(result))

    def __eq__(self, other: object) -> bool:
        """Two records are equal when their metadata and their results are."""
        if not isinstance(other, ResultRecord):
            return NotImplemented
        there = cast("ResultRecord[Any]", other)
        return self.metadata == there.metadata and bool(self.result == there.result)
