"""Server reflection v1, so that grpcurl and its like need no files.

grpcio-reflection has v1alpha only. v1 is the same protocol under another package name, byte
for byte, so the same servicer answers both; only the description of v1 itself is made here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool
from grpc import aio
from grpc_reflection.v1alpha import reflection, reflection_pb2

_ALPHA = "grpc.reflection.v1alpha"
_V1 = "grpc.reflection.v1"
V1_SERVICE = f"{_V1}.ServerReflection"
_METHOD = "ServerReflectionInfo"


def enable(server: aio.Server, services: Sequence[str]) -> None:
    """Let the server describe these services, and reflection itself."""
    _describe_v1()
    names = (*services, V1_SERVICE, reflection.SERVICE_NAME)
    reflection.enable_server_reflection(names, server)
    behavior: Any = getattr(reflection.aio.ReflectionServicer(names), _METHOD)
    handler = grpc.stream_stream_rpc_method_handler(
        behavior,
        request_deserializer=reflection_pb2.ServerReflectionRequest.FromString,
        response_serializer=reflection_pb2.ServerReflectionResponse.SerializeToString,
    )
    generic = grpc.method_handlers_generic_handler(V1_SERVICE, {_METHOD: handler})
    server.add_generic_rpc_handlers((generic,))


def _describe_v1() -> None:
    """Add the description of v1 to the pool: that of v1alpha with the names changed."""
    file = descriptor_pb2.FileDescriptorProto()
    reflection_pb2.DESCRIPTOR.CopyToProto(file)
    file.name = "grpc/reflection/v1/reflection.proto"
    file.package = _V1
    for message in file.message_type:
        for field in message.field:
            if not field.type_name:
                continue  # To set an empty name is not the same as to set none.
            field.type_name = field.type_name.replace(f".{_ALPHA}.", f".{_V1}.")
    for method in file.service[0].method:
        method.input_type = method.input_type.replace(f".{_ALPHA}.", f".{_V1}.")
        method.output_type = method.output_type.replace(f".{_ALPHA}.", f".{_V1}.")
    # Adding the same description twice, e.g. for two servers in one process, does no harm.
    descriptor_pool.Default().Add(file)
