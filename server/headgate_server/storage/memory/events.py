"""Events in memory: those that are stored, and transitions."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta

from headgate.core.events import CountBy, Event, EventCount, EventFilter, fits
from headgate.core.runs import RunKind, TransitionRecord
from headgate.core.states import State
from headgate_server.domain.events import Surroundings, of_transition
from headgate_server.storage.memory import paging
from headgate_server.storage.memory.tables import Tables
from headgate_server.storage.records import Page, PageRequest

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class MemoryEvents:
    """See :class:`headgate_server.storage.kinds.events.Events`."""

    def __init__(self, tables: Tables, now: datetime) -> None:
        self._tables = tables
        self._now = now

    def append(self, events: Sequence[Event]) -> int:
        known = {event.id for event in self._tables.events}
        stored = 0
        for event in events:
            if event.id in known:
                continue
            known.add(event.id)
            revision = self._tables.take_number("journal")
            self._tables.events[revision] = dataclasses.replace(
                event, revision=revision, commit_time=self._now
            )
            stored += 1
        return stored

    def list(
        self, where: EventFilter, page: PageRequest, *, ascending: bool = False
    ) -> Page[Event]:
        return paging.cut_page(
            [event for event in self._all() if fits(event, where)],
            lambda event: (event.revision,),
            page,
            descending=not ascending,
            weight=lambda event: event.size_bytes,
        )

    def count(self, where: EventFilter, by: CountBy, limit: int) -> Sequence[EventCount]:
        where = dataclasses.replace(where, related_roles=(), resource_labels=(), related_labels=())
        times: dict[str, list[datetime]] = {}
        for event in self._all():
            if fits(event, where):
                times.setdefault(_value(event, by), []).append(event.occurred)
        counts = [
            EventCount(
                value=value,
                count=len(moments),
                first_occurred=min(moments),
                last_occurred=max(moments),
            )
            for value, moments in times.items()
        ]
        if by.seconds is None:
            return sorted(counts, key=lambda each: (-each.count, each.value))[:limit]
        return sorted(counts, key=lambda each: each.first_occurred)[:limit]

    def revision_before(self, moment: datetime) -> int:
        return min(
            (
                event.revision - 1
                for event in self._all()
                if event.commit_time is not None and event.commit_time >= moment
            ),
            default=self._tables.heads["journal"],
        )

    def _all(self) -> Iterator[Event]:
        yield from self._tables.events
        before: dict[str, State] = {}
        for line in sorted(self._tables.journal, key=lambda line: line.revision):
            yield of_transition(line, self._around(line), before.get(line.run_id))
            before[line.run_id] = line.state

    def _around(self, line: TransitionRecord) -> Surroundings:
        tables = self._tables
        run = tables.flow_runs.get(line.flow_run_id)
        if run is None:
            return Surroundings()
        deployment = tables.deployments.get(run.deployment_id) if run.deployment_id else None
        task_run = tables.task_runs.get(line.run_id)
        tags = run.tags if line.kind is RunKind.FLOW_RUN else task_run.tags if task_run else ()
        return Surroundings(
            flow_id=run.flow_id,
            flow_name=run.flow_name,
            flow_run_name=run.name,
            deployment_id=run.deployment_id,
            deployment_name=deployment.name if deployment else None,
            work_pool_name=run.work_pool_name,
            work_queue_name=run.work_queue_name,
            tags=tags,
        )


def _value(event: Event, by: CountBy) -> str:
    if by is CountBy.NAME:
        return event.name
    if by is CountBy.RESOURCE:
        return event.resource_id
    span = timedelta(seconds=by.seconds or 1)
    return (event.occurred - (event.occurred - _EPOCH) % span).isoformat()


__all__ = ["MemoryEvents"]
