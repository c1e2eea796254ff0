"""Events: tell what happened, hear what happens.

::

    from headgate.events import emit_event

    emit_event("acme.order.shipped", resource={"headgate.resource.id": "acme.order.42"})

Emitting takes microseconds and never waits: a thread sends events in batches. Every state that a
run enters is an event, too: ``headgate.flow-run.Completed``.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from headgate.events.clients import (
        AssertingEventsClient,
        EventsClient,
        NullEventsClient,
        capture_events,
        get_events_client,
    )
    from headgate.events.emitting import dropped_event_count, emit_event, flush_events
    from headgate.events.filters import (
        EventAnyResourceFilter,
        EventFilter,
        EventIdFilter,
        EventNameFilter,
        EventOccurredFilter,
        EventRelatedFilter,
        EventResourceFilter,
        ResourceSpecification,
    )
    from headgate.events.schemas import Event, RelatedResource, Resource
    from headgate.events.subscribers import EventSubscriber, get_events_subscriber

__all__ = [
    "AssertingEventsClient",
    "Event",
    "EventAnyResourceFilter",
    "EventFilter",
    "EventIdFilter",
    "EventNameFilter",
    "EventOccurredFilter",
    "EventRelatedFilter",
    "EventResourceFilter",
    "EventSubscriber",
    "EventsClient",
    "NullEventsClient",
    "RelatedResource",
    "Resource",
    "ResourceSpecification",
    "capture_events",
    "dropped_event_count",
    "emit_event",
    "flush_events",
    "get_events_client",
    "get_events_subscriber",
]

_HOMES = {
    "clients": (
        "AssertingEventsClient",
        "EventsClient",
        "NullEventsClient",
        "capture_events",
        "get_events_client",
    ),
    "emitting": ("dropped_event_count", "emit_event", "flush_events"),
    "filters": (
        "EventAnyResourceFilter",
        "EventFilter",
        "EventIdFilter",
        "EventNameFilter",
        "EventOccurredFilter",
        "EventRelatedFilter",
        "EventResourceFilter",
        "ResourceSpecification",
    ),
    "schemas": ("Event", "RelatedResource", "Resource"),
    "subscribers": ("EventSubscriber", "get_events_subscriber"),
}
_MODULE_OF = {name: module for module, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    module = _MODULE_OF.get(name)
    if module is None:
        msg = f"module 'headgate.events' has no attribute {name!r}"
        raise AttributeError(msg)
    value = getattr(importlib.import_module(f"headgate.events.{module}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
