"""Which events fit a filter."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from headgate.core.events import CountBy, Event, EventFilter, LabelCondition, fits

NOW = datetime(2026, 1, 1, tzinfo=UTC)
EVENT = Event(
    id="1",
    name="acme.order.shipped",
    occurred=NOW,
    resource={"headgate.resource.id": "acme.order.7", "colour": "red", "size": "xl"},
    related=(
        {"headgate.resource.id": "acme.shop.1", "headgate.resource.role": "shop", "town": "Ulm"},
        {"headgate.resource.id": "acme.user.2", "headgate.resource.role": "buyer"},
    ),
)


def label(key: str, *values: str) -> tuple[LabelCondition, ...]:
    return (LabelCondition(key=key, values=values),)


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ({}, True),
        ({"names": ("acme.order.shipped", "x")}, True),
        ({"names": ("acme.order",)}, False),
        ({"name_prefixes": ("x.", "acme.")}, True),
        ({"name_prefixes": ("order",)}, False),
        ({"exclude_names": ("acme.order.shipped",)}, False),
        ({"exclude_name_prefixes": ("acme.order",)}, False),
        ({"exclude_name_prefixes": ("acme.user",)}, True),
        ({"ids": ("1",)}, True),
        ({"ids": ("2",)}, False),
        ({"resource_ids": ("acme.order.7",)}, True),
        ({"resource_ids": ("acme.shop.1",)}, False),
        ({"resource_id_prefixes": ("acme.order.",)}, True),
        ({"resource_id_prefixes": ("acme.shop.",)}, False),
        ({"related_ids": ("acme.shop.1",)}, True),
        ({"related_ids": ("acme.order.7",)}, False),
        ({"related_roles": ("buyer",)}, True),
        ({"related_ids": ("acme.shop.1",), "related_roles": ("buyer",)}, False),
        ({"related_ids": ("acme.user.2",), "related_roles": ("buyer",)}, True),
        ({"any_resource_ids": ("acme.order.7",)}, True),
        ({"any_resource_ids": ("acme.user.2",)}, True),
        ({"any_resource_ids": ("acme.user.3",)}, False),
        ({"resource_labels": label("colour", "red", "green")}, True),
        ({"resource_labels": label("colour", "r*")}, True),
        ({"resource_labels": label("colour", "!red")}, False),
        ({"resource_labels": label("colour", "!gr*")}, True),
        ({"resource_labels": label("colour", "!green", "blue")}, False),
        ({"resource_labels": label("weight", "1")}, False),
        ({"resource_labels": label("weight", "!1")}, True),
        ({"resource_labels": (*label("colour", "red"), *label("size", "s"))}, False),
        ({"related_labels": label("town", "Ulm")}, True),
        ({"related_labels": label("colour", "red")}, False),
        ({"since": NOW}, True),
        ({"since": NOW + timedelta(seconds=1)}, False),
        ({"until": NOW}, False),
        ({"until": NOW + timedelta(seconds=1)}, True),
    ],
)
def test_an_event_fits_or_not(where: dict[str, Any], expected: bool):
    assert fits(EVENT, EventFilter(**where)) is expected


def test_an_event_without_related_resources_has_none_of_any_kind():
    alone = Event(id="1", name="x", occurred=NOW, resource={"headgate.resource.id": "x"})
    assert not fits(alone, EventFilter(related_roles=("buyer",)))
    assert not fits(alone, EventFilter(related_labels=label("town", "!Ulm")))


def test_spans_of_time_have_a_length_and_the_rest_has_none():
    assert [by.seconds for by in CountBy] == [86_400, 3_600, 60, None, None]


def test_the_size_of_an_event_counts_all_its_texts_in_bytes():
    small = Event(id="1", name="é", occurred=NOW, resource={"k": "v"}, related=({"a": "b"},))
    assert small.size_bytes == 2 + 2 + 1 + 1 + 1 + 1
