"""What serializers are tried on; in a module, so that it is found by its name."""

import dataclasses
import datetime

import pydantic

from headgate.serializers import Serializer


class Order(pydantic.BaseModel):
    number: int
    placed: datetime.datetime
    note: str | None = None


@dataclasses.dataclass
class Shipment:
    orders: list[int]
    day: datetime.date


class Refusal(Exception):
    pass


class Unpicklable:
    def __reduce__(self):
        raise TypeError("it holds a socket")


class TextSerializer(Serializer[str]):
    type: str = "test-text"
    encoding: str = "utf-8"

    def dumps(self, obj: str) -> bytes:
        return obj.encode(self.encoding)

    def loads(self, blob: bytes) -> str:
        return blob.decode(self.encoding)
