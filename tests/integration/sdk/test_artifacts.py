"""Artifacts, as flow authors use them."""

import datetime
import json
import math
import uuid
from typing import Any

import pytest

from headgate import artifacts, flow, task
from headgate.client.orchestration import SyncHeadgateClient
from headgate.context import FlowRunContext, TaskRunContext
from headgate.core import errors


@pytest.mark.parametrize(
    ("create", "given", "type", "data"),
    [
        (
            artifacts.create_link_artifact,
            {"link": "https://x"},
            "markdown",
            "[https://x](https://x)",
        ),
        (
            artifacts.create_link_artifact,
            {"link": "https://x", "link_text": "X"},
            "markdown",
            "[X](https://x)",
        ),
        (artifacts.create_markdown_artifact, {"markdown": "# Hi"}, "markdown", "# Hi"),
        (artifacts.create_progress_artifact, {"progress": 12.5}, "progress", 12.5),
        (
            artifacts.create_image_artifact,
            {"image_url": "https://x/y.png"},
            "image",
            "https://x/y.png",
        ),
        (artifacts.create_table_artifact, {"table": [{"a": 1}]}, "table", '[{"a": 1}]'),
    ],
)
def test_each_kind_is_stored_as_it_is_shown(
    server: SyncHeadgateClient, create: Any, given: dict[str, Any], type: str, data: Any
):
    stored = server.read_artifact(create(**given, key="shown", description="Look."))
    assert (stored.type, stored.data, stored.key) == (type, data, "shown")
    assert stored.description == "Look."
    assert server.read_artifact(create(**given)).key is None


@pytest.mark.parametrize(
    ("create", "given"),
    [
        (artifacts.acreate_link_artifact, {"link": "https://x"}),
        (artifacts.acreate_markdown_artifact, {"markdown": "# Hi"}),
        (artifacts.acreate_progress_artifact, {"progress": 1}),
        (artifacts.acreate_image_artifact, {"image_url": "https://x/y.png"}),
        (artifacts.acreate_table_artifact, {"table": {"a": [1]}}),
    ],
)
async def test_coroutines_have_their_own_ways(
    server: SyncHeadgateClient, create: Any, given: dict[str, Any]
):
    artifact_id = await create(**given, key="awaited")
    latest = await artifacts.Artifact.aget("awaited")
    assert latest is not None
    assert latest.id == artifact_id


@pytest.mark.parametrize(
    ("table", "stored"),
    [
        ({"a": [1, math.nan]}, {"a": [1, None]}),
        ([{"a": math.inf, "b": (1, 2)}], [{"a": None, "b": [1, 2]}]),
        ([["x", 1], ["y", datetime.date(2026, 1, 2)]], [["x", 1], ["y", "2026-01-02"]]),
        ([], []),
    ],
)
def test_a_table_may_hold_what_json_does_not_have(
    server: SyncHeadgateClient, table: Any, stored: Any
):
    found = server.read_artifact(artifacts.create_table_artifact(table))
    assert json.loads(found.data) == stored


def test_columns_of_different_lengths_are_told_and_stored(server: SyncHeadgateClient, capfd: Any):
    found = server.read_artifact(artifacts.create_table_artifact({"a": [1], "b": [1, 2]}))
    assert json.loads(found.data) == {"a": [1], "b": [1, 2]}
    assert "columns of the table differ in length: 'a' has 1, 'b' has 2" in capfd.readouterr().err


@pytest.mark.parametrize("table", ["text", 7, None])
def test_what_is_no_table_is_told(server: SyncHeadgateClient, table: Any):
    with pytest.raises(errors.InvalidArgument, match="list of rows"):
        artifacts.create_table_artifact(table)


@pytest.mark.parametrize("key", ["", "Upper", "under_score", "x" * 256])
def test_a_wrong_key_is_told_by_its_rule(server: SyncHeadgateClient, key: str):
    with pytest.raises(errors.InvalidArgument, match="lower-case letters"):
        artifacts.create_markdown_artifact("x", key=key)


