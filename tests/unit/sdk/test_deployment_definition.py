"""What a flow author says about a deployment becomes the server's record."""

import json
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from headgate import schedules
from headgate.core import deployments, errors
from headgate.deployments import EntrypointType, RunnerDeployment


def etl(limit: int, who: str = "Ann") -> None:
    """Load.

    Args:
        limit: How many.
    """


def a_flow(**changes: Any) -> Any:
    facts = {
        "name": "etl",
        "fn": etl,
        "description": "Loads.",
        "version": "v1",
        "durable": False,
        "origin": None,
        **changes,
    }
    return SimpleNamespace(**facts)


@pytest.fixture(autouse=True)
def here(monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = Path(__file__).parent
    monkeypatch.chdir(folder)
    return folder


def test_a_flow_tells_most_of_its_deployment(here: Path):
    made = RunnerDeployment.from_flow(a_flow(), "daily", tags=["b", "a"], parameters={"limit": 3})
    record = made.record()
    assert record.full_name == "etl/daily"
    assert record.entrypoint == "test_deployment_definition.py:etl"
    assert record.path == os.fspath(here)
    assert (record.description, record.version, record.tags) == ("Loads.", "v1", ("a", "b"))
    assert record.parameters == {"limit": "3"}
    assert json.loads(record.parameter_schema)["required"] == ["limit"]
    assert record.enforce_parameter_schema
    assert (record.work_pool_name, record.work_queue_name) == ("default", "default")
    assert record.schedules == ()


def test_a_module_entrypoint_needs_no_file():
    made = RunnerDeployment.from_flow(a_flow(), "daily", entrypoint_type=EntrypointType.MODULE_PATH)
    assert made.entrypoint == f"{__name__}.etl"


def test_schedules_become_rules_with_their_parameters():
    made = RunnerDeployment.from_flow(
        a_flow(),
        "daily",
        schedules=[
            schedules.Cron("0 9 * * *", slug="early", parameters={"limit": 1}),
            {"interval": 60, "active": False},
        ],
    )
    first, second = made.record().schedules
    assert first.rule == deployments.CronRule(expression="0 9 * * *")
    assert (first.slug, first.parameters, first.paused) == ("early", {"limit": "1"}, False)
    assert (second.slug, second.paused) == ("", True)


@pytest.mark.parametrize(
    ("options", "fields"),
    [
        ({}, set()),
        ({"cron": "0 9 * * *"}, {"schedules"}),
        ({"schedules": []}, {"schedules"}),
        ({"paused": False}, {"paused"}),
    ],
    ids=str,
)
def test_what_was_not_said_stays_as_it_is_on_the_server(options: Any, fields: set[str]):
    mask = RunnerDeployment.from_flow(a_flow(), "daily", **options).update_mask()
    assert {"schedules", "paused"} & set(mask) == fields
    assert {"entrypoint", "parameters", "work_pool_name"} <= set(mask)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (None, deployments.CRASH_ON_LOSS),
        (
            "reschedule",
            deployments.InfrastructureLossPolicy(
                action=deployments.InfrastructureLossAction.RESCHEDULE
            ),
        ),
        (
            deployments.InfrastructureLossPolicy(max_reschedules=9),
            deployments.InfrastructureLossPolicy(max_reschedules=9),
        ),
    ],
    ids=["default", "by word", "by policy"],
)
def test_what_happens_to_a_lost_run_is_chosen(given: Any, expected: Any):
    made = RunnerDeployment.from_flow(a_flow(), "daily", on_infrastructure_loss=given)
    assert made.record().on_infrastructure_loss == expected


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"parameters": {"limti": 3}}, errors.SignatureMismatchError),
        ({"collision_strategy": "FIGHT"}, errors.InvalidArgument),
        ({"on_infrastructure_loss": "cry"}, errors.InvalidArgument),
        ({"cron": "never"}, errors.InvalidArgument),
        ({"cron": "* * * * *", "interval": 3}, errors.InvalidArgument),
    ],
    ids=str,
)
def test_what_is_wrong_is_refused_where_it_is_written(options: Any, error: type[Exception]):
    with pytest.raises(error):
        RunnerDeployment.from_flow(a_flow(), "daily", **options)


def test_a_parameter_that_cannot_be_sent_is_named():
    made = RunnerDeployment.from_flow(a_flow(), "daily", parameters={"who": object()})
    with pytest.raises(errors.ParameterTypeError, match="'who'"):
        made.record()


def test_a_flow_that_no_runner_can_load_is_refused():
    def inner() -> None: ...

    with pytest.raises(errors.MissingFlowError, match="top of its file"):
        RunnerDeployment.from_flow(a_flow(fn=inner), "daily")
