"""Records within records, as JSON text."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, cast

from headgate.core import deployments, runs, states
from headgate_server.storage.sql.types import (
    from_micros,
    from_micros_or_none,
    to_micros,
    to_micros_or_none,
)

Json = dict[str, Any]


def dump(value: object) -> str:
    """Return compact JSON text."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def dump_texts(values: Sequence[str]) -> str:
    """Return a list of texts."""
    return dump(list(values)) if values else "[]"


def load_texts(text: str) -> tuple[str, ...]:
    """Read a list of texts."""
    return () if text == "[]" else tuple(json.loads(text))


def dump_map(values: Mapping[str, str]) -> str:
    """Return a map of texts."""
    return dump(dict(values)) if values else "{}"


def load_map(text: str) -> dict[str, str]:
    """Read a map of texts."""
    return {} if text == "{}" else json.loads(text)


def dump_details(details: states.StateDetails) -> str | None:
    """Return what is set of a state's details; None if nothing is."""
    if details is states.NO_DETAILS:
        return None
    fields: Json = {
        "scheduled_time": to_micros_or_none(details.scheduled_time),
        "child_flow_run_id": details.child_flow_run_id,
        "cache_key": details.cache_key,
        "cache_expire_time": to_micros_or_none(details.cache_expire_time),
        "retriable": details.retriable,
        "pause_expire_time": to_micros_or_none(details.pause_expire_time),
        "pause_reschedule": details.pause_reschedule or None,
        "pause_key": details.pause_key,
        "transition_id": details.transition_id,
        "traceparent": details.traceparent,
        "call_key": details.call_key,
    }
    present = {name: value for name, value in fields.items() if value is not None}
    return dump(present) if present else None


def load_details(text: str | None) -> states.StateDetails:
    """Read a state's details."""
    if text is None:
        return states.NO_DETAILS
    fields: Json = json.loads(text)
    for name in ("scheduled_time", "cache_expire_time", "pause_expire_time"):
        if name in fields:
            fields[name] = from_micros(fields[name])
    return states.StateDetails(**fields)


def dump_retry_policy(policy: runs.RetryPolicy) -> str | None:
    """Return a retry policy; None if it has no retries."""
    if policy == runs.NO_RETRIES:
        return None
    return dump([policy.max_retries, list(policy.delays_seconds), policy.jitter_factor])


def load_retry_policy(text: str | None) -> runs.RetryPolicy:
    """Read a retry policy."""
    if text is None:
        return runs.NO_RETRIES
    max_retries, delays, jitter_factor = json.loads(text)
    return runs.RetryPolicy(
        max_retries=max_retries, delays_seconds=tuple(delays), jitter_factor=jitter_factor
    )


def _rule_fields(rule: deployments.ScheduleRule) -> Json:
    match rule:
        case deployments.CronRule():
            return {
                "cron": rule.expression,
                "time_zone": rule.time_zone,
                "day_or": rule.day_or,
            }
        case deployments.IntervalRule():
            return {
                "interval_seconds": rule.interval_seconds,
                "anchor_time": to_micros(rule.anchor_time),
                "time_zone": rule.time_zone,
            }
        case deployments.RecurrenceRule():
            return {"rrule": rule.rule, "time_zone": rule.time_zone}


def _load_rule(fields: Json) -> deployments.ScheduleRule:
    time_zone = cast(str, fields["time_zone"])
    if "cron" in fields:
        return deployments.CronRule(
            expression=fields["cron"], time_zone=time_zone, day_or=fields["day_or"]
        )
    if "rrule" in fields:
        return deployments.RecurrenceRule(rule=fields["rrule"], time_zone=time_zone)
    anchor_time = from_micros_or_none(fields["anchor_time"])
    assert anchor_time is not None
    return deployments.IntervalRule(
        interval_seconds=fields["interval_seconds"],
        anchor_time=anchor_time,
        time_zone=time_zone,
    )


def dump_schedules(schedules: Sequence[deployments.Schedule]) -> str:
    """Return a deployment's schedules."""
    return dump(
        [
            {
                "id": schedule.id,
                "slug": schedule.slug,
                "rule": _rule_fields(schedule.rule),
                "paused": schedule.paused,
                "parameters": dict(schedule.parameters),
                "max_scheduled_runs": schedule.max_scheduled_runs,
            }
            for schedule in schedules
        ]
    )


def load_schedules(text: str) -> tuple[deployments.Schedule, ...]:
    """Read a deployment's schedules."""
    items: list[Json] = json.loads(text)
    for item in items:
        item["rule"] = _load_rule(item["rule"])
    return tuple(deployments.Schedule(**item) for item in items)


def dump_pull_steps(steps: Sequence[deployments.PullStep]) -> str:
    """Return a deployment's pull steps."""
    return dump([{"name": step.name, "inputs": dict(step.inputs)} for step in steps])


def load_pull_steps(text: str) -> tuple[deployments.PullStep, ...]:
    """Read a deployment's pull steps."""
    items: list[Json] = json.loads(text)
    return tuple(deployments.PullStep(**item) for item in items)
