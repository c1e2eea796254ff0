"""The thread that sends events: nothing is lost that can be stored, and nobody waits."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Generator, Sequence
from datetime import UTC, datetime

import pytest

from headgate.core import errors, ids
from headgate.core.events import Event
from headgate.events import sending
from headgate.events.sending import EventSender, Write

WAIT = 10.0


def event(name: str = "acme.made", payload: str = "{}") -> Event:
    return Event(
        id=ids.new_id(),
        name=name,
        occurred=datetime(2026, 1, 1, tzinfo=UTC),
        resource={"headgate.resource.id": "acme.1"},
        payload=payload,
    )


class Server:
    """Stores events, unless it is told to fail; holds writers back until it is let go."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.failures: list[Exception] = []
        self.refused: set[str] = set()
        self.open = threading.Event()
        self.open.set()
        self.asked = threading.Event()

    @property
    def stored(self) -> list[str]:
        return [name for batch in self.batches for name in batch]

    def write(self, records: Sequence[Event]) -> int:
        self.asked.set()
        assert self.open.wait(WAIT)
        if self.failures:
            raise self.failures.pop(0)
        names = [record.name for record in records]
        if self.refused & set(names):
            raise errors.InvalidArgument.of("events[0].name", "It is wrong.")
        self.batches.append(names)
        return len(names)

    @contextlib.contextmanager
    def connect(self) -> Generator[Write]:
        yield self.write


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def make(server: Server) -> Generator[Callable[..., EventSender]]:
    made: list[EventSender] = []

    def make(**options: int) -> EventSender:
        made.append(EventSender(server.connect, **options))
        return made[-1]

    yield make
    server.open.set()
    for one in made:
        one.stop(WAIT)


Make = Callable[..., EventSender]


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Generator[Callable[[], list[str]]]:
    logger = logging.getLogger("headgate")
    logger.addHandler(caplog.handler)
    yield lambda: [record.getMessage() for record in caplog.records]
    logger.removeHandler(caplog.handler)


def test_what_gathers_while_a_batch_is_on_its_way_is_the_next_batch(
    server: Server, make: Make
) -> None:
    server.open.clear()
    sender = make()
    sender.emit(event("a"))
    assert server.asked.wait(WAIT)
    for name in "bcd":
        sender.emit(event(name))
    server.open.set()
    assert sender.flush(WAIT)
    assert server.batches == [["a"], ["b", "c", "d"]]


def test_a_server_that_is_away_is_waited_for(
    server: Server, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sending, "_DELAYS_SECONDS", (0.0,))
    server.failures = [errors.Unavailable("Gone."), errors.Unavailable("Gone.")]
    sender = make()
    sender.emit(event("a"))
    assert sender.flush(WAIT)
    assert server.stored == ["a"]
    assert sender.dropped_count == 0


def test_one_bad_event_does_not_keep_others_from_being_stored(
    server: Server, make: Make, lines: Callable[[], list[str]]
) -> None:
    server.open.clear()
    server.refused = {"bad"}
    sender = make()
    for name in ("a", "b", "bad", "c", "d"):
        sender.emit(event(name))
    server.open.set()
    assert sender.flush(WAIT)
    assert server.stored == ["a", "b", "c", "d"]
    assert sender.dropped_count == 1
    assert any("'bad'" in line for line in lines())


def test_a_full_queue_drops_the_oldest_counts_them_and_says_so_once(
    server: Server, make: Make, lines: Callable[[], list[str]]
) -> None:
    server.open.clear()
    sender = make(queue_max=3)
    sender.emit(event("first"))
    assert server.asked.wait(WAIT)
    for number in range(10):
        sender.emit(event(str(number)))
    assert sender.dropped_count == 7
    server.open.set()
    assert sender.flush(WAIT)
    assert server.stored == ["first", "7", "8", "9"]
    assert len([line for line in lines() if "dropped" in line]) == 1


def test_a_queue_of_large_events_is_bounded_too(
    server: Server, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sending, "QUEUE_BYTES_MAX", 1_000)
    server.open.clear()
    sender = make()
    sender.emit(event("first"))
    assert server.asked.wait(WAIT)
    for number in range(5):
        sender.emit(event(str(number), payload='"' + "x" * 600 + '"'))
    assert sender.dropped_count == 4


def test_sending_is_given_up_where_attempts_are_bounded(
    server: Server, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sending, "_DELAYS_SECONDS", (0.0,))
    server.failures = [errors.Unavailable("Gone.")] * 3
    sender = make(attempts_max=2)
    sender.emit(event("a"))
    assert sender.flush(WAIT)
    assert isinstance(sender.failure, errors.Unavailable)
    sender.emit(event("b"))
    assert sender.flush(WAIT)
    assert (server.stored, sender.dropped_count) == ([], 2)


@pytest.mark.parametrize(
    "error", [errors.PermissionDenied("WriteEvents"), errors.ServerStartError("It cannot start.")]
)
def test_what_no_patience_helps_keeps_nobody_from_ending(
    server: Server, make: Make, error: errors.HeadgateError
) -> None:
    server.failures = [error] * 100
    sender = make()
    sender.emit(event("a"))
    assert sender.stop(WAIT)
    assert sender.failure is error


def test_a_stop_sends_what_is_left(server: Server, make: Make) -> None:
    server.open.clear()
    sender = make()
    for name in "abc":
        sender.emit(event(name))
    server.open.set()
    assert sender.stop(WAIT)
    assert server.stored == ["a", "b", "c"]
    sender.emit(event("late"))
    assert sender.dropped_count == 1


def test_a_stop_does_not_wait_for_ever(server: Server, make: Make) -> None:
    server.open.clear()
    sender = make()
    sender.emit(event("a"))
    assert server.asked.wait(WAIT)
    assert not sender.stop(0.01)
    assert not sender.flush(0.01)


def test_a_sender_that_has_nothing_to_send_needs_no_thread(make: Make) -> None:
    sender = make()
    assert sender.flush(0)
    assert sender.stop(0)


def test_a_fault_of_ours_does_not_leave_anybody_waiting(server: Server, make: Make) -> None:
    server.failures = [ZeroDivisionError()]
    sender = make()
    sender.emit(event("a"))
    assert sender.flush(WAIT)
    assert "ZeroDivisionError" in str(sender.failure)
