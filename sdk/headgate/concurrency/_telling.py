"""Tells, as events, that slots were taken and given back."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence

from headgate.concurrency._keeper import Hold
from headgate.core import errors, events
from headgate.events.emitting import emit_event
from headgate.events.schemas import Event

PREFIX = "headgate.concurrency-limit."


def acquired(hold: Hold) -> list[Event]:
    """Tell that slots were taken, once for each limit; return the events."""
    if not hold.lease_id:
        return []
    names = [name for name in hold.want.names if name not in hold.missing_names]
    return [_tell("acquired", hold, name, names) for name in names]


def released(hold: Hold, taken: Sequence[Event]) -> None:
    """Tell that slots were given back that were taken with these events."""
    names = [event.resource.name or "" for event in taken]
    for name, event in zip(names, taken, strict=True):
        # What happened in between may have taken the server away; the slots are free all the same.
        with contextlib.suppress(errors.HeadgateError):
            _tell("released", hold, name, names, follows=event)


def _tell(
    verb: str, hold: Hold, name: str, names: Sequence[str], *, follows: Event | None = None
) -> Event:
    others = [other for other in names if other != name]
    return emit_event(
        PREFIX + verb,
        {**_resource(name), "slots-acquired": str(hold.want.slots)},
        related=[
            {**_resource(other), events.RESOURCE_ROLE: "concurrency-limit"} for other in others
        ],
        follows=follows,
    )


def _resource(name: str) -> Mapping[str, str]:
    return {events.RESOURCE_ID: PREFIX + name, events.RESOURCE_NAME: name}
