import hashlib

import pytest

from headgate.core import leases


def test_the_digest_is_the_one_of_the_contract():
    expected = int.from_bytes(hashlib.sha256(b"run-1:7").digest()[:8], "big")
    assert leases.digest([("run-1", 7)]) == expected


def test_the_digest_knows_the_set_and_not_the_order():
    held = [("a", 1), ("b", 2), ("c", 3)]
    assert leases.digest(held) == leases.digest(reversed(held))
    assert leases.digest(held) != leases.digest(held[:2])
    assert leases.digest([("a", 1)]) != leases.digest([("a", 2)])
    assert leases.digest([]) == 0


@pytest.mark.parametrize(
    ("ttl", "margin", "expected"),
    [(30.0, 1.0, 129.0), (2.0, 1.0, 101.0), (1.0, 1.0, 100.5)],
)
def test_a_runner_stops_a_margin_before_its_leases_end(ttl: float, margin: float, expected: float):
    assert leases.fence_at(100.0, ttl_seconds=ttl, margin_seconds=margin) == expected


@pytest.mark.parametrize(("random", "expected"), [(0.0, 4.0), (0.5, 5.0), (1.0, 6.0)])
def test_beats_are_spread_by_a_fifth(random: float, expected: float):
    assert leases.next_beat_in(5.0, random=random) == pytest.approx(expected)
