"""The clock that tests move: who is woken, when, and what is left behind."""

from __future__ import annotations

import asyncio
import threading
from datetime import UTC, datetime, timedelta

import pytest

from headgate.core.clock import SystemClock, process_clock
from headgate.engine import sleeping
from headgate.testing.clock import AdvancingClock
from tests.processes import eventually

START = datetime(2026, 1, 1, tzinfo=UTC)
REAL = SystemClock()


def test_it_goes_on_by_itself_and_jumps_when_it_is_told_to():
    clock = AdvancingClock(START)
    first = clock.now()
    assert START <= first < START + timedelta(seconds=30)
    clock.advance(timedelta(days=1))
    clock.advance_to(START + timedelta(days=2))
    assert START + timedelta(days=2) <= clock.now() < START + timedelta(days=2, seconds=30)
    clock.advance_to(START)  # has passed: nothing happens
    assert clock.now() > START + timedelta(days=2)
    assert clock.monotonic() >= 2 * 86_400


def test_it_moves_forward_only_and_needs_a_time_zone():
    with pytest.raises(ValueError, match="forward"):
        AdvancingClock().advance(-1)
    with pytest.raises(ValueError, match="UTC-aware"):
        AdvancingClock(START.replace(tzinfo=None))


def test_a_long_sleep_takes_a_moment():
    clock = AdvancingClock(START)
    started = REAL.monotonic()
    clock.sleep(3600)
    assert REAL.monotonic() - started < 5
    assert clock.now() >= START + timedelta(hours=1)
    assert clock.sleeping == 0


def test_sleepers_wake_in_the_order_of_their_times():
    clock, woken = AdvancingClock(START, auto=False), list[float]()

    def sleep(seconds: float) -> None:
        clock.sleep(seconds)
        woken.append(seconds)

    threads = [threading.Thread(target=sleep, args=(s,)) for s in (300, 100, 200)]
    for thread in threads:
        thread.start()
    eventually(lambda: clock.sleeping == 3, every=0.001)
    for number in (1, 2, 3):
        clock.advance(100)
        eventually(lambda number=number: len(woken) == number, every=0.001)
    for thread in threads:
        thread.join(5)
    assert woken == [100, 200, 300]


def test_dozens_may_sleep_at_once():
    clock = AdvancingClock(START)
    threads = [threading.Thread(target=clock.sleep, args=(60.0 * n,)) for n in range(1, 41)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
        assert not thread.is_alive()
    assert clock.now() >= START + timedelta(minutes=40)


async def test_who_is_torn_from_its_sleep_leaves_nothing_behind():
    clock = AdvancingClock(START, auto=False)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await clock.sleep_async(3600)
    assert clock.sleeping == 0
    clock.advance(3600)


async def test_coroutines_sleep_without_keeping_the_loop():
    clock = AdvancingClock(START)
    await asyncio.gather(*[clock.sleep_async(3600 * n) for n in range(1, 6)])
    assert clock.now() >= START + timedelta(hours=5)


def test_listeners_hear_of_jumps_until_they_stop_listening():
    clock, heard = AdvancingClock(START, auto=False), list[int]()
    stop = clock.on_advance(lambda: heard.append(1))
    clock.advance(1)
    stop()
    clock.advance(1)
    assert heard == [1]


def test_it_may_be_installed_within_another_one():
    outer, inner = AdvancingClock(START), AdvancingClock(START + timedelta(days=365))
    with outer.installed():
        with inner.installed():
            assert process_clock.now().year == 2027
        assert process_clock.now().year == 2026
        sleeping.sleep(3600)
        assert process_clock.now() >= START + timedelta(hours=1)
    assert abs((process_clock.now() - REAL.now()).total_seconds()) < 5
