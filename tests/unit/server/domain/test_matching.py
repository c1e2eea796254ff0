"""Who is asked first, and how much at once."""

from __future__ import annotations

from collections import Counter

from headgate_server.domain.matching import Allotment, Candidate


def deal(candidates: list[Candidate], ready: dict[str, int], limit: int = 200) -> Counter[str]:
    """Deal ready runs (by what runners serve) out; return how many each runner was given."""
    serves = {candidate.session_id: str(candidate.serves) for candidate in candidates}
    allotment, given = Allotment(candidates, limit=limit), Counter[str]()
    while (ask := allotment.next_ask()) is not None:
        granted = min(ask.count, ready.get(serves[ask.session_id], 0))
        ready[serves[ask.session_id]] = ready.get(serves[ask.session_id], 0) - granted
        given[ask.session_id] += granted
        allotment.record(ask, granted)
    return +given


def runner(name: str, *, free: int, serves: str = "default", last_served: int = 0) -> Candidate:
    return Candidate(session_id=name, serves=serves, free=free, last_served=last_served)


def test_a_lone_runner_is_given_all_it_takes() -> None:
    assert deal([runner("a", free=10)], {"default": 25}) == {"a": 10}


def test_runners_that_wait_for_the_same_share() -> None:
    given = deal([runner("a", free=10), runner("b", free=10)], {"default": 6})
    assert given == {"a": 3, "b": 3}


def test_the_freest_goes_first_then_who_waited_longest() -> None:
    assert deal([runner("a", free=1), runner("b", free=2)], {"default": 1}) == {"b": 1}
    candidates = [runner("a", free=1, last_served=7), runner("b", free=1, last_served=3)]
    assert deal(candidates, {"default": 1}) == {"b": 1}


def test_nobody_is_given_more_than_it_takes() -> None:
    given = deal([runner("a", free=3), runner("b", free=50)], {"default": 100})
    assert given == {"a": 3, "b": 50}


def test_pools_do_not_hinder_each_other() -> None:
    candidates = [runner("a", free=5), runner("b", free=5, serves="gpu")]
    assert deal(candidates, {"gpu": 3}) == {"b": 3}


def test_when_nothing_is_left_nobody_else_is_asked() -> None:
    candidates = [runner(str(number), free=4) for number in range(1_000)]
    allotment, asked = Allotment(candidates), 0
    while (ask := allotment.next_ask()) is not None:
        asked += 1
        allotment.record(ask, 0)
    assert asked == 1


def test_a_round_has_an_end() -> None:
    assert sum(deal([runner("a", free=9_000)], {"default": 9_000}, limit=200).values()) == 200


def test_runners_without_free_slots_are_passed_over() -> None:
    assert Allotment([runner("a", free=0)]).next_ask() is None


def test_a_runner_that_is_gone_does_not_hinder_the_others() -> None:
    allotment = Allotment([runner("gone", free=9), runner("here", free=2)])
    ask = allotment.next_ask()
    assert ask is not None
    assert ask.session_id == "gone"
    allotment.leave_out(ask)
    ask = allotment.next_ask()
    assert ask is not None
    assert ask.session_id == "here"
