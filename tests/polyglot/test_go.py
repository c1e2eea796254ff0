"""A client in Go, made from nothing but ``proto/``, asks for a run and watches it to its end."""

from __future__ import annotations

import json
import pathlib
import shutil
import sys

import pytest

from tests.acceptance.conftest import Stage, stage
from tests.polyglot.conftest import run

__all__ = ["stage"]

pytestmark = pytest.mark.slow

HERE = pathlib.Path(__file__).parent
PROTO = HERE.parents[1] / "proto"
PLUGINS = (
    "google.golang.org/protobuf/cmd/protoc-gen-go@v1.36.12",
    "google.golang.org/grpc/cmd/protoc-gen-go-grpc@v1.6.2",
)


def build(folder: pathlib.Path) -> pathlib.Path:
    """Generate stubs by plain protoc and build the client; return the program."""
    source = folder / "go"
    shutil.copytree(HERE / "go", source)
    tools = folder / "tools"
    for plugin in PLUGINS:
        run(["go", "install", plugin], cwd=source, GOBIN=str(tools))
    run(
        [
            sys.executable,
            "-m",
            "grpc_tools.protoc",
            f"-I{PROTO}",
            f"--plugin={tools / 'protoc-gen-go'}",
            f"--plugin={tools / 'protoc-gen-go-grpc'}",
            f"--go_out={source}",
            "--go_opt=module=headgate.dev",
            f"--go-grpc_out={source}",
            "--go-grpc_opt=module=headgate.dev",
            *sorted(str(path.relative_to(PROTO)) for path in PROTO.rglob("*.proto")),
        ],
        cwd=PROTO,
    )
    run(["go", "build", "-o", "watchrun", "."], cwd=source)
    return source / "watchrun"


@pytest.mark.timeout(600)
@pytest.mark.skipif(not shutil.which("go"), reason="there is no Go on this machine")
def test_a_go_client_creates_a_run_and_watches_it_to_its_end_with_a_resume_in_between(
    stage: Stage,
) -> None:
    program = build(stage.folder)
    server = stage.server()
    deployment = stage.deploy(server.api_url, "quick")
    stage.runner(server.api_url)

    printed = run(
        [str(program), "-target", server.api_url, "-deployment", deployment], cwd=stage.folder
    )
    refusal, *lines = [json.loads(line) for line in printed.splitlines()]

    assert refusal == {"reason": "NOT_FOUND"}
    assert {line["watch"] for line in lines} == {1, 2}
    revisions = [line["revision"] for line in lines]
    assert revisions == sorted(set(revisions))
    flow_states = [line["state"] for line in lines if line["kind"] == "RUN_KIND_FLOW_RUN"]
    assert flow_states == ["Scheduled", "Pending", "Running", "Completed"]
    task_states = [line["state"] for line in lines if line["kind"] == "RUN_KIND_TASK_RUN"]
    assert sorted(task_states) == ["Completed"] * 3 + ["Running"] * 3
