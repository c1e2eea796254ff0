"""Cache policies and the hashes they are made of: the same call has the same key everywhere."""

import dataclasses
import datetime
import enum
import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pydantic
import pytest

from headgate import cache_policies, exceptions, tasks
from headgate.cache_policies import (
    DEFAULT,
    FLOW_PARAMETERS,
    INPUTS,
    NO_CACHE,
    RUN_ID,
    TASK_SOURCE,
    CachePolicy,
)
from headgate.locking.memory import MemoryLockManager
from headgate.transactions import IsolationLevel
from headgate.utilities import hashing
from headgate.utilities.hashing import hash_objects


class Color(enum.Enum):
    RED = 1
    BLUE = 2


@dataclasses.dataclass
class Point:
    x: int
    y: int
    seen: int = dataclasses.field(default=0, compare=False)


class Model(pydantic.BaseModel):
    name: str
    points: list[int] = []


def context(fn: Any = None, flow_run_id: str | None = "run-1") -> Any:
    run = None if flow_run_id is None else SimpleNamespace(id=flow_run_id)
    task = SimpleNamespace(fn=fn or context, task_key="key")
    return SimpleNamespace(task=task, flow_run=run, id="task-run-1", parameters={})


def key(
    policy: CachePolicy, inputs: dict[str, Any], flow: dict[str, Any] | None = None
) -> str | None:
    return policy.compute_key(context(), inputs, flow or {})


# --- Hashes ---


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
        ({1, 2, 3}, {3, 2, 1}),
        (Point(1, 2, seen=3), Point(1, 2, seen=4)),
        (Model(name="a"), Model(name="a", points=[])),
        ([1, [2, (3,)]], [1, [2, (3,)]]),
        (Path("a"), Path("a")),
        (datetime.date(2026, 1, 1), datetime.date(2026, 1, 1)),
    ],
    ids=repr,
)
def test_equal_values_have_one_hash(one: Any, other: Any):
    assert hash_objects(one) == hash_objects(other)


DIFFERENT = [
    None,
    False,
    0,
    0.0,
    "",
    "0",
    b"",
    [],
    (),
    {},
    set(),
    [0],
    [[0]],
    ["ab", "c"],
    ["a", "bc"],
    {"a": "b"},
    {"b": "a"},
    Color.RED,
    Color.BLUE,
    Point(1, 2),
    Point(2, 1),
    Model(name="a"),
    Model(name="b"),
    Path("x"),
    "x",
    datetime.date(2026, 1, 1),
    datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC),
    key,
    context,
    Point,
    lambda: 1,
    lambda: 2,
]


def test_different_values_have_different_hashes():
    assert len({hash_objects(value) for value in DIFFERENT}) == len(DIFFERENT)


def test_names_belong_to_the_hash():
    assert hash_objects(a=1, b=2) != hash_objects(a=2, b=1)
    assert hash_objects(a=1, b=2) == hash_objects(b=2, a=1)


def test_a_value_that_contains_itself_is_named():
    loop: list[Any] = []
    loop.append(loop)
    with pytest.raises(exceptions.HashError, match=r"argument 'loop'\[0\] contains itself"):
        hash_objects(loop=loop)


def test_the_argument_that_is_to_blame_is_named_and_where_in_it():
    with socket.socket() as line:
        config = {"retries": 1, "clients": [line]}
        with pytest.raises(exceptions.HashError) as caught:
            hash_objects(day=1, config=config)
    message = str(caught.value)
    assert "argument 'config'['clients'][0], a socket.socket" in message
    assert "INPUTS - 'name'" in message


def test_a_class_may_say_how_it_is_hashed(monkeypatch: Any):
    monkeypatch.setattr(hashing, "_hashers", {})
    hashing.register_hasher(socket.socket, lambda line: f"family {line.family}")
    with socket.socket() as one, socket.socket() as other:
        assert hash_objects(one) == hash_objects(other)


class Array:
    """Stands for numpy's, told by its module."""

    def __init__(self, shape: tuple[int, ...], content: bytes) -> None:
        self.dtype = SimpleNamespace(str="<i8", hasobject=False)
        self.shape = shape
        self._content = content

    def tobytes(self) -> bytes:
        return self._content


