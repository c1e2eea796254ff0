"""Which call it is: equal values have equal keys, in every process."""

import dataclasses
import enum
import pathlib
import subprocess
import sys
import threading
import uuid
from datetime import UTC, datetime
from typing import Any

import pydantic

from headgate.engine.call_keys import of_call


class Color(enum.Enum):
    RED = 1
    BLUE = 2


@dataclasses.dataclass
class Point:
    x: float
    tags: set[str]


class Model(pydantic.BaseModel):
    name: str
    at: datetime


class Plain:
    def __init__(self, value: Any) -> None:
        self.value = value


class Holder:
    def __init__(self, name: str) -> None:
        self.name, self.lock = name, threading.Lock()


def key(value: Any, *, within: str = "", task: str = "t") -> str:
    return of_call(within, task, {"value": value})


TIME = datetime(2026, 1, 2, tzinfo=UTC)


def values() -> list[Any]:
    """One of each kind, made anew."""
    return [
        1,
        "text ö",
        b"\x00",
        [1, [2.5, (None, True)]],
        {"b": 1, "a": {"c", "d", "e"}},
        Color.RED,
        Point(1.5, {"x", "y"}),
        Model(name="n", at=TIME),
        Plain([Plain(1)]),
        pathlib.PurePosixPath("/a/b"),
        uuid.UUID(int=5),
        TIME,
        Point,
        key,
        lambda: 1,
        threading.Lock(),
        Holder("h"),
        (n for n in range(3)),
    ]


def test_values_that_are_equal_have_one_key():
    for one, another in zip(values(), values(), strict=True):
        assert key(one) == key(another), one


def test_values_that_differ_have_keys_that_differ():
    different: list[Any] = [
        1,
        1.0,
        True,
        "1",
        b"1",
        None,
        [],
        (),
        {},
        set(),
        frozenset(),
        [1],
        (1,),
        {1},
        [[1]],
        [1, 2],
        [12],
        ["1", "2"],
        ["12"],
        {"a": 1},
        {"a": "1"},
        {1: "a"},
        Color.RED,
        Color.BLUE,
        Point(1.0, set()),
        Point(2.0, set()),
        Plain(1),
        Plain(2),
        Holder("a"),
        Holder("b"),
        pathlib.PurePosixPath("a"),
        uuid.UUID(int=1),
        TIME,
        int,
        str,
    ]
    keys = [key(value) for value in different]
    assert len(set(keys)) == len(different)


def test_a_dict_is_the_same_in_any_order():
    assert key({"a": 1, "b": 2}) == key({"b": 2, "a": 1})


def test_the_key_tells_tasks_and_surrounding_calls_apart():
    assert len({key(1), key(1, task="other"), key(1, within="w"), key(1, within="v")}) == 4


def test_what_contains_itself_or_is_very_deep_has_a_key_too():
    loop: list[Any] = [1]
    loop.append(loop)
    other: list[Any] = [1]
    other.append(other)
    assert key(loop) == key(other)
    deep: list[Any] = []
    for _ in range(10_000):
        deep = [deep]
    assert key(deep) == key(deep)


def test_the_key_is_the_same_in_another_process():
    code = (
        "from headgate.engine.call_keys import of_call;"
        "print(of_call('', 't', {'value': [{'x', 'y', 'z'}, 1.5, {'k': (1, b'2')}]}))"
    )
    printed = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        for seed in ("1", "2")
    }
    assert printed == {key([{"x", "y", "z"}, 1.5, {"k": (1, b"2")}])}
