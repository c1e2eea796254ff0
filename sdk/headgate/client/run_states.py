"""Runs as users get them: states can be asked for the result, parameters are values."""

from __future__ import annotations

import dataclasses

from headgate import parameters, states
from headgate.api.v1 import flow_run_pb2, task_run_pb2
from headgate.codec import flow_runs, task_runs
from headgate.core import runs

__all__ = ["flow_run_from_proto", "task_run_from_proto"]


def flow_run_from_proto(message: flow_run_pb2.FlowRun) -> runs.FlowRun:
    """Turn a message into a flow run."""
    run = flow_runs.flow_run_from_proto(message)
    return dataclasses.replace(
        run,
        state=states.from_record(run.state, flow_run_id=run.id),
        parameters=parameters.Values(run.parameters),
        job_variables=parameters.Values(run.job_variables),
    )


def task_run_from_proto(message: task_run_pb2.TaskRun) -> runs.TaskRun:
    """Turn a message into a task run."""
    run = task_runs.task_run_from_proto(message)
    return dataclasses.replace(run, state=states.from_record(run.state, task_run_id=run.id))
