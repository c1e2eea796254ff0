"""Events: what happened to what, and which of them somebody wants to hear of."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from headgate.core.record import record

RESOURCE_ID = "headgate.resource.id"
RESOURCE_NAME = "headgate.resource.name"
RESOURCE_ROLE = "headgate.resource.role"

#: What begins the names of the events that are states which runs entered, and the ids of those
#: runs as resources.
FLOW_RUN_PREFIX = "headgate.flow-run."
TASK_RUN_PREFIX = "headgate.task-run."

NAME_CHARACTERS_MAX = 1_024
LABELS_MAX = 500
RELATED_MAX = 100
EVENT_BYTES_MAX = 1_500_000

Labels = Mapping[str, str]


@record
class Event:
    """Something that happened to something, as it is stored and sent.

    Attributes:
        id: UUID text.
        name: What happened.
        occurred: When, UTC-aware.
        resource: Labels of what it happened to; ``headgate.resource.id`` is among them.
        related: Labels of what else it has to do with, each with an id and a role.
        payload: One JSON object, as text.
        follows: The id of the event that this one came after.
        revision: Its place in the journal; 0 before it is stored.
        commit_time: When it was stored.
    """

    id: str
    name: str
    occurred: datetime
    resource: Labels
    related: tuple[Labels, ...] = ()
    payload: str = "{}"
    follows: str | None = None
    revision: int = 0
    commit_time: datetime | None = None

    @property
    def resource_id(self) -> str:
        """The id of what it happened to."""
        return self.resource.get(RESOURCE_ID, "")

    @property
    def size_bytes(self) -> int:
        """About how large it is."""
        texts = [self.name, self.payload]
        for labels in (self.resource, *self.related):
            texts += [*labels.keys(), *labels.values()]
        return sum(len(text.encode("utf-8", "surrogatepass")) for text in texts)


@record
class LabelCondition:
    """What a label is to be.

    Attributes:
        key: The label.
        values: One of these; ``*`` at the end stands for anything, ``!`` at the start excludes.
    """

    key: str
    values: tuple[str, ...]


@record
class EventFilter:
    """Which events; empty fields do not filter, values of one field are joined by or.

    Attributes:
        related_roles: Where ``related_ids`` is set, too, one resource must fit both.
        any_resource_ids: Of what it happened to, or of what it is related to.
        since: Occurred then or later.
        until: Occurred before.
    """

    names: tuple[str, ...] = ()
    name_prefixes: tuple[str, ...] = ()
    exclude_names: tuple[str, ...] = ()
    exclude_name_prefixes: tuple[str, ...] = ()
    ids: tuple[str, ...] = ()
    resource_ids: tuple[str, ...] = ()
    resource_id_prefixes: tuple[str, ...] = ()
    related_ids: tuple[str, ...] = ()
    related_roles: tuple[str, ...] = ()
    any_resource_ids: tuple[str, ...] = ()
    resource_labels: tuple[LabelCondition, ...] = ()
    related_labels: tuple[LabelCondition, ...] = ()
    since: datetime | None = None
    until: datetime | None = None


class CountBy(enum.StrEnum):
    """What is counted together."""

    DAY = "DAY"
    HOUR = "HOUR"
    MINUTE = "MINUTE"
    NAME = "NAME"
    RESOURCE = "RESOURCE"

    @property
    def seconds(self) -> int | None:
        """How long a span of time is; None where not time is counted by."""
        return {CountBy.DAY: 86_400, CountBy.HOUR: 3_600, CountBy.MINUTE: 60}.get(self)


@record
class EventCount:
    """How many events there are of one value, and when the first and the last occurred."""

    value: str
    count: int
    first_occurred: datetime
    last_occurred: datetime


def fits(event: Event, where: EventFilter) -> bool:
    """Say whether an event is one of those that are wanted."""
    return (
        _name_fits(event.name, where)
        and _time_fits(event.occurred, where)
        and (not where.ids or event.id in where.ids)
        and _resource_fits(event, where)
        and _related_fits(event, where)
    )


def _name_fits(name: str, where: EventFilter) -> bool:
    return (
        (not where.names or name in where.names)
        and (not where.name_prefixes or name.startswith(where.name_prefixes))
        and name not in where.exclude_names
        and not name.startswith(where.exclude_name_prefixes)
    )


def _time_fits(occurred: datetime, where: EventFilter) -> bool:
    return (where.since is None or occurred >= where.since) and (
        where.until is None or occurred < where.until
    )


def _resource_fits(event: Event, where: EventFilter) -> bool:
    id = event.resource_id
    if where.any_resource_ids:
        involved = {id, *(labels.get(RESOURCE_ID, "") for labels in event.related)}
        if involved.isdisjoint(where.any_resource_ids):
            return False
    return (
        (not where.resource_ids or id in where.resource_ids)
        and (not where.resource_id_prefixes or id.startswith(where.resource_id_prefixes))
        and labels_fit(event.resource, where.resource_labels)
    )


def _related_fits(event: Event, where: EventFilter) -> bool:
    ids, roles = where.related_ids, where.related_roles
    named = [
        labels
        for labels in event.related
        if (not ids or labels.get(RESOURCE_ID) in ids)
        and (not roles or labels.get(RESOURCE_ROLE) in roles)
    ]
    if (ids or roles) and not named:
        return False
    conditions = where.related_labels
    return not conditions or any(labels_fit(labels, conditions) for labels in event.related)


def labels_fit(labels: Labels, conditions: Iterable[LabelCondition]) -> bool:
    """Say whether labels fulfil all conditions."""
    return all(_value_fits(labels.get(each.key), each.values) for each in conditions)


def _value_fits(value: str | None, wanted: Sequence[str]) -> bool:
    refused = [pattern[1:] for pattern in wanted if pattern.startswith("!")]
    accepted = [pattern for pattern in wanted if not pattern.startswith("!")]
    if value is None:
        return not accepted  # what is not there is none of those that are refused
    if any(_matches(value, pattern) for pattern in refused):
        return False
    return not accepted or any(_matches(value, pattern) for pattern in accepted)


def _matches(value: str, pattern: str) -> bool:
    return value.startswith(pattern[:-1]) if pattern.endswith("*") else value == pattern


__all__ = [
    "EVENT_BYTES_MAX",
    "FLOW_RUN_PREFIX",
    "LABELS_MAX",
    "NAME_CHARACTERS_MAX",
    "RELATED_MAX",
    "RESOURCE_ID",
    "RESOURCE_NAME",
    "RESOURCE_ROLE",
    "TASK_RUN_PREFIX",
    "CountBy",
    "Event",
    "EventCount",
    "EventFilter",
    "LabelCondition",
    "Labels",
    "fits",
    "labels_fit",
]
