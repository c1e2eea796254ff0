"""Events as users write them, filter them, and catch them in tests."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from headgate.core import errors, ids
from headgate.core.clock import ManualClock, process_clock
from headgate.core.events import EVENT_BYTES_MAX
from headgate.events import (
    AssertingEventsClient,
    Event,
    EventAnyResourceFilter,
    EventFilter,
    EventNameFilter,
    EventOccurredFilter,
    EventRelatedFilter,
    EventResourceFilter,
    NullEventsClient,
    RelatedResource,
    Resource,
    capture_events,
    emit_event,
)

NOW = datetime(2026, 1, 1, tzinfo=UTC)
ORDER = {"headgate.resource.id": "acme.order.1"}
SHOP = {"headgate.resource.id": "acme.shop.1", "headgate.resource.role": "shop"}


@pytest.fixture(autouse=True)
def reset() -> Iterator[None]:
    AssertingEventsClient.reset()
    yield
    AssertingEventsClient.reset()


def make(**fields: Any) -> Event:
    given: dict[str, Any] = {"event": "acme.order.made", "resource": ORDER, "occurred": NOW}
    return Event(**{**given, **fields})


def test_an_event_has_what_is_not_given() -> None:
    one, two = (
        Event(event="x", resource=Resource(ORDER)),
        Event(event="x", resource=Resource(ORDER)),
    )
    assert ids.is_id(one.id)
    assert one.id != two.id
    assert one.occurred.tzinfo is not None
    assert (one.related, one.payload, one.follows) == ((), {}, None)


def test_resources_tell_their_id_name_and_role() -> None:
    event = make(resource={**ORDER, "headgate.resource.name": "One"}, related=[SHOP])
    assert (event.resource.id, event.resource.name) == ("acme.order.1", "One")
    assert event.resource_in_role["shop"].id == "acme.shop.1"
    assert list(event.resources_in_role) == ["shop"]
    assert [each.id for each in event.involved_resources] == ["acme.order.1", "acme.shop.1"]
    assert event.find_resource_label("headgate.resource.name") == "One"
    assert event.find_resource_label("shop:headgate.resource.id") == "acme.shop.1"
    assert event.find_resource_label("nobody:headgate.resource.id") is None


def test_labels_of_another_program_are_taken_for_ours() -> None:
    theirs = {"other.resource.id": "a", "other.resource.role": "b", "other.resource.name": "c"}
    resource = RelatedResource({**theirs, "colour": "red"})
    assert (resource.id, resource.role, resource.name) == ("a", "b", "c")
    assert resource["colour"] == "red"


@pytest.mark.parametrize("labels", [{}, {"headgate.resource.id": " "}, {"colour": "red"}])
def test_a_resource_without_id_is_refused(labels: dict[str, str]) -> None:
    with pytest.raises(errors.InvalidArgument, match=r"headgate\.resource\.id"):
        emit_event("x", labels)


def test_a_related_resource_without_role_is_refused() -> None:
    with pytest.raises(errors.InvalidArgument, match=r"headgate\.resource\.role"):
        emit_event("x", ORDER, related=[{"headgate.resource.id": "a"}])


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"event": " "}, "event"),
        ({"event": "x" * 1_025}, "event"),
        ({"related": [SHOP] * 101}, "related"),
        ({"resource": {**ORDER, **{str(n): "" for n in range(500)}}}, "resource"),
        ({"payload": {"x": "x" * EVENT_BYTES_MAX}}, "payload"),
        ({"payload": {"x": object()}}, "payload"),
        ({"payload": {"x": float("nan")}}, "payload"),
        ({"id": "seven"}, "id"),
    ],
)
def test_what_the_server_would_refuse_is_refused_where_it_is_emitted(
    fields: dict[str, Any], named: str
) -> None:
    given: dict[str, Any] = {"event": "x", "resource": ORDER, **fields}
    with capture_events() as captured, pytest.raises(errors.InvalidArgument) as caught:
        emit_event(**given)
    assert [each.field for each in caught.value.violations] == [named]
    assert captured.events == []


@dataclasses.dataclass
class Item:
    price: float


class Model:
    def model_dump(self, *, mode: str) -> dict[str, str]:
        return {"mode": mode}


def test_a_payload_may_have_what_people_have_at_hand() -> None:
    uuid = UUID(int=7)
    payload: dict[str, Any] = {
        "time": NOW,
        "id": uuid,
        "path": Path("a/b"),
        "set": {2, 1},
        "item": Item(1.5),
        "model": Model(),
    }
    again = Event.of_record(make(payload=payload).record())
    assert again.payload == {
        "time": NOW.isoformat(),
        "id": str(uuid),
        "path": "a/b",
        "set": [1, 2],
        "item": {"price": 1.5},
        "model": {"mode": "json"},
    }


def test_an_event_comes_back_from_its_record_as_it_was() -> None:
    event = make(related=[SHOP], payload={"n": 2**70}, follows=ids.new_id())
    assert Event.of_record(event.record()) == event


def test_a_time_without_zone_is_one_of_this_machine() -> None:
    assert make(occurred=datetime(2026, 1, 1)).occurred.tzinfo is not None  # noqa: DTZ001 - what users give


def test_an_event_follows_another_only_closely() -> None:
    with capture_events():
        first = emit_event("a", ORDER, occurred=NOW)
        near = emit_event("b", ORDER, occurred=NOW + timedelta(minutes=4), follows=first)
        far = emit_event("c", ORDER, occurred=NOW + timedelta(minutes=6), follows=first)
    assert (near.follows, far.follows) == (first.id, None)


def test_events_occur_by_the_clock_that_tests_move() -> None:
    process_clock.use(ManualClock(NOW))
    try:
        with capture_events():
            assert emit_event("a", ORDER).occurred == NOW
    finally:
        process_clock.__init__()


# --- Filters --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("where", "included"),
    [
        (EventFilter(), True),
        (EventFilter(event=EventNameFilter(prefix="acme.")), True),
        (EventFilter(event=EventNameFilter(exclude_prefix=["acme."])), False),
        (EventFilter(event=EventNameFilter(name="other")), False),
        (EventFilter(occurred=EventOccurredFilter(since=NOW)), True),
        (EventFilter(occurred=EventOccurredFilter(until=NOW)), False),
        (EventFilter(resource=EventResourceFilter(id="acme.order.1")), True),
        (EventFilter(resource=EventResourceFilter(labels={"colour": ["red", "b*"]})), True),
        (EventFilter(related=EventRelatedFilter(id="acme.shop.1", role="shop")), True),
        (EventFilter(related=EventRelatedFilter(resources_in_roles=[("acme.shop.1", "x")])), False),
        (
            EventFilter(related=EventRelatedFilter(resources_in_roles=[("acme.shop.1", "shop")])),
            True,
        ),
        (EventFilter(any_resource=EventAnyResourceFilter(id=["acme.shop.1"])), True),
        (EventFilter(any_resource=EventAnyResourceFilter(id_prefix="acme.shop")), True),
        (EventFilter(any_resource=EventAnyResourceFilter(id_prefix="acme.user")), False),
        (EventFilter(any_resource=EventAnyResourceFilter(labels={"colour": "blue"})), True),
        (EventFilter(any_resource=EventAnyResourceFilter(labels={"colour": "red"})), False),
    ],
)
def test_a_filter_includes_or_excludes(where: EventFilter, included: bool) -> None:
    event = make(resource={**ORDER, "colour": "blue"}, related=[SHOP])
    assert where.includes(event) is included
    assert where.excludes(event) is not included


# --- Clients for tests ----------------------------------------------------------------------


def test_captured_events_can_be_asserted() -> None:
    with capture_events() as captured:
        emit_event("acme.order.made", ORDER, related=[SHOP], payload={"n": 1, "m": 2})
    assert [each.event for each in captured.events] == ["acme.order.made"]
    AssertingEventsClient.assert_emitted_event_count(1)
    AssertingEventsClient.assert_emitted_event_with(
        event="acme.order.made",
        resource=ORDER,
        related=[{"headgate.resource.id": "acme.shop.1"}],
        payload={"n": 1},
    )
    with pytest.raises(AssertionError, match=r"acme\.order\.made of acme\.order\.1"):
        AssertingEventsClient.assert_emitted_event_with(event="acme.order.lost")
    with pytest.raises(AssertionError, match="1 events were emitted, not 2"):
        AssertingEventsClient.assert_emitted_event_count(2)


async def test_clients_for_tests_take_events_as_the_real_one_does() -> None:
    async with AssertingEventsClient() as client:
        event = await client.emit(make())
        with pytest.raises(errors.InvalidArgument):
            await client.emit(make(event=""))
    assert client.events == [event]
    assert AssertingEventsClient.last is client
    async with NullEventsClient() as nowhere:
        assert await nowhere.emit(event) is event


def test_emitting_loads_neither_grpc_nor_pydantic_in_the_thread_that_emits() -> None:
    code = (
        "import sys\n"
        "from headgate.events import capture_events, emit_event\n"
        "with capture_events(): emit_event('a', {'headgate.resource.id': 'b'})\n"
        "print([m for m in ('grpc', 'pydantic', 'sqlalchemy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
