"""Every record goes to the wire and comes back whole."""

import dataclasses
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from headgate.api.v1 import deployment_pb2, flow_run_pb2, state_pb2, task_run_pb2
from headgate.codec import (
    deployments,
    flow_runs,
    flows,
    journal,
    logs,
    states,
    task_runs,
    times,
    work_pools,
)
from headgate.core import deployments as core_deployments
from headgate.core import errors, runs
from headgate.core import states as core_states
from tests.unit.codec import records

PAIRS: list[tuple[Any, Callable[..., Any], Callable[..., Any]]] = [
    (records.DETAILS, states.details_to_proto, states.details_from_proto),
    (records.STATE, states.state_to_proto, states.state_from_proto),
    (records.FLOW, flows.flow_to_proto, flows.flow_from_proto),
    (
        records.RETRY_POLICY,
        flow_runs.retry_policy_to_proto,
        flow_runs.retry_policy_from_proto,
    ),
    (records.FLOW_RUN, flow_runs.flow_run_to_proto, flow_runs.flow_run_from_proto),
    (records.TASK_RUN, task_runs.task_run_to_proto, task_runs.task_run_from_proto),
    (records.RECORDED_CALL, task_runs.recorded_call_to_proto, task_runs.recorded_call_from_proto),
    (records.DEPLOYMENT, deployments.deployment_to_proto, deployments.deployment_from_proto),
    (records.WORK_POOL, work_pools.work_pool_to_proto, work_pools.work_pool_from_proto),
    (records.WORK_QUEUE, work_pools.work_queue_to_proto, work_pools.work_queue_from_proto),
    (records.RUNNER, work_pools.runner_to_proto, work_pools.runner_from_proto),
    (records.LOG_RECORD, logs.log_record_to_proto, logs.log_record_from_proto),
]
IDS = [type(record).__name__ for record, _, _ in PAIRS]

#: What no message carries: how far an engine's stream has come, and who may repeat a request.
NOT_SENT = {"FlowRun": {"committed_seq", "committed_log_seq", "idempotency_key"}}


@pytest.mark.parametrize(("record", "encode", "decode"), PAIRS, ids=IDS)
def test_a_full_record_comes_back_whole(record: Any, encode: Any, decode: Any):
    for field in dataclasses.fields(record):
        if field.name in NOT_SENT.get(type(record).__name__, ()):
            continue
        assert getattr(record, field.name) != field.default, f"{field.name} is not tested"
    assert decode(encode(record)) == record


@pytest.mark.parametrize(("record", "encode", "decode"), PAIRS, ids=IDS)
def test_a_record_can_be_written_into_a_message_in_place(record: Any, encode: Any, decode: Any):
    message = type(encode(record))()
    assert encode(record, message) is message
    assert message == encode(record)


@pytest.mark.parametrize(("record", "encode", "decode"), PAIRS, ids=IDS)
def test_a_record_with_defaults_comes_back_as_it_was(record: Any, encode: Any, decode: Any):
    required = {
        field.name: getattr(record, field.name)
        for field in dataclasses.fields(record)
        if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    }
    bare = type(record)(**required)
    assert decode(encode(bare)) == bare


@pytest.mark.parametrize("type", core_states.StateType)
def test_every_state_type_has_its_value_on_the_wire(type: core_states.StateType):
    state = core_states.new_state(type, id="s", now=records.NOW)
    message = states.state_to_proto(state)
    assert state_pb2.StateType.Name(message.type) == f"STATE_TYPE_{type}"
    assert states.state_from_proto(message) == state


@pytest.mark.parametrize("kind", core_states.VerdictKind)
def test_every_verdict_comes_back(kind: core_states.VerdictKind):
    verdict = core_states.Verdict(
        kind=kind, state=records.STATE, reason="Because.", delay_seconds=1.5
    )
    assert states.verdict_from_proto(states.verdict_to_proto(verdict)) == verdict
    bare = core_states.Verdict(kind=kind, state=None)
    assert states.verdict_from_proto(states.verdict_to_proto(bare)) == bare


def test_a_payload_is_inline_or_in_storage():
    for payload in (
        core_states.Payload(serializer="json", inline=b""),
        core_states.Payload(serializer="json", storage_key="k"),
        core_states.Payload(serializer="json"),
    ):
        assert states.payload_from_proto(states.payload_to_proto(payload)) == payload


@pytest.mark.parametrize("kind", runs.RunKind)
def test_a_line_of_the_journal_comes_back_without_data(kind: runs.RunKind):
    record = runs.TransitionRecord(
        revision=5,
        kind=kind,
        run_id="run",
        run_name="name",
        flow_run_id="flow-run",
        root_flow_run_id="",
        deployment_id=None,
        state=records.STATE,
        commit_time=records.LATER,
    )
    again = journal.transition_record_from_proto(journal.transition_record_to_proto(record))
    assert again == dataclasses.replace(record, state=dataclasses.replace(records.STATE, data=None))


def test_counts_come_back():
    count = runs.StateCount(type="FAILED", name="TimedOut", count=3)
    assert flow_runs.state_count_from_proto(flow_runs.state_count_to_proto(count)) == count


