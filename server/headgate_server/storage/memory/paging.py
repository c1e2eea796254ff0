"""Pages and filters over records in memory."""

from __future__ import annotations

import bisect
import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from headgate.core.runs import FlowRun, StateCount, TaskRun
from headgate.core.states import State
from headgate_server.storage import readiness
from headgate_server.storage.records import (
    PAGE_BYTES_MAX,
    Cursor,
    FlowRunFilter,
    Page,
    PageRequest,
    TaskRunFilter,
)

T = TypeVar("T")

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def cut_page(
    items: Iterable[T],
    key: Callable[[T], Cursor],
    request: PageRequest,
    *,
    descending: bool = False,
    weight: Callable[[T], int] | None = None,
) -> Page[T]:
    """Return a page of items sorted by a unique key; of heavy items maybe a shorter one."""
    ordered = sorted(items, key=key)
    if descending:
        ordered.reverse()
    start = 0
    if request.after is not None:
        keys = [key(item) for item in ordered]
        if descending:
            keys.reverse()
            start = len(ordered) - bisect.bisect_left(keys, request.after)
        else:
            start = bisect.bisect_right(keys, request.after)
    chosen = ordered[start : start + request.size]
    if weight is not None:
        weights = itertools.accumulate(map(weight, chosen))
        fitting = sum(1 for total in weights if total <= PAGE_BYTES_MAX)
        chosen = chosen[: max(1, fitting)]
    more = len(ordered) > start + len(chosen)
    return Page(items=chosen, next=key(chosen[-1]) if more and chosen else None)


def order_key(run: FlowRun) -> Cursor:
    """Return the sort key of flow runs by expected start."""
    micros = (readiness.order_time(run) - _EPOCH) // timedelta(microseconds=1)
    return micros, run.id


def contains(text: str, part: str) -> bool:
    """Say whether the text contains the part, upper and lower case alike."""
    return part.lower() in text.lower()


def has_tags(tags: Sequence[str], wanted: Sequence[str]) -> bool:
    """Say whether all wanted tags are there."""
    return set(wanted) <= set(tags)


def count_states(states: Iterable[State]) -> Sequence[StateCount]:
    """Count by type and name."""
    counts = Counter((state.type.value, state.name) for state in states)
    return [
        StateCount(type=type, name=name, count=count)
        for (type, name), count in sorted(counts.items())
    ]


def flow_run_fits(run: FlowRun, where: FlowRunFilter) -> bool:
    """Say whether a flow run passes the filter."""
    when = readiness.order_time(run)
    return (
        (not where.ids or run.id in where.ids)
        and (not where.flow_ids or run.flow_id in where.flow_ids)
        and (not where.flow_name or run.flow_name == where.flow_name)
        and (not where.exclude_flow_name or run.flow_name != where.exclude_flow_name)
        and (not where.deployment_ids or run.deployment_id in where.deployment_ids)
        and (not where.state_types or run.state.type in where.state_types)
        and (not where.state_names or run.state.name in where.state_names)
        and contains(run.name, where.name_contains)
        and has_tags(run.tags, where.tags)
        and where.parent_flow_run_id in ("", run.parent_flow_run_id)
        and (where.top_level is None or where.top_level == (run.parent_flow_run_id is None))
        and where.work_pool_name in ("", run.work_pool_name)
        and where.work_queue_name in ("", run.work_queue_name)
        and (where.expected_after is None or when >= where.expected_after)
        and (where.expected_before is None or when < where.expected_before)
    )


def task_run_fits(run: TaskRun, where: TaskRunFilter) -> bool:
    """Say whether a task run passes the filter."""
    return (
        (not where.ids or run.id in where.ids)
        and (not where.flow_run_ids or run.flow_run_id in where.flow_run_ids)
        and (not where.state_types or run.state.type in where.state_types)
        and (not where.state_names or run.state.name in where.state_names)
        and contains(run.name, where.name_contains)
        and has_tags(run.tags, where.tags)
    )