Array.__module__ = "numpy"


def test_arrays_are_hashed_by_kind_shape_and_content():
    one = hash_objects(Array((2, 1), b"ab"))
    assert one == hash_objects(Array((2, 1), b"ab"))
    assert one != hash_objects(Array((1, 2), b"ab"))
    assert one != hash_objects(Array((2, 1), b"ba"))


class Frame:
    """Stands for a frame of pandas."""

    def __init__(self, columns: list[str], rows: str) -> None:
        self.columns, self.rows, self.dtypes = columns, rows, "int64"


Frame.__module__, Frame.__name__ = "pandas.core.frame", "DataFrame"


def test_frames_are_hashed_by_columns_kinds_and_rows(monkeypatch: Any):
    def rows(frame: Frame, index: bool) -> Any:
        assert index
        return SimpleNamespace(to_numpy=lambda: Array((), frame.rows.encode()))

    pandas = SimpleNamespace(util=SimpleNamespace(hash_pandas_object=rows))
    monkeypatch.setitem(sys.modules, "pandas", pandas)
    one = hash_objects(Frame(["a"], "1 2"))
    assert one == hash_objects(Frame(["a"], "1 2"))
    assert one != hash_objects(Frame(["b"], "1 2"))
    assert one != hash_objects(Frame(["a"], "2 1"))


@pytest.mark.slow
def test_hashes_are_the_same_in_every_process():
    code = (
        "import json, sys; from headgate.utilities.hashing import hash_objects\n"
        "print(json.dumps(hash_objects({'b', 'a', 'c'}, x={'k': {1, 2}, 'j': frozenset('xyz')})))"
    )
    found: set[str] = set()
    for seed in ("1", "2", "3"):
        done = subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
        )
        found.add(json.loads(done.stdout))
    assert found == {hash_objects({"b", "a", "c"}, x={"k": {1, 2}, "j": frozenset("xyz")})}


# --- Policies ---


def test_inputs_are_the_same_call_with_the_same_arguments():
    assert key(INPUTS, {"x": 1}) == key(INPUTS, {"x": 1})
    assert key(INPUTS, {"x": 1}) != key(INPUTS, {"x": 2})
    assert key(INPUTS, {}) is None


def test_arguments_can_be_left_away():
    policy = INPUTS - "client"
    assert key(policy, {"x": 1, "client": object()}) == key(policy, {"x": 1, "client": object()})
    assert key(policy - ["x"], {"x": 1, "client": 1}) == key(policy - ["x"], {"x": 2, "client": 2})
    assert INPUTS.exclude == []


def test_leaving_an_argument_away_reaches_the_inputs_within():
    policy = DEFAULT - "client"
    with socket.socket() as line:
        assert key(policy, {"x": 1, "client": line}) is not None
    assert key(policy, {"x": 1, "client": 1}) == key(policy, {"x": 1, "client": 2})
    assert key(DEFAULT, {"x": 1, "client": 1}) != key(DEFAULT, {"x": 1, "client": 2})


def test_a_policy_without_inputs_gets_them_when_one_is_left_away():
    policy = RUN_ID - "a"
    assert key(policy, {"a": 1, "b": 1}) == key(policy, {"a": 2, "b": 1})
    assert key(policy, {"a": 1, "b": 1}) != key(policy, {"a": 1, "b": 2})


def test_no_cache_makes_no_key_and_adds_nothing():
    assert key(NO_CACHE, {"x": 1}) is None
    assert NO_CACHE + INPUTS is INPUTS
    assert INPUTS + NO_CACHE is INPUTS
    assert NO_CACHE - "x" is NO_CACHE
    assert cache_policies.NONE is NO_CACHE


def test_a_sum_is_flat_and_by_all_of_its_parts():
    policy = INPUTS + TASK_SOURCE + RUN_ID
    assert isinstance(policy, cache_policies.CompoundCachePolicy)
    assert policy.policies == [INPUTS, TASK_SOURCE, RUN_ID]
    one = policy.compute_key(context(), {"x": 1}, {})
    assert one != policy.compute_key(context(flow_run_id="run-2"), {"x": 1}, {})
    assert one != policy.compute_key(context(fn=key), {"x": 1}, {})
    assert one != policy.compute_key(context(), {"x": 2}, {})


