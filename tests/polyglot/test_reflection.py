"""People with nothing but an address: grpcurl, and clients that ask the server for its contract."""

from __future__ import annotations

import json
import pathlib
import re
import shutil
import subprocess

import grpc
import pytest
from google.protobuf import descriptor_pool, json_format, message_factory
from grpc_reflection.v1alpha import proto_reflection_descriptor_database as reflection

from tests.acceptance.conftest import Stage, stage
from tests.polyglot.conftest import run

__all__ = ["stage"]

pytestmark = pytest.mark.slow

PROTO = pathlib.Path(__file__).parents[2] / "proto"
GRPCURL = "github.com/fullstorydev/grpcurl/cmd/grpcurl@v1.9.3"


def declared_services() -> set[str]:
    """Read the names of all services off the proto files."""
    names = (
        name
        for path in PROTO.rglob("*.proto")
        for name in re.findall(r"^service (\w+)", path.read_text(), re.MULTILINE)
    )
    return {f"headgate.api.v1.{name}" for name in names}


def test_a_client_without_stubs_lists_every_service_and_creates_a_run_by_json(
    stage: Stage,
) -> None:
    server = stage.server()
    deployment = stage.deploy(server.api_url, "quick")
    with grpc.insecure_channel(server.api_url.replace("unix://", "unix:")) as channel:
        database = reflection.ProtoReflectionDescriptorDatabase(channel)
        assert declared_services() <= set(database.get_services())

        pool = descriptor_pool.DescriptorPool(database)
        method = pool.FindServiceByName("headgate.api.v1.FlowRunService").FindMethodByName(
            "CreateFlowRun"
        )
        request = json_format.Parse(
            json.dumps({"deploymentName": deployment, "parameters": {"limit": "2"}}),
            message_factory.GetMessageClass(method.input_type)(),
        )
        call = channel.unary_unary(
            "/headgate.api.v1.FlowRunService/CreateFlowRun",
            request_serializer=message_factory.GetMessageClass(method.input_type).SerializeToString,
            response_deserializer=message_factory.GetMessageClass(method.output_type).FromString,
        )
        answer = json_format.MessageToDict(call(request, timeout=10))
    assert answer["flowRun"]["deploymentName"] == deployment
    assert answer["flowRun"]["state"]["name"] == "Scheduled"


@pytest.mark.timeout(600)
@pytest.mark.skipif(not shutil.which("go"), reason="there is no Go on this machine")
def test_grpcurl_lists_every_service_and_creates_a_run_by_json(stage: Stage) -> None:
    server = stage.server()
    deployment = stage.deploy(server.api_url, "quick")
    run(["go", "install", GRPCURL], cwd=stage.folder, GOBIN=str(stage.folder))
    grpcurl = [str(stage.folder / "grpcurl"), "-plaintext"]
    address = server.api_url

    services = run([*grpcurl, address, "list"], cwd=stage.folder).split()
    assert declared_services() <= set(services)

    answer = run(
        [
            *grpcurl,
            "-d",
            json.dumps({"deployment_name": deployment, "parameters": {"limit": "2"}}),
            address,
            "headgate.api.v1.FlowRunService/CreateFlowRun",
        ],
        cwd=stage.folder,
    )
    assert json.loads(answer)["flow_run"]["deployment_name"] == deployment

    refused = subprocess.run(
        [*grpcurl, "-d", "{}", address, "headgate.api.v1.FlowRunService/CreateFlowRun"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert refused.returncode != 0
    assert "InvalidArgument" in refused.stderr
    assert "deployment" in refused.stderr
