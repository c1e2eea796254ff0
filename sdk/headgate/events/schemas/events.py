"""Events, where users of the incumbent look for them."""

from __future__ import annotations

from headgate.events.filters import ResourceSpecification
from headgate.events.schemas import Event, RelatedResource, Resource

#: An event that came from the server; it is as one that was made here.
ReceivedEvent = Event

__all__ = ["Event", "ReceivedEvent", "RelatedResource", "Resource", "ResourceSpecification"]
