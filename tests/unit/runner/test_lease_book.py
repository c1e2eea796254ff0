from __future__ import annotations

import pytest

from headgate.core import leases
from headgate_runner.lease import Held, LeaseBook, Outcome, Release, Taken

FINISHED = Release(outcome=Outcome.FINISHED)
A = Held("a", 1)
B = Held("b", 7)


def welcomed(book: LeaseBook, *, at: float = 0.0, ttl: float = 30.0, keep=(), session="s1"):
    return book.welcome(session, hello_sent_at=at, ttl_seconds=ttl, keep=keep)


def test_a_book_without_slots_is_refused():
    with pytest.raises(ValueError, match="at least one slot"):
        LeaseBook(slots=0)


def test_offers_are_taken_until_the_slots_are_full():
    book = LeaseBook(slots=1)
    welcomed(book)
    assert book.take(A) is Taken.YES
    assert book.take(B) is Taken.FULL
    assert book.take(A) is Taken.AGAIN
    assert book.live == [A]
    assert book.free == 0


def test_a_newer_lease_of_a_run_takes_the_place_of_an_older_one():
    book = LeaseBook(slots=1)
    welcomed(book)
    book.take(A)
    newer = Held("a", 2)
    assert book.older(newer) == A
    assert book.lose(A)
    assert book.take(newer) is Taken.YES
    assert book.older(newer) is None
    assert book.older(A) is None
    assert book.take(A) is Taken.STALE


def test_a_lease_that_is_being_released_is_not_taken_again():
    book = LeaseBook(slots=2)
    welcomed(book)
    book.take(A)
    book.release(A, FINISHED)
    assert book.take(A) is Taken.STALE
    assert book.older(Held("a", 2)) == A
    assert not book.lose(A)
    assert book.take(Held("a", 2)) is Taken.YES


def test_credit_grows_by_one_with_each_lease_that_ends():
    book = LeaseBook(slots=2)
    welcomed(book)
    assert book.granted_total == 2
    book.take(A)
    book.take(B)
    assert book.granted_total == 2
    book.release(A, FINISHED)
    assert book.granted_total == 3
    assert not book.release(A, FINISHED)
    book.confirm_release(A)
    assert book.granted_total == 3
    book.lose(B)
    assert book.granted_total == 4


def test_a_release_is_kept_until_the_server_has_it():
    book = LeaseBook(slots=1)
    welcomed(book)
    book.take(A)
    book.release(A, FINISHED)
    assert book.releases == [(A, FINISHED)]
    assert welcomed(book, keep=[A]) == []
    assert book.releases == [(A, FINISHED)]
    book.confirm_release(A)
    assert book.held == []


def test_a_drained_book_takes_nothing_and_gives_no_credit():
    book = LeaseBook(slots=2)
    welcomed(book)
    book.take(A)
    book.drain()
    assert book.take(B) is Taken.DRAINING
    book.release(A, FINISHED)
    assert book.granted_total == 2


def test_an_acceptance_is_proven_by_a_later_beat_only():
    book = LeaseBook(slots=2)
    welcomed(book)
    first = book.beat(1.0)
    book.take(A)
    book.acknowledge(first.seq, ttl_seconds=30)
    assert book.unconfirmed == [A]
    second = book.beat(2.0)
    book.acknowledge(second.seq, ttl_seconds=30)
    assert book.unconfirmed == []


def test_an_acceptance_that_a_broken_stream_may_have_lost_is_open_again():
    book = LeaseBook(slots=2)
    welcomed(book)
    book.beat(1.0)
    book.take(A)
    welcomed(book, at=5.0, keep=[A])
    assert book.unconfirmed == [A]
    book.acknowledge(book.beat(6.0).seq, ttl_seconds=30)
    assert book.unconfirmed == []


def test_leases_that_the_server_does_not_keep_are_lost():
    book = LeaseBook(slots=2)
    welcomed(book)
    book.take(A)
    book.take(B)
    assert welcomed(book, at=3.0, keep=[B]) == [A]
    assert book.held == [B]


def test_a_resumed_session_goes_on_counting_credit_and_a_new_one_starts_with_what_is_free():
    book = LeaseBook(slots=3)
    welcomed(book)
    book.take(A)
    book.take(B)
    book.release(B, FINISHED)
    assert book.granted_total == 4
    welcomed(book, keep=[A, B])
    assert book.granted_total == 4
    welcomed(book, keep=[A, B], session="s2")
    assert book.granted_total == 2


def test_the_runner_fences_itself_a_margin_before_the_ttl_of_the_last_acknowledged_beat():
    book = LeaseBook(slots=1, margin_seconds=1.0)
    welcomed(book, at=100.0, ttl=30)
    assert book.fence_at is None
    book.take(A)
    assert book.fence_at == 129.0
    beat = book.beat(105.0)
    assert book.fence_at == 129.0
    book.acknowledge(beat.seq, ttl_seconds=30)
    assert book.fence_at == 134.0
    assert book.fence(133.9) == []
    assert book.fence(134.0) == [A]
    assert book.held == []


def test_an_acknowledgement_that_comes_late_counts_from_when_its_beat_was_sent():
    book = LeaseBook(slots=1, margin_seconds=1.0)
    welcomed(book, at=0.0, ttl=30)
    book.take(A)
    early, late = book.beat(5.0), book.beat(10.0)
    book.acknowledge(late.seq, ttl_seconds=30)
    book.acknowledge(early.seq, ttl_seconds=30)
    assert book.fence_at == 39.0


def test_fencing_leaves_ended_runs_to_be_released():
    book = LeaseBook(slots=2)
    welcomed(book, at=0.0, ttl=30)
    book.take(A)
    book.take(B)
    book.release(A, FINISHED)
    assert book.fence(100.0) == [B]
    assert book.releases == [(A, FINISHED)]


def test_a_beat_tells_what_is_held():
    book = LeaseBook(slots=2)
    welcomed(book)
    book.take(A)
    beat = book.beat(1.0)
    assert (beat.seq, beat.held_count, beat.held_digest) == (1, 1, leases.digest([("a", 1)]))