@pytest.mark.parametrize("progress", [-1, 100.1, math.nan, "half"])
def test_a_progress_is_a_percent(server: SyncHeadgateClient, progress: Any):
    with pytest.raises(errors.InvalidArgument, match="0 to 100"):
        artifacts.create_progress_artifact(progress)
    with pytest.raises(errors.InvalidArgument, match="0 to 100"):
        artifacts.update_progress_artifact(uuid.uuid4(), progress)


async def test_a_progress_goes_on(server: SyncHeadgateClient):
    artifact_id = artifacts.create_progress_artifact(0, description="Copying.")
    assert artifacts.update_progress_artifact(uuid.UUID(artifact_id), 50) == artifact_id
    assert server.read_artifact(artifact_id).data == 50
    await artifacts.aupdate_progress_artifact(artifact_id, 100, description="Copied.")
    done = server.read_artifact(artifact_id)
    assert (done.data, done.description) == (100, "Copied.")
    with pytest.raises(errors.NotFound):
        artifacts.update_progress_artifact(uuid.uuid4(), 1)


def test_artifacts_of_one_key_are_versions(server: SyncHeadgateClient):
    made = [artifacts.create_markdown_artifact(str(n), key="versioned") for n in range(3)]
    latest = artifacts.Artifact.get("versioned")
    assert latest is not None
    assert (latest.id, latest.data, latest.latest) == (made[2], "2", True)
    assert [found.id for found in server.read_artifacts(keys=["versioned"])] == made[::-1]
    assert [a.id for a in server.read_latest_artifacts(keys=["versioned"])] == [made[2]]
    assert server.count_artifacts(keys=["versioned"]) == 3
    assert server.count_artifacts(keys=["versioned"], latest_only=True) == 1
    server.delete_artifact(made[2])
    latest = artifacts.Artifact.get("versioned")
    assert latest is not None
    assert latest.id == made[1]
    server.delete_artifacts_of_key("versioned")
    assert artifacts.Artifact.get("versioned") is None


async def test_an_artifact_is_got_or_created(server: SyncHeadgateClient):
    made, created = artifacts.MarkdownArtifact.get_or_create("once", markdown="# 1")
    assert created
    again, created = await artifacts.MarkdownArtifact.aget_or_create("once", markdown="# 2")
    assert (again, created) == (made, False)
    own, created = await artifacts.Artifact.aget_or_create(
        "twice", data={"a": 1}, description="d", type="mine", metadata={"b": "c"}
    )
    assert created
    assert (own.data, own.type, own.metadata) == ({"a": 1}, "mine", {"b": "c"})
    assert artifacts.Artifact.get() == own


def test_an_artifact_belongs_to_the_run_that_makes_it(server: SyncHeadgateClient):
    runs: list[str] = []

    @task
    def shows() -> str:
        context = TaskRunContext.get()
        assert context is not None
        runs.append(context.id)
        return artifacts.create_markdown_artifact("of the task")

    @flow
    def parent() -> list[str]:
        context = FlowRunContext.get()
        assert context is not None
        runs.append(context.flow_run.id)
        return [artifacts.create_markdown_artifact("of the flow"), shows.submit().result()]

    ids = parent()
    of_flow, of_task = (server.read_artifact(artifact_id) for artifact_id in ids)
    assert (of_flow.flow_run_id, of_flow.task_run_id) == (runs[0], None)
    assert (of_task.flow_run_id, of_task.task_run_id) == (runs[0], runs[1])
    assert [a.id for a in server.read_artifacts(flow_run_ids=[runs[0]])] == ids[::-1]
    server.delete_flow_run(runs[0])
    assert server.read_artifacts(artifact_ids=ids) == []


async def test_the_blocking_ways_work_in_a_coroutine(server: SyncHeadgateClient):
    @flow
    async def shows() -> tuple[str, str]:
        return artifacts.create_markdown_artifact("x"), await artifacts.acreate_markdown_artifact(
            "y"
        )

    for artifact_id in await shows():
        assert server.read_artifact(artifact_id).flow_run_id


async def test_what_the_blocking_ways_return_can_be_awaited(server: SyncHeadgateClient):
    artifact_id = await artifacts.create_progress_artifact(1.0)
    assert await artifacts.update_progress_artifact(artifact_id, 2.0) == artifact_id
    assert await artifacts.create_markdown_artifact("x")
