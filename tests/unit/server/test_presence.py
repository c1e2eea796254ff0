"""When a replica may keep its smallest commits to itself: where nobody else can be there."""

import pytest

from headgate.core.clock import ManualClock
from headgate_server.storage.sql.announcements import Presence


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def presence(clock: ManualClock) -> Presence:
    return Presence(clock.monotonic)


def test_before_it_listens_others_may_be_there_however_long_that_takes(
    presence: Presence, clock: ManualClock
):
    clock.advance(3_600)
    assert presence.is_likely


def test_who_listens_and_hears_nothing_is_alone(presence: Presence, clock: ManualClock):
    presence.listen()
    assert presence.is_likely
    clock.advance(3)
    assert not presence.is_likely


def test_one_that_was_heard_is_there_for_a_while(presence: Presence, clock: ManualClock):
    presence.listen()
    assert presence.hear("other")
    clock.advance(14)
    assert presence.is_likely
    assert not presence.hear("other")
    clock.advance(16)
    assert not presence.is_likely
    assert presence.hear("other")


def test_who_cannot_listen_any_more_does_not_know_that_it_is_alone(
    presence: Presence, clock: ManualClock
):
    presence.listen()
    presence.hear("other")
    presence.lose()
    clock.advance(3_600)
    assert presence.is_likely


def test_one_that_was_heard_before_a_break_has_the_time_to_say_so_again(
    presence: Presence, clock: ManualClock
):
    presence.listen()
    presence.hear("other")
    presence.lose()
    presence.listen()
    clock.advance(6)
    assert presence.is_likely
    clock.advance(10)
    assert not presence.is_likely
