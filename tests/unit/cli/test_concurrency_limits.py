"""``headgate gcl`` and ``headgate concurrency-limit``."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest

from headgate.core.concurrency import ConcurrencyLimit, SlotHolder, SlotLease
from tests.unit.cli.conftest import NOW, RUN_ID, Command, FakeClient


def a_limit(**changes: Any) -> ConcurrencyLimit:
    fields: dict[str, Any] = {
        "id": "l",
        "name": "database",
        "limit": 5,
        "create_time": NOW,
        "update_time": NOW,
        **changes,
    }
    return ConcurrencyLimit(**fields)


def a_lease(**changes: Any) -> SlotLease:
    fields: dict[str, Any] = {
        "id": "lease",
        "concurrency_limit_names": ("database",),
        "slots": 1,
        "holder": SlotHolder(type="task_run", id=RUN_ID),
        "acquire_time": NOW - timedelta(minutes=3),
        "expire_time": NOW,
        **changes,
    }
    return SlotLease(**fields)


@pytest.mark.parametrize("group", ["gcl", "global-concurrency-limit"])
def test_ls_shows_what_is_in_use(headgate: Command, client: FakeClient, group: str):
    client.answers["read_global_concurrency_limits"] = [
        a_limit(active_slots=3, waiting=2),
        a_limit(name="api", active=False, slot_decay_per_second=0.5),
    ]
    _, first, second = headgate(group, "ls").splitlines()
    assert first.split()[:5] == ["database", "active", "5", "3", "2"]
    assert second.split()[:6] == ["api", "disabled", "5", "0", "0", "0.5"]
    shown = json.loads(headgate(group, "ls", "-o", "json"))
    assert [limit["active_slots"] for limit in shown] == [3, 0]


def test_inspect_shows_who_holds_and_who_waits(headgate: Command, client: FakeClient):
    client.answers["read_global_concurrency_limit_by_name"] = a_limit(active_slots=2, waiting=1)
    client.answers["read_slot_leases"] = [
        a_lease(slots=2),
        a_lease(waiting=True, holder=SlotHolder()),
    ]
    shown = headgate("gcl", "inspect", "database")
    assert f"task run {RUN_ID}: 2 slots, since 180 s ago" in shown or "3 min ago" in shown
    assert "somebody: 1 slot, waiting since" in shown
    assert client.asked("read_slot_leases") == (("database",), {"include_waiting": True})
    facts = json.loads(headgate("gcl", "inspect", "database", "-o", "json"))
    assert facts["active_slots"] == 2
    assert [holder["waiting"] for holder in facts["holders"]] == [False, True]


def test_create_says_what_to_import(headgate: Command, client: FakeClient):
    client.answers["create_global_concurrency_limit"] = a_limit()
    assert "import concurrency" in headgate("gcl", "create", "database", "--limit", "5")
    rate = ("gcl", "create", "api", "-l", "5", "--slot-decay-per-second", "0.5", "--disable")
    assert "import rate_limit" in headgate(*rate)
    assert client.asked("create_global_concurrency_limit") == (
        ("api", 5),
        {"active": False, "slot_decay_per_second": 0.5},
    )


def test_update_changes_what_is_given(headgate: Command, client: FakeClient):
    client.answers["update_global_concurrency_limit"] = a_limit()
    headgate("gcl", "update", "database", "--limit", "0")
    assert client.asked("update_global_concurrency_limit")[1] == {
        "limit": 0,
        "active": None,
        "slot_decay_per_second": None,
    }
    assert "--limit" in headgate("gcl", "update", "database", code=2)


@pytest.mark.parametrize(("verb", "active"), [("enable", True), ("disable", False)])
def test_enable_and_disable(headgate: Command, client: FakeClient, verb: str, active: bool):
    client.answers["update_global_concurrency_limit"] = a_limit()
    assert "database" in headgate("gcl", verb, "database")
    asked = client.asked("update_global_concurrency_limit")
    assert asked == (("database",), {"active": active})


@pytest.mark.parametrize(
    ("arguments", "call", "asked"),
    [
        (("gcl", "delete"), "delete_global_concurrency_limit_by_name", ("x",)),
        (("gcl", "reset"), "reset_global_concurrency_limit_by_name", ("x",)),
        (("concurrency-limit", "delete"), "delete_concurrency_limit_by_tag", ("x",)),
        (("concurrency-limit", "reset"), "reset_concurrency_limit_by_tag", ("x",)),
    ],
)
def test_delete_and_reset(
    headgate: Command, client: FakeClient, arguments: Any, call: str, asked: Any
):
    client.answers[call] = None
    assert "'x'" in headgate(*arguments, "x")
    assert client.asked(call)[0] == asked


def test_a_tag_is_limited(headgate: Command, client: FakeClient):
    client.answers["create_concurrency_limit"] = a_limit()
    assert "At most 3 task runs" in headgate("concurrency-limit", "create", "db", "3")
    assert client.asked("create_concurrency_limit")[0] == ("db", 3)
    headgate("concurrency-limit", "create", "db", "many", code=2)


def test_tags_are_listed_without_their_prefix(headgate: Command, client: FakeClient):
    client.answers["read_concurrency_limits"] = [a_limit(name="tag:db", active_slots=1)]
    _, row = headgate("concurrency-limit", "ls").splitlines()
    assert row.split() == ["db", "5", "1", "0"]


def test_inspect_of_a_tag_shows_its_task_runs(headgate: Command, client: FakeClient):
    client.answers["read_concurrency_limit_by_tag"] = a_limit(name="tag:db")
    client.answers["read_slot_leases"] = [a_lease()]
    assert RUN_ID in headgate("concurrency-limit", "inspect", "db")
    assert client.asked("read_slot_leases")[0] == ("tag:db",)
