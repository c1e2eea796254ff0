from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

from headgate.core import errors
from headgate.core.deployments import InfrastructureLossAction, InfrastructureLossPolicy
from headgate.core.states import StateType
from tests.unit.cli.conftest import (
    NOW,
    RUN_ID,
    Command,
    FakeClient,
    a_deployment,
    a_run,
    a_state,
    a_transition,
)


def test_ls_shows_name_pool_and_schedules(headgate: Command, client: FakeClient):
    client.answers["read_deployments"] = [a_deployment(), a_deployment(name="x", paused=True)]
    head, daily, other = headgate("deployment", "ls").splitlines()
    assert head.split() == ["NAME", "POOL", "STATE", "SCHEDULES", "TAGS"]
    assert "etl/daily" in daily
    assert "active" in daily
    assert "cron '0 6 * * *' (UTC)" in daily
    assert "paused" in other


def test_ls_of_a_pool_without_any_names_the_pool(headgate: Command, client: FakeClient):
    client.answers["read_deployments"] = []
    assert headgate("deployment", "ls", "--pool", "gpu") == ""
    assert "in the work pool 'gpu'" in headgate.remarks


def test_ls_as_json_is_a_list_of_records(headgate: Command, client: FakeClient):
    client.answers["read_deployments"] = [a_deployment()]
    (shown,) = json.loads(headgate("deployment", "ls", "-o", "json"))
    assert shown["name"] == "daily"
    assert shown["parameters"] == {"limit": 3}


def test_inspect_shows_what_is_set(headgate: Command, client: FakeClient):
    client.answers["read_deployment_by_name"] = a_deployment()
    shown = headgate("deployment", "inspect", "etl/daily")
    assert "morning: cron '0 6 * * *' (UTC)" in shown
    assert "limit: 3" in shown
    assert "concurrency" not in shown


def test_inspect_shows_what_happens_at_a_loss_as_it_is_given(headgate: Command, client: FakeClient):
    policy = InfrastructureLossPolicy(action=InfrastructureLossAction.RESCHEDULE, max_reschedules=2)
    client.answers["read_deployment_by_name"] = a_deployment(on_infrastructure_loss=policy)
    assert "reschedule:2" in headgate("deployment", "inspect", "etl/daily")


def test_run_sends_parameters_as_values(headgate: Command, client: FakeClient):
    client.answers["create_flow_run_from_deployment"] = a_run()
    said = headgate(
        "deployment", "run", "etl/daily", "--param", "limit=3", "--param", "who=you", "-t", "a"
    )
    arguments, options = client.asked("create_flow_run_from_deployment")
    assert arguments == ("etl/daily",)
    assert options["parameters"] == {"limit": 3, "who": "you"}
    assert options["tags"] == ("a",)
    assert options["scheduled_time"] is None
    assert RUN_ID in said


@pytest.mark.parametrize(
    ("option", "value", "time"),
    [
        ("--start-in", "15m", NOW + timedelta(minutes=15)),
        ("--start-at", "2026-12-31T18:00Z", datetime(2026, 12, 31, 18, tzinfo=UTC)),
    ],
)
def test_run_may_start_later(
    headgate: Command, client: FakeClient, option: str, value: str, time: datetime
):
    client.answers["create_flow_run_from_deployment"] = a_run()
    headgate("deployment", "run", "etl/daily", option, value)
    assert client.asked("create_flow_run_from_deployment")[1]["scheduled_time"] == time


def test_run_starts_at_one_time_only(headgate: Command):
    both = ["--start-in", "1h", "--start-at", "2026-12-31"]
    assert "one of them" in headgate("deployment", "run", "etl/daily", *both, code=2)


def test_run_with_a_wrong_parameter_is_a_usage_error(headgate: Command):
    said = headgate("deployment", "run", "etl/daily", "--param", "limit", code=2)
    assert "NAME=VALUE" in said


@pytest.mark.parametrize(("ended", "code"), [(StateType.COMPLETED, 0), (StateType.FAILED, 1)])
def test_run_with_watch_ends_as_the_run_does(
    headgate: Command, client: FakeClient, ended: StateType, code: int
):
    client.answers["create_flow_run_from_deployment"] = a_run(state=a_state(StateType.SCHEDULED))
    client.answers["watch"] = [
        a_transition(StateType.SCHEDULED, 7),
        a_transition(StateType.RUNNING, 8),
        a_transition(ended, 9),
        a_transition(StateType.SCHEDULED, 10),
    ]
    client.answers["read_flow_run"] = a_run(state=a_state(ended))
    headgate("deployment", "run", "etl/daily", "--watch", code=code)
    options = client.asked("watch")[1]
    assert options == {"after_revision": 6, "root_flow_run_ids": [RUN_ID], "flow_run_ids": []}


def test_run_of_what_is_not_there_is_told(headgate: Command, client: FakeClient):
    client.answers["create_flow_run_from_deployment"] = errors.NotFound("deployment", "etl/nope")
    with pytest.raises(errors.NotFound, match="etl/nope"):
        headgate("deployment", "run", "etl/nope")


@pytest.mark.parametrize("verb", ["pause", "resume"])
def test_pause_and_resume_go_by_name(headgate: Command, client: FakeClient, verb: str):
    client.answers["read_deployment_by_name"] = a_deployment()
    client.answers[f"{verb}_deployment"] = a_deployment()
    assert "etl/daily" in headgate("deployment", verb, "etl/daily")
    assert client.asked(f"{verb}_deployment") == (("d",), {})


def test_a_deployment_is_found_by_id_too(headgate: Command, client: FakeClient):
    client.answers["read_deployment"] = a_deployment()
    assert "etl/daily" in headgate("deployment", "inspect", RUN_ID)
    assert client.asked("read_deployment") == ((RUN_ID,), {})
