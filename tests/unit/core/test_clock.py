from datetime import UTC, datetime, timedelta

import pytest

from headgate.core import clock


def test_the_system_clock_tells_utc_and_moves_forward():
    system = clock.SystemClock()
    assert system.now().tzinfo is UTC
    assert system.monotonic() <= system.monotonic()


def test_a_manual_clock_moves_only_when_told():
    start = datetime(2026, 1, 1, tzinfo=UTC)
    manual = clock.ManualClock(start)
    assert (manual.now(), manual.monotonic()) == (start, 0.0)
    manual.advance(1.5)
    assert (manual.now(), manual.monotonic()) == (start + timedelta(seconds=1.5), 1.5)


def test_setting_the_time_of_a_manual_clock_leaves_the_monotonic_clock_alone():
    manual = clock.ManualClock()
    manual.advance(5)
    manual.set_time(datetime(2020, 1, 1, tzinfo=UTC))
    assert manual.now().year == 2020
    assert manual.monotonic() == 5


def test_a_manual_clock_refuses_to_go_back_and_to_start_without_a_zone():
    with pytest.raises(ValueError, match="moves forward"):
        clock.ManualClock().advance(-1)
    with pytest.raises(ValueError, match="UTC-aware"):
        clock.ManualClock(datetime(2026, 1, 1))  # noqa: DTZ001 - what is refused
