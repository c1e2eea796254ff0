"""What every call passes through: the error table, garbage, and the count of calls."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

import grpc
from google.protobuf.message import DecodeError, Message
from grpc import aio

from headgate.core import errors
from headgate_server.transport import errors as transport_errors
from headgate_server.transport import fields
from headgate_server.transport.activity import Activity

#: In quotes: grpc's classes are generic in their stubs only.
Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"
Continuation: TypeAlias = "Callable[[grpc.HandlerCallDetails], Awaitable[Handler | None]]"
Behavior = Callable[[Any, Any], Any]


class _Garbage:
    """Stands for a request that could not be decoded."""


_GARBAGE = _Garbage()


class CallInterceptor(aio.ServerInterceptor):
    """Gives every method the same edge.

    Errors end the call by the one table; a request that does not decode is the caller's
    mistake (grpc itself would call it INTERNAL); a method that there is none of gets details
    like every other failure.
    """

    def __init__(self, activity: Activity) -> None:
        """Make it; it counts calls in ``activity``."""
        self._activity = activity
        self._edged: dict[str, Handler] = {}

    async def intercept_service(
        self,
        continuation: Continuation,
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler:
        """Return the handler of the method with its edge."""
        method = str(handler_call_details.method)
        known = self._edged.get(method)
        if known is not None:
            return known
        handler = await continuation(handler_call_details)
        if handler is None:
            # Not kept: anybody may ask for any number of methods that do not exist.
            return _unknown(method)
        edged = self._edged[method] = self._edge(handler, method)
        return edged

    def _edge(self, handler: Handler, method: str) -> Handler:
        decode, encode = handler.request_deserializer, handler.response_serializer
        if handler.unary_unary:
            return grpc.unary_unary_rpc_method_handler(
                self._unary(handler.unary_unary, method), _tolerant(decode), encode
            )
        if handler.unary_stream:
            return grpc.unary_stream_rpc_method_handler(
                self._stream(handler.unary_stream, method), _tolerant(decode), encode
            )
        if handler.stream_stream:
            return grpc.stream_stream_rpc_method_handler(
                self._stream(handler.stream_stream, method), _framewise(decode), encode
            )
        return handler

    def _unary(self, behavior: Behavior, method: str) -> Behavior:
        async def call(request: Any, context: aio.ServicerContext[Any, Any]) -> Any:
            self._activity.begin()
            try:
                _refuse_garbage(request)
                return await behavior(request, context)
            except aio.AbortError:
                raise
            except Exception as error:
                await transport_errors.abort(context, method, error)
            finally:
                self._activity.end()

        return call

    def _stream(self, behavior: Behavior, method: str) -> Behavior:
        async def call(request: Any, context: aio.ServicerContext[Any, Any]) -> None:
            self._activity.begin()
            try:
                _refuse_garbage(request)
                answer = behavior(request, context)
                if hasattr(answer, "__aiter__"):
                    async for message in answer:
                        await context.write(message)
                else:
                    await answer
            except aio.AbortError:
                raise
            except Exception as error:
                await transport_errors.abort(context, method, error)
            finally:
                self._activity.end()

        return call


def _refuse_garbage(request: Any) -> None:
    if isinstance(request, _Garbage):
        raise errors.InvalidArgument(
            message="The request does not decode; is it of this method and of this version?"
        )
    if isinstance(request, Message):
        fields.refuse_nul(request)
        fields.refuse_long_filter(request)


def _tolerant(decode: Callable[[bytes], Any] | None) -> Callable[[bytes], Any]:
    """Decode a request; stand something in for one that does not decode."""

    def tolerant(data: bytes) -> Any:
        try:
            return decode(data) if decode else data
        except DecodeError:
            return _GARBAGE

    return tolerant


def _framewise(decode: Callable[[bytes], Any] | None) -> Callable[[bytes], Any]:
    """Decode a frame of a stream; one that does not decode becomes a frame without content.

    A frame without content is a protocol violation on every stream, so the session that reads
    it ends as it does for every other abuse.
    """

    def framewise(data: bytes) -> Any:
        try:
            return decode(data) if decode else data
        except DecodeError:
            return decode(b"") if decode else data

    return framewise


def _unknown(method: str) -> Handler:
    async def call(request: bytes, context: aio.ServicerContext[Any, Any]) -> None:
        await transport_errors.abort(context, method, errors.Unsupported(method))

    return grpc.unary_unary_rpc_method_handler(call)
