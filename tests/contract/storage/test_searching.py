"""Lists that are searched for a text: page by page, however rare it is, and nothing is missed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from headgate.core import ids
from headgate.core.runs import LogRecord
from headgate.core.states import StateType
from headgate_server.storage.interface import Storage, Transaction
from headgate_server.storage.records import (
    FlowRunFilter,
    FlowRunOrder,
    LogFilter,
    Page,
    PageRequest,
    TaskRunFilter,
)
from headgate_server.storage.sql import paging
from tests.contract.storage import builders


@pytest.fixture(autouse=True)
def searched_max(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paging, "SEARCHED_MAX", 3)


async def all_pages(
    storage: Storage, read: Callable[[Transaction, PageRequest], Page[Any]]
) -> list[Any]:
    """Read page by page until there are no more."""
    found: list[Any] = []
    request = PageRequest(size=2)
    while True:
        page = await storage.read(lambda tx, request=request: read(tx, request))
        assert len(page.items) <= 2
        found.extend(page.items)
        if page.next is None:
            return found
        assert page.next != request.after, "each page goes on from the one before"
        request = PageRequest(size=2, after=page.next)


@pytest.mark.parametrize("order", FlowRunOrder)
@pytest.mark.parametrize(
    "types", [(), (StateType.FAILED,), (StateType.FAILED, StateType.COMPLETED)], ids=len
)
async def test_flow_runs_are_found_by_a_part_of_their_name(
    storage: Storage, order: FlowRunOrder, types: tuple[StateType, ...]
):
    flow = await builders.make_flow(storage)
    names = ["Otter"] * 2 + ["lynx"] * 9 + ["otters", "lynx", "lynx", "otter"]
    made = [
        await builders.store_run(
            storage,
            builders.flow_run(
                flow,
                builders.state(StateType.FAILED if number % 2 else StateType.COMPLETED),
                name=name,
                expected_start_time=builders.at(number),
            ),
        )
        for number, name in enumerate(names)
    ]
    where = FlowRunFilter(name_contains="oTTer", state_types=types)
    found = await all_pages(storage, lambda tx, page: tx.flow_runs.list(where, order, page))
    wanted = [
        run.id
        for run in made
        if "otter" in run.name.lower() and (not types or run.state.type in types)
    ]
    rising = order is FlowRunOrder.EXPECTED_START_TIME_ASC
    assert [run.id for run in found] == (wanted if rising else wanted[::-1])
    nothing = FlowRunFilter(name_contains="zebra", state_types=types)
    assert not await all_pages(storage, lambda tx, page: tx.flow_runs.list(nothing, order, page))


@pytest.mark.parametrize("descending", [False, True])
async def test_task_runs_are_found_by_a_part_of_their_name(storage: Storage, descending: bool):
    run = await builders.engine_run(storage)
    names = ["load-0"] + ["clean"] * 8 + ["Load-1"]
    tasks = [builders.task_run(run, name=name) for name in names]
    await storage.append(builders.batch(run, tasks))
    where = TaskRunFilter(flow_run_ids=(run.id,), name_contains="load")
    found = await all_pages(
        storage, lambda tx, page: tx.task_runs.list(where, page, descending=descending)
    )
    wanted = ["load-0", "Load-1"]
    assert [task.name for task in found] == (wanted[::-1] if descending else wanted)


@pytest.mark.parametrize("descending", [False, True])
async def test_log_lines_are_found_by_a_part_of_their_message(storage: Storage, descending: bool):
    run = await builders.engine_run(storage)
    texts = ["error: a"] + ["fine"] * 8 + ["an ERROR"] + ["fine"] * 5
    records = [
        LogRecord(
            flow_run_id=run.id,
            timestamp=builders.START,
            level=20,
            logger=ids.new_id(),
            message=text,
        )
        for text in texts
    ]
    await storage.write(lambda tx: tx.logs.append(records))
    where = LogFilter(message_contains="error")
    found = await all_pages(
        storage, lambda tx, page: tx.logs.list(where, page, descending=descending)
    )
    wanted = ["error: a", "an ERROR"]
    assert [line.message for line in found] == (wanted[::-1] if descending else wanted)


async def test_letters_beyond_ascii_are_found_as_they_are_written(storage: Storage):
    flow = await builders.make_flow(storage)
    made = await builders.store_run(storage, builders.flow_run(flow, name="ETL Été ÜBER 100%"))
    for part in ("Été", "ÜBER", "etl Été", "ÜBER 100%"):
        where = FlowRunFilter(name_contains=part)
        found = await all_pages(
            storage,
            lambda tx, page, where=where: tx.flow_runs.list(where, FlowRunOrder.ID_DESC, page),
        )
        assert [run.id for run in found] == [made.id], part
