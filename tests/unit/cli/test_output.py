from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

from headgate.cli import output, plain
from headgate.core import deployments, states
from tests.unit.cli.conftest import NOW, a_deployment, a_run, a_state


def test_a_table_in_a_pipe_is_never_cut(capsys: pytest.CaptureFixture[str]):
    long = "x" * 500
    output.write_table(["name", "lines"], [[long, "1"], ["a", "22"]], numbers=["lines"])
    head, first, second = capsys.readouterr().out.splitlines()
    assert head.split() == ["NAME", "LINES"]
    assert first == f"{long}      1"
    assert second == f"a{' ' * 499}     22"


def test_an_empty_table_says_so_beside_the_output(capsys: pytest.CaptureFixture[str]):
    output.write_table(["name"], [], empty="There is nothing.")
    out, err = capsys.readouterr()
    assert (out, err) == ("", "There is nothing.\n")


def test_a_record_is_shown_without_its_empty_fields(capsys: pytest.CaptureFixture[str]):
    output.write_record(
        {"work_pool": "default", "runner": None, "paused": False, "parameters": {"a": "1"}},
        "table",
    )
    assert capsys.readouterr().out.splitlines() == [
        "work pool   default",
        "paused      no",
        "parameters  a: 1",
    ]


def test_a_flow_run_as_json_shows_values_not_json_texts():
    shown = plain.of(a_run())
    assert json.loads(json.dumps(shown)) == shown
    assert shown["parameters"] == {"limit": 3, "who": "you"}
    assert shown["state"]["type"] == "RUNNING"
    assert shown["create_time"] == "2026-07-01T12:00:00Z"


def test_a_text_that_is_no_json_is_shown_as_it_is():
    assert plain.of(a_run(parameters={"limit": "{"}))["parameters"] == {"limit": "{"}


def test_user_data_is_told_by_its_size_only():
    data = states.Payload(serializer="pickle", inline=b"abc")
    assert plain.of(a_state(data=data))["data"] == {
        "serializer": "pickle",
        "size_bytes": 3,
        "storage_key": None,
    }


def test_a_schedule_as_json_names_the_kind_of_its_rule():
    schedules = plain.of(a_deployment())["schedules"]
    assert schedules[0]["cron"] == {"expression": "0 6 * * *", "time_zone": "UTC", "day_or": True}
    interval = deployments.IntervalRule(interval_seconds=5, anchor_time=NOW)
    shown = plain.of(deployments.Schedule(id="s", slug="s", rule=interval))
    assert shown["interval"]["interval_seconds"] == 5


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.44, "0.4 s"), (42, "42 s"), (120, "2 min"), (7_200, "2 h"), (864_000, "10 d")],
)
def test_a_length_of_time_is_shown_in_its_largest_fitting_unit(seconds: float, text: str):
    assert output.duration(seconds) == text
    assert output.ago(NOW - timedelta(seconds=seconds), NOW) == f"{text} ago"
    assert output.ago(NOW + timedelta(seconds=seconds + 1e-6), NOW) == f"in {text}"


def test_no_time_is_shown_as_nothing():
    assert output.ago(None, datetime(2026, 1, 1, tzinfo=UTC)) == ""
    assert output.moment(None) == ""


def test_every_type_of_state_has_its_colour():
    assert set(output.STYLES) == set(states.StateType)
