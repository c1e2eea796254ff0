"""Facts about the run that is executing here."""

from datetime import UTC, datetime
from typing import Any

import pytest

from headgate import runtime
from headgate.core import errors
from tests.unit.sdk.conftest import FLOW_RUN_ID, NOW, TASK_RUN_ID, Inside


def test_outside_of_runs_facts_are_none_or_empty():
    assert runtime.flow_run.id is None
    assert runtime.flow_run.tags == []
    assert runtime.flow_run.parameters == {}
    assert runtime.flow_run.run_count == 0
    assert runtime.flow_run.scheduled_start_time.tzinfo is not None
    assert runtime.flow_run.parent_deployment_id is None
    assert runtime.task_run.id is None
    assert runtime.task_run.parameters == {}
    assert runtime.deployment.id is None
    assert runtime.deployment.version is None
    assert runtime.deployment.parameters == {}


def test_a_flow_run_knows_itself(inside: Inside):
    with inside(
        tags=("a",), fencing_token=7, parameters={"x": 1}, run_count=2, expected_start_time=NOW
    ):
        facts = runtime.flow_run
        assert (facts.id, facts.name, facts.flow_name) == (FLOW_RUN_ID, "brave-otter", "etl")
        assert (facts.flow_version, facts.tags, facts.fencing_token) == ("v1", ["a"], 7)
        assert (facts.parameters, facts.run_count) == ({"x": 1}, 2)
        assert facts.scheduled_start_time == NOW
        assert facts.root_flow_run_id == FLOW_RUN_ID
        assert runtime.task_run.id is None


def test_a_task_run_knows_itself_and_its_flow_run(inside: Inside):
    with inside(task=True):
        facts = runtime.task_run
        assert (facts.id, facts.name, facts.task_name) == (TASK_RUN_ID, "load-0", "load")
        assert (facts.tags, facts.parameters, facts.run_count) == (["t"], {"x": 5}, 0)
        assert runtime.flow_run.id == FLOW_RUN_ID


def test_a_deployed_run_knows_its_deployment(inside: Inside):
    with inside(deployment_id="d", deployment_name="etl/daily"):
        assert (runtime.deployment.id, runtime.deployment.name) == ("d", "daily")
        assert runtime.deployment.flow_run_id == FLOW_RUN_ID
        assert runtime.flow_run.deployment_id == "d"


@pytest.mark.parametrize(
    ("variable", "text", "module", "fact", "expected"),
    [
        ("FLOW_RUN__NAME", "x", runtime.flow_run, "name", "x"),
        ("FLOW_RUN__TAGS", "a, b", runtime.flow_run, "tags", ["a", "b"]),
        ("FLOW_RUN__RUN_COUNT", "3", runtime.flow_run, "run_count", 3),
        ("FLOW_RUN__PARAMETERS", '{"x": 1}', runtime.flow_run, "parameters", {"x": 1}),
        (
            "FLOW_RUN__SCHEDULED_START_TIME",
            "2026-01-02",
            runtime.flow_run,
            "scheduled_start_time",
            datetime(2026, 1, 2, tzinfo=UTC),
        ),
        ("TASK_RUN__TASK_NAME", "t", runtime.task_run, "task_name", "t"),
        ("DEPLOYMENT__VERSION", "v", runtime.deployment, "version", "v"),
    ],
    ids=lambda value: value if isinstance(value, str) and "__" in value else "",
)
def test_facts_can_be_set_from_the_environment(
    variable, text, module, fact, expected, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv(f"HEADGATE__RUNTIME__{variable}", text)
    assert getattr(module, fact) == expected


def test_a_child_process_knows_its_run_before_it_executes(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HEADGATE__FLOW_RUN_ID", FLOW_RUN_ID)
    assert runtime.flow_run.id == FLOW_RUN_ID


def test_what_is_no_fact_is_an_error_and_dir_tells_what_is():
    with pytest.raises(AttributeError, match=r"headgate\.runtime\.flow_run"):
        _ = runtime.flow_run.colour  # pyright: ignore[reportAttributeAccessIssue]  # what is tested
    assert "fencing_token" in dir(runtime.flow_run)


@pytest.mark.parametrize(
    ("module", "names"),
    [
        (runtime.flow_run, runtime.flow_run.__all__),
        (runtime.task_run, runtime.task_run.__all__),
        (runtime.deployment, runtime.deployment.__all__),
    ],
    ids=["flow_run", "task_run", "deployment"],
)
def test_every_fact_can_be_mocked_by_the_environment(
    module: Any, names: list[str], monkeypatch: pytest.MonkeyPatch
):
    kinds: dict[str, tuple[str, Any]] = {
        "int": ("7", 7),
        "dict": ('{"a": 1}', {"a": 1}),
        "list": ("a, b", ["a", "b"]),
        "datetime": ("2026-01-02T03:04:05", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
    }
    prefix = f"HEADGATE__RUNTIME__{module.__name__.rpartition('.')[2].upper()}__"
    for name in names:
        kind = module._facts._readers[name][1].__name__
        text, value = kinds.get(kind, ("text", "text"))
        monkeypatch.setenv(prefix + name.upper(), text)
        assert getattr(module, name) == value, name


def test_a_fact_that_only_the_environment_knows_is_a_text(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HEADGATE__RUNTIME__FLOW_RUN__TENANT", "north")
    assert runtime.flow_run.tenant == "north"  # pyright: ignore[reportAttributeAccessIssue]  # a fact of this test's own


def test_a_mock_that_does_not_fit_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HEADGATE__RUNTIME__FLOW_RUN__RUN_COUNT", "many")
    with pytest.raises(errors.InvalidArgument, match="RUN_COUNT: must be a whole number"):
        _ = runtime.flow_run.run_count
