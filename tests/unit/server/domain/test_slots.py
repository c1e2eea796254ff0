"""Who gets slots, and how slots decay."""

import pytest

from headgate_server.domain.slots import Room, Wish, admit, decayed


def wish(id: str, *limit_ids: str, slots: int = 1, decays: bool = False) -> Wish:
    return Wish(id=id, limit_ids=limit_ids or ("x",), slots=slots, decays=decays)


@pytest.mark.parametrize(
    ("line", "rooms", "admitted"),
    [
        ([wish("a"), wish("b"), wish("c")], {"x": Room(limit=2)}, ["a", "b"]),
        ([wish("a")], {"x": Room(limit=2, held=2)}, []),
        ([wish("a")], {"x": Room(limit=2, held=5)}, []),
        ([wish("a"), wish("b")], {"x": Room(limit=0, active=False)}, ["a", "b"]),
        # Who wants many keeps those behind from passing, of that limit alone.
        ([wish("a", slots=2), wish("b")], {"x": Room(limit=2, held=1)}, []),
        ([wish("a", slots=2), wish("b", "y")], {"x": Room(limit=1), "y": Room(limit=1)}, ["b"]),
        # Nothing is kept free for who waits for another limit.
        (
            [wish("a", "x", "y"), wish("b", "x"), wish("c", "y")],
            {"x": Room(limit=1), "y": Room(limit=1, held=1)},
            ["b"],
        ),
        # A limit that is gone counts for nothing.
        ([wish("a", "x", "gone")], {"x": Room(limit=1)}, ["a"]),
        # What has decayed is free; parts of slots are not.
        ([wish("a", decays=True)], {"x": Room(limit=2, taken=1.0)}, ["a"]),
        ([wish("a", decays=True)], {"x": Room(limit=2, taken=1.01)}, []),
        ([wish("a", decays=True), wish("b")], {"x": Room(limit=2, taken=1.0)}, ["a"]),
    ],
)
def test_slots_are_given_in_order(line: list[Wish], rooms: dict[str, Room], admitted: list[str]):
    assert [wish.id for wish in admit(line, rooms)] == admitted


def test_slots_that_are_given_are_taken_out_of_the_room():
    rooms = {"x": Room(limit=9)}
    admit([wish("a", slots=2), wish("b", slots=3, decays=True)], rooms)
    assert (rooms["x"].held, rooms["x"].taken, rooms["x"].in_use) == (2, 3.0, 5)


@pytest.mark.parametrize(
    ("room", "seconds"),
    [
        (Room(limit=2, taken=2.0, decay_per_second=0.5), 2.0),
        (Room(limit=2, taken=0.5, decay_per_second=0.5), 0.0),
        (Room(limit=2, taken=2.0), None),
        (Room(limit=2, held=2, taken=2.0, decay_per_second=1.0), None),
    ],
)
def test_it_is_known_when_slots_have_decayed(room: Room, seconds: float | None):
    assert room.seconds_until(1) == seconds


@pytest.mark.parametrize(("seconds", "left"), [(0.0, 3.0), (2.0, 2.0), (99.0, 0.0), (-5.0, 3.0)])
def test_slots_decay_with_time_and_not_below_none(seconds: float, left: float):
    assert decayed(3.0, per_second=0.5, seconds=seconds) == left
