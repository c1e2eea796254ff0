from __future__ import annotations

from datetime import UTC, datetime, timedelta

import click
import pytest

from headgate.cli import inputs
from headgate.core.deployments import InfrastructureLossAction


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("limit=3", 3),
        ("limit=3.5", 3.5),
        ('limit="3"', "3"),
        ("limit=three", "three"),
        ("limit=", ""),
        ("limit=[1, 2]", [1, 2]),
        ("limit=null", None),
        ("limit=a=b", "a=b"),
        ("limit=123456789012345678901234567890", 123456789012345678901234567890),
    ],
)
def test_a_parameter_is_json_or_else_a_text(text: str, value: object):
    assert inputs.pairs([text]) == {"limit": value}


@pytest.mark.parametrize("text", ["limit", "=3", " =3"])
def test_a_parameter_without_name_or_equals_sign_is_refused(text: str):
    with pytest.raises(click.BadParameter, match="NAME=VALUE"):
        inputs.pairs([text])


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90), ("90s", 90), ("1.5m", 90), ("15 min", 900), ("2H", 7_200), ("1d", 86_400)],
)
def test_a_length_of_time_is_a_number_with_a_unit(text: str, seconds: float):
    assert inputs.LengthOfTime().convert(text, None, None) == timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["", "soon", "5 parsecs", "-3s", "1h30m"])
def test_what_is_no_length_of_time_is_refused(text: str):
    with pytest.raises(click.BadParameter, match="15m"):
        inputs.LengthOfTime().convert(text, None, None)


def test_a_time_without_offset_is_meant_here():
    assert inputs.Time().convert("2026-12-31T18:00", None, None).tzinfo is not None
    assert inputs.Time().convert("2026-12-31T18:00Z", None, None) == datetime(
        2026, 12, 31, 18, tzinfo=UTC
    )
    with pytest.raises(click.BadParameter, match="no time"):
        inputs.Time().convert("tomorrow", None, None)


@pytest.mark.parametrize(
    ("text", "action", "times"),
    [
        ("crash", InfrastructureLossAction.CRASH, None),
        ("reschedule", InfrastructureLossAction.RESCHEDULE, 3),
        ("reschedule:7", InfrastructureLossAction.RESCHEDULE, 7),
    ],
)
def test_a_loss_policy_is_crash_or_reschedule(
    text: str, action: InfrastructureLossAction, times: int | None
):
    policy = inputs.LossPolicy().convert(text, None, None)
    assert policy.action is action
    assert times is None or policy.max_reschedules == times


@pytest.mark.parametrize("text", ["", "crash:1", "reschedule:", "reschedule:-1", "retry"])
def test_another_loss_policy_is_refused(text: str):
    with pytest.raises(click.BadParameter, match="reschedule:3"):
        inputs.LossPolicy().convert(text, None, None)