def test_the_run_is_the_flow_run_or_outside_of_flows_the_task_run():
    assert RUN_ID.compute_key(context(), {}, {}) == "run-1"
    assert RUN_ID.compute_key(context(flow_run_id=None), {}, {}) == "task-run-1"


def test_flow_parameters_are_those_of_the_flow():
    assert key(FLOW_PARAMETERS, {"x": 1}, {"day": 1}) == key(FLOW_PARAMETERS, {"x": 2}, {"day": 1})
    assert key(FLOW_PARAMETERS, {}, {"day": 1}) != key(FLOW_PARAMETERS, {}, {"day": 2})
    assert key(FLOW_PARAMETERS, {}, {}) is None


def test_a_function_may_make_the_keys():
    policy = CachePolicy.from_cache_key_fn(lambda ctx, inputs: f"{ctx.id}-{inputs['x']}")
    assert key(policy, {"x": 1}) == "task-run-1-1"
    assert key(CachePolicy.from_cache_key_fn(lambda _ctx, _inputs: None), {}) is None
    with pytest.raises(TypeError, match="cache_key_fn returned 3; return a text"):
        key(CachePolicy.from_cache_key_fn(lambda _ctx, _inputs: 3), {})  # pyright: ignore[reportArgumentType]  # wrong on purpose


def test_a_policy_of_ones_own_computes_keys():
    @dataclasses.dataclass
    class ByDay(CachePolicy):
        def compute_key(self, task_ctx: Any, inputs: Any, flow_parameters: Any, **kwargs: Any):
            return str(inputs["day"])

    assert key(ByDay(), {"day": 3, "x": 1}) == "3"
    assert key(ByDay() + INPUTS, {"day": 3}) != key(INPUTS, {"day": 3})


def test_a_configured_policy_is_another_one(tmp_path: Path):
    locks = MemoryLockManager()
    policy = INPUTS.configure(
        key_storage=tmp_path, lock_manager=locks, isolation_level=IsolationLevel.SERIALIZABLE
    )
    assert (policy.key_storage, policy.lock_manager) == (tmp_path, locks)
    assert policy.isolation_level is IsolationLevel.SERIALIZABLE
    assert INPUTS.key_storage is INPUTS.lock_manager is INPUTS.isolation_level is None
    joined = policy + RUN_ID
    assert (joined.key_storage, joined.lock_manager) == (tmp_path, locks)
    assert joined.isolation_level is IsolationLevel.SERIALIZABLE
    kept = policy - "x"
    assert kept.key_storage == tmp_path


def test_a_folder_for_keys_may_be_a_text(tmp_path: Path):
    assert INPUTS.configure(key_storage=str(tmp_path)).key_storage == tmp_path
    with pytest.raises(TypeError):
        INPUTS.configure(key_storage=3)


def test_policies_that_are_configured_differently_do_not_add_up(tmp_path: Path):
    one = INPUTS.configure(key_storage=tmp_path / "a")
    other = RUN_ID.configure(key_storage=tmp_path / "b")
    with pytest.raises(exceptions.ConfigurationError, match="two values of key_storage"):
        _ = one + other


def test_only_names_can_be_left_away():
    with pytest.raises(TypeError, match="no argument 3 to leave away"):
        _ = INPUTS - [3]  # pyright: ignore[reportOperatorIssue]  # wrong on purpose


def test_a_long_key_is_hashed():
    policy = CachePolicy.from_cache_key_fn(lambda _ctx, _inputs: "x" * 2_001)
    made = cache_policies.key_of(policy, context(), {})
    assert made is not None
    assert len(made) == 32


def test_the_input_hash_of_a_task_is_by_task_and_arguments():
    one = tasks.task_input_hash(context(), {"x": 1})
    assert one == tasks.task_input_hash(context(flow_run_id="run-2"), {"x": 1})
    assert one != tasks.task_input_hash(context(), {"x": 2})