# What strangers send


def test_a_state_without_a_type_is_refused_by_field():
    with pytest.raises(errors.InvalidArgument) as caught:
        states.state_from_proto(state_pb2.State(name="Running"))
    assert caught.value.violations[0].field == "state.type"
    assert "RUNNING" in caught.value.violations[0].description


def test_what_a_state_leaves_out_is_filled_in():
    message = state_pb2.State(type=state_pb2.STATE_TYPE_RUNNING)
    state = states.state_from_proto(message, now=records.NOW, new_id="made")
    assert (state.id, state.name, state.timestamp) == ("made", "Running", records.NOW)
    assert state.details is core_states.NO_DETAILS


def test_a_run_without_a_state_is_pending_and_its_own_outermost_run():
    run = flow_runs.flow_run_from_proto(
        flow_run_pb2.FlowRun(id="run"), now=records.NOW, new_state_id="made"
    )
    assert run.state == core_states.new_state(
        core_states.StateType.PENDING, id="made", now=records.NOW
    )
    assert run.root_flow_run_id == "run"
    assert run.create_time == records.NOW


def test_a_task_run_without_a_state_is_refused():
    with pytest.raises(errors.InvalidArgument):
        task_runs.task_run_from_proto(task_run_pb2.TaskRun(id="x"))


def test_a_schedule_without_a_rule_is_refused_by_its_place():
    message = deployment_pb2.Deployment(
        schedules=[
            deployment_pb2.Schedule(cron=deployment_pb2.CronRule()),
            deployment_pb2.Schedule(),
        ]
    )
    with pytest.raises(errors.InvalidArgument) as caught:
        deployments.deployment_from_proto(message)
    assert caught.value.violations[0].field == "deployment.schedules[1].rule"


def test_a_deployment_gets_the_defaults_of_the_contract():
    message = deployment_pb2.Deployment(
        name="d",
        schedules=[
            deployment_pb2.Schedule(
                interval=deployment_pb2.IntervalRule(interval=times.to_duration(5))
            )
        ],
    )
    deployment = deployments.deployment_from_proto(message, now=records.NOW)
    assert deployment.work_pool_name == deployment.work_queue_name == "default"
    assert deployment.on_infrastructure_loss == core_deployments.CRASH_ON_LOSS
    assert deployment.collision_strategy is core_deployments.CollisionStrategy.ENQUEUE
    assert deployment.create_time == records.NOW
    assert deployment.schedules[0].rule == core_deployments.IntervalRule(
        interval_seconds=5, anchor_time=records.NOW
    )
    assert deployment.schedules[0].max_scheduled_runs == 100


@pytest.mark.parametrize("field", ["collision_strategy", "on_infrastructure_loss.action"])
def test_an_unknown_enum_value_is_refused_by_field(field: str):
    message = deployment_pb2.Deployment()
    target = message.on_infrastructure_loss if "." in field else message
    setattr(target, field.split(".")[-1], 99)
    with pytest.raises(errors.InvalidArgument) as caught:
        deployments.deployment_from_proto(message)
    assert caught.value.violations[0].field == f"deployment.{field}"


def test_an_unknown_kind_of_run_is_refused_and_an_unset_one_is_none():
    assert journal.run_kind_from_proto(0) is None
    with pytest.raises(errors.InvalidArgument):
        journal.run_kind_from_proto(99)


def test_a_long_message_of_a_state_is_cut():
    long = dataclasses.replace(records.STATE, message="x" * 10_001)
    message = states.state_to_proto(long).message
    assert len(message) == 10_000
    assert message.endswith("x... [truncated]")


def test_a_long_log_line_is_cut():
    record = dataclasses.replace(records.LOG_RECORD, message="x" * 1_000_001)
    assert len(logs.log_record_to_proto(record).message) == 1_000_000


# Times


@pytest.mark.parametrize(
    "time",
    [
        datetime(2026, 5, 4, 3, 2, 1, 999_999, tzinfo=UTC),
        datetime(1969, 12, 31, 23, 59, 59, 1, tzinfo=UTC),
        datetime(1, 1, 1, tzinfo=UTC),
        datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
    ],
)
def test_a_time_keeps_its_microseconds(time: datetime):
    message = times.to_timestamp(time)
    assert message.ToDatetime(UTC) == time
    assert times.from_timestamp(message) == time


def test_a_time_that_is_unset_is_none_and_one_out_of_range_is_refused():
    assert times.from_timestamp(state_pb2.State().timestamp) is None
    with pytest.raises(errors.InvalidArgument):
        times.from_timestamp(Timestamp(seconds=10**15))


@pytest.mark.parametrize("seconds", [0.0, 0.1, 1.5, -1.5, -0.25, 1e9])
def test_a_duration_keeps_its_microseconds(seconds: float):
    message = times.to_duration(seconds)
    assert message.ToTimedelta().total_seconds() == pytest.approx(seconds, abs=1e-6)
    assert times.from_duration(message) == pytest.approx(seconds, abs=1e-6)
