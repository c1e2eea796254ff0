from __future__ import annotations

from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from grpc import aio
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2

from headgate.api.v1 import flow_pb2, flow_service_pb2, server_service_pb2
from headgate.api.v1.flow_service_pb2_grpc import FlowServiceStub
from headgate.api.v1.server_service_pb2_grpc import ServerServiceStub
from headgate_server.app import App
from headgate_server.settings import Settings
from headgate_server.transport.server import ListenError
from tests.integration.server.calls import fails

SERVICES = {
    "ConcurrencyLimitService",
    "DeploymentService",
    "EngineService",
    "FlowRunService",
    "FlowService",
    "LeaseService",
    "LogService",
    "ServerService",
    "TaskRunService",
    "WatchService",
    "WorkPoolService",
}


@pytest.fixture
def database_url() -> str:
    return "memory://"


async def test_the_server_says_what_it_is(app: App, channel: aio.Channel):
    stub = ServerServiceStub(channel)
    info = await stub.GetServerInfo(server_service_pb2.GetServerInfoRequest())
    assert (list(info.api_versions), info.database) == (["headgate.api.v1"], "memory")
    answer = await stub.ListServerSettings(server_service_pb2.ListServerSettingsRequest())
    settings = {setting.name: setting for setting in answer.settings}
    assert settings["HEADGATE_SERVER_LEASE_TTL_SECONDS"].value == "30"
    assert not settings["HEADGATE_SERVER_LEASE_TTL_SECONDS"].changed
    assert settings["HEADGATE_SERVER_UNIX_SOCKET"].changed


@pytest.mark.parametrize("version", ["v1", "v1alpha"])
async def test_reflection_lists_every_service(channel: aio.Channel, version: str):
    call = channel.stream_stream(
        f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo",
        request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
        response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
    )(iter([reflection_pb2.ServerReflectionRequest(list_services="")]))
    answers = [answer async for answer in call]
    names = {service.name for service in answers[0].list_services_response.service}
    assert {f"headgate.api.v1.{name}" for name in SERVICES} <= names
    assert {"grpc.reflection.v1.ServerReflection", "grpc.health.v1.Health"} <= names


async def test_reflection_is_enough_to_make_a_call(channel: aio.Channel):
    call = channel.stream_stream(
        "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
        request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
        response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
    )
    asked = ["headgate.api.v1.FlowService", "grpc.reflection.v1.ServerReflection"]
    requests = [
        reflection_pb2.ServerReflectionRequest(file_containing_symbol=name) for name in asked
    ]
    pool = descriptor_pool.DescriptorPool()
    async for answer in call(iter(requests)):
        for data in reversed(answer.file_descriptor_response.file_descriptor_proto):
            pool.Add(descriptor_pb2.FileDescriptorProto.FromString(data))
    method = pool.FindServiceByName(asked[0]).methods_by_name["CreateFlow"]
    request_type = message_factory.GetMessageClass(method.input_type)
    response_type = message_factory.GetMessageClass(method.output_type)
    create = channel.unary_unary(
        "/headgate.api.v1.FlowService/CreateFlow",
        request_serializer=request_type.SerializeToString,
        response_deserializer=response_type.FromString,
    )
    made: Any = await create(request_type(flow={"name": "etl"}))
    assert made.flow.name == "etl"
    assert pool.FindServiceByName(asked[1]).methods_by_name["ServerReflectionInfo"]


@pytest.mark.parametrize("service", ["", *sorted(SERVICES)])
async def test_every_service_is_serving(channel: aio.Channel, service: str):
    stub: Any = health_pb2_grpc.HealthStub(channel)
    name = f"headgate.api.v1.{service}" if service else ""
    answer = await stub.Check(health_pb2.HealthCheckRequest(service=name))
    assert answer.status == health_pb2.HealthCheckResponse.SERVING


async def test_garbage_is_the_callers_mistake(channel: aio.Channel):
    call = channel.unary_unary("/headgate.api.v1.FlowService/CreateFlow")
    with fails(grpc.StatusCode.INVALID_ARGUMENT, "INVALID_ARGUMENT"):
        await call(b"\xff\xff\xff")


