"""A server that answers what a test tells it to, over a real unix socket."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent import futures
from pathlib import Path
from typing import Any

import grpc
from grpc_status import rpc_status

from headgate.client.rpc import Rpc
from headgate.codec import errors as codec
from headgate.core import errors

Answer = Callable[[Any], Any]


class ScriptedServer(grpc.GenericRpcHandler):
    """Answers methods with functions; what they raise goes out as a status."""

    def __init__(self, socket: Path) -> None:
        self.api_url = f"unix://{socket}"
        self.requests: list[Any] = []
        self._handlers: dict[str, grpc.RpcMethodHandler] = {}
        self._server: grpc.Server | None = None

    def answers(self, rpc: Rpc[Any, Any], answer: Answer) -> None:
        def handle(request: Any, context: grpc.ServicerContext) -> Any:
            self.requests.append(request)
            try:
                return answer(request)
            except errors.HeadgateError as error:
                context.abort_with_status(rpc_status.to_status(codec.to_status(error)))

        self._handlers[rpc.path] = grpc.unary_unary_rpc_method_handler(
            handle, rpc.request.FromString, rpc.response.SerializeToString
        )

    def streams(self, rpc: Rpc[Any, Any], answer: Callable[[Any], Iterator[Any]]) -> None:
        def handle(request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
            self.requests.append(request)
            try:
                yield from answer(request)
            except errors.HeadgateError as error:
                context.abort_with_status(rpc_status.to_status(codec.to_status(error)))

        self._handlers[rpc.path] = grpc.unary_stream_rpc_method_handler(
            handle, rpc.request.FromString, rpc.response.SerializeToString
        )

    def start(self) -> None:
        self._server = grpc.server(futures.ThreadPoolExecutor(4))
        self._server.add_generic_rpc_handlers([self])
        self._server.add_insecure_port(self.api_url)
        self._server.start()

    def stop(self) -> None:
        if self._server is not None:
            self._server.stop(grace=None).wait()
            self._server = None

    def service(
        self, handler_call_details: grpc.HandlerCallDetails
    ) -> grpc.RpcMethodHandler | None:
        return self._handlers.get(handler_call_details.method)
