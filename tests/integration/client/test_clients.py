"""Both clients over a real connection: errors, repetition, streams that break."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from headgate import settings
from headgate.api.v1 import server_service_pb2
from headgate.client import embedded, following, orchestration
from headgate.client.calls import flow_runs, server
from headgate.core import errors
from tests.integration.client.scripted import ScriptedServer
from tests.unit.client.test_following import bookmark, lines_with_ids, transition

INFO = server_service_pb2.GetServerInfoResponse(version="9", database="memory", process_id=7)


@pytest.fixture
def scripted(tmp_path: Path) -> Iterator[ScriptedServer]:
    scripted = ScriptedServer(tmp_path / "s.sock")
    yield scripted
    scripted.stop()


@pytest.fixture(params=["sync", "async"])
async def client(request: pytest.FixtureRequest, scripted: ScriptedServer) -> Any:
    """Either client, its methods awaited, its streams async."""
    if request.param == "async":
        async with orchestration.get_client(api_url=scripted.api_url) as client:
            yield client
    else:
        with orchestration.get_client(sync_client=True, api_url=scripted.api_url) as client:
            yield Awaited(client)


class Awaited:
    """A blocking client, dressed as an async one. Its server runs in threads of its own."""

    def __init__(self, client: orchestration.SyncHeadgateClient) -> None:
        self._client = client

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._client, name)

        if name in ("watch", "tail_logs"):

            async def stream(*args: Any, **kwargs: Any) -> Any:
                items = method(*args, **kwargs)
                try:
                    for item in items:
                        yield item
                finally:
                    items.close()

            return stream

        async def call(*args: Any, **kwargs: Any) -> Any:
            return method(*args, **kwargs)

        return call


async def test_a_call_is_answered(client: Any, scripted: ScriptedServer):
    scripted.answers(server.INFO, lambda _: INFO)
    scripted.start()
    info = await client.hello()
    assert (info.version, info.database, info.process_id) == ("9", "memory", 7)


async def test_an_error_arrives_as_it_was_raised(client: Any, scripted: ScriptedServer):
    def refuse(_: Any) -> Any:
        raise errors.NotFound("flow run", "x")

    scripted.answers(flow_runs.GET, refuse)
    scripted.start()
    with pytest.raises(errors.NotFound) as caught:
        await client.read_flow_run("x")
    assert (caught.value.resource, caught.value.name) == ("flow run", "x")
    assert isinstance(caught.value.__context__, grpc.RpcError)
    assert len(scripted.requests) == 1


async def test_a_method_that_the_server_does_not_have_is_unsupported(
    client: Any, scripted: ScriptedServer
):
    scripted.start()
    with pytest.raises(errors.Unsupported):
        await client.read_server_settings()


async def test_a_call_is_repeated_while_the_server_is_not_ready(
    client: Any, scripted: ScriptedServer
):
    outcomes = iter([errors.Unavailable("Not yet."), errors.Unavailable("Not yet."), None])

    def answer(_: Any) -> Any:
        if error := next(outcomes):
            raise error
        return INFO

    scripted.answers(server.INFO, answer)
    scripted.start()
    assert (await client.hello()).version == "9"
    assert len(scripted.requests) == 3


async def test_a_server_that_is_not_there_is_said_to_be_so(
    client: Any, scripted: ScriptedServer, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("HEADGATE_CLIENT_MAX_RETRIES", "1")
    with pytest.raises(errors.Unavailable, match="cannot be reached"):
        await client.hello()


async def test_a_watch_goes_on_where_the_stream_broke(client: Any, scripted: ScriptedServer):
    scripts: Iterator[list[Any]] = iter(
        [
            [bookmark(3), transition(4), transition(6), errors.Unavailable("Stopping.")],
            [bookmark(6), transition(7)],  # ends: the server stopped in order
            [bookmark(7), transition(9)],
        ]
    )
    scripted.streams(following.WATCH, lambda _: play(next(scripts)))
    scripted.start()
    seen: list[int] = []
    async with contextlib.aclosing(client.watch(after_revision=3)) as records:
        async for record in records:
            seen.append(record.revision)
            if record.revision == 9:
                break
    assert seen == [4, 6, 7, 9]
    assert [request.after_revision for request in scripted.requests] == [3, 6, 7]


async def test_a_watch_that_starts_too_far_back_says_so(client: Any, scripted: ScriptedServer):
    scripted.streams(following.WATCH, lambda _: play([errors.RevisionCompacted(1, 50)]))
    scripted.start()
    with pytest.raises(errors.RevisionCompacted) as caught:
        async for _ in client.watch(after_revision=1):
            pass
    assert caught.value.oldest == 50


async def test_a_tail_ends_with_its_run_and_not_with_a_break(client: Any, scripted: ScriptedServer):
    scripts: Iterator[list[Any]] = iter(
        [
            [lines_with_ids(1, 2), errors.Unavailable("Stopping.")],
            [lines_with_ids(3), lines_with_ids(4)],
        ]
    )
    scripted.streams(following.TAIL, lambda _: play(next(scripts)))
    scripted.start()
    assert [line.id async for line in client.tail_logs("run")] == [1, 2, 3, 4]
    assert [request.after_id for request in scripted.requests] == [0, 2]


def play(script: list[Any]) -> Iterator[Any]:
    for each in script:
        if isinstance(each, Exception):
            raise each
        yield each


async def test_a_client_that_is_not_open_says_how_to_open_it():
    with pytest.raises(RuntimeError, match="use it in a `with` block"):
        await orchestration.HeadgateClient("unix:///x.sock").hello()
    with pytest.raises(RuntimeError, match="use it in a `with` block"):
        orchestration.SyncHeadgateClient("unix:///x.sock").hello()


def test_without_an_address_the_embedded_server_is_found_and_found_again(
    scripted: ScriptedServer, monkeypatch: pytest.MonkeyPatch
):
    scripted.answers(server.INFO, lambda _: INFO)
    starts = itertools.count()

    def ensure_server() -> str:
        if next(starts) > 0:  # it had ended itself in between
            scripted.start()
        return scripted.api_url

    monkeypatch.setattr(embedded, "ensure_server", ensure_server)
    with (
        settings.temporary_settings({"api_url": None}),
        orchestration.get_client(sync_client=True) as client,
    ):
        assert client.hello().version == "9"
        assert client.api_url == scripted.api_url


def test_the_deadline_of_a_call_is_the_one_of_the_settings(
    scripted: ScriptedServer, monkeypatch: pytest.MonkeyPatch
):
    import threading

    release = threading.Event()
    scripted.answers(server.INFO, lambda _: release.wait(10) and INFO)
    scripted.start()
    try:
        with (
            settings.temporary_settings({"client_request_timeout_seconds": 0.05}),
            orchestration.get_client(sync_client=True, api_url=scripted.api_url) as client,
            pytest.raises(errors.DeadlineExceeded, match="did not answer in time"),
        ):
            client.hello()
    finally:
        release.set()