@pytest.mark.parametrize("method", ["EngineService/Session", "LeaseService/Lease"])
async def test_garbage_on_a_stream_is_a_violation_of_its_protocol(
    channel: aio.Channel, method: str
):
    call = channel.stream_stream(f"/headgate.api.v1.{method}")(iter([b"\xff\xff\xff"]))
    with fails(grpc.StatusCode.INVALID_ARGUMENT, "PROTOCOL_VIOLATION"):
        async for _ in call:
            pass


async def test_a_method_that_does_not_exist_is_unsupported(channel: aio.Channel):
    call = channel.unary_unary("/headgate.api.v1.FlowService/Fly")
    with fails(grpc.StatusCode.UNIMPLEMENTED, "UNSUPPORTED") as failure:
        await call(b"")
    assert failure.info.metadata["feature"] == "/headgate.api.v1.FlowService/Fly"


async def test_a_fault_of_the_server_says_where_its_log_tells_more(
    app: App,
    channel: aio.Channel,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
):
    async def broken(*_: object) -> object:
        raise ZeroDivisionError("secret")

    monkeypatch.setattr("headgate_server.services.flows.FlowService.list", broken)
    stub = FlowServiceStub(channel)
    with fails(grpc.StatusCode.INTERNAL, "INTERNAL") as failure:
        await stub.ListFlows(flow_service_pb2.ListFlowsRequest())
    assert "secret" not in failure.message
    assert failure.info.metadata["incident"] in caplog.text


async def test_an_error_larger_than_trailers_may_be_is_shortened(channel: aio.Channel):
    stub = FlowServiceStub(channel)
    flow = flow_pb2.Flow(name="etl", tags=[""] * 500)
    with fails(grpc.StatusCode.INVALID_ARGUMENT, "INVALID_ARGUMENT") as failure:
        await stub.CreateFlow(flow_service_pb2.CreateFlowRequest(flow=flow))
    assert len(failure.fields) == 10
    with fails(grpc.StatusCode.NOT_FOUND, "NOT_FOUND"):
        await stub.GetFlow(flow_service_pb2.GetFlowRequest(name="x" * 100_000))


async def test_a_second_server_on_the_same_socket_is_refused(app: App):
    second = App(Settings(database_url="memory://", unix_socket=app.settings.unix_socket))
    with pytest.raises(ListenError, match="another server does"):
        await second.run()


async def test_a_second_server_on_the_same_port_is_refused():
    async with App(Settings(database_url="memory://", port=0)).running() as first:
        port = int(first.target.rpartition(":")[2])
        second = App(Settings(database_url="memory://", port=port))
        with pytest.raises(ListenError, match=str(port)):
            await second.run()


async def test_a_socket_left_behind_is_taken_over(tmp_path: Path):
    import socket

    path = tmp_path / "server.sock"
    with socket.socket(socket.AF_UNIX) as left_behind:
        left_behind.bind(str(path))
    async with App(Settings(database_url="memory://", unix_socket=path)).running() as app:
        async with aio.insecure_channel(f"unix:{path}") as channel:
            stub = ServerServiceStub(channel)
            await stub.GetServerInfo(server_service_pb2.GetServerInfoRequest())
        assert (path.stat().st_mode & 0o777) == 0o600
        assert app.addresses == [f"unix://{path}"]
    assert not path.exists()


async def test_a_path_too_long_for_a_socket_is_refused(tmp_path: Path):
    path = tmp_path / ("x" * 100) / "server.sock"
    with pytest.raises(ListenError, match="at most 107 bytes"):
        await App(Settings(database_url="memory://", unix_socket=path)).run()


async def test_a_server_that_nobody_uses_ends_itself(tmp_path: Path):
    settings = Settings(
        database_url="memory://", unix_socket=tmp_path / "s", idle_timeout_seconds=0.05
    )
    await App(settings).run()
