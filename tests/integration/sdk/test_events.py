"""Events emitted by flows that really run, and heard of."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import anyio
import pytest

from headgate import flow, tags, task
from headgate.client.orchestration import SyncHeadgateClient
from headgate.concurrency.sync import concurrency
from headgate.core import events as core_events
from headgate.core import ids
from headgate.events import (
    Event,
    EventFilter,
    EventNameFilter,
    EventResourceFilter,
    Resource,
    capture_events,
    emit_event,
    flush_events,
    get_events_client,
    get_events_subscriber,
)

WAIT_SECONDS = 10.0
ORDER = {"headgate.resource.id": "acme.order.1"}


def emitted(client: SyncHeadgateClient, name: str) -> list[core_events.Event]:
    return client.read_events(core_events.EventFilter(names=(name,)), ascending=True)


def roles(event: core_events.Event) -> dict[str, str]:
    return {
        labels["headgate.resource.role"]: labels.get("headgate.resource.name", "")
        for labels in event.related
    }


@task
def ship(name: str) -> None:
    emit_event(name, ORDER)


@flow(name="orders")
def orders(name: str) -> None:
    emit_event(name, ORDER, related=[{**ORDER, "headgate.resource.role": "self"}])
    ship.submit(name).wait()


def test_events_of_a_run_are_related_to_it(server: SyncHeadgateClient) -> None:
    name = f"acme.{ids.new_id()}"
    with tags("nightly"):
        state = orders(name, return_state=True)
    assert state.is_completed()
    assert flush_events(WAIT_SECONDS)
    of_flow, of_task = emitted(server, name)
    (run,) = server.read_flow_runs(limit=1)
    assert roles(of_flow)["flow-run"] == run.name
    assert roles(of_flow)["tag"] == "nightly"
    assert roles(of_task)["flow-run"] == run.name
    assert roles(of_task)["task-run"] == "ship-0"
    where = core_events.EventFilter(any_resource_ids=(f"headgate.flow-run.{run.id}",))
    heard = [each.name for each in server.read_events(where, ascending=True)]
    assert heard.count(name) == 2
    assert "headgate.flow-run.Completed" in heard
    assert "headgate.task-run.Completed" in heard


def test_an_event_that_is_emitted_twice_is_stored_once(server: SyncHeadgateClient) -> None:
    name, id = f"acme.{ids.new_id()}", ids.new_id()
    emit_event(name, ORDER, id=id)
    emit_event(name, ORDER, id=id)
    assert flush_events(WAIT_SECONDS)
    assert [each.id for each in emitted(server, name)] == [id]


def test_halves_of_surrogate_pairs_do_not_hold_others_up(server: SyncHeadgateClient) -> None:
    name = f"acme.{ids.new_id()}"
    emit_event(name, ORDER, payload={"file": "a\udcff"})
    assert flush_events(WAIT_SECONDS)
    assert Event.of_record(emitted(server, name)[0]).payload == {
        "file": "a\N{REPLACEMENT CHARACTER}"
    }


async def test_a_client_has_its_events_stored_when_it_ends(server: SyncHeadgateClient) -> None:
    name = f"acme.{ids.new_id()}"
    async with get_events_client(checkpoint_every=3) as client:
        for number in range(10):
            await client.emit(
                Event(event=name, resource=Resource(ORDER), payload={"number": number})
            )
            if number == 2:
                stored = await anyio.to_thread.run_sync(emitted, server, name)
                assert len(stored) == 3  # a checkpoint
    found = await anyio.to_thread.run_sync(emitted, server, name)
    numbers = [Event.of_record(each).payload["number"] for each in found]
    assert numbers == list(range(10))


async def test_a_subscriber_hears_what_was_just_before_and_what_comes(
    server: SyncHeadgateClient,
) -> None:
    name = f"acme.{ids.new_id()}"
    emit_event(name, ORDER, payload={"n": 1})
    assert await anyio.to_thread.run_sync(flush_events)
    where = EventFilter(event=EventNameFilter(prefix=name))
    with anyio.fail_after(WAIT_SECONDS):
        async with get_events_subscriber(where) as heard:
            assert (await anext(heard)).payload == {"n": 1}
            emit_event(name, ORDER, payload={"n": 2})
            second = await anext(heard)
    assert second.payload == {"n": 2}
    assert second.received is not None


async def test_a_subscriber_hears_of_states(server: SyncHeadgateClient) -> None:
    @flow
    def short() -> None:
        return None

    where = EventFilter(
        event=EventNameFilter(name="headgate.flow-run.Completed"),
        resource=EventResourceFilter(labels={"headgate.resource.name": "my-run-*"}),
    )
    with anyio.fail_after(WAIT_SECONDS):
        async with get_events_subscriber(where) as heard:
            named: Any = short.with_options(flow_run_name="my-run-1")
            await anyio.to_thread.run_sync(named)
            event = await anext(heard)
    assert event.resource.name == "my-run-1"
    assert event.payload["validated_state"]["type"] == "COMPLETED"


@pytest.mark.slow
def test_the_end_of_a_process_waits_for_its_events(
    server: SyncHeadgateClient, api_url: str, tmp_path: Path
) -> None:
    name = f"acme.{ids.new_id()}"
    code = (
        "from headgate.events import emit_event\n"
        f"for _ in range(100): emit_event({name!r}, {ORDER!r})\n"
    )
    environment = {**os.environ, "HEADGATE_API_URL": api_url, "HEADGATE_HOME": str(tmp_path)}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True)
    assert len(emitted(server, name)) == 100


@pytest.mark.slow
def test_a_process_without_a_server_ends_and_says_what_it_lost(tmp_path: Path) -> None:
    code = f"from headgate.events import emit_event; emit_event('a', {ORDER!r})"
    environment = {
        **os.environ,
        "HEADGATE_HOME": str(tmp_path),
        "HEADGATE_API_URL": "",
        "HEADGATE_SERVER_EPHEMERAL_ENABLED": "false",
    }
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    assert "Events are being dropped" in done.stderr
    assert "HEADGATE_SERVER_EPHEMERAL_ENABLED" in done.stderr


def test_slots_that_are_taken_and_given_back_are_told(server: SyncHeadgateClient) -> None:
    name = f"db-{ids.new_id()}"
    server.create_global_concurrency_limit(name, 2)
    with concurrency(name, occupy=2):
        assert flush_events(WAIT_SECONDS)
    assert flush_events(WAIT_SECONDS)
    where = core_events.EventFilter(resource_ids=(f"headgate.concurrency-limit.{name}",))
    found = server.read_events(where, ascending=True)
    kinds = [each.name.removeprefix("headgate.concurrency-limit.") for each in found]
    assert kinds == ["created", "acquired", "released"]
    assert found[1].resource["slots-acquired"] == "2"
    assert found[2].follows == found[1].id


def test_limits_that_do_not_exist_are_told_nothing_of(server: SyncHeadgateClient) -> None:
    with capture_events() as captured, concurrency(f"none-{ids.new_id()}"):
        pass
    assert captured.events == []


@pytest.mark.slow
def test_a_fork_of_a_process_that_sends_goes_on_and_says_what_it_lost(
    api_url: str, tmp_path: Path
) -> None:
    code = (
        "import os\n"
        "from headgate.events import dropped_event_count, emit_event, flush_events\n"
        f"def emit(): emit_event('acme.fork', {ORDER!r})\n"
        "emit(); flush_events()\n"
        "pid = os.fork()\n"
        "emit(); emit()\n"
        "flush_events()\n"
        "if pid: os.waitpid(pid, 0)\n"
        "print('parent' if pid else 'child', dropped_event_count(), flush=True)\n"
    )
    environment = {**os.environ, "HEADGATE_API_URL": api_url, "HEADGATE_HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert sorted(done.stdout.splitlines()) == ["child 2", "parent 0"]
    assert done.stderr.count("Events are being dropped") == 1
