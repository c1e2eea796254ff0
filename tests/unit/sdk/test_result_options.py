"""Options about results: checked where they are given, kept by with_options, read together."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import cloudpickle
import pytest

from headgate import exceptions, flow, settings, task
from headgate.cache_policies import DEFAULT, INPUTS, NO_CACHE, TASK_SOURCE, CacheKeyFnPolicy
from headgate.serializers import CompressedJSONSerializer, JSONSerializer, PickleSerializer


def work(x: int = 1) -> int:
    return x


def by_day(_context: Any, _parameters: Any) -> str:
    return "day"


class Unsaved:
    _block_document_id = None

    def read_path(self, path: str) -> bytes:
        raise NotImplementedError

    def write_path(self, path: str, content: bytes) -> None:
        raise NotImplementedError


class Saved(Unsaved):
    _block_document_id = "0190"


BOTH = [
    ("persist_result", 1, "persist_result is 1; use True, False, or None"),
    ("cache_result_in_memory", None, "cache_result_in_memory is None; use True or False"),
    ("result_storage", 3, "result_storage is 3; give a saved block"),
    ("result_storage", "results", "result_storage is 'results'; name a saved block as in"),
    ("result_storage", Unsaved(), "is a Unsaved that is not saved"),
    ("result_serializer", 3, "3 is no serializer"),
]
OF_TASKS = [
    ("cache_policy", "INPUTS", "cache_policy is 'INPUTS'; use one of headgate.cache_policies"),
    ("cache_key_fn", "day", "cache_key_fn is 'day'; use a function of"),
    ("cache_expiration", 60, "cache_expiration is 60; use a timedelta"),
    ("result_storage_key", 3, "result_storage_key is 3; use a template"),
    ("result_storage_key", "", "result_storage_key is ''; use a template"),
    ("refresh_cache", "yes", "refresh_cache is 'yes'; use True, False, or None"),
]


@pytest.mark.parametrize(
    ("make", "option", "value", "message"),
    [(flow, *row) for row in BOTH] + [(task, *row) for row in BOTH + OF_TASKS],
)
def test_what_does_not_fit_is_named(make: Any, option: str, value: Any, message: str):
    with pytest.raises(TypeError, match=message.replace("(", r"\(")):
        make(**{option: value})(work)


@pytest.mark.parametrize("make", [flow, task])
def test_a_serializer_that_is_not_there_is_named(make: Any):
    with pytest.raises(exceptions.ConfigurationError, match="no serializer 'yaml'"):
        make(result_serializer="yaml")(work)


@pytest.mark.parametrize("seconds", [0, -1])
def test_an_expiration_is_a_time_to_come(seconds: int):
    with pytest.raises(ValueError, match="cache_expiration is"):
        task(cache_expiration=timedelta(seconds=seconds))(work)


@pytest.mark.parametrize("make", [flow, task])
@pytest.mark.parametrize("storage", [Saved(), Path("results"), "s3-bucket/results"])
def test_a_storage_is_a_saved_block_its_name_or_a_folder(make: Any, storage: Any):
    assert make(result_storage=storage)(work).result_storage is storage


@pytest.mark.parametrize("make", [flow, task])
@pytest.mark.parametrize(
    ("given", "made"),
    [
        ("pickle", PickleSerializer()),
        ("compressed/json", CompressedJSONSerializer()),
        (JSONSerializer(), JSONSerializer()),
    ],
)
def test_a_serializer_is_one_or_its_type(make: Any, given: Any, made: Any):
    assert make(result_serializer=given)(work).result_serializer == made


@pytest.mark.parametrize(
    "options",
    [
        {"cache_policy": INPUTS},
        {"cache_key_fn": by_day},
        {"result_storage": Path("x")},
        {"result_storage_key": "x"},
        {"result_serializer": "json"},
    ],
    ids=lambda options: next(iter(options)),
)
def test_an_option_about_keeping_keeps(options: dict[str, Any]):
    assert task(**options)(work).persist_result is True
    assert task(**options, persist_result=False)(work).persist_result is False


@pytest.mark.parametrize("options", [{}, {"cache_policy": None}, {"cache_policy": NO_CACHE}])
def test_without_one_the_flow_decides(options: dict[str, Any]):
    assert task(**options)(work).persist_result is None


def test_a_flow_that_says_where_or_how_keeps():
    assert flow(work).persist_result is None
    assert flow(result_storage=Path("x"))(work).persist_result is True
    assert flow(result_serializer="json")(work).persist_result is True
    assert flow(result_serializer="json", persist_result=False)(work).persist_result is False


def test_settings_give_defaults():
    with settings.temporary_settings({"tasks_default_persist_result": True}):
        assert task(work).persist_result is True
    with settings.temporary_settings({"tasks_default_no_cache": True}):
        assert task(work).cache_policy is None
        assert task(cache_policy=INPUTS)(work).cache_policy is INPUTS


def test_the_policy_is_the_one_given_or_the_default():
    assert task(work).cache_policy is DEFAULT
    assert task(cache_policy=None)(work).cache_policy is None
    assert task(cache_policy=INPUTS)(work).cache_policy is INPUTS
    assert task(result_storage_key="x")(work).cache_policy is None
    assert task(persist_result=False)(work).cache_policy is None


def test_a_key_function_wins_over_a_policy_with_a_warning(capfd: Any):
    made = task(cache_policy=INPUTS, cache_key_fn=by_day)(work)
    assert made.cache_policy == CacheKeyFnPolicy(cache_key_fn=by_day)
    assert "cache_key_fn is used" in capfd.readouterr().err


@pytest.mark.parametrize("option", ["cache_policy", "cache_key_fn"])
def test_a_storage_key_wins_over_what_makes_keys_with_a_warning(option: str, capfd: Any):
    options: Any = {option: INPUTS if option == "cache_policy" else by_day}
    assert task(**options, result_storage_key="k")(work).cache_policy is None
    told = capfd.readouterr().err
    assert f"Both {option} and result_storage_key are set on task 'work'" in told
    assert "result_storage_key is used" in told
    assert task(cache_policy=NO_CACHE, result_storage_key="k")(work).cache_policy is NO_CACHE
    assert capfd.readouterr().err == ""


def test_an_argument_that_a_policy_leaves_away_and_the_task_does_not_have_is_told(capfd: Any):
    made = task(cache_policy=INPUTS - "nope")(work)
    told = capfd.readouterr().err
    assert (
        "Task 'work' has no argument 'nope', which its cache policy leaves away; it has x" in told
    )
    made.with_options(name="again")
    assert capfd.readouterr().err == "", "it was told"
    made.with_options(cache_policy=TASK_SOURCE + INPUTS - ["x", "y"])
    assert "has no argument 'y'" in capfd.readouterr().err
    task(cache_policy=INPUTS - "x")(work)
    assert capfd.readouterr().err == ""


def test_a_policy_of_a_task_that_keeps_nothing_is_ignored_with_a_warning(capfd: Any):
    assert task(cache_policy=INPUTS, persist_result=False)(work).cache_policy is None
    assert "Ignoring the cache policy of task 'work'" in capfd.readouterr().err


TASK_OPTIONS: dict[str, Any] = {
    "cache_expiration": timedelta(hours=1),
    "cache_key_fn": by_day,
    "cache_result_in_memory": False,
    "persist_result": True,
    "refresh_cache": True,
    "result_serializer": JSONSerializer(),
    "result_storage": Path("x"),
    "result_storage_key": "y",
}


def test_with_options_keeps_what_it_is_not_given():
    made = task(**TASK_OPTIONS)(work)
    kept = made.with_options(name="other")
    for option, value in TASK_OPTIONS.items():
        assert getattr(kept, option) == value, option
    assert kept.cache_policy == made.cache_policy


@pytest.mark.parametrize("option", TASK_OPTIONS)
def test_with_options_changes_what_it_is_given(option: str):
    changed = task(work).with_options(**{option: TASK_OPTIONS[option]})
    assert getattr(changed, option) == TASK_OPTIONS[option]


def test_with_options_decides_anew_what_follows_from_others():
    made = task(cache_policy=INPUTS)(work)
    assert made.with_options(persist_result=False).persist_result is False
    assert made.with_options(cache_policy=NO_CACHE).persist_result is None
    assert task(work).with_options(cache_policy=INPUTS).persist_result is True


def test_with_options_has_the_hooks_of_transactions():
    def hook(_txn: Any) -> None: ...

    made = task(on_rollback=[hook], on_commit=[hook])(work)
    assert made.with_options(name="other").on_rollback_hooks == [hook]
    assert made.with_options(on_commit=[]).on_commit_hooks == []


def test_flows_have_with_options_too():
    made = flow(result_storage=Path("x"), cache_result_in_memory=False)(work)
    kept = made.with_options(name="other")
    assert (kept.result_storage, kept.cache_result_in_memory) == (Path("x"), False)
    assert kept.persist_result is True
    assert kept.with_options(persist_result=False).persist_result is False
    assert flow(work).with_options(result_serializer="json").result_serializer == JSONSerializer()


def test_a_task_survives_cloudpickle_with_its_options():
    made = task(**TASK_OPTIONS)(lambda x: x)
    again = cloudpickle.loads(cloudpickle.dumps(made))
    assert again.result_serializer == JSONSerializer()
    plain = cloudpickle.loads(cloudpickle.dumps(task(lambda x: x)))
    assert plain.with_options(name="other").cache_policy is DEFAULT
