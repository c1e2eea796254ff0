"""Events as users write and read them."""

from __future__ import annotations

import dataclasses
import enum
import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import PurePath
from typing import Any, Self, cast
from uuid import UUID

from headgate.core import errors, ids
from headgate.core import events as core_events
from headgate.core.clock import process_clock

__all__ = ["Event", "RelatedResource", "Resource"]

_ID_SUFFIX = ".resource.id"


class Resource(dict[str, str]):
    """Something that events are about: labels, of which ``headgate.resource.id`` is required.

    Labels that name id, name and role under another program's prefix, as in
    ``other.resource.id``, are taken for ours, so that code moves over as it is.
    """

    def __init__(self, labels: Mapping[str, Any]) -> None:
        """Make a resource of labels; values become texts.

        Raises:
            InvalidArgument: There is no id.
        """
        if not isinstance(labels, Mapping):
            raise _invalid("resource", f"{labels!r} is no dictionary of labels; use one.")
        super().__init__({str(key): str(value) for key, value in labels.items()})
        if core_events.RESOURCE_ID not in self:
            self._adopt()
        self._require(core_events.RESOURCE_ID)

    @property
    def id(self) -> str:
        """What tells it apart from all others."""
        return self[core_events.RESOURCE_ID]

    @property
    def name(self) -> str | None:
        """What people call it."""
        return self.get(core_events.RESOURCE_NAME)

    def _adopt(self) -> None:
        found = [key for key in self if key.endswith(_ID_SUFFIX)]
        if len(found) != 1:
            return
        prefix = found[0].removesuffix("id")
        for ours in (core_events.RESOURCE_ID, core_events.RESOURCE_NAME, core_events.RESOURCE_ROLE):
            theirs = prefix + ours.rpartition(".")[2]
            if theirs in self:
                self[ours] = self.pop(theirs)

    def _require(self, key: str) -> None:
        if not self.get(key, "").strip():
            msg = f"{dict(self)!r} lacks the label {key!r}; add it, e.g. {{{key!r}: 'acme.order'}}."
            raise errors.InvalidArgument.of("resource", msg)


class RelatedResource(Resource):
    """Something that an event has to do with, in a role: ``headgate.resource.role``."""

    def __init__(self, labels: Mapping[str, Any]) -> None:
        """Make a resource of labels; values become texts.

        Raises:
            InvalidArgument: There is no id or no role.
        """
        super().__init__(labels)
        self._require(core_events.RESOURCE_ROLE)

    @property
    def role(self) -> str:
        """In what capacity it is related."""
        return self[core_events.RESOURCE_ROLE]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that happened to something.

    Attributes:
        event: What happened, e.g. ``acme.order.shipped``; at most 1,024 characters.
        resource: What it happened to; at most 500 labels.
        related: What else it has to do with; at most 100.
        payload: More about it; what JSON takes, and times, UUIDs, paths, sets and models.
        occurred: When, with a time zone. Default: now.
        id: UUID text. Default: a new one.
        follows: The id of the event that this one came after.
        revision: Of an event that was read: its place in the journal.
        received: Of an event that was read: when the server stored it.

    Raises:
        InvalidArgument: It is too large, or a part is missing or wrong; the part is named.
    """

    event: str
    resource: Resource
    related: Sequence[RelatedResource] = ()
    payload: Mapping[str, Any] = dataclasses.field(default_factory=dict[str, Any])
    occurred: datetime = dataclasses.field(default_factory=lambda: process_clock.now())
    id: str = dataclasses.field(default_factory=ids.new_id)
    follows: str | None = None
    revision: int = 0
    received: datetime | None = None

    def __post_init__(self) -> None:
        """Turn what was given into what it shall be."""
        related = tuple(_as(RelatedResource, labels) for labels in self.related)
        for name, value in (
            ("resource", _as(Resource, self.resource)),
            ("related", related),
            ("id", str(self.id)),
            ("follows", None if self.follows is None else str(self.follows)),
            ("occurred", _aware(self.occurred)),
        ):
            object.__setattr__(self, name, value)

    @property
    def involved_resources(self) -> Sequence[Resource]:
        """What it happened to, then what it is related to."""
        return [self.resource, *self.related]

    @property
    def resource_in_role(self) -> Mapping[str, RelatedResource]:
        """By role, the first related resource in it."""
        return {each.role: each for each in reversed(self.related)}

    @property
    def resources_in_role(self) -> Mapping[str, Sequence[RelatedResource]]:
        """By role, the related resources in it."""
        found: dict[str, list[RelatedResource]] = {}
        for each in self.related:
            found.setdefault(each.role, []).append(each)
        return found

    def find_resource_label(self, label: str) -> str | None:
        """Return a label of the resource; with ``role:label``, of the related one in that role."""
        if label in self.resource:
            return self.resource[label]
        role, _, rest = label.partition(":")
        found = self.resource_in_role.get(role)
        return None if found is None else found.get(rest)

    def record(self) -> core_events.Event:
        """Return it as it is sent.

        Raises:
            InvalidArgument: It is too large, or a part is wrong; the part is named.
        """
        made = core_events.Event(
            id=self.id,
            name=self.event,
            occurred=self.occurred,
            resource=dict(self.resource),
            related=tuple(dict(labels) for labels in self.related),
            payload=_to_json(self.payload),
            follows=self.follows,
        )
        _check(made)
        return made

    @classmethod
    def of_record(cls, record: core_events.Event) -> Self:
        """Make it of what was received."""
        return cls(
            event=record.name,
            resource=Resource(record.resource),
            related=[RelatedResource(labels) for labels in record.related],
            payload=json.loads(record.payload),
            occurred=record.occurred,
            id=record.id,
            follows=record.follows,
            revision=record.revision,
            received=record.commit_time,
        )


def _as(kind: type[Resource], labels: Mapping[str, Any]) -> Resource:
    return labels if type(labels) is kind else kind(labels)


def _aware(moment: datetime) -> datetime:
    """Take a time without a zone for one of this machine's, as Python does."""
    if not isinstance(moment, datetime):
        raise _invalid("occurred", f"{moment!r} is no time; use a datetime.")
    return moment if moment.tzinfo is not None else moment.astimezone()


