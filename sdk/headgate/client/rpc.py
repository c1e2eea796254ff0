"""Unary calls without I/O: each is described once, for the async and the blocking client alike.

A call is a generator: it yields what to send, is given the response, and returns its result.
So a call may take several requests (the pages of a list), and knows nothing of how they travel::

    def read_flow(flow_id: Id) -> Steps[runs.Flow]:
        response = yield from GET_FLOW(GetFlowRequest(id=str(flow_id)))
        return flows.flow_from_proto(response.flow)
"""

from __future__ import annotations

import dataclasses
import enum
import operator
from collections.abc import Callable, Generator, Sequence
from typing import TYPE_CHECKING, Any, Final, Generic, Protocol, TypeAlias, TypeVar, cast

from google.protobuf.message import Message

from headgate.core import errors

if TYPE_CHECKING:
    import uuid

    Id: TypeAlias = str | uuid.UUID

PACKAGE = "headgate.api.v1"

RequestT = TypeVar("RequestT", bound=Message)
ResponseT = TypeVar("ResponseT", bound=Message)
ResultT = TypeVar("ResultT")


@dataclasses.dataclass(frozen=True, slots=True)
class Rpc(Generic[RequestT, ResponseT]):
    """One method of the contract; calling it sends a request."""

    service: str
    method: str
    request: type[RequestT]
    response: type[ResponseT]

    @property
    def path(self) -> str:
        """The path of the method on the wire."""
        return f"/{PACKAGE}.{self.service}/{self.method}"

    def __call__(
        self, request: RequestT, *, wait_seconds: float = 0.0
    ) -> Generator[Sending, Message, ResponseT]:
        """Send a request; return its response.

        Args:
            request: What to send.
            wait_seconds: How long the server is asked to wait before it answers; the call is
                given as much more time.
        """
        response = yield Sending(self, request, wait_seconds)
        return cast("ResponseT", response)


@dataclasses.dataclass(frozen=True, slots=True)
class Sending:
    """A request on its way."""

    rpc: Rpc[Any, Any]
    request: Message
    wait_seconds: float = 0.0


#: What a call is: send these, be given the responses, return the result.
Steps: TypeAlias = Generator[Sending, Message, ResultT]


class Unchanged(enum.Enum):
    """The default of arguments for which None means something."""

    UNCHANGED = enum.auto()


UNCHANGED: Final = Unchanged.UNCHANGED

#: The page that the server gives at most.
PAGE_SIZE_MAX = 200


class _PagedRequest(Protocol):
    page_size: int
    page_token: str


class _PagedResponse(Protocol):
    @property
    def next_page_token(self) -> str: ...


def pages(
    rpc: Rpc[RequestT, ResponseT],
    request: RequestT,
    items: Callable[[ResponseT], Sequence[Any]],
    decode: Callable[[Any], ResultT],
    limit: int | None,
    page_size_max: int = PAGE_SIZE_MAX,
    keep: Callable[[ResultT], bool] | None = None,
    offset: int = 0,
) -> Steps[list[ResultT]]:
    """Read pages of a list until there are enough items, or no more.

    Args:
        rpc: A List method.
        request: Its request, without page size and token.
        items: Takes the items out of a response.
        decode: Turns an item into a record.
        limit: How many items at most; None for all.
        page_size_max: The largest page that the server gives.
        keep: Says of a record whether it counts; the others are left out.
        offset: How many records are passed over before the first that is returned.

    Raises:
        OptionTypeError: ``limit`` or ``offset`` is no whole number.
        OptionValueError: One of them is negative.
    """
    checked_part(limit, offset)
    paged = cast("_PagedRequest", request)
    result: list[ResultT] = []
    wanted = None if limit is None else limit + offset
    while wanted is None or len(result) < wanted:
        missing = page_size_max if wanted is None or keep is not None else wanted - len(result)
        paged.page_size = min(missing, page_size_max)
        response = yield from rpc(request)
        found = (decode(item) for item in items(response))
        result.extend(found if keep is None else (record for record in found if keep(record)))
        paged.page_token = cast("_PagedResponse", response).next_page_token
        if not paged.page_token:
            break
    return result[offset:wanted] if offset or keep is not None else result


def checked_part(limit: int | None, offset: int) -> None:
    """Refuse to return, or to pass over, less than no record.

    Raises:
        OptionTypeError: One of them is no whole number.
        OptionValueError: One of them is negative.
    """
    for option, value in {"limit": 0 if limit is None else limit, "offset": offset}.items():
        try:
            number = operator.index(value)  # those of other libraries count, too
        except TypeError:
            msg = f"{option} is {value!r}; use a whole number."
            raise errors.OptionTypeError(msg) from None
        if number < 0:
            msg = f"{option} is {number}; use 0 or more."
            raise errors.OptionValueError(msg)


def texts(values: Sequence[Id] | None) -> list[str]:
    """Turn ids or names into texts; one alone is taken for a list of one."""
    if values is None:
        return []
    if isinstance(values, str):
        return [values]
    return [str(value) for value in values]


__all__ = ["UNCHANGED", "Rpc", "Sending", "Steps", "Unchanged", "checked_part", "pages", "texts"]
