"""Artifacts, in every storage alike."""

import dataclasses
from typing import Any

from headgate.core import ids
from headgate.core.artifacts import Artifact
from headgate.core.clock import ManualClock
from headgate_server.storage.interface import Storage
from headgate_server.storage.kinds.artifacts import ArtifactFilter
from headgate_server.storage.records import PageRequest
from tests.contract.storage import builders
from tests.contract.storage.builders import ALL, START, at


def make_artifact(key: str | None = None, **given: Any) -> Artifact:
    given.setdefault("type", "markdown")
    return Artifact(id=ids.new_id(), key=key, create_time=START, update_time=START, **given)


async def store(storage: Storage, *artifacts: Artifact) -> None:
    for artifact in artifacts:
        await storage.write(lambda t, a=artifact: t.artifacts.insert(a))


async def latest(storage: Storage, key: str) -> str | None:
    found = await storage.read(lambda t: t.artifacts.get_latest(key))
    return None if found is None else found.id


async def listed(storage: Storage, page: PageRequest = ALL, **where: Any) -> list[str]:
    wanted = ArtifactFilter(**where)
    found = await storage.read(lambda t: t.artifacts.list(wanted, page))
    assert page is not ALL or len(found.items) == await storage.read(
        lambda t: t.artifacts.count(wanted)
    )
    return [artifact.id for artifact in found.items]


async def test_an_artifact_comes_back_as_it_was_stored(storage: Storage):
    full = make_artifact(
        "report",
        description="All of it.",
        data_json='"# Hello"',
        metadata={"a": "b"},
        flow_run_id=ids.new_id(),
        task_run_id=ids.new_id(),
    )
    bare = make_artifact()
    await store(storage, full, bare)
    assert await storage.read(lambda t: t.artifacts.get(full.id)) == dataclasses.replace(
        full, latest=True
    )
    assert await storage.read(lambda t: t.artifacts.get(bare.id)) == bare
    assert await storage.read(lambda t: t.artifacts.get(ids.new_id())) is None


async def test_the_artifact_inserted_last_is_the_latest_of_its_key(storage: Storage):
    first, second, other = make_artifact("a"), make_artifact("a"), make_artifact("b")
    await store(storage, second, first, other)  # ids do not matter while all are there
    assert await latest(storage, "a") == first.id
    assert await latest(storage, "b") == other.id
    assert await latest(storage, "c") is None
    assert await listed(storage, latest_only=True) == [other.id, first.id]
    assert await listed(storage, latest_only=True, keys=("a", "c")) == [first.id]


async def test_when_the_latest_is_deleted_the_one_before_is_the_latest(storage: Storage):
    versions = [make_artifact("a") for _ in range(3)]
    await store(storage, *versions)
    assert await storage.write(lambda t: t.artifacts.delete(versions[2].id)) is True
    assert await storage.write(lambda t: t.artifacts.delete(versions[2].id)) is False
    assert await latest(storage, "a") == versions[1].id
    await storage.write(lambda t: t.artifacts.delete(versions[0].id))
    assert await latest(storage, "a") == versions[1].id
    await storage.write(lambda t: t.artifacts.delete(versions[1].id))
    assert await latest(storage, "a") is None


async def test_all_of_a_key_are_deleted_together(storage: Storage):
    kept = make_artifact("b")
    await store(storage, make_artifact("a"), make_artifact("a"), kept)
    assert await storage.write(lambda t: t.artifacts.delete_key("a")) == 2
    assert await storage.write(lambda t: t.artifacts.delete_key("a")) == 0
    assert await listed(storage) == [kept.id]


async def test_what_it_shows_is_changed_and_nothing_else(storage: Storage, clock: ManualClock):
    artifact = make_artifact("a", data_json="1")
    await store(storage, artifact)
    clock.advance(3)
    changed = dataclasses.replace(
        artifact, data_json="2.5", description="d", metadata={"a": "b"}, latest=True
    )
    stored = await storage.write(
        lambda t: t.artifacts.update(dataclasses.replace(changed, key="b", type="table"))
    )
    assert stored == dataclasses.replace(changed, update_time=at(3))
    assert await storage.read(lambda t: t.artifacts.get(artifact.id)) == stored


async def test_artifacts_are_listed_newest_first_and_filtered(storage: Storage):
    run, task = ids.new_id(), ids.new_id()
    a = make_artifact("sales-eu", flow_run_id=run)
    b = make_artifact("sales-us", flow_run_id=run, task_run_id=task, type="table")
    c = make_artifact(type="progress")
    await store(storage, a, b, c)
    assert await listed(storage) == [c.id, b.id, a.id]
    assert await listed(storage, keys=("sales-eu", "none")) == [a.id]
    assert await listed(storage, key_contains="SALES") == [b.id, a.id]
    assert await listed(storage, types=("table", "progress")) == [c.id, b.id]
    assert await listed(storage, flow_run_ids=(run,)) == [b.id, a.id]
    assert await listed(storage, flow_run_ids=(run,), task_run_ids=(task,)) == [b.id]
    assert await listed(storage, ids=(a.id, c.id)) == [c.id, a.id]
    assert await listed(storage, PageRequest(size=1)) == [c.id]
    assert await listed(storage, PageRequest(size=2, after=(c.id,))) == [b.id, a.id]


async def test_artifacts_go_with_their_run_and_earlier_versions_take_over(storage: Storage):
    flow = await builders.make_flow(storage)
    run = await builders.store_run(storage, builders.ready_run(flow))
    earlier = make_artifact("a")
    await store(
        storage,
        earlier,
        make_artifact("a", flow_run_id=run.id),
        make_artifact("a", flow_run_id=run.id),
        make_artifact("b", flow_run_id=run.id),
    )
    await storage.write(lambda t: t.flow_runs.delete(run.id))
    assert await listed(storage) == [earlier.id]
    assert await latest(storage, "a") == earlier.id


async def test_a_page_of_large_ones_is_shorter_and_nothing_is_left_out(storage: Storage):
    # Together they are more than a message should have.
    large = [make_artifact(data_json=f'"{"x" * 1_000_000}"') for _ in range(12)]
    small = [make_artifact() for _ in range(20)]
    await store(storage, *large, *small)
    pages: list[int] = []
    found: list[str] = []
    after = None
    while not pages or after is not None:
        page = await storage.read(
            lambda t, a=after: t.artifacts.list(ArtifactFilter(), PageRequest(size=50, after=a))
        )
        pages.append(len(page.items))
        found += [artifact.id for artifact in page.items]
        after = page.next
    assert found == sorted((a.id for a in [*large, *small]), reverse=True)
    assert pages == [23, 3, 3, 3]
