"""What a runner was offered, and the environment in which its process runs."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import cast

from headgate.core import deployments, runs
from headgate.logging import handlers
from headgate_runner import lease


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A leased flow run and what to run.

    Attributes:
        flow_run: The run.
        deployment: Where its code is.
        fencing_token: The number of the lease; every write about the run carries it.
        attempt: 1 is the first.
    """

    flow_run: runs.FlowRun
    deployment: deployments.Deployment
    fencing_token: int
    attempt: int = 1

    @property
    def held(self) -> lease.Held:
        """The lease, as both sides name it."""
        return lease.Held(self.flow_run.id, self.fencing_token)


class UnusableJob(Exception):
    """A job that this runner cannot start; the message is one sentence for people."""


def environment(job: Job, *, api_url: str) -> dict[str, str]:
    """The environment variables that the process of a job gets beside its runner's own.

    The job variable ``env`` of the deployment, and of the run over it, comes first, so that
    nothing a user sets there can redirect the run itself.
    """
    path, steps = job.deployment.path, job.deployment.pull_steps
    return {
        **_user_environment(job),
        "HEADGATE_API_URL": api_url,
        handlers.CAPTURED_VARIABLE: "1",
        "HEADGATE__FLOW_RUN_ID": job.flow_run.id,
        "HEADGATE__FENCING_TOKEN": str(job.fencing_token),
        "HEADGATE__ENTRYPOINT": job.deployment.entrypoint,
        **({"HEADGATE__PATH": path} if path else {}),
        # They are carried out by the process of the run: they are code of the deployment's.
        **({"HEADGATE__PULL_STEPS": _steps(steps)} if steps else {}),
    }


def _steps(steps: Sequence[deployments.PullStep]) -> str:
    return json.dumps([{"name": step.name, "inputs": dict(step.inputs)} for step in steps])


def _user_environment(job: Job) -> dict[str, str]:
    merged: dict[str, str] = {}
    for variables in (job.deployment.job_variables, job.flow_run.job_variables):
        env = _json(variables.get("env", "{}"), "job variable 'env'")
        if not isinstance(env, Mapping):
            msg = "The job variable 'env' is not a JSON object of names and values; correct it."
            raise UnusableJob(msg)
        for name, value in cast("Mapping[str, object]", env).items():
            merged[name] = "" if value is None else str(value)
    return merged


def _json(text: str, what: str) -> object:
    try:
        return json.loads(text)
    except ValueError as error:
        msg = f"The {what} is not JSON ({error}); correct it and run again."
        raise UnusableJob(msg) from error
