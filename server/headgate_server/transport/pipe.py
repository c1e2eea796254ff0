"""Reading and writing the frames of a bidirectional call."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from grpc import aio

from headgate.core import errors

InT = TypeVar("InT")
OutT = TypeVar("OutT")


def reader(
    context: aio.ServicerContext[Any, Any], frame: type[Any], decode: Callable[[Any], InT]
) -> Callable[[], Awaitable[InT | None]]:
    """Return a function that reads the next frame; None when the other end has said all."""

    async def read() -> InT | None:
        message: object = await context.read()
        return decode(message) if isinstance(message, frame) else None  # EOF is of no type

    return read


def writer(
    context: aio.ServicerContext[Any, Any], encode: Callable[[OutT], Any]
) -> Callable[[OutT], Awaitable[None]]:
    """Return a function that writes a frame."""

    async def write(frame: OutT) -> None:
        try:
            await context.write(encode(frame))
        except aio.BaseError:
            # The cancellation of the call is on its way; this write was quicker.
            raise errors.Unavailable("The other end is gone.") from None

    return write
