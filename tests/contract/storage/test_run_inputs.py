"""Inputs of flow runs, in every storage alike."""

import dataclasses

import anyio
import pytest

from headgate.core import errors, ids
from headgate.core.run_inputs import RunInput
from headgate_server.storage.interface import Storage, Transaction
from headgate_server.storage.kinds import run_inputs as kind
from headgate_server.storage.kinds.run_inputs import RunInputFilter
from headgate_server.storage.records import Commit, PageRequest
from tests.contract.storage import builders
from tests.contract.storage.builders import ALL, START


def make_input(
    flow_run_id: str, key: str = "answer", value: str = "1", sender: str | None = None
) -> RunInput:
    return RunInput(
        id=ids.new_id(),
        flow_run_id=flow_run_id,
        key=key,
        value=value,
        sender=sender,
        create_time=START,
    )


async def store(storage: Storage, flow_run_id: str, *keys: str) -> list[RunInput]:
    return [
        await storage.write(lambda t, k=key: t.run_inputs.insert(make_input(flow_run_id, k)))
        for key in keys
    ]


async def listed(storage: Storage, flow_run_id: str, page: PageRequest = ALL, **where: object):
    wanted = RunInputFilter(flow_run_id=flow_run_id, **where)  # pyright: ignore[reportArgumentType]  # given by name
    return await storage.read(lambda t: t.run_inputs.list(wanted, page))


async def test_an_input_is_stored_with_its_place_and_found_by_run_and_key(storage: Storage):
    run = ids.new_id()
    given = make_input(run, value='{"a": 1}', sender="headgate.flow-run/x")
    stored = await storage.write(lambda t: t.run_inputs.insert(given))
    assert stored == dataclasses.replace(given, place=stored.place)
    assert stored.place > 0
    assert await storage.read(lambda t: t.run_inputs.get(run, "answer")) == stored
    assert await storage.read(lambda t: t.run_inputs.get(run, "Answer")) is None
    assert await storage.read(lambda t: t.run_inputs.get(ids.new_id(), "answer")) is None


async def test_a_key_is_unique_within_its_run_only(storage: Storage):
    run = ids.new_id()
    await store(storage, run, "answer")
    with pytest.raises(errors.AlreadyExists, match="answer"):
        await store(storage, run, "answer")
    await store(storage, ids.new_id(), "answer")


async def test_a_place_is_never_given_again(storage: Storage):
    run = ids.new_id()
    first, second = await store(storage, run, "a", "b")
    assert await storage.write(lambda t: t.run_inputs.delete(run, "b")) is True
    assert await storage.write(lambda t: t.run_inputs.delete(run, "b")) is False
    (third,) = await store(storage, run, "b")
    assert first.place < second.place < third.place


async def test_inputs_are_listed_by_place_and_filtered(storage: Storage):
    run = ids.new_id()
    keys = ("x-2", "x-1", "X-0", "y", "x")
    stored = await store(storage, run, *keys)
    await store(storage, ids.new_id(), "x-9")
    assert [found.key for found in (await listed(storage, run)).items] == list(keys)
    assert [found.key for found in (await listed(storage, run, key_prefix="x")).items] == [
        "x-2",
        "x-1",
        "x",
    ]
    left = await listed(storage, run, key_prefix="x-", exclude_keys=("x-2",))
    assert [found.key for found in left.items] == ["x-1"]
    behind = await listed(storage, run, after_place=stored[2].place)
    assert [found.key for found in behind.items] == ["y", "x"]
    assert (await listed(storage, run, key_prefix="x_")).items == []


async def test_deleted_inputs_are_remembered_until_there_are_others(storage: Storage):
    run = ids.new_id()
    (stored,) = await store(storage, run, "a")
    assert await storage.read(lambda t: t.run_inputs.get_deleted(run, "a")) is None
    await storage.write(lambda t: t.run_inputs.delete(run, "a"))
    assert await storage.read(lambda t: t.run_inputs.get(run, "a")) is None
    assert (await listed(storage, run)).items == []
    remembered = await storage.read(lambda t: t.run_inputs.get_deleted(run, "a"))
    assert remembered == dataclasses.replace(stored, value="")
    await store(storage, run, "a")
    assert await storage.read(lambda t: t.run_inputs.get_deleted(run, "a")) is None
    await storage.write(lambda t: t.run_inputs.delete(run, "a"))

    def fill(transaction: Transaction) -> None:
        for n in range(kind.DELETED_MAX):
            transaction.run_inputs.insert(make_input(run, f"b{n}"))
            transaction.run_inputs.delete(run, f"b{n}")

    await storage.write(fill)
    assert await storage.read(lambda t: t.run_inputs.get_deleted(run, "a")) is None
    assert await storage.read(lambda t: t.run_inputs.get_deleted(run, "b0")) is not None


async def test_inputs_come_in_pages(storage: Storage):
    run = ids.new_id()
    await store(storage, run, "c", "b", "a")
    first = await listed(storage, run, PageRequest(size=2))
    rest = await listed(storage, run, PageRequest(size=2, after=first.next))
    assert [[found.key for found in page.items] for page in (first, rest)] == [["c", "b"], ["a"]]
    assert rest.next is None


async def test_inputs_go_with_their_run(storage: Storage):
    flow = await builders.make_flow(storage)
    run = await builders.store_run(storage, builders.ready_run(flow))
    other = await builders.store_run(storage, builders.ready_run(flow))
    await store(storage, run.id, "a", "b")
    await store(storage, other.id, "a")
    await storage.write(lambda t: t.flow_runs.delete(run.id))
    assert (await listed(storage, run.id)).items == []
    assert len((await listed(storage, other.id)).items) == 1
    await storage.write(lambda t: t.flows.delete(flow.id))
    assert (await listed(storage, other.id)).items == []


async def test_whoever_waits_for_the_run_hears_of_the_commit(storage: Storage):
    heard: list[Commit] = []
    storage.listen(heard.append)
    run = ids.new_id()
    await store(storage, run, "a")
    with pytest.raises(errors.AlreadyExists):
        await store(storage, run, "a")
    with anyio.fail_after(5):
        while not builders.announced(heard):
            await anyio.lowlevel.checkpoint()
    assert builders.announced(heard) == [Commit(topics=frozenset({kind.topic(run)}))]
