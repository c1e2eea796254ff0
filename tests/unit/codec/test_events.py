"""Events, filters and counts go to the wire and come back whole."""

import dataclasses
from typing import Any

import pytest

from headgate.api.v1 import event_pb2
from headgate.codec import events as codec
from headgate.core import errors
from headgate.core.events import CountBy, Event, EventCount, EventFilter, LabelCondition
from tests.unit.codec.records import LATER, NOW

EVENT = Event(
    id="event",
    name="acme.made",
    occurred=NOW,
    resource={"headgate.resource.id": "a", "colour": "red"},
    related=({"headgate.resource.id": "b", "headgate.resource.role": "c"},),
    payload='{"n":1}',
    follows="before",
    revision=7,
    commit_time=LATER,
)
FILTER = EventFilter(
    names=("a",),
    name_prefixes=("b",),
    exclude_names=("c",),
    exclude_name_prefixes=("d",),
    ids=("e",),
    resource_ids=("f",),
    resource_id_prefixes=("g",),
    related_ids=("h",),
    related_roles=("i",),
    any_resource_ids=("j",),
    resource_labels=(LabelCondition(key="k", values=("l", "!m")),),
    related_labels=(LabelCondition(key="n", values=("o*",)),),
    since=NOW,
    until=LATER,
)
COUNT = EventCount(value="a", count=3, first_occurred=NOW, last_occurred=LATER)
PAIRS: list[tuple[Any, Any, Any]] = [
    (EVENT, codec.event_to_proto, codec.event_from_proto),
    (FILTER, codec.filter_to_proto, codec.filter_from_proto),
    (COUNT, codec.event_count_to_proto, codec.event_count_from_proto),
]


@pytest.mark.parametrize(("record", "encode", "decode"), PAIRS)
def test_a_full_record_comes_back_whole(record: Any, encode: Any, decode: Any):
    for field in dataclasses.fields(record):
        assert getattr(record, field.name) != field.default, f"{field.name} is not tested"
    assert decode(encode(record)) == record


def test_a_bare_event_and_an_empty_filter_come_back_as_they_were():
    bare = Event(id="e", name="n", occurred=NOW, resource={})
    assert codec.event_from_proto(codec.event_to_proto(bare)) == bare
    assert codec.filter_from_proto(codec.filter_to_proto(EventFilter())) == EventFilter()


def test_a_payload_that_is_not_sent_is_an_empty_object():
    assert codec.event_from_proto(event_pb2.Event(id="e")).payload == "{}"


@pytest.mark.parametrize("by", CountBy)
def test_everything_to_count_by_has_its_value_on_the_wire(by: CountBy):
    assert codec.count_by_from_proto(codec.COUNT_BY_TO_PROTO[by]) is by


@pytest.mark.parametrize("value", [0, 99])
def test_nothing_to_count_by_is_refused(value: int):
    with pytest.raises(errors.InvalidArgument, match="by: "):
        codec.count_by_from_proto(value)
