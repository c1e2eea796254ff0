from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from headgate.core import errors
from headgate.core.events import Event, EventFilter
from tests.unit.cli.conftest import NOW, RUN_ID, Command, FakeClient


def an_event(**fields: Any) -> Event:
    given: dict[str, Any] = {
        "id": RUN_ID,
        "name": "acme.order.made",
        "occurred": NOW - timedelta(seconds=5),
        "resource": {"headgate.resource.id": "acme.order.1", "headgate.resource.name": "One"},
        "payload": '{"n": 1}',
        **fields,
    }
    return Event(**given)


def test_ls_shows_events_and_asks_for_those_that_fit(headgate: Command, client: FakeClient):
    client.answers["read_events"] = [an_event()]
    _, line = headgate("events", "ls", "--prefix", "acme.", "--since", "1h").splitlines()
    assert line.split() == ["5.0", "s", "ago", "acme.order.made", "One", "acme.order.1"]
    expected = EventFilter(name_prefixes=("acme.",), since=NOW - timedelta(hours=1))
    assert client.asked("read_events") == ((expected,), {"limit": 20})


def test_ls_for_programs_has_the_payload_as_a_value(headgate: Command, client: FakeClient):
    client.answers["read_events"] = [an_event()]
    (shown,) = json.loads(headgate("events", "ls", "-o", "json"))
    assert shown["payload"] == {"n": 1}
    assert shown["resource"]["headgate.resource.id"] == "acme.order.1"


def test_stream_shows_a_line_per_event(headgate: Command, client: FakeClient):
    client.answers["subscribe_events"] = [an_event(), an_event(resource={}, name="other")]
    first, second = headgate("events", "stream", "--resource", "acme.order.1").splitlines()
    assert first.split()[1:] == ["acme.order.made", "One"]
    assert second.split()[1:] == ["other"]
    expected = EventFilter(any_resource_ids=("acme.order.1",))
    assert client.asked("subscribe_events") == ((expected,), {})


def test_stream_may_end_after_the_first_and_write_json(headgate: Command, client: FakeClient):
    client.answers["subscribe_events"] = [an_event(), an_event()]
    (line,) = headgate("events", "stream", "--run-once", "--format", "json").splitlines()
    assert json.loads(line)["name"] == "acme.order.made"


def test_stream_appends_to_a_file(headgate: Command, client: FakeClient, tmp_path: Path):
    file = tmp_path / "events.jsonl"
    client.answers["subscribe_events"] = [an_event()]
    for _ in range(2):
        assert headgate("events", "stream", "--format", "json", "-o", str(file)) == ""
    assert len(file.read_text("utf-8").splitlines()) == 2


def test_stream_to_a_file_that_cannot_be_is_told(
    headgate: Command, client: FakeClient, tmp_path: Path
):
    said = headgate("events", "stream", "-o", str(tmp_path / "no" / "file"), code=1)
    assert "cannot be written" in said


def test_emit_stores_an_event(headgate: Command, client: FakeClient):
    client.answers["write_events"] = 1
    said = headgate(
        "events",
        "emit",
        "acme.order.made",
        "--resource-id",
        "acme.order.1",
        "--resource",
        "colour=red",
        "--resource",
        '{"size": "xl"}',
        "--related",
        '[{"headgate.resource.id": "acme.shop", "headgate.resource.role": "shop"}]',
        "--payload",
        '{"n": 1}',
    )
    ((record,),) = client.asked("write_events")[0]
    assert record.id in said
    assert record.resource == {
        "headgate.resource.id": "acme.order.1",
        "colour": "red",
        "size": "xl",
    }
    assert record.related[0]["headgate.resource.role"] == "shop"
    assert json.loads(record.payload) == {"n": 1}
    assert record.occurred == NOW


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--payload", "[1]"], "--payload"),
        (["--payload", "{"], "no JSON"),
        (["--related", "{}"], "--related"),
        (["--related", "[1]"], "--related"),
        (["--resource", "nonsense"], "KEY=VALUE"),
    ],
)
def test_emit_says_what_is_wrong_with_its_options(
    headgate: Command, client: FakeClient, options: list[str], said: str
):
    assert said in headgate("events", "emit", "x", "--resource-id", "a", *options, code=2)


def test_emit_without_a_resource_is_told_what_lacks(headgate: Command, client: FakeClient):
    with pytest.raises(errors.InvalidArgument, match=r"headgate\.resource\.id"):
        headgate("events", "emit", "x")