def _check(event: core_events.Event) -> None:
    """Refuse here what the server would refuse, while the caller is there to be told."""
    for field, value in (("id", event.id), ("follows", event.follows)):
        if value is not None and not ids.is_id(value):
            raise _invalid(field, f"{value!r} is no id; use UUID text in lower case.")
    if not isinstance(event.name, str):
        raise _invalid("event", f"{event.name!r} is no name; use a text.")
    if not event.name.strip() or len(event.name) > core_events.NAME_CHARACTERS_MAX:
        limit = core_events.NAME_CHARACTERS_MAX
        raise _invalid("event", f"The name must have 1 to {limit} characters; shorten it.")
    if len(event.related) > core_events.RELATED_MAX:
        limit = core_events.RELATED_MAX
        raise _invalid("related", f"{len(event.related)} are too many; at most {limit} fit.")
    for labels in (event.resource, *event.related):
        if len(labels) > core_events.LABELS_MAX:
            limit = core_events.LABELS_MAX
            raise _invalid("resource", f"{len(labels)} labels are too many; at most {limit} fit.")
    if event.size_bytes > core_events.EVENT_BYTES_MAX:
        raise _invalid(
            "payload",
            f"The event has {event.size_bytes} bytes, and {core_events.EVENT_BYTES_MAX} fit; "
            "store the data elsewhere and send a reference.",
        )


def _to_json(payload: Mapping[str, Any]) -> str:
    try:
        return json.dumps(
            payload, default=_plain, ensure_ascii=False, allow_nan=False, separators=(",", ":")
        )
    except (TypeError, ValueError, RecursionError) as problem:
        msg = f"It cannot be written as JSON ({problem}); give dictionaries, lists, texts, numbers."
        raise _invalid("payload", msg) from problem


def _plain(value: Any) -> Any:
    match value:
        case datetime():
            return value.isoformat()
        case UUID() | PurePath():
            return str(value)
        case enum.Enum():
            return value.value
        case set() | frozenset():
            return sorted(cast("set[Any]", value), key=repr)
        case Mapping():
            return dict(cast("Mapping[str, Any]", value))
        case _ if dataclasses.is_dataclass(value) and not isinstance(value, type):
            return {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
        case _ if hasattr(value, "model_dump"):  # a pydantic model, without loading pydantic
            return value.model_dump(mode="json")
        case _:
            msg = f"{type(value).__name__} is no JSON type"
            raise TypeError(msg)


def _invalid(field: str, description: str) -> errors.InvalidArgument:
    return errors.InvalidArgument.of(field, description)
