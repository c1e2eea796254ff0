"""Which events one wants to hear of."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import TypeAlias

from headgate.core import events
from headgate.events.schemas import Event

__all__ = [
    "EventAnyResourceFilter",
    "EventFilter",
    "EventIDFilter",
    "EventIdFilter",
    "EventNameFilter",
    "EventOccurredFilter",
    "EventOrder",
    "EventRelatedFilter",
    "EventResourceFilter",
    "ResourceSpecification",
]

#: Labels and what they are to be: one value or several. A value that ends with ``*`` stands for
#: all that start like it, one that starts with ``!`` excludes what follows.
ResourceSpecification: TypeAlias = Mapping[str, str | Sequence[str]]


class EventOrder(enum.Enum):
    """In which order events are listed."""

    ASC = "ASC"
    DESC = "DESC"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class EventOccurredFilter:
    """By time.

    Attributes:
        since: Then or later.
        until: Before.
    """

    since: datetime | None = None
    until: datetime | None = None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class EventNameFilter:
    """By name; each field takes one text or several, joined by "or".

    Attributes:
        prefix: The name starts with one of these.
        exclude_prefix: It does not start with any of these.
        name: It is one of these.
        exclude_name: It is none of these.
    """

    prefix: Sequence[str] | str | None = None
    exclude_prefix: Sequence[str] | str | None = None
    name: Sequence[str] | str | None = None
    exclude_name: Sequence[str] | str | None = None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class EventResourceFilter:
    """By what it happened to.

    Attributes:
        id: One of these resources.
        id_prefix: One whose id starts with one of these.
        labels: One with all of these labels.
    """

    id: Sequence[str] | str | None = None
    id_prefix: Sequence[str] | str | None = None
    labels: ResourceSpecification | None = None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class EventRelatedFilter:
    """By what it is related to.

    Attributes:
        id: One of these resources.
        role: A resource in one of these roles; with ``id``, one that fits both.
        resources_in_roles: One of these pairs of an id and a role.
        labels: A resource with all of these labels.
    """

    id: Sequence[str] | str | None = None
    role: Sequence[str] | str | None = None
    resources_in_roles: Sequence[tuple[str, str]] | None = None
    labels: ResourceSpecification | None = None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class EventAnyResourceFilter:
    """By what it happened to, or is related to.

    Attributes:
        id: One of these resources.
        id_prefix: One whose id starts with one of these.
        labels: One with all of these labels.
    """

    id: Sequence[str] | str | None = None
    id_prefix: Sequence[str] | str | None = None
    labels: ResourceSpecification | None = None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class EventIdFilter:
    """By the id of the event.

    Attributes:
        id: One of these.
    """

    id: Sequence[str] | str | None = None


#: The same, as users of the incumbent write it.
EventIDFilter = EventIdFilter


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class EventFilter:
    """Which events. What is given is joined by "and".

    Attributes:
        occurred: When they occurred.
        event: What happened.
        resource: To what.
        related: What they are related to.
        any_resource: What they involve in whatever way.
        id: Which they are.
    """

    occurred: EventOccurredFilter = EventOccurredFilter()
    event: EventNameFilter | None = None
    resource: EventResourceFilter | None = None
    related: EventRelatedFilter | None = None
    any_resource: EventAnyResourceFilter | None = None
    id: EventIdFilter | None = None

    def includes(self, event: Event) -> bool:
        """Say whether an event is one of these."""
        return events.fits(event.record(), self.record()) and self.fits_finely(event)

    def excludes(self, event: Event) -> bool:
        """Say whether an event is none of these."""
        return not self.includes(event)

    def record(self) -> events.EventFilter:
        """Return it as it is sent; ``fits_finely`` looks at what the server does not."""
        name = self.event or EventNameFilter()
        resource = self.resource or EventResourceFilter()
        related = self.related or EventRelatedFilter()
        pairs = related.resources_in_roles or ()
        return events.EventFilter(
            names=_texts(name.name),
            name_prefixes=_texts(name.prefix),
            exclude_names=_texts(name.exclude_name),
            exclude_name_prefixes=_texts(name.exclude_prefix),
            ids=_texts(self.id.id if self.id else None),
            resource_ids=_texts(resource.id),
            resource_id_prefixes=_texts(resource.id_prefix),
            related_ids=_texts(related.id) or tuple(id for id, _ in pairs),
            related_roles=_texts(related.role),
            any_resource_ids=_texts(self.any_resource.id if self.any_resource else None),
            resource_labels=_conditions(resource.labels),
            related_labels=_conditions(related.labels),
            since=self.occurred.since,
            until=self.occurred.until,
        )

    def fits_finely(self, event: Event) -> bool:
        """Say whether an event fits what the server does not look at."""
        if self.related is not None and self.related.resources_in_roles is not None:
            pairs = set(self.related.resources_in_roles)
            if pairs.isdisjoint((each.id, each.role) for each in event.related):
                return False
        wanted = self.any_resource
        if wanted is None or (wanted.id_prefix is None and wanted.labels is None):
            return True
        prefixes, conditions = _texts(wanted.id_prefix), _conditions(wanted.labels)
        return any(
            (not prefixes or each.id.startswith(prefixes)) and events.labels_fit(each, conditions)
            for each in event.involved_resources
        )


def _texts(values: Iterable[str] | str | None) -> tuple[str, ...]:
    if values is None:
        return ()
    return (values,) if isinstance(values, str) else tuple(str(value) for value in values)


def _conditions(labels: ResourceSpecification | None) -> tuple[events.LabelCondition, ...]:
    return tuple(
        events.LabelCondition(key=key, values=_texts(values))
        for key, values in (labels or {}).items()
    )
