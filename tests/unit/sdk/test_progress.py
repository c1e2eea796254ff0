"""A long `map` shows how far it is, at a terminal only."""

import io
import sys
from typing import Any

import pytest

from headgate import settings, states
from headgate.engine import progress
from headgate.engine.spreading import Spread
from headgate.futures import Future, FutureList


def some(count: int = 20) -> FutureList[Any]:
    return FutureList(Future(f"run-{n}") for n in range(count))


def end(futures: Any) -> None:
    for future in futures:
        future.end(states.Completed())


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def timers(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What would happen after the delay; nothing waits for it."""
    made: list[Any] = []

    class Timer:
        daemon = False

        def __init__(self, _seconds: float, function: Any) -> None:
            made.append(function)

        def start(self) -> None: ...

    monkeypatch.setattr(progress.threading, "Timer", Timer)
    return made


def test_nothing_is_shown_where_nobody_looks(timers: list[Any], monkeypatch: pytest.MonkeyPatch):
    futures = some()
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    progress.show("load", futures)
    monkeypatch.setattr(sys, "stderr", None)
    progress.show("load", futures)
    monkeypatch.setattr(sys, "stderr", Terminal())
    with settings.temporary_settings({"progress": "never"}):
        progress.show("load", futures)
    progress.show("load", futures[:3])
    assert timers == []
    end(futures)


@pytest.mark.parametrize("how", ["auto", "always"])
def test_a_bar_tells_how_many_have_ended(
    how: str, timers: list[Any], monkeypatch: pytest.MonkeyPatch
):
    stream = Terminal() if how == "auto" else io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setenv("COLUMNS", "80")
    futures = some()
    with settings.temporary_settings({"progress": how}):
        progress.show("load", futures)
    assert stream.getvalue() == ""
    end(futures[:5])
    (begin,) = timers
    begin()
    end(futures[5:])
    assert "load" in stream.getvalue()
    assert "20/20" in stream.getvalue()


def test_what_ends_soon_is_not_shown(timers: list[Any], monkeypatch: pytest.MonkeyPatch):
    stream = Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    futures = some()
    progress.show("load", futures)
    end(futures)
    timers[0]()
    assert stream.getvalue() == ""


# --- Spreading ---


def test_calls_that_fail_to_start_end_their_futures_and_the_others_go_on():
    futures = some(2_000)

    def make(n: int) -> int:
        if n % 2:
            raise ValueError(n)
        return n

    def start(batch: list[tuple[int, Future[Any]]]) -> None:
        end(future for _job, future in batch)

    # Each ends while it is started; two thousand of them are no two thousand frames.
    spread = Spread(futures, make, start, width=1)
    spread.fill()
    assert spread.is_over
    assert [future.state.is_completed() for future in futures] == [True, False] * 1_000


def test_a_batch_is_over_when_all_of_it_is():
    futures = some(5)
    started: list[list[int]] = []

    def start(batch: list[tuple[int, Future[Any]]]) -> None:
        started.append([n for n, _future in batch])

    spread = Spread(futures, lambda n: n, start, width=1, batch_size=2)
    spread.fill()
    futures[0].end(states.Completed())
    assert started == [[0, 1]]
    futures[1].end(states.Completed())
    assert started == [[0, 1], [2, 3]]
    spread.cancel()
    end(futures[2:4])
    assert started == [[0, 1], [2, 3]]
    assert futures[4].state.is_cancelled()
