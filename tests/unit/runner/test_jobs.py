from __future__ import annotations

import dataclasses
import json
from datetime import UTC, datetime

import pytest

from headgate.core import deployments, runs, states
from headgate.engine import child
from headgate_runner import jobs

NOW = datetime(2026, 1, 1, tzinfo=UTC)
DAILY = deployments.Deployment(
    id="d1",
    name="daily",
    flow_id="f1",
    flow_name="hello",
    entrypoint="flows.py:hello",
    path="/flows",
    create_time=NOW,
    update_time=NOW,
    etag="1",
)


def job(*, job_variables=None, run_variables=None, **of_deployment) -> jobs.Job:
    return jobs.Job(
        flow_run=runs.FlowRun(
            id="r1",
            name="brave-otter",
            flow_id="f1",
            flow_name="hello",
            state=states.new_state(states.StateType.SCHEDULED, id="s1", now=NOW),
            root_flow_run_id="r1",
            create_time=NOW,
            job_variables=run_variables or {},
        ),
        deployment=dataclasses.replace(DAILY, job_variables=job_variables or {}, **of_deployment),
        fencing_token=3,
    )


def test_a_process_is_told_what_to_run_under_which_token():
    assert jobs.environment(job(), api_url="unix:///s") == {
        "HEADGATE_API_URL": "unix:///s",
        "HEADGATE__FLOW_RUN_ID": "r1",
        "HEADGATE__FENCING_TOKEN": "3",
        "HEADGATE__ENTRYPOINT": "flows.py:hello",
        "HEADGATE__PATH": "/flows",
        "HEADGATE__OUTPUT_CAPTURED": "1",
    }


def test_the_environment_of_the_run_goes_over_that_of_the_deployment_but_never_over_ours():
    env = jobs.environment(
        job(
            job_variables={"env": '{"A": 1, "B": "b"}'},
            run_variables={"env": '{"B": "c", "HEADGATE__FLOW_RUN_ID": "other"}'},
        ),
        api_url="unix:///s",
    )
    assert (env["A"], env["B"], env["HEADGATE__FLOW_RUN_ID"]) == ("1", "c", "r1")


@pytest.mark.parametrize("env", ["[1]", "{", '"x"'])
def test_an_environment_that_is_no_object_makes_the_job_unusable(env):
    with pytest.raises(jobs.UnusableJob, match="job variable 'env'"):
        jobs.environment(job(job_variables={"env": env}), api_url="unix:///s")


def test_pull_steps_are_told_to_the_process_of_the_run():
    step = deployments.PullStep(name="set_working_directory", inputs={"directory": '"/there"'})
    environment = jobs.environment(job(pull_steps=(step,)), api_url="unix:///s")
    assert json.loads(environment["HEADGATE__PULL_STEPS"]) == [
        {"name": "set_working_directory", "inputs": {"directory": '"/there"'}}
    ]
    environment |= {"HEADGATE__CONTROL_FD": ""}
    assert child.Spec.of_environment(environment).pull_steps == (step,)
