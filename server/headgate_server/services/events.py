"""Events: stored, listed and counted. Following them live is ``services.event_stream``."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from headgate.core import errors
from headgate.core.events import (
    EVENT_BYTES_MAX,
    LABELS_MAX,
    NAME_CHARACTERS_MAX,
    RELATED_MAX,
    RESOURCE_ID,
    RESOURCE_ROLE,
    CountBy,
    Event,
    EventCount,
    EventFilter,
    LabelCondition,
    Labels,
)
from headgate_server.domain.checks import Checks, parse_json
from headgate_server.storage.interface import Storage, Transaction
from headgate_server.storage.records import Page, PageRequest

EVENTS_MAX = 1_000
COUNTS_MAX = 10_000
_COUNTED = timedelta(days=7)
_VALUE_CHARACTERS_MAX = 2_048
#: How many values a field of a filter takes. Prefixes and conditions become a condition of the
#: database each, and nested too deeply it refuses them.
_VALUES_MAX: Mapping[str, int] = {
    "names": 1_000,
    "exclude_names": 1_000,
    "ids": 1_000,
    "resource_ids": 1_000,
    "related_ids": 100,
    "any_resource_ids": 100,
    "name_prefixes": 50,
    "exclude_name_prefixes": 50,
    "resource_id_prefixes": 50,
    "related_roles": 50,
    "resource_labels": 50,
    "related_labels": 50,
}
_NOT_COUNTED = ("related_roles", "resource_labels", "related_labels")


class EventService:
    """Use-cases of events.

    Args:
        storage: Where they are kept.
    """

    def __init__(self, storage: Storage) -> None:
        """Make it for a storage."""
        self._storage = storage

    async def write(self, events: Sequence[Event]) -> int:
        """Store events; returns after the COMMIT.

        Returns:
            How many were new.

        Raises:
            InvalidArgument: There are too many, or one is wrong.
        """
        checks = Checks()
        if len(events) > EVENTS_MAX:
            checks.add("events", f"{len(events)} are too many; send {EVENTS_MAX} at most.")
        for index, event in enumerate(events[:EVENTS_MAX]):
            _check_event(checks, f"events[{index}]", event)
        checks.raise_any()
        if not events:
            return 0
        return await self._storage.write(lambda tx: tx.events.append(events))

    async def list(
        self, where: EventFilter, page: PageRequest, *, ascending: bool = False
    ) -> Page[Event]:
        """List events by revision, the newest first; a page may be short of its size.

        Raises:
            InvalidArgument: The filter is wrong.
        """
        check_filter(where)
        return await self._storage.read(lambda tx: tx.events.list(where, page, ascending=ascending))

    async def count(self, where: EventFilter, by: CountBy) -> Sequence[EventCount]:
        """Count events of a span of time; of 7 days where it has no beginning.

        Raises:
            InvalidArgument: The filter is wrong, or has a field that cannot be counted by.
            FailedPrecondition: There are too many counts.
        """
        check_filter(where)
        checks = Checks()
        for name in _NOT_COUNTED:
            if getattr(where, name):
                checks.add(f"filter.{name}", "This cannot be counted by; list the events instead.")
        checks.raise_any()

        def query(tx: Transaction) -> Sequence[EventCount]:
            return tx.events.count(_with_span(where, tx.now()), by, COUNTS_MAX + 1)

        counts = await self._storage.read(query)
        if len(counts) > COUNTS_MAX:
            raise errors.FailedPrecondition(
                f"There are more than {COUNTS_MAX} counts; ask for a shorter span of time, or "
                "count by something else.",
                "event count",
                by.value,
            )
        return counts


def _with_span(where: EventFilter, now: datetime) -> EventFilter:
    if where.since is not None:
        return where
    try:
        return dataclasses.replace(where, since=(where.until or now) - _COUNTED)
    except OverflowError:  # until is in the year 1
        return where


# --- Checks ---------------------------------------------------------------------------------


def _check_event(checks: Checks, field: str, event: Event) -> None:
    checks.id(f"{field}.id", event.id)
    checks.optional_id(f"{field}.follows", event.follows)
    if not event.name.strip():
        checks.add(f"{field}.name", "A name is required, e.g. acme.order.shipped.")
    elif len(event.name) > NAME_CHARACTERS_MAX:
        checks.add(f"{field}.name", f"A name has at most {NAME_CHARACTERS_MAX} characters.")
    _check_labels(checks, f"{field}.resource", event.resource, RESOURCE_ID)
    if len(event.related) > RELATED_MAX:
        description = f"{len(event.related)} are too many; at most {RELATED_MAX} fit."
        checks.add(f"{field}.related", description)
    for index, labels in enumerate(event.related[:RELATED_MAX]):
        path = f"{field}.related[{index}].labels"
        _check_labels(checks, path, labels, RESOURCE_ID, RESOURCE_ROLE)
    size = event.size_bytes
    if size > EVENT_BYTES_MAX:
        checks.add(field, f"The event has {size} bytes; at most {EVENT_BYTES_MAX} fit.")
    elif not _is_json_object(event.payload):
        checks.add(f"{field}.payload", 'The payload is not a JSON object, such as {"count": 3}.')


def _is_json_object(text: str) -> bool:
    try:
        return isinstance(parse_json(text), dict)
    except ValueError:
        return False


def _check_labels(checks: Checks, field: str, labels: Labels, *required: str) -> None:
    for key in required:
        value = labels.get(key, "")
        if not value.strip():
            checks.add(field, f"The label {key!r} is required.")
        elif len(value) > _VALUE_CHARACTERS_MAX:
            checks.add(
                f"{field}[{key!r}]", f"The value has at most {_VALUE_CHARACTERS_MAX} characters."
            )
    if len(labels) > LABELS_MAX:
        checks.add(field, f"{len(labels)} labels are too many; at most {LABELS_MAX} fit.")


def check_filter(where: EventFilter) -> None:
    """Check a filter.

    Raises:
        InvalidArgument: It is wrong; the fields are named.
    """
    checks = Checks()
    for name, most in _VALUES_MAX.items():
        values: tuple[str | LabelCondition, ...] = getattr(where, name)
        field = f"filter.{name}"
        if len(values) > most:
            checks.add(field, f"{len(values)} are too many; at most {most} fit.")
        for index, value in enumerate(values[:most]):
            _check_value(checks, f"{field}[{index}]", value)
    checks.ids("filter.ids", where.ids[: _VALUES_MAX["ids"]])
    checks.raise_any()


def _check_value(checks: Checks, field: str, value: str | LabelCondition) -> None:
    if isinstance(value, str):
        if not value or len(value) > _VALUE_CHARACTERS_MAX:
            checks.add(field, f"A value has 1 to {_VALUE_CHARACTERS_MAX} characters.")
        return
    most = _VALUES_MAX["resource_labels"]
    if not value.key or not 1 <= len(value.values) <= most:
        checks.add(field, f"A condition has a key, and 1 to {most} values.")


__all__ = ["COUNTS_MAX", "EVENTS_MAX", "EventService", "check_filter"]
